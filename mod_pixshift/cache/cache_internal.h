/* What the files of cache/ share: the backends behind px_cache and the segment's layout. */
#ifndef PX_CACHE_CACHE_INTERNAL_H
#define PX_CACHE_CACHE_INTERNAL_H

#include "cache.h"

#include <pthread.h>
#include <stddef.h>

/* A backend: what get/set/… do. Calls arrive with checked arguments (key and value lengths). */
typedef struct {
    px_err *(*get)(px_cache *cache, apr_pool_t *pool, const char *key, const char **value,
                   size_t *len);
    px_err *(*set)(px_cache *cache, apr_pool_t *pool, const char *key, const void *value,
                   size_t len, int64_t ttl_ms);
    px_err *(*delete)(px_cache *cache, apr_pool_t *pool, const char *key);
    px_err *(*add)(px_cache *cache, apr_pool_t *pool, const char *key, int64_t delta,
                   int64_t ttl_ms, int64_t *sum);
    px_err *(*take)(px_cache *cache, const char *key, int64_t limit, int64_t window_ms,
                    int64_t cost, px_rate_verdict *verdict);
    px_err *(*purge)(px_cache *cache, apr_pool_t *pool, int64_t *removed);
} px_cache_backend;

typedef struct px_shm px_shm;

struct px_cache {
    const px_cache_backend *backend;
    px_err *no_rate;            /* what a failed px_rate_take returns: it has no pool of its own */
    px_shm *shm;                /* NULL with the PostgreSQL backend */
    struct px_db *db;           /* NULL with shared memory */
};

/* ---- the segment ---- */
#define PX_SHM_MAGIC 0x70786361636865ULL        /* "pxcache" */
#define PX_SHM_VERSION 1u
#define PX_SHM_WAYS 64                          /* entries of one shard */
#define PX_SHM_RATE_WAYS 16                     /* slots of one rate bucket: 256 bytes */
#define PX_SHM_RATE_LOCKS 64

/* One counter per cache line: children on different processors do not slow each other down. */
typedef struct { _Alignas(64) int64_t value; } px_shm_counter;

/* Where an entry's key hash is 0 the entry is free; the hash is written last and cleared first, so
 * a process that dies half-way leaves a free entry, never a torn one. */
typedef struct {
    uint64_t hash;
    int64_t expires;            /* px_now(), microseconds */
    uint64_t used;              /* the shard's clock at the last use */
    uint16_t key_len;
    uint16_t value_len;
} px_shm_index;

typedef struct { char key[PX_CACHE_KEY_MAX]; char value[PX_CACHE_VALUE_MAX]; } px_shm_data;

typedef struct {
    _Alignas(64) pthread_mutex_t lock;          /* process-shared and robust */
    uint64_t clock;
    px_shm_index index[PX_SHM_WAYS];
} px_shm_shard;

/* tag 0 = free. tat is the theoretical arrival time of GCRA in nanoseconds since 1970; PX_RATE_BUSY
 * while the holder of the bucket's lock gives the slot to another key. */
typedef struct { uint64_t tag; int64_t tat; } px_shm_slot;
#define PX_RATE_BUSY INT64_MIN

struct px_shm {
    uint64_t magic;
    uint32_t version;
    uint32_t counters;          /* PX_C_COUNT of the code that made it */
    uint64_t size;
    uint32_t shards;
    uint32_t buckets;
    uint64_t seed[2];           /* key of the hash: nobody outside can aim for a bucket */
    uint64_t shard_at, data_at, rate_lock_at, rate_at;      /* offsets from the header */
    int64_t full_logged;        /* nanoseconds since 1970 of the last PXS2510 */
    px_shm_counter counter[PX_C_COUNT];
};

px_shm_shard *px_shm_shard_of(px_shm *shm, uint64_t hash);
px_shm_data *px_shm_data_of(px_shm *shm, const px_shm_shard *shard, int way);
/* A keyed hash of the text (SipHash-2-4); never 0. */
uint64_t px_shm_hash(const px_shm *shm, const char *text, size_t len);
/* Locks, recovering from a holder that died: what the lock guards is valid at every step. */
void px_shm_lock(pthread_mutex_t *lock);
/* GCRA in the segment's slots. */
px_err *px_shm_take(px_cache *cache, const char *key, int64_t limit, int64_t window_ms,
                    int64_t cost, px_rate_verdict *verdict);

/* ---- GCRA arithmetic, shared by the backends ---- */
typedef struct { int64_t limit, step, burst; } px_gcra;     /* step and burst in nanoseconds */
px_gcra px_gcra_make(int64_t limit, int64_t window_ms);
/* Decides about `cost` at `now` for a bucket whose arrival time is `tat`; fills the verdict and
 * *next, the arrival time to store when allowed. */
void px_gcra_decide(const px_gcra *g, int64_t tat, int64_t now, int64_t cost,
                    px_rate_verdict *verdict, int64_t *next);

#endif
