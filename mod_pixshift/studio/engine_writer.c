/* Writing ends beside the loop: ending 256 jobs takes the database many milliseconds, in which the loop
 * shall claim and work.  Two threads take batches from the loop and give them back; jobs in a batch are
 * over and untouched until then.  Only this file knows of threads. */
#include "engine_internal.h"

#include <apr_allocator.h>
#include <pthread.h>
#include <signal.h>

struct px_writers {
    px_engine *engine;
    pthread_t threads[PX_WRITERS];
    int started;
    pthread_mutex_t lock;
    pthread_cond_t given, taken;
    px_batch *todo, *done;
    int busy;                       /* given and not yet taken back */
    bool stop;
};

/* A pool that another thread may use while ours use theirs. */
static apr_pool_t *own_pool(void)
{
    apr_allocator_t *allocator;
    apr_pool_t *pool;
    if (apr_allocator_create(&allocator) != APR_SUCCESS
        || apr_pool_create_unmanaged_ex(&pool, NULL, allocator) != APR_SUCCESS) {
        return NULL;
    }
    apr_allocator_owner_set(allocator, pool);
    return pool;
}

px_batch *px_batch_make(void)
{
    apr_pool_t *pool = own_pool();
    px_batch *batch = pool ? apr_pcalloc(pool, sizeof(*batch)) : NULL;
    if (batch) {
        batch->pool = pool;
    }
    return batch;
}

static void *write_batches(void *baton)
{
    struct px_writers *w = baton;
    pthread_mutex_lock(&w->lock);
    while (!w->stop || w->todo) {
        px_batch *batch = w->todo;
        if (!batch) {
            pthread_cond_wait(&w->given, &w->lock);
            continue;
        }
        w->todo = batch->next;
        pthread_mutex_unlock(&w->lock);
        batch->err = px_engine_store_finish(w->engine->db, batch->pool, batch->tries, batch->try_count,
                                            batch->ends, batch->count, batch->ended);
        pthread_mutex_lock(&w->lock);
        batch->next = w->done;
        w->done = batch;
        pthread_cond_signal(&w->taken);
        px_net_wakeup(w->engine->net);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

px_err *px_writers_open(px_engine *engine)
{
    struct px_writers *w = apr_pcalloc(engine->pool, sizeof(*w));
    sigset_t all, before;
    w->engine = engine;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->given, NULL);
    pthread_cond_init(&w->taken, NULL);
    engine->writers = w;
    sigfillset(&all);                   /* signals are the main thread's business */
    pthread_sigmask(SIG_BLOCK, &all, &before);
    while (w->started < PX_WRITERS
           && pthread_create(&w->threads[w->started], NULL, write_batches, w) == 0) {
        w->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return w->started > 0 ? NULL : px_error(engine->pool, PX_E_INTERNAL, "PXS6053",
                                            "no thread for writing could be started");
}

bool px_writers_free(const px_engine *engine)
{
    return engine->writers->busy < engine->writers->started;
}

void px_writers_give(px_engine *engine, px_batch *batch)
{
    struct px_writers *w = engine->writers;
    px_batch **at = &w->todo;
    pthread_mutex_lock(&w->lock);
    while (*at) {
        at = &(*at)->next;
    }
    batch->next = NULL;
    *at = batch;
    w->busy++;
    pthread_cond_signal(&w->given);
    pthread_mutex_unlock(&w->lock);
}

px_batch *px_writers_take(px_engine *engine, bool wait)
{
    struct px_writers *w = engine->writers;
    px_batch *batch;
    pthread_mutex_lock(&w->lock);
    while (wait && !w->done && w->busy > 0) {
        pthread_cond_wait(&w->taken, &w->lock);
    }
    batch = w->done;
    if (batch) {
        w->done = batch->next;
        w->busy--;
    }
    pthread_mutex_unlock(&w->lock);
    return batch;
}

void px_writers_close(px_engine *engine)
{
    struct px_writers *w = engine->writers;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->given);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->started; i++) {
        pthread_join(w->threads[i], NULL);
    }
    w->started = 0;
}
