/* SQL of API keys. */
#ifndef PX_ACCOUNT_KEY_STORE_H
#define PX_ACCOUNT_KEY_STORE_H

#include "account_internal.h"

typedef struct {
    const char *id, *name, *prefix, *scopes;    /* scopes separated by commas */
    bool test_mode;
    int64_t created_at, last_used, expires_at, usage_count;
} key_row;

px_err *key_store_insert(px_conn *conn, apr_pool_t *pool, const char *user_id, const char *name,
                         const char *prefix, const unsigned char hash[PX_SHA256_LEN],
                         const char *scopes_array, bool test_mode, int64_t expires_at,
                         const char **id);
/* Active keys of a user, newest first. */
px_err *key_store_list(px_db *db, apr_pool_t *pool, const char *user_id, int64_t limit,
                       int64_t offset, key_row **list, int *count, int64_t *total);
px_err *key_store_count(px_conn *conn, apr_pool_t *pool, const char *user_id, int64_t *active);
/* *hash_hex: of the key that is void now; NULL = the user has no such active key. */
px_err *key_store_revoke(px_db *db, apr_pool_t *pool, const char *user_id, const char *key_id,
                         const char **hash_hex);
px_err *key_store_find(px_db *db, apr_pool_t *pool, const char *user_id, const char *key_id,
                       key_row **row);
px_err *key_store_replace(px_db *db, apr_pool_t *pool, const char *user_id, const char *key_id,
                          const char *prefix, const unsigned char hash[PX_SHA256_LEN],
                          const char **old_hash_hex);
/* Adds uses; *taken false when another process has written within the last minute. */
px_err *key_store_used(px_db *db, apr_pool_t *pool, const char *key_id, int64_t uses, bool *taken);

#endif
