/* The ledger's SQL (credit_store.c), for the files of this folder.  Every function is one round
 * trip; errors are those of db/ with the SQLSTATE of sql/0003_credit.up.sql. */
#ifndef PX_CREDIT_STORE_H
#define PX_CREDIT_STORE_H

#include "credit.h"

px_err *credit_store_balance(px_db *db, apr_pool_t *pool, const char *user_id, px_balance *balance,
                             bool *found, bool *stale);
px_err *credit_store_daily(px_db *db, apr_pool_t *pool, const char *user_id);
px_err *credit_store_init(px_conn *conn, apr_pool_t *pool, const char *user_id);
px_err *credit_store_grant(px_conn *conn, apr_pool_t *pool, const char *user_id, const char *kind,
                           int64_t amount, const char *scope, int64_t expires_at, const char *key,
                           const char *reference_type, const char *reference_id, const char *note);
px_err *credit_store_hold(px_conn *conn, apr_pool_t *pool, const char *user_id, int64_t amount,
                          const char *scope, const char *key, const char **hold_id);
px_err *credit_store_capture(px_conn *conn, apr_pool_t *pool, const char *hold_id, int64_t amount,
                             const char *reference_type, const char *reference_id);
px_err *credit_store_release(px_conn *conn, apr_pool_t *pool, const char *hold_id,
                             const char *reason);
px_err *credit_store_refund(px_conn *conn, apr_pool_t *pool, const char *hold_id, int64_t amount,
                            const char *key, const char *note);
/* The three arrays as PostgreSQL array literals. */
px_err *credit_store_settle(px_conn *conn, apr_pool_t *pool, const char *holds, const char *amounts,
                            const char *references, const char *reference_type, int *done);
px_err *credit_store_expire(px_db *db, apr_pool_t *pool, int users, int64_t *expired);
/* Rows of (name, subject, detail). */
px_err *credit_store_verify(px_db *db, apr_pool_t *pool, px_rows **rows);
px_err *credit_store_profile(px_db *db, apr_pool_t *pool, const px_credit_profile *profile);
/* *found: such a user exists. */
px_err *credit_store_set_tier(px_db *db, apr_pool_t *pool, const char *user_id, const char *tier,
                              bool *found);
#endif
