/* What the files of account/ share; nobody outside includes this. */
#ifndef PX_ACCOUNT_INTERNAL_H
#define PX_ACCOUNT_INTERNAL_H

#include "account.h"
#include "user.h"

#include "base/crypto.h"
#include "base/jwt.h"

/* ---- secrets.c: what is derived from PixShiftSecret, once per process ---- */
typedef struct {
    px_jwt_keys *jwt;
    const char *pepper;                     /* of password hashes */
    unsigned char subject_key[32];          /* names of login_failures */
} account_secrets;
/* UNAVAILABLE when PixShiftSecret is not set or not resolved. */
px_err *account_secrets_get(const px_app *app, apr_pool_t *pool, const account_secrets **out);

/* ---- text ---- */
/* ASCII letters in lower case; the form in which addresses are stored and compared. */
const char *account_email_key(apr_pool_t *pool, const char *email);

/* ---- password hashes with the deployment's scheme, cost and pepper ---- */
px_err *account_password_hash(const px_app *app, apr_pool_t *pool, const char *password,
                              const char **hash);
/* hash NULL: same work, never a match. *rehashed is a stronger form to store, or NULL. */
px_err *account_password_check(const px_app *app, apr_pool_t *pool, const char *password,
                               const char *hash, bool *match, const char **rehashed);

/* ---- account.c ---- */
typedef struct {
    const char *email, *password, *first_name, *last_name;
    bool with_key, test_mode_key;
    bool signs_in;                  /* a login follows at once */
    /* filled: */
    const char *hash;
    const char *user_id;
    const char *api_key, *key_id;
} account_new;
/* Address and password as the rules want them; hashes. */
px_err *account_new_check(const px_app *app, apr_pool_t *pool, account_new *in);
/* User, identity, wallet with grants, event, optional key. EMAIL_TAKEN. */
px_err *account_new_write(px_conn *conn, apr_pool_t *pool, account_new *in);

/* ---- session.c ---- */
typedef struct {
    const char *user_id;
    bool with_secret;               /* cookie or opaque bearer */
    const char *user_agent, *ip;
    /* filled by account_session_open: */
    const char *session_id, *secret, *csrf, *refresh_token;
    int64_t created_at;             /* usec */
} account_login;
/* A new session with its first refresh token, inside the caller's transaction. */
px_err *account_session_open(const px_app *app, px_conn *conn, apr_pool_t *pool, account_login *in);
/* Ends one session and what hangs on it; this machine forgets it at once. */
px_err *account_session_end(const px_app *app, apr_pool_t *pool, const px_principal *who);
px_err *account_access_token(const px_app *app, apr_pool_t *pool, const char *user_id,
                             const char *session_id, const char **token, int64_t *expires_in);
/* Name of the session cookie and whether it is a Secure one. */
const char *account_cookie_name(const px_req *req, bool *secure);
void account_cookie_set(px_req *req, px_reply *reply, const char *secret);
void account_cookie_clear(px_req *req, px_reply *reply);
/* What binds a refresh token to its client for the grace window: 32 bytes. */
void account_fingerprint(const char *user_agent, const char *ip, unsigned char out[PX_SHA256_LEN]);

/* ---- refresh.c ---- */
typedef struct {
    const char *token, *user_agent, *ip;
    /* filled: */
    const char *user_id, *session_id, *successor;
} account_refresh;
px_err *account_refresh_run(const px_app *app, apr_pool_t *pool, const px_req *req,
                            account_refresh *in);

/* ---- login.c ---- */
/* Checks address and password under the limits of failed attempts; *user is the account. */
px_err *account_login_check(px_req *req, const char *email, const char *password, px_user **user);

/* ---- principal.c: what a credential stands for, as kept in the cache for some seconds ---- */
#define ACCOUNT_CACHE_MS 5000

typedef struct {
    px_principal who;
    int64_t looked_up;              /* px_now before the database was asked */
    int64_t valid_until;            /* usec, 0 = no end */
    int64_t started;                /* session or key made at, usec */
    int64_t last_used;              /* as the database had it, usec */
} account_record;

/* kind: 's' opaque secret, 't' access token, 'k' API key (id: hex digest), 'u' uses of a key,
 * 'n' cut of a user (id: UUID). */
const char *account_cache_key(apr_pool_t *pool, char kind, const char *id);
/* *record NULL = look it up. */
px_err *account_cache_get(const px_app *app, apr_pool_t *pool, const char *key,
                          account_record **record);
void account_cache_put(const px_app *app, apr_pool_t *pool, const char *key,
                       const account_record *record);
/* Everything that was looked up for this user until now is void. */
void account_cache_cut(const px_app *app, apr_pool_t *pool, const char *user_id);
const char *account_record_pack(apr_pool_t *pool, const account_record *record, size_t *len);
account_record *account_record_unpack(apr_pool_t *pool, const char *text, size_t len);

/* ---- key_format.c ---- */
/* psk_live_ or psk_test_, 30 random base62 characters, 6 of CRC-32 over all before them (C-39). */
#define ACCOUNT_KEY_LEN 45
const char *account_key_make(apr_pool_t *pool, bool test_mode);
/* Form and check sum: typing errors and guesses end here, before the database. */
bool account_key_well_formed(apr_pool_t *pool, const char *key, bool *test_mode);
/* Scheme tag and the first 8 random characters: what lists show. */
const char *account_key_prefix(apr_pool_t *pool, const char *key);
unsigned account_scopes_parse(const char *comma_separated);
/* PostgreSQL array text of the scopes in `bits`. */
const char *account_scopes_array(apr_pool_t *pool, unsigned bits);

/* ---- key.c ---- */
px_err *account_key_add(px_conn *conn, apr_pool_t *pool, const char *user_id, const char *name,
                        bool test_mode, const char **key, const char **key_id);
/* One more use; written to the database at most once a minute. */
void account_key_used(const px_app *app, apr_pool_t *pool, const account_record *record,
                      bool looked_up);

/* ---- handlers ---- */
px_handler account_register_api, account_login_api, account_refresh_api, account_logout_api,
    account_me_api, account_session_api;
px_handler account_key_generate_api, account_key_list_api, account_key_delete_api,
    account_key_regenerate_api;
px_handler account_profile_get_api, account_profile_put_api;

#endif
