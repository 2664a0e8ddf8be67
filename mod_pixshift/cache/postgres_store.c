/* The durable backend: tables pixshift.kv and pixshift.rate (sql/0006_kv).  Slower than shared
 * memory by a round trip; right for several machines, and for what must survive a restart. */
#include "cache_internal.h"

#include "base/log.h"
#include "db/db.h"

#include <apr_strings.h>
#include <string.h>

static px_err *pg_get(px_cache *cache, apr_pool_t *pool, const char *key, const char **value,
                      size_t *len)
{
    px_rows *rows;
    px_err *err = px_db_query(cache->db, pool, &rows,
        "SELECT value FROM pixshift.kv WHERE key = $1 AND expires_at > pixshift.now()", "s", key);
    if (!err && px_rows_count(rows) == 1) {
        const unsigned char *bytes = px_rows_bytes(rows, 0, 0, len);
        *value = apr_pstrmemdup(pool, bytes ? (const char *)bytes : "", *len);
    }
    return err;
}

static px_err *pg_set(px_cache *cache, apr_pool_t *pool, const char *key, const void *value,
                      size_t len, int64_t ttl_ms)
{
    return px_db_query(cache->db, pool, NULL,
        "INSERT INTO pixshift.kv (key, value, expires_at)"
        " VALUES ($1, $2, pixshift.kv_expiry($3))"
        " ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, expires_at = EXCLUDED.expires_at",
        "sxl", key, value ? value : "", len, ttl_ms);
}

static px_err *pg_delete(px_cache *cache, apr_pool_t *pool, const char *key)
{
    return px_db_query(cache->db, pool, NULL, "DELETE FROM pixshift.kv WHERE key = $1", "s", key);
}

static px_err *pg_add(px_cache *cache, apr_pool_t *pool, const char *key, int64_t delta,
                      int64_t ttl_ms, int64_t *sum)
{
    px_rows *rows;
    px_err *err = px_db_query(cache->db, pool, &rows, "SELECT pixshift.kv_add($1, $2, $3)", "sll",
                              key, delta, ttl_ms);
    if (!err) {
        *sum = px_rows_int(rows, 0, 0);
    }
    return err;
}

/* The row lock of the upsert makes the take exact across machines. The decision is made in SQL; the
 * verdict is computed here from the arrival time that came back. */
static px_err *pg_take(px_cache *cache, const char *key, int64_t limit, int64_t window_ms,
                       int64_t cost, px_rate_verdict *verdict)
{
    px_gcra g = px_gcra_make(limit, window_ms);
    apr_pool_t *pool;
    px_rows *rows;
    px_err *err;
    int64_t unused;
    apr_pool_create(&pool, NULL);   /* not a child of the process's pool: any thread may be here */
    err = px_db_query(cache->db, pool, &rows,
                      "SELECT tat, now FROM pixshift.rate_take($1, $2, $3, $4)", "slll", key,
                      g.step, g.burst, cost > g.limit ? g.limit + 1 : cost);
    if (!err) {
        px_gcra_decide(&g, px_rows_int(rows, 0, 0), px_rows_int(rows, 0, 1), cost, verdict,
                       &unused);
    } else {
        px_log(PX_LOG_ERROR, "PXS2505", "a rate limit cannot be asked: %s",
               err->cause ? err->cause : err->text);
        err = cache->no_rate;
    }
    apr_pool_destroy(pool);
    return err;
}

static px_err *pg_purge(px_cache *cache, apr_pool_t *pool, int64_t *removed)
{
    px_rows *rows;
    px_err *err = px_db_query(cache->db, pool, &rows, "SELECT pixshift.kv_purge(10000)", "");
    if (!err) {
        *removed = px_rows_int(rows, 0, 0);
    }
    return err;
}

static const px_cache_backend postgres_backend = {
    pg_get, pg_set, pg_delete, pg_add, pg_take, pg_purge,
};

px_err *px_cache_postgres(apr_pool_t *pool, struct px_db *db, px_cache **out)
{
    px_cache *cache = apr_pcalloc(pool, sizeof(*cache));
    cache->backend = &postgres_backend;
    cache->db = db;
    cache->no_rate = px_error(pool, PX_E_UNAVAILABLE, NULL, NULL);
    *out = cache;
    return NULL;
}
