/* SQL of refresh tokens. */
#include "session_store.h"

#include <apr_strings.h>

px_err *refresh_store_insert(px_conn *conn, apr_pool_t *pool, const char *session_id,
                             const unsigned char hash[PX_SHA256_LEN],
                             const unsigned char fingerprint[PX_SHA256_LEN], int64_t expires_at)
{
    return px_conn_query(conn, pool, NULL,
                         "INSERT INTO pixshift.refresh_tokens (token_hash, family, fingerprint,"
                         " expires_at) VALUES ($1, $2, $3, pixshift.from_usec($4))", "xsxl",
                         hash, (size_t)PX_SHA256_LEN, session_id, fingerprint,
                         (size_t)PX_SHA256_LEN, expires_at);
}

px_err *refresh_store_lock(px_conn *conn, apr_pool_t *pool,
                           const unsigned char hash[PX_SHA256_LEN],
                           const unsigned char fingerprint[PX_SHA256_LEN], refresh_row **out)
{
    px_rows *rows;
    refresh_row *row;
    px_err *err = px_conn_query(conn, pool, &rows,
        "SELECT s.user_id, s.id, r.successor, pixshift.usec(pixshift.now()),"
        " pixshift.usec(r.rotated_at), pixshift.usec(r.expires_at), pixshift.usec(s.created_at),"
        " pixshift.usec(u.not_before), u.is_suspended, u.is_active, r.fingerprint = $2"
        " FROM pixshift.refresh_tokens r JOIN pixshift.sessions s ON s.id = r.family"
        " JOIN pixshift.users u ON u.id = s.user_id WHERE r.token_hash = $1 FOR UPDATE OF r",
        "xx", hash, (size_t)PX_SHA256_LEN, fingerprint, (size_t)PX_SHA256_LEN);

    *out = NULL;
    if (err || px_rows_count(rows) == 0) {
        return err;
    }
    *out = row = apr_pcalloc(pool, sizeof *row);
    row->user_id = px_rows_str(rows, 0, 0);
    row->session_id = px_rows_str(rows, 0, 1);
    row->successor = px_rows_str(rows, 0, 2);
    row->now = px_rows_int(rows, 0, 3);
    row->rotated_at = px_rows_int(rows, 0, 4);
    row->expires_at = px_rows_int(rows, 0, 5);
    row->session_created_at = px_rows_int(rows, 0, 6);
    row->not_before = px_rows_int(rows, 0, 7);
    row->suspended = px_rows_bool(rows, 0, 8);
    row->active = px_rows_bool(rows, 0, 9);
    row->same_client = px_rows_bool(rows, 0, 10);
    return NULL;
}

/* Tokens of the chain that have run out need not be known any more: nobody can use them. */
px_err *refresh_store_rotate(px_conn *conn, apr_pool_t *pool,
                             const unsigned char hash[PX_SHA256_LEN], const char *successor_sealed)
{
    return px_conn_query(conn, pool, NULL,
        "WITH done AS (UPDATE pixshift.refresh_tokens SET rotated_at = pixshift.now(),"
        "   successor = $2 WHERE token_hash = $1 RETURNING family)"
        " DELETE FROM pixshift.refresh_tokens r USING done"
        "  WHERE r.family = done.family AND r.expires_at <= pixshift.now() AND r.token_hash <> $1",
        "xs", hash, (size_t)PX_SHA256_LEN, successor_sealed);
}

px_err *refresh_store_is_live(px_conn *conn, apr_pool_t *pool,
                              const unsigned char hash[PX_SHA256_LEN], bool *live)
{
    px_rows *rows;
    px_err *err = px_conn_query(conn, pool, &rows,
                                "SELECT 1 FROM pixshift.refresh_tokens"
                                " WHERE token_hash = $1 AND rotated_at IS NULL",
                                "x", hash, (size_t)PX_SHA256_LEN);

    *live = !err && px_rows_count(rows) == 1;
    return err;
}

px_err *refresh_store_revoke(px_conn *conn, apr_pool_t *pool, const char *session_id)
{
    return px_conn_query(conn, pool, NULL, "DELETE FROM pixshift.sessions WHERE id = $1", "s",
                         session_id);
}
