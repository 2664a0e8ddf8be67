/* SQL of API keys (pixshift.api_keys). A revoked key's row stays: jobs and logs name its id. */
#include "key_store.h"

#include <apr_strings.h>

#define KEY_COLUMNS \
    "k.id, k.name, k.key_prefix, array_to_string(k.scopes, ','), k.test_mode," \
    " pixshift.usec(k.created_at), pixshift.usec(k.last_used), pixshift.usec(k.expires_at)," \
    " k.usage_count"
#define KEY_COLUMN_COUNT 9

static void read_key(const px_rows *rows, int row, key_row *key)
{
    key->id = px_rows_str(rows, row, 0);
    key->name = px_rows_str(rows, row, 1);
    key->prefix = px_rows_str(rows, row, 2);
    key->scopes = px_rows_str(rows, row, 3);
    key->test_mode = px_rows_bool(rows, row, 4);
    key->created_at = px_rows_int(rows, row, 5);
    key->last_used = px_rows_int(rows, row, 6);
    key->expires_at = px_rows_int(rows, row, 7);
    key->usage_count = px_rows_int(rows, row, 8);
}

px_err *key_store_insert(px_conn *conn, apr_pool_t *pool, const char *user_id, const char *name,
                         const char *prefix, const unsigned char hash[PX_SHA256_LEN],
                         const char *scopes_array, bool test_mode, int64_t expires_at,
                         const char **id)
{
    px_rows *rows;
    px_err *err = px_conn_query(conn, pool, &rows,
        "INSERT INTO pixshift.api_keys (user_id, name, key_prefix, key_hash, scopes, test_mode,"
        " expires_at) VALUES ($1, $2, $3, $4, $5, $6, pixshift.from_usec($7)) RETURNING id",
        "sssxsbl", user_id, name, prefix, hash, (size_t)PX_SHA256_LEN, scopes_array, test_mode,
        expires_at);

    if (!err) {
        *id = px_rows_str(rows, 0, 0);
    }
    return err;
}

px_err *key_store_list(px_db *db, apr_pool_t *pool, const char *user_id, int64_t limit,
                       int64_t offset, key_row **list, int *count, int64_t *total)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "SELECT " KEY_COLUMNS ", t.total FROM"
        " (SELECT count(*) AS total FROM pixshift.api_keys WHERE user_id = $1 AND is_active) t"
        " LEFT JOIN LATERAL (SELECT * FROM pixshift.api_keys WHERE user_id = $1 AND is_active"
        "   ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3) k ON true"
        " ORDER BY k.created_at DESC, k.id DESC", "sll", user_id, limit, offset);

    if (err) {
        return err;
    }
    *total = px_rows_int(rows, 0, KEY_COLUMN_COUNT);
    *count = px_rows_null(rows, 0, 0) ? 0 : px_rows_count(rows);
    *list = apr_pcalloc(pool, (apr_size_t)(*count + 1) * sizeof **list);
    for (int i = 0; i < *count; i++) {
        read_key(rows, i, &(*list)[i]);
    }
    return NULL;
}

/* Locks the user's row, so that two creates cannot both take the last place. */
px_err *key_store_count(px_conn *conn, apr_pool_t *pool, const char *user_id, int64_t *active)
{
    px_rows *rows;
    px_err *err = px_conn_query(conn, pool, NULL,
                                "SELECT 1 FROM pixshift.users WHERE id = $1 FOR NO KEY UPDATE", "s",
                                user_id);
    if (!err) {
        err = px_conn_query(conn, pool, &rows,
                            "SELECT count(*) FROM pixshift.api_keys"
                            " WHERE user_id = $1 AND is_active", "s", user_id);
    }
    if (!err) {
        *active = px_rows_int(rows, 0, 0);
    }
    return err;
}

px_err *key_store_revoke(px_db *db, apr_pool_t *pool, const char *user_id, const char *key_id,
                         const char **hash_hex)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "UPDATE pixshift.api_keys SET is_active = false, revoked_at = pixshift.now()"
        " WHERE id = $2 AND user_id = $1 AND is_active RETURNING encode(key_hash, 'hex')",
        "ss", user_id, key_id);

    *hash_hex = !err && px_rows_count(rows) == 1 ? px_rows_str(rows, 0, 0) : NULL;
    return err;
}

px_err *key_store_find(px_db *db, apr_pool_t *pool, const char *user_id, const char *key_id,
                       key_row **row)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "SELECT " KEY_COLUMNS " FROM pixshift.api_keys k WHERE k.id = $2 AND k.user_id = $1"
        " AND k.is_active", "ss", user_id, key_id);

    *row = NULL;
    if (!err && px_rows_count(rows) == 1) {
        *row = apr_pcalloc(pool, sizeof **row);
        read_key(rows, 0, *row);
    }
    return err;
}

px_err *key_store_replace(px_db *db, apr_pool_t *pool, const char *user_id, const char *key_id,
                          const char *prefix, const unsigned char hash[PX_SHA256_LEN],
                          const char **old_hash_hex)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "WITH old AS (SELECT id, key_hash FROM pixshift.api_keys WHERE id = $2 AND user_id = $1"
        "   AND is_active FOR UPDATE)"
        " UPDATE pixshift.api_keys k SET key_hash = $4, key_prefix = $3 FROM old"
        "  WHERE k.id = old.id RETURNING encode(old.key_hash, 'hex')",
        "sssx", user_id, key_id, prefix, hash, (size_t)PX_SHA256_LEN);

    *old_hash_hex = !err && px_rows_count(rows) == 1 ? px_rows_str(rows, 0, 0) : NULL;
    return err;
}

px_err *key_store_used(px_db *db, apr_pool_t *pool, const char *key_id, int64_t uses, bool *taken)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "UPDATE pixshift.api_keys SET last_used = pixshift.now(), usage_count = usage_count + $2"
        " WHERE id = $1 AND (last_used IS NULL OR last_used < pixshift.now() - interval '1 minute')"
        " RETURNING 1", "sl", key_id, uses);

    *taken = !err && px_rows_count(rows) == 1;
    return err;
}
