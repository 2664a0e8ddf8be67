/* A chained hash table of waiters, a list of the woken ones, and one condition for those that block
 * (few: PixShiftBlockingWaits). */
#include "topics.h"

#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_time.h>
#include <string.h>

#define BUCKETS 4096    /* power of two */

struct px_topics {
    apr_thread_mutex_t *lock;
    apr_thread_cond_t *wakes;
    px_waiter *buckets[BUCKETS];
    px_waiter *ready, **ready_tail;
    bool closed;
};

/* FNV-1a */
static unsigned bucket_of(const char *topic)
{
    uint32_t hash = 2166136261u;
    for (const char *p = topic; *p; p++) {
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    }
    return (hash ^ hash >> 16) & (BUCKETS - 1);
}

px_topics *px_topics_make(apr_pool_t *pool)
{
    px_topics *topics = apr_pcalloc(pool, sizeof(*topics));
    topics->ready_tail = &topics->ready;
    apr_thread_mutex_create(&topics->lock, APR_THREAD_MUTEX_DEFAULT, pool);
    apr_thread_cond_create(&topics->wakes, pool);
    return topics;
}

/* All helpers below run under the lock. */

static void push_ready(px_topics *topics, px_waiter *waiter)
{
    if (waiter->queued) {
        return;
    }
    waiter->queued = true;
    waiter->ready_next = NULL;
    *topics->ready_tail = waiter;
    topics->ready_tail = &waiter->ready_next;
}

static void drop_ready(px_topics *topics, px_waiter *waiter)
{
    px_waiter **at = &topics->ready;
    while (waiter->queued && *at) {
        if (*at == waiter) {
            *at = waiter->ready_next;
            if (topics->ready_tail == &waiter->ready_next) {
                topics->ready_tail = at;
            }
            waiter->queued = false;
        } else {
            at = &(*at)->ready_next;
        }
    }
}

static int wake_chain(px_topics *topics, px_waiter *waiter, const char *topic)
{
    int count = 0;
    for (; waiter; waiter = waiter->next) {
        if (topic && strcmp(waiter->topic, topic) != 0) {
            continue;
        }
        count++;
        waiter->woken = true;
        if (waiter->attached) {
            push_ready(topics, waiter);
        }
    }
    return count;
}

/* ---- */

void px_topics_add(px_topics *topics, px_waiter *waiter)
{
    px_waiter **bucket = &topics->buckets[bucket_of(waiter->topic)];
    apr_thread_mutex_lock(topics->lock);
    waiter->next = *bucket;
    waiter->link = bucket;
    if (*bucket) {
        (*bucket)->link = &waiter->next;
    }
    *bucket = waiter;
    apr_thread_mutex_unlock(topics->lock);
}

void px_topics_remove(px_topics *topics, px_waiter *waiter)
{
    apr_thread_mutex_lock(topics->lock);
    if (waiter->link) {
        *waiter->link = waiter->next;
        if (waiter->next) {
            waiter->next->link = waiter->link;
        }
        waiter->link = NULL;
    }
    drop_ready(topics, waiter);
    waiter->attached = false;
    apr_thread_mutex_unlock(topics->lock);
}

void px_topics_attach(px_topics *topics, px_waiter *waiter)
{
    apr_thread_mutex_lock(topics->lock);
    waiter->attached = true;
    if (waiter->woken) {
        push_ready(topics, waiter);
    }
    apr_thread_mutex_unlock(topics->lock);
}

int px_topics_wake(px_topics *topics, const char *topic)
{
    int count = 0;
    apr_thread_mutex_lock(topics->lock);
    if (topic) {
        count = wake_chain(topics, topics->buckets[bucket_of(topic)], topic);
    }
    for (unsigned i = 0; !topic && i < BUCKETS; i++) {
        count += wake_chain(topics, topics->buckets[i], NULL);
    }
    if (count > 0) {
        apr_thread_cond_broadcast(topics->wakes);
    }
    apr_thread_mutex_unlock(topics->lock);
    return count;
}

px_waiter *px_topics_ready(px_topics *topics)
{
    px_waiter *waiter;
    apr_thread_mutex_lock(topics->lock);
    waiter = topics->ready;
    if (waiter) {
        topics->ready = waiter->ready_next;
        if (!topics->ready) {
            topics->ready_tail = &topics->ready;
        }
        waiter->queued = false;
        waiter->woken = false;
    }
    apr_thread_mutex_unlock(topics->lock);
    return waiter;
}

bool px_topics_wait(px_topics *topics, px_waiter *waiter, int64_t timeout_usec)
{
    apr_time_t end = apr_time_now() + timeout_usec;
    bool woken;
    apr_thread_mutex_lock(topics->lock);
    while (!waiter->woken && !topics->closed) {
        apr_time_t left = end - apr_time_now();
        if (left <= 0) {
            break;
        }
        apr_thread_cond_timedwait(topics->wakes, topics->lock, left);
    }
    woken = waiter->woken;
    waiter->woken = false;
    apr_thread_mutex_unlock(topics->lock);
    return woken;
}

void px_topics_close(px_topics *topics)
{
    apr_thread_mutex_lock(topics->lock);
    topics->closed = true;
    apr_thread_cond_broadcast(topics->wakes);
    apr_thread_mutex_unlock(topics->lock);
}
