/* Who is asking. Made by account/, carried by the request; read-only; lives in the request's
 * pool. */
#ifndef PX_HTTP_PRINCIPAL_H
#define PX_HTTP_PRINCIPAL_H

#include <stdbool.h>
#include <stdint.h>

/* Kinds of credential; a route lists those that it accepts. */
enum {
    PX_CRED_NONE = 1u << 0,         /* anonymous is fine; a credential that is sent must be valid */
    PX_CRED_COOKIE = 1u << 1,       /* browser session */
    PX_CRED_SESSION = 1u << 2,      /* the same session id as an opaque bearer token */
    PX_CRED_JWT = 1u << 3,
    PX_CRED_KEY = 1u << 4,          /* API key: x-api-key, or Authorization: Bearer psk_… */
    PX_CRED_USER = PX_CRED_COOKIE | PX_CRED_SESSION | PX_CRED_JWT,
    PX_CRED_ANY = PX_CRED_USER | PX_CRED_KEY
};

/* Scopes of API keys; interactive credentials have all of them. */
enum {
    PX_SCOPE_JOBS_WRITE = 1u << 0,      /* "jobs:write": create try-ons, transformations, … */
    PX_SCOPE_JOBS_READ = 1u << 1,       /* "jobs:read" */
    PX_SCOPE_CREDITS_READ = 1u << 2,    /* "credits:read" */
    PX_SCOPE_CHAT = 1u << 3,            /* "chat" */
    PX_SCOPE_ACCOUNT = 1u << 4,         /* never given to keys: profile, keys, payments, deletion */
    PX_SCOPE_DEFAULT_KEY = PX_SCOPE_JOBS_WRITE | PX_SCOPE_JOBS_READ | PX_SCOPE_CREDITS_READ
};

typedef enum { PX_ROLE_USER, PX_ROLE_ADMIN } px_role;

typedef struct px_principal {
    const char *user_id;            /* UUID text */
    const char *email;              /* may be NULL */
    px_role role;
    const char *admin_scope;        /* "super", "support", "finance", or NULL */
    unsigned credential;            /* one PX_CRED_ bit */
    unsigned scopes;                /* PX_SCOPE_ bits */
    const char *session_id;         /* cookie, session, JWT */
    const char *key_id;             /* API key */
    bool test_mode;                 /* psk_test_ */
    const char *tier;               /* chosen pricing tier or NULL */
    const char *csrf;               /* expected CSRF token of a cookie session */
} px_principal;

#endif
