/* The front of the cache: argument checks, then the backend; and the counters. */
#include "cache_internal.h"

#include <string.h>

static const char *const counter_names[PX_C_COUNT] = {
#define PX_COUNTER(id, name, help) name,
#include "counters.def"
#undef PX_COUNTER
};

static const char *const counter_helps[PX_C_COUNT] = {
#define PX_COUNTER(id, name, help) help,
#include "counters.def"
#undef PX_COUNTER
};

static px_err *check_key(apr_pool_t *pool, const char *key)
{
    size_t len = strlen(key);
    if (len == 0 || len > PX_CACHE_KEY_MAX) {
        return px_error(pool, PX_E_INTERNAL, "PXS2501",
                        "cache key of %lu bytes (1 to %d are allowed)", (unsigned long)len,
                        PX_CACHE_KEY_MAX);
    }
    return NULL;
}

px_err *px_cache_get(px_cache *cache, apr_pool_t *pool, const char *key, const char **value,
                     size_t *len)
{
    px_err *err = check_key(pool, key);
    *value = NULL;
    *len = 0;
    return err ? err : cache->backend->get(cache, pool, key, value, len);
}

px_err *px_cache_set(px_cache *cache, apr_pool_t *pool, const char *key, const void *value,
                     size_t len, int64_t ttl_ms)
{
    px_err *err = check_key(pool, key);
    if (err) {
        return err;
    }
    if (len > PX_CACHE_VALUE_MAX) {
        return px_error(pool, PX_E_INTERNAL, "PXS2502", "cache value of %lu bytes (at most %d)",
                        (unsigned long)len, PX_CACHE_VALUE_MAX);
    }
    if (ttl_ms <= 0) {
        return cache->backend->delete(cache, pool, key);
    }
    return cache->backend->set(cache, pool, key, value, len, ttl_ms);
}

px_err *px_cache_delete(px_cache *cache, apr_pool_t *pool, const char *key)
{
    px_err *err = check_key(pool, key);
    return err ? err : cache->backend->delete(cache, pool, key);
}

px_err *px_cache_add(px_cache *cache, apr_pool_t *pool, const char *key, int64_t delta,
                     int64_t ttl_ms, int64_t *sum)
{
    px_err *err = check_key(pool, key);
    *sum = 0;
    return err ? err : cache->backend->add(cache, pool, key, delta, ttl_ms, sum);
}

px_err *px_cache_purge(px_cache *cache, apr_pool_t *pool, int64_t *removed)
{
    *removed = 0;
    return cache->backend->purge(cache, pool, removed);
}

px_err *px_rate_take(px_cache *cache, const char *key, int64_t limit, int64_t window_ms,
                     int64_t cost, px_rate_verdict *verdict)
{
    memset(verdict, 0, sizeof(*verdict));
    if (limit <= 0 || window_ms <= 0) {         /* no limit */
        verdict->allowed = true;
        return NULL;
    }
    return cache->backend->take(cache, key, limit, window_ms, cost < 0 ? 0 : cost, verdict);
}

void px_count(px_cache *cache, px_counter counter, int64_t delta)
{
    if (cache && cache->shm && (int)counter >= 0 && counter < PX_C_COUNT) {
        __atomic_fetch_add(&cache->shm->counter[counter].value, delta, __ATOMIC_RELAXED);
    }
}

int64_t px_counter_value(px_cache *cache, px_counter counter)
{
    if (!cache || !cache->shm || (int)counter < 0 || counter >= PX_C_COUNT) {
        return 0;
    }
    return __atomic_load_n(&cache->shm->counter[counter].value, __ATOMIC_RELAXED);
}

const char *px_counter_name(px_counter counter)
{
    return (int)counter >= 0 && counter < PX_C_COUNT ? counter_names[counter] : "pixshift_unknown";
}

const char *px_counter_help(px_counter counter)
{
    return (int)counter >= 0 && counter < PX_C_COUNT ? counter_helps[counter] : "";
}
