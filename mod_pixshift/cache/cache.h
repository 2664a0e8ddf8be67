/* One small key-value interface: shared memory (default on one machine), PostgreSQL (fallback
 * and durable), Redis (later, several machines).  Values are bytes ≤ 4 KiB.  Nothing here is the
 * only copy of anything that matters.  Thread- and process-safe.  Also the exact rate limiter
 * (GCRA) in shared memory, whose state survives graceful restarts when the segment does. */
#ifndef PX_CACHE_CACHE_H
#define PX_CACHE_CACHE_H

#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct px_cache px_cache;
struct px_db;

#define PX_CACHE_KEY_MAX 200
#define PX_CACHE_VALUE_MAX 4096

/* ---- the shared segment: a block of memory that the host obtained (anonymous shared mapping made
 * before fork).  Its header holds a magic, layout version and size: a block of another layout is
 * initialised anew. */
/* Size of the segment that httpd makes and the embedded worker maps too. */
#define PX_SHM_ENTRIES 4096
#define PX_SHM_RATE_SLOTS 65536
size_t px_cache_shm_size(int entries, int rate_slots);
px_err *px_cache_shm_attach(apr_pool_t *pool, void *memory, size_t size, int entries, int rate_slots,
                            px_cache **out);
/* Whether a block holds a segment of exactly this layout: a host that finds an old block after a
 * graceful restart keeps it when true, and otherwise makes a new one (old children still use the
 * old one). */
bool px_cache_shm_fits(const void *memory, size_t size, int entries, int rate_slots);
px_err *px_cache_postgres(apr_pool_t *pool, struct px_db *db, px_cache **out);

/* *value NULL = absent or expired. Lives in the pool. */
px_err *px_cache_get(px_cache *cache, apr_pool_t *pool, const char *key, const char **value, size_t *len);
px_err *px_cache_set(px_cache *cache, apr_pool_t *pool, const char *key, const void *value, size_t len,
                     int64_t ttl_ms);
px_err *px_cache_delete(px_cache *cache, apr_pool_t *pool, const char *key);
/* Atomic counter: adds delta to an integer value (0 when absent) and returns the sum. */
px_err *px_cache_add(px_cache *cache, apr_pool_t *pool, const char *key, int64_t delta, int64_t ttl_ms,
                     int64_t *sum);

/* Removes expired entries of a durable backend, at most 10 000 a call (the worker calls it now
 * and then); shared memory needs none. */
px_err *px_cache_purge(px_cache *cache, apr_pool_t *pool, int64_t *removed);

/* ---- GCRA rate limits ---- */
typedef struct {
    bool allowed;
    int64_t limit, remaining;
    int64_t reset_ms;           /* until the bucket is full again */
    int64_t retry_after_ms;     /* when refused: until the next one passes */
} px_rate_verdict;
/* `limit` events per `window_ms`, bursts up to `limit`. Takes `cost` when allowed; cost 0 only
 * looks. Table full: evicts the most refilled slot, never an active one; if none, allows and
 * counts (PXS2510). */
px_err *px_rate_take(px_cache *cache, const char *key, int64_t limit, int64_t window_ms, int64_t cost,
                     px_rate_verdict *verdict);

/* ---- counters for /metrics and mod_status, in the same segment ---- */
typedef enum {
#define PX_COUNTER(id, name, help) PX_C_##id,
#include "counters.def"
#undef PX_COUNTER
    PX_C_COUNT
} px_counter;
void px_count(px_cache *cache, px_counter counter, int64_t delta);   /* NULL cache: no effect */
int64_t px_counter_value(px_cache *cache, px_counter counter);
const char *px_counter_name(px_counter counter);
const char *px_counter_help(px_counter counter);

#endif
