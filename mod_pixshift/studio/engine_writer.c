/* Writing ends beside the loop: ending 256 jobs takes the database many milliseconds, in which the
 * loop shall claim and work.  Each thread takes batches from the loop and gives them back; jobs in a
 * batch are over and untouched until then.  A user's jobs always go to the same thread, so that the
 * threads never wait for each other's wallets.  Only this file knows of threads. */
#include "engine_internal.h"

#include <apr_allocator.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

typedef struct {
    struct px_writers *all;
    pthread_t thread;
    pthread_cond_t given;
    px_batch *todo;
    bool busy;                      /* has a batch that was not taken back */
} writer;

struct px_writers {
    px_engine *engine;
    writer each[PX_WRITERS];
    int started;
    pthread_mutex_t lock;           /* of all below and of the writers' todo */
    pthread_cond_t taken;
    px_batch *done;
    int busy;
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
    writer *self = baton;
    struct px_writers *w = self->all;
    pthread_mutex_lock(&w->lock);
    while (!w->stop || self->todo) {
        px_batch *batch = self->todo;
        if (!batch) {
            pthread_cond_wait(&self->given, &w->lock);
            continue;
        }
        self->todo = NULL;
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
    pthread_cond_init(&w->taken, NULL);
    engine->writers = w;
    sigfillset(&all);                   /* signals are the main thread's business */
    pthread_sigmask(SIG_BLOCK, &all, &before);
    for (int i = 0; i < PX_WRITERS; i++) {
        w->each[i].all = w;
        pthread_cond_init(&w->each[i].given, NULL);
        if (pthread_create(&w->each[i].thread, NULL, write_batches, &w->each[i]) != 0) {
            break;
        }
        w->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return w->started == PX_WRITERS ? NULL : px_error(engine->pool, PX_E_INTERNAL, "PXS6053",
                                                      "no thread for writing could be started");
}

int px_writer_of(const px_work *work)
{
    size_t len = strlen(work->job.user_id);
    return len ? (unsigned char)work->job.user_id[len - 1] % PX_WRITERS : 0;
}

bool px_writer_free(const px_engine *engine, int which)
{
    return !engine->writers->each[which].busy;
}

int px_writers_busy(const px_engine *engine)
{
    return engine->writers->busy;
}

void px_writer_give(px_engine *engine, px_batch *batch)
{
    struct px_writers *w = engine->writers;
    writer *to = &w->each[batch->writer];
    pthread_mutex_lock(&w->lock);
    to->todo = batch;
    to->busy = true;
    w->busy++;
    pthread_cond_signal(&to->given);
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
        w->each[batch->writer].busy = false;
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
    for (int i = 0; i < w->started; i++) {
        pthread_cond_signal(&w->each[i].given);
    }
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->started; i++) {
        pthread_join(w->each[i].thread, NULL);
    }
    w->started = 0;
}
