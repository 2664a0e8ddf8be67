/* SQL of sessions, refresh tokens, and the look-up of what a credential stands for. */
#ifndef PX_ACCOUNT_SESSION_STORE_H
#define PX_ACCOUNT_SESSION_STORE_H

#include "account_internal.h"

/* ---- look-ups: one statement each ---- */
typedef struct {
    account_record record;
    bool suspended, active;         /* of the user */
    bool key_active;
    int64_t not_before;             /* usec */
} account_found;
/* *found NULL = nothing known under this hash or id. */
px_err *session_store_by_hash(px_db *db, apr_pool_t *pool, const unsigned char hash[PX_SHA256_LEN],
                              account_found **found);
px_err *session_store_by_id(px_db *db, apr_pool_t *pool, const char *id, account_found **found);
px_err *session_store_by_key(px_db *db, apr_pool_t *pool, const unsigned char hash[PX_SHA256_LEN],
                             account_found **found);

/* ---- sessions ---- */
typedef struct {
    const char *user_id, *csrf, *user_agent, *ip;
    const unsigned char *id_hash;   /* NULL: no opaque secret */
    int64_t life_ms, purge_ms;      /* of the secret; of everything that hangs on it */
} session_new;
px_err *session_store_insert(px_conn *conn, apr_pool_t *pool, const session_new *in,
                             const char **id, int64_t *created_at);
px_err *session_store_delete(px_db *db, apr_pool_t *pool, const char *id, const char **id_hash_hex);
/* Notes that a session is in use; at most once a minute has an effect. */
px_err *session_store_touch(px_db *db, apr_pool_t *pool, const char *id);

/* ---- refresh tokens ---- */
typedef struct {
    const char *user_id, *session_id, *successor;
    int64_t now, rotated_at, expires_at, session_created_at, not_before;
    bool suspended, active, same_client, successor_live;
} refresh_row;
px_err *refresh_store_insert(px_conn *conn, apr_pool_t *pool, const char *session_id,
                             const unsigned char hash[PX_SHA256_LEN],
                             const unsigned char fingerprint[PX_SHA256_LEN], int64_t expires_at);
/* Locks the token's row. *row NULL = unknown. */
px_err *refresh_store_lock(px_conn *conn, apr_pool_t *pool,
                           const unsigned char hash[PX_SHA256_LEN],
                           const unsigned char fingerprint[PX_SHA256_LEN], refresh_row **row);
px_err *refresh_store_rotate(px_conn *conn, apr_pool_t *pool,
                             const unsigned char hash[PX_SHA256_LEN], const char *successor_sealed);
px_err *refresh_store_is_live(px_conn *conn, apr_pool_t *pool,
                              const unsigned char hash[PX_SHA256_LEN], bool *live);
px_err *refresh_store_revoke(px_conn *conn, apr_pool_t *pool, const char *session_id);

#endif
