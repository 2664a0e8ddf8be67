/* GCRA: a bucket is one number, the theoretical arrival time (TAT) of the next event at an even
 * pace.  An event of cost c is allowed when max(TAT, now) + c·step − now ≤ burst; it then becomes
 * the new TAT.  With burst = limit·step exactly `limit` events pass at once and one more each step.
 *
 * In shared memory a take is one compare-and-swap.  Only giving a slot to a new key takes a lock:
 * two processes that meet a key for the first time must not make two buckets for it. */
#include "cache_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

#define PREEMPTED_NS 100000

px_gcra px_gcra_make(int64_t limit, int64_t window_ms)
{
    px_gcra g;
    int64_t window = window_ms > INT64_MAX / 4000000 ? INT64_MAX / 4 : window_ms * 1000000;
    g.limit = limit < window ? limit : window;
    g.step = window / g.limit;
    g.burst = g.limit * g.step;     /* not `window`: rounding must not let one more through */
    return g;
}

void px_gcra_decide(const px_gcra *g, int64_t tat, int64_t now, int64_t cost,
                    px_rate_verdict *verdict, int64_t *next)
{
    int64_t ahead = tat > now ? tat - now : 0;
    int64_t want;
    if (ahead > g->burst) {
        ahead = g->burst;           /* the clock went back or the limit became smaller */
    }
    verdict->limit = g->limit;
    /* A cost above the limit can never pass; one step more than the limit does not either. */
    want = ahead + (cost > g->limit ? g->limit + 1 : cost) * g->step;
    verdict->allowed = want <= g->burst;
    if (verdict->allowed) {
        ahead = want;
    } else {
        verdict->retry_after_ms = (want - g->burst + 999999) / 1000000;
    }
    *next = now + ahead;
    verdict->remaining = (g->burst - ahead) / g->step;
    verdict->reset_ms = (ahead + 999999) / 1000000;
}

static px_shm_slot *bucket_of(px_shm *shm, uint64_t tag, pthread_mutex_t **lock)
{
    uint64_t n = (tag >> 16) % shm->buckets;
    px_shm_slot *slots = (px_shm_slot *)((char *)shm + shm->rate_at);
    pthread_mutex_t *locks = (pthread_mutex_t *)((char *)shm + shm->rate_lock_at);
    *lock = &locks[n % PX_SHM_RATE_LOCKS];
    return &slots[n * PX_SHM_RATE_WAYS];
}

static px_shm_slot *find_slot(px_shm_slot *bucket, uint64_t tag)
{
    for (int i = 0; i < PX_SHM_RATE_WAYS; i++) {
        if (__atomic_load_n(&bucket[i].tag, __ATOMIC_ACQUIRE) == tag) {
            return &bucket[i];
        }
    }
    return NULL;
}

/* Takes from a slot that carried `tag` a moment ago; false when it was given to another key since
 * (the caller looks again).  A slot changes hands only through PX_RATE_BUSY and to a later arrival
 * time, so a compare-and-swap that began before cannot succeed afterwards. */
static bool take_from(px_shm_slot *slot, uint64_t tag, const px_gcra *g, int64_t now, int64_t cost,
                      px_rate_verdict *verdict)
{
    int64_t tat = __atomic_load_n(&slot->tat, __ATOMIC_ACQUIRE);
    int64_t next;
    do {
        if (tat == PX_RATE_BUSY || __atomic_load_n(&slot->tag, __ATOMIC_ACQUIRE) != tag) {
            return false;
        }
        px_gcra_decide(g, tat, now, cost, verdict, &next);
        if (!verdict->allowed || cost == 0) {
            return true;
        }
    } while (!__atomic_compare_exchange_n(&slot->tat, &tat, next, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE));
    return true;
}

static px_shm_slot *most_refilled(px_shm_slot *bucket, int64_t now, int64_t *tat)
{
    px_shm_slot *best = NULL;
    for (int i = 0; i < PX_SHM_RATE_WAYS; i++) {
        int64_t here = __atomic_load_n(&bucket[i].tat, __ATOMIC_ACQUIRE);
        if (here <= now && (!best || here < *tat)) {
            best = &bucket[i];
            *tat = here;
        }
    }
    return best;
}

/* Under the lock: a slot for a new key; NULL when all are in use. A BUSY slot belongs to a
 * process that died here, because only the lock's holder makes one. Whoever is preempted between
 * clock and table looks again by the new time: to an old one, slots used and refilled meanwhile
 * look busy. */
static px_shm_slot *claim_slot(px_shm_slot *bucket, int64_t *now)
{
    for (int tries = 0; tries < PX_SHM_RATE_WAYS; tries++) {
        int64_t tat = 0;
        px_shm_slot *best = most_refilled(bucket, *now, &tat);
        if (!best) {
            int64_t before = *now;
            *now = px_now() * 1000;
            if (*now - before < PREEMPTED_NS) {
                return NULL;
            }
        } else if (__atomic_compare_exchange_n(&best->tat, &tat, PX_RATE_BUSY, false,
                                               __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            return best;
        }
    }
    return NULL;
}

static void table_full(px_cache *cache, int64_t now, px_rate_verdict *verdict, const px_gcra *g)
{
    int64_t last = __atomic_load_n(&cache->shm->full_logged, __ATOMIC_RELAXED);
    px_count(cache, PX_C_RATE_FULL, 1);
    verdict->allowed = true;
    verdict->limit = g->limit;
    verdict->remaining = g->limit;
    if (now - last > 60000000000LL &&
        __atomic_compare_exchange_n(&cache->shm->full_logged, &last, now, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED)) {
        px_log(PX_LOG_WARN, "PXS2510",
               "the table of rate limits is full: some requests are not counted");
    }
}

/* A key without a slot. The time is read under the lock: by an older one, slots that were used and
 * refilled meanwhile would look busy. */
static bool take_new(px_cache *cache, px_shm_slot *bucket, pthread_mutex_t *lock, uint64_t tag,
                     const px_gcra *g, int64_t cost, px_rate_verdict *verdict)
{
    px_shm_slot *slot;
    int64_t now, next;
    bool done = true;
    px_shm_lock(lock);
    now = px_now() * 1000;
    slot = find_slot(bucket, tag);
    if (slot && __atomic_load_n(&slot->tat, __ATOMIC_ACQUIRE) != PX_RATE_BUSY) {
        done = false;               /* somebody else made it meanwhile: take there */
    } else if ((slot = claim_slot(bucket, &now)) != NULL) {
        px_gcra_decide(g, 0, now, cost, verdict, &next);
        __atomic_store_n(&slot->tag, tag, __ATOMIC_RELEASE);
        __atomic_store_n(&slot->tat, next, __ATOMIC_RELEASE);
    } else {
        table_full(cache, now, verdict, g);
    }
    pthread_mutex_unlock(lock);
    return done;
}

px_err *px_shm_take(px_cache *cache, const char *key, int64_t limit, int64_t window_ms,
                    int64_t cost, px_rate_verdict *verdict)
{
    px_gcra g = px_gcra_make(limit, window_ms);
    int64_t now = px_now() * 1000;
    uint64_t tag = px_shm_hash(cache->shm, key, strlen(key));
    pthread_mutex_t *lock;
    px_shm_slot *bucket = bucket_of(cache->shm, tag, &lock);
    px_shm_slot *slot;
    int64_t unused;
    for (;;) {
        slot = find_slot(bucket, tag);
        if (slot && take_from(slot, tag, &g, now, cost, verdict)) {
            return NULL;
        }
        if (cost == 0) {
            px_gcra_decide(&g, 0, now, 0, verdict,
                           &unused); /* never seen: full, and stays unseen */
            return NULL;
        }
        if (take_new(cache, bucket, lock, tag, &g, cost, verdict)) {
            return NULL;
        }
    }
}
