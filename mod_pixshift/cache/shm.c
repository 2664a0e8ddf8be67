/* The shared segment: its layout, its locks, and the key-value part.
 *
 * A key hashes to one shard of 64 entries with a lock of its own; inside, a free or expired entry
 * is taken, else the one that was used longest ago.  Index and data are apart: a look-up reads one
 * or two kilobytes of index, and memory pages of entries never used stay untouched. */
#include "cache_internal.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/buf.h"

#include <apr_strings.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

typedef struct { uint64_t shards, buckets, shard_at, data_at, rate_lock_at, rate_at, size; } layout;

static uint64_t round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

static layout layout_of(int entries, int rate_slots)
{
    layout l;
    l.shards = round_up(entries > 0 ? (uint64_t)entries : 1, PX_SHM_WAYS) / PX_SHM_WAYS;
    l.buckets = round_up(rate_slots > 0 ? (uint64_t)rate_slots : 1, PX_SHM_RATE_WAYS) /
                PX_SHM_RATE_WAYS;
    l.shard_at = round_up(sizeof(px_shm), 64);
    l.rate_lock_at = l.shard_at + l.shards * sizeof(px_shm_shard);
    l.rate_at = round_up(l.rate_lock_at + PX_SHM_RATE_LOCKS * sizeof(pthread_mutex_t), 256);
    l.data_at = round_up(l.rate_at + l.buckets * PX_SHM_RATE_WAYS * sizeof(px_shm_slot), 4096);
    l.size = l.data_at + l.shards * PX_SHM_WAYS * sizeof(px_shm_data);
    return l;
}

size_t px_cache_shm_size(int entries, int rate_slots)
{
    return (size_t)layout_of(entries, rate_slots).size;
}

/* ---- SipHash-2-4 ---- */
static inline uint64_t rotl(uint64_t x, int b)
{
    return (x << b) | (x >> (64 - b));
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1]; v[1] = rotl(v[1], 13); v[1] ^= v[0]; v[0] = rotl(v[0], 32);
    v[2] += v[3]; v[3] = rotl(v[3], 16); v[3] ^= v[2];
    v[0] += v[3]; v[3] = rotl(v[3], 21); v[3] ^= v[0];
    v[2] += v[1]; v[1] = rotl(v[1], 17); v[1] ^= v[2]; v[2] = rotl(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t m)
{
    v[3] ^= m;
    sip_round(v);
    sip_round(v);
    v[0] ^= m;
}

uint64_t px_shm_hash(const px_shm *shm, const char *text, size_t len)
{
    uint64_t v[4] = {shm->seed[0] ^ 0x736f6d6570736575ULL, shm->seed[1] ^ 0x646f72616e646f6dULL,
                     shm->seed[0] ^ 0x6c7967656e657261ULL, shm->seed[1] ^ 0x7465646279746573ULL};
    uint64_t word, hash;
    size_t at = 0;
    for (; at + 8 <= len; at += 8) {
        memcpy(&word, text + at, 8);
        sip_word(v, word);
    }
    word = 0;
    memcpy(&word, text + at, len - at);
    sip_word(v, word | ((uint64_t)len << 56));
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++) {
        sip_round(v);
    }
    hash = v[0] ^ v[1] ^ v[2] ^ v[3];
    return hash ? hash : 1;
}

/* ---- parts of the segment ---- */
px_shm_shard *px_shm_shard_of(px_shm *shm, uint64_t hash)
{
    px_shm_shard *shards = (px_shm_shard *)((char *)shm + shm->shard_at);
    return &shards[hash % shm->shards];
}

px_shm_data *px_shm_data_of(px_shm *shm, const px_shm_shard *shard, int way)
{
    const px_shm_shard *shards = (const px_shm_shard *)((char *)shm + shm->shard_at);
    px_shm_data *data = (px_shm_data *)((char *)shm + shm->data_at);
    return &data[(shard - shards) * PX_SHM_WAYS + way];
}

void px_shm_lock(pthread_mutex_t *lock)
{
    int rc = pthread_mutex_lock(lock);
    if (rc == EOWNERDEAD) {
        /* Entries change in an order that is valid at every step, so there is nothing to repair. */
        pthread_mutex_consistent(lock);
        px_log(PX_LOG_NOTICE, "PXS2511",
               "a process died while it held a lock of the cache; going on");
    }
}

static int mutex_make(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attr;
    int rc = pthread_mutexattr_init(&attr);
    if (rc == 0) {
        rc = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
        if (rc == 0) {
            rc = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
        }
        if (rc == 0) {
            rc = pthread_mutex_init(lock, &attr);
        }
        pthread_mutexattr_destroy(&attr);
    }
    return rc;
}

static px_err *format_block(apr_pool_t *pool, px_shm *shm, const layout *l)
{
    pthread_mutex_t *locks = (pthread_mutex_t *)((char *)shm + l->rate_lock_at);
    px_shm_shard *shards = (px_shm_shard *)((char *)shm + l->shard_at);
    int rc = 0;
    /* Not the data: it is only reached through the index, and its pages shall stay untouched. */
    memset(shm, 0, (size_t)l->data_at);
    shm->version = PX_SHM_VERSION;
    shm->counters = PX_C_COUNT;
    shm->size = l->size;
    shm->shards = (uint32_t)l->shards;
    shm->buckets = (uint32_t)l->buckets;
    shm->shard_at = l->shard_at;
    shm->data_at = l->data_at;
    shm->rate_lock_at = l->rate_lock_at;
    shm->rate_at = l->rate_at;
    px_random(shm->seed, sizeof(shm->seed));
    for (uint32_t i = 0; i < shm->shards && rc == 0; i++) {
        rc = mutex_make(&shards[i].lock);
    }
    for (int i = 0; i < PX_SHM_RATE_LOCKS && rc == 0; i++) {
        rc = mutex_make(&locks[i]);
    }
    if (rc != 0) {
        return px_error(pool, PX_E_INTERNAL, "PXS2503",
                        "the cache's locks cannot be made: error %d", rc);
    }
    __atomic_store_n(&shm->magic, PX_SHM_MAGIC, __ATOMIC_RELEASE);
    return NULL;
}

bool px_cache_shm_fits(const void *memory, size_t size, int entries, int rate_slots)
{
    const px_shm *shm = memory;
    layout l = layout_of(entries, rate_slots);
    return size >= l.size && __atomic_load_n(&shm->magic, __ATOMIC_ACQUIRE) == PX_SHM_MAGIC &&
           shm->version == PX_SHM_VERSION && shm->counters == PX_C_COUNT && shm->size == l.size &&
           shm->shards == l.shards && shm->buckets == l.buckets;
}

/* ---- key-value ---- */
static int find(px_shm *shm, px_shm_shard *shard, uint64_t hash, const char *key, size_t key_len)
{
    for (int i = 0; i < PX_SHM_WAYS; i++) {
        const px_shm_index *e = &shard->index[i];
        if (e->hash == hash && e->key_len == key_len &&
            memcmp(px_shm_data_of(shm, shard, i)->key, key, key_len) == 0) {
            return i;
        }
    }
    return -1;
}

/* A free entry, else an expired one, else the one used longest ago. */
static int victim(const px_shm_shard *shard, int64_t now)
{
    int oldest = 0;
    for (int i = 0; i < PX_SHM_WAYS; i++) {
        if (shard->index[i].hash == 0 || shard->index[i].expires <= now) {
            return i;
        }
        if (shard->index[i].used < shard->index[oldest].used) {
            oldest = i;
        }
    }
    return oldest;
}

static void store(px_shm *shm, px_shm_shard *shard, int way, uint64_t hash, const char *key,
                  const void *value, size_t len, int64_t expires)
{
    px_shm_index *e = &shard->index[way];
    px_shm_data *data = px_shm_data_of(shm, shard, way);
    /* An exchange, because a plain store would let the writes behind it move before it. */
    __atomic_exchange_n(&e->hash, 0, __ATOMIC_ACQ_REL);
    e->key_len = (uint16_t)strlen(key);
    e->value_len = (uint16_t)len;
    e->expires = expires;
    e->used = ++shard->clock;
    memcpy(data->key, key, e->key_len);
    if (len > 0) {
        memcpy(data->value, value, len);
    }
    __atomic_store_n(&e->hash, hash, __ATOMIC_RELEASE);
}

static int64_t expiry(int64_t now, int64_t ttl_ms)
{
    return ttl_ms > (INT64_MAX - now) / 1000 ? INT64_MAX : now + ttl_ms * 1000;
}

static px_err *shm_get(px_cache *cache, apr_pool_t *pool, const char *key, const char **value,
                       size_t *len)
{
    uint64_t hash = px_shm_hash(cache->shm, key, strlen(key));
    px_shm_shard *shard = px_shm_shard_of(cache->shm, hash);
    int64_t now = px_now();
    int way;
    px_shm_lock(&shard->lock);
    way = find(cache->shm, shard, hash, key, strlen(key));
    if (way >= 0 && shard->index[way].expires > now) {
        px_shm_index *e = &shard->index[way];
        e->used = ++shard->clock;
        *len = e->value_len;
        *value = apr_pstrmemdup(pool, px_shm_data_of(cache->shm, shard, way)->value, *len);
    }
    pthread_mutex_unlock(&shard->lock);
    return NULL;
}

static px_err *shm_set(px_cache *cache, apr_pool_t *pool, const char *key, const void *value,
                       size_t len, int64_t ttl_ms)
{
    uint64_t hash = px_shm_hash(cache->shm, key, strlen(key));
    px_shm_shard *shard = px_shm_shard_of(cache->shm, hash);
    int64_t now = px_now();
    int way;
    (void)pool;
    px_shm_lock(&shard->lock);
    way = find(cache->shm, shard, hash, key, strlen(key));
    if (way < 0) {
        way = victim(shard, now);
    }
    store(cache->shm, shard, way, hash, key, value, len, expiry(now, ttl_ms));
    pthread_mutex_unlock(&shard->lock);
    return NULL;
}

static px_err *shm_delete(px_cache *cache, apr_pool_t *pool, const char *key)
{
    uint64_t hash = px_shm_hash(cache->shm, key, strlen(key));
    px_shm_shard *shard = px_shm_shard_of(cache->shm, hash);
    int way;
    (void)pool;
    px_shm_lock(&shard->lock);
    way = find(cache->shm, shard, hash, key, strlen(key));
    if (way >= 0) {
        __atomic_store_n(&shard->index[way].hash, 0, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&shard->lock);
    return NULL;
}

/* Counters are kept as decimal text, so that px_cache_get shows the same in every backend. */
static bool counter_read(px_shm *shm, px_shm_shard *shard, int way, int64_t *value)
{
    char text[32];
    long long number;
    size_t len = shard->index[way].value_len;
    if (len >= sizeof(text)) {
        return false;
    }
    memcpy(text, px_shm_data_of(shm, shard, way)->value, len);
    text[len] = '\0';
    if (!px_parse_int(text, LLONG_MIN, LLONG_MAX, &number)) {
        return false;
    }
    *value = number;
    return true;
}

static px_err *shm_add(px_cache *cache, apr_pool_t *pool, const char *key, int64_t delta,
                       int64_t ttl_ms, int64_t *sum)
{
    uint64_t hash = px_shm_hash(cache->shm, key, strlen(key));
    px_shm_shard *shard = px_shm_shard_of(cache->shm, hash);
    int64_t now = px_now(), value = 0, expires = expiry(now, ttl_ms);
    bool good = true;
    char text[32];
    int way;
    px_shm_lock(&shard->lock);
    way = find(cache->shm, shard, hash, key, strlen(key));
    if (way >= 0 && shard->index[way].expires > now) {
        good = counter_read(cache->shm, shard, way, &value);
        expires = shard->index[way].expires;    /* a counter's window starts with its first event */
    } else if (way < 0) {
        way = victim(shard, now);
    }
    good = good && !__builtin_add_overflow(value, delta, sum);
    if (good) {
        int len = snprintf(text, sizeof(text), "%lld", (long long)*sum);
        store(cache->shm, shard, way, hash, key, text, (size_t)len, expires);
    }
    pthread_mutex_unlock(&shard->lock);
    return good ? NULL
                : px_error(pool, PX_E_INTERNAL, "PXS2504", "cache value '%s' is not a number", key);
}

static px_err *shm_purge(px_cache *cache, apr_pool_t *pool, int64_t *removed)
{
    (void)cache;
    (void)pool;
    (void)removed;          /* expired entries are overwritten in place */
    return NULL;
}

static const px_cache_backend shm_backend = {
    shm_get, shm_set, shm_delete, shm_add, px_shm_take, shm_purge,
};

px_err *px_cache_shm_attach(apr_pool_t *pool, void *memory, size_t size, int entries,
                            int rate_slots, px_cache **out)
{
    layout l = layout_of(entries, rate_slots);
    px_cache *cache = apr_pcalloc(pool, sizeof(*cache));
    if (!memory || size < l.size || (uintptr_t)memory % 64 != 0) {
        return px_error(pool, PX_E_INTERNAL, "PXS2500",
                        "the cache needs %lu aligned bytes of shared memory and was given %lu",
                        (unsigned long)l.size, (unsigned long)size);
    }
    if (!px_cache_shm_fits(memory, size, entries, rate_slots)) {
        px_err *err = format_block(pool, memory, &l);
        if (err) {
            return err;
        }
    }
    cache->backend = &shm_backend;
    cache->shm = memory;
    *out = cache;
    return NULL;
}
