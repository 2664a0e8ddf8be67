/* The user's record as handlers and admin/ see it.  Plain data in the caller's pool. */
#ifndef PX_ACCOUNT_USER_H
#define PX_ACCOUNT_USER_H

#include "credit/credit.h"
#include "db/db.h"
#include "http/http.h"

typedef struct px_user {
    const char *id, *email, *phone, *first_name, *last_name, *profile_picture;
    const char *auth_provider;      /* the identity that made the account: "email", "google" */
    px_role role;
    const char *admin_scope;        /* "super", "support", "finance"; NULL for users */
    const char *entitlement;        /* "free", "paid", "subscriber"; derived or set (C-3) */
    const char *pricing_tier;
    bool phone_verified, is_email_verified, is_active, is_suspended;
    int64_t created_at, updated_at, last_login;     /* usec, 0 = never */
} px_user;

/* By UUID or by email address. NOT_FOUND. */
px_err *px_user_find(const px_app *app, apr_pool_t *pool, const char *id_or_email, px_user **out);
/* The same inside a transaction, with the row locked against changes. */
px_err *px_user_lock(px_conn *conn, apr_pool_t *pool, const char *id, px_user **out);

/* Filter of a list: `role` in any of the three vocabularies of C-3 (NULL = all), `search` = part
 * of the address. Newest first. */
typedef struct { const char *role, *search; int64_t limit, offset; } px_user_filter;
px_err *px_user_list(const px_app *app, apr_pool_t *pool, const px_user_filter *filter,
                     px_user **list, int *count, int64_t *total);

/* The members of a user object, spelled and projected for the dialect. `balance` may be NULL. */
void px_user_write(px_req *req, px_jw *w, const char *key, const px_user *user,
                   const px_balance *balance);
const char *px_user_role_word(px_dialect dialect, const px_user *user);

/* What a role word of any vocabulary asks for: ADMIN, GUEST (001), user, admin, subscriber
 * (002), free, paid, admin (004). `entitlement` NULL = back to the derived one. False for
 * unknown words. */
typedef struct { px_role role; const char *entitlement; bool sets_entitlement; } px_role_wish;
bool px_role_parse(const char *word, px_role_wish *wish);

/* Changes inside the caller's transaction; the caller audits them and, after the commit, calls
 * px_user_forget so that this machine's caches hold nothing older. */
px_err *px_user_set_role(px_conn *conn, apr_pool_t *pool, const char *id, const px_role_wish *wish,
                         const char *admin_scope, int64_t entitlement_until);
/* Suspending ends every login; keys stay but are refused while it lasts. */
px_err *px_user_set_suspended(px_conn *conn, apr_pool_t *pool, const char *id, bool suspended,
                              const char *reason);
/* The request's User-Agent when it is text that the database takes, cut to 400 bytes; else NULL. */
const char *px_client_agent(const px_req *req);

/* Ends every login: sessions, refresh tokens, access tokens. */
px_err *px_user_end_logins(px_conn *conn, apr_pool_t *pool, const char *id);
void px_user_forget(const px_app *app, apr_pool_t *pool, const char *id);

/* A new password (already checked by px_password_fault), all logins ended. `actor` goes to the
 * audit log; NULL = the user. */
px_err *px_user_set_password(const px_app *app, apr_pool_t *pool, const char *id,
                             const char *password, const char *actor);
/* NULL, or a sentence that says why this password cannot be used. `email` may be NULL. */
const char *px_password_fault(apr_pool_t *pool, const char *password, const char *email,
                              int64_t min_length);

#endif
