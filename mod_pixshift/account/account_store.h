/* SQL of users and identities. */
#ifndef PX_ACCOUNT_ACCOUNT_STORE_H
#define PX_ACCOUNT_ACCOUNT_STORE_H

#include "user.h"

/* *out NULL when there is none. Only `id` (a UUID) or `email` (its stored form) is given. */
px_err *account_store_find(px_db *db, apr_pool_t *pool, const char *id, const char *email,
                           px_user **out);
px_err *account_store_lock(px_conn *conn, apr_pool_t *pool, const char *id, px_user **out);

/* What a login needs to know: the account of an address and whether it is slowed down. */
typedef struct {
    px_user *user;                  /* NULL = no such account */
    const char *password_hash;
    int failures;
    int64_t blocked_until;          /* usec; 0 = not */
} account_login_row;
px_err *account_store_login(px_db *db, apr_pool_t *pool, const char *email, const char *subject,
                            account_login_row *out);
/* Counts a failed attempt; `delays` begin at the 10th. */
px_err *account_store_login_failed(px_db *db, apr_pool_t *pool, const char *subject);
px_err *account_store_login_passed(px_db *db, apr_pool_t *pool, const char *subject,
                                   const char *user_id, const char *new_hash);

/* EMAIL_TAKEN. `signs_in`: the login that follows is noted with the row. */
px_err *account_store_insert(px_conn *conn, apr_pool_t *pool, const char *email, const char *hash,
                             const char *first_name, const char *last_name, bool signs_in,
                             const char **id);
px_err *account_store_set_role(px_conn *conn, apr_pool_t *pool, const char *id, const char *role,
                               const char *admin_scope);
/* until 0 = for good; entitlement NULL = derived again. */
px_err *account_store_set_entitlement(px_conn *conn, apr_pool_t *pool, const char *id,
                                      const char *entitlement, int64_t until);
px_err *account_store_set_suspended(px_conn *conn, apr_pool_t *pool, const char *id, bool suspended,
                                    const char *reason);
px_err *account_store_end_logins(px_conn *conn, apr_pool_t *pool, const char *id);
px_err *account_store_set_password(px_conn *conn, apr_pool_t *pool, const char *id,
                                   const char *hash);

/* role: "user", "admin" or NULL; entitlement: "free", "paid", "subscriber" or NULL. */
px_err *account_store_list(px_db *db, apr_pool_t *pool, const char *role, const char *entitlement,
                           const char *search, int64_t limit, int64_t offset, px_user **list,
                           int *count, int64_t *total);

px_err *account_store_purge(px_db *db, apr_pool_t *pool, int64_t *removed);

#endif
