/* The engine's insides, shared by engine*.c: one thread, one loop, many jobs under way.
 *
 * A job in work (px_work) goes through stages; each ends in a callback of the network engine, the
 * storage plugin or the image helper, which starts the next.  Its pool is never destroyed inside a
 * callback: finished work waits in a list until the turn's end. */
#ifndef PX_STUDIO_ENGINE_INTERNAL_H
#define PX_STUDIO_ENGINE_INTERNAL_H

#include "engine_store.h"
#include "job.h"

#include "base/json.h"
#include "config/settings.h"
#include "image/helper.h"
#include "net/net.h"
#include "plugin/plugin.h"
#include <apr_hash.h>
#include <apr_ring.h>

#define PX_WORK_INPUTS 4

/* In the order of urgency for the helper: what is nearly done goes first. */
typedef enum { PX_TASK_CHECK, PX_TASK_RUN, PX_TASK_PREPARE, PX_TASK_KINDS } px_task_kind;

typedef struct {
    const char *role;
    const char *key;                /* of our storage, or … */
    const char *url;                /* … an address outside */
    int fd;                         /* as loaded; -1 = closed */
    int prepared;                   /* decoded, oriented, stripped; -1 = not yet */
} px_work_input;

typedef struct px_work px_work;
struct px_work {
    APR_RING_ENTRY(px_work) link;   /* engine->works */
    px_work *next_task;             /* queue of the helper; list of those to store */
    px_engine *engine;
    apr_pool_t *pool;
    px_claim job;                   /* copied */
    json_object *params;
    px_work_input inputs[PX_WORK_INPUTS];
    int input_count, input_at;

    px_instance **providers;
    int provider_count, provider_at;
    bool try_open;                  /* a row in job_attempts has no end yet */
    bool again;                     /* the next try repeats one whose outcome nobody saw */
    bool retry_wanted;              /* some provider may do better later */
    int64_t retry_ms;

    pxs_ai_request request;
    pxs_ai_result result;
    pxs_image images[PX_WORK_INPUTS];
    const char *idempotency_key;
    px_op *op;                      /* of a provider or the storage */
    px_transfer *transfer;
    int64_t wake_at;                /* px_monotonic: plugin waits, storage rests; 0 = no timer */
    void (*wake)(px_work *work);
    uint32_t noted_phase;
    const char *noted_token;

    px_task_kind task;
    bool in_queue, in_helper;       /* the helper's callback will come: the work must live on */
    int output;                     /* what the provider made */
    int final;                      /* checked; what is stored */
    const char *mime, *model, *remote_id;
    int64_t cost;
    uint32_t width, height;
    uint64_t bytes;
    const char *image_id, *image_key, *sha256;
    int put_tries;
    pxs_storage_request storage_request;
    pxs_storage_result storage_result;

    bool storing;                   /* in engine->to_store */
    bool unserved;                  /* no provider has been asked yet */
    const char *state;              /* set: the job is over, its end waits to be written */
    const char *code, *message;
    int64_t again_ms;               /* ≥ 0: not over, but to be queued again */
    bool dead;
    bool try_ended;                 /* try_end is to be written with the end */
    px_try_end try_end;
    bool dropped;                   /* not ours any more: no end is written */
    bool released;                  /* out of all tables; freed when the helper is done with it */
};
APR_RING_HEAD(px_work_ring, px_work);

typedef struct { px_work *first, **last; int count; } px_work_queue;

struct px_engine {
    apr_pool_t *pool;
    apr_pool_t *turn_pool;          /* of one turn */
    const px_app *app;
    px_db *db;
    px_net *net;
    const char *worker;             /* id of this worker */
    const char *spool;
    bool registered, draining;
    px_listener *listener;          /* NULL until registered; holds the liveness lock */
    px_helper *helper;
    int helper_slots;
    bool noop_allowed;

    struct px_work_ring works;
    apr_hash_t *by_id;
    int count, capacity;
    int ending;                     /* of count: over, their end not yet written */
    int unserved;                   /* works whose turn at a provider has not come */
    int batch;                      /* how many jobs the next claim may take */
    bool hungry;                    /* something may be queued */
    bool doubtful;                  /* leases may exist that we do not know of */
    px_work_queue tasks[PX_TASK_KINDS];
    px_work_queue to_store;
    px_work_queue to_end;
    px_work_queue to_free;
    struct px_writers *writers;

    int64_t poll_at, heartbeat_at, reap_at, sweep_at, look_at;     /* px_monotonic */
    int64_t minute_at, hour_at;                                    /* px_now */
    struct px_sweep *sweeps;        /* deletions under way or not yet recorded */
    int sweeping;
    uint64_t blocked_told, opened_told; /* of the network layer's numbers, already counted */
};

/* ---- engine.c ---- */
void px_queue_push(px_work_queue *queue, px_work *work);
px_work *px_queue_pop(px_work_queue *queue);
bool px_queue_remove(px_work_queue *queue, px_work *work);

/* ---- engine_work.c: the life of one job ---- */
void px_work_start(px_engine *engine, const px_claim *claim);
/* The job is over; written at the turn's end. */
void px_work_succeed(px_work *work);
void px_work_fail(px_work *work, px_err_id reason, const char *message);
/* Ends it as canceled or expired. */
void px_work_stop(px_work *work, const char *state);
/* Queued again after a pause; fails instead when the pause would outlast the deadline. */
void px_work_again(px_work *work, int64_t delay_ms);
/* Not ours any more: nothing is written. */
void px_work_drop(px_work *work);
/* Out of the engine's tables; freed at the turn's end. */
void px_work_release(px_work *work);
bool px_work_over(const px_work *work);
void px_work_served(px_work *work);
void px_work_sleep(px_work *work, int64_t ms, void (*wake)(px_work *work));
int64_t px_work_backoff(int n);     /* ms before the nth repetition, from 0 */
/* An unnamed file in the spool folder, closed with the work. */
px_err *px_work_file(px_work *work, int *fd);
/* Every stage ends here: each function starts the stage that it names. */
void px_work_load(px_work *work);               /* engine_load.c */
void px_work_prepare(px_work *work);            /* engine_helper.c */
void px_work_run(px_work *work);                /* engine_run.c */
void px_work_check(px_work *work);              /* engine_helper.c */
void px_work_store(px_work *work);              /* engine_result.c */

/* ---- engine_load.c ---- */
/* Fetches an address from outside, under the address guard, into *fd; then calls `then`. */
void px_work_fetch(px_work *work, const char *url, int *fd, void (*then)(px_work *work));
/* Starts a verb of the storage plugin for the work. */
typedef enum { PX_STORE_PUT, PX_STORE_GET, PX_STORE_DELETE } px_store_verb;
px_err *px_engine_storage(px_engine *engine, apr_pool_t *pool, px_store_verb verb,
                          const pxs_storage_request *request, pxs_storage_result *result,
                          const px_op_events *events, px_op **op);

/* ---- engine_helper.c ---- */
px_err *px_engine_helper_open(px_engine *engine);
void px_work_queue_task(px_work *work, px_task_kind kind);
void px_engine_pump(px_engine *engine);

/* ---- engine_run.c ---- */
/* A try at the provider is over. */
void px_work_tried(px_work *work, pxs_fail_class klass, const char *message, int64_t retry_ms);
/* Writes the row of a try; false when the work is over or dropped. */
bool px_work_try_begins(px_work *work);
px_instance *px_work_provider(const px_work *work);

/* ---- engine_result.c ---- */
px_err *px_engine_flush_images(px_engine *engine);
/* Takes back what the writers wrote and gives them what is over. `wait` stays until all is written. */
px_err *px_engine_flush_ends(px_engine *engine, bool wait);

/* ---- engine_writer.c ---- */
#define PX_WRITERS 2
#define PX_BATCH_MAX 256
typedef struct px_batch {
    struct px_batch *next;
    apr_pool_t *pool;               /* the batch's own; destroy it */
    px_work *works[PX_BATCH_MAX];
    px_ending ends[PX_BATCH_MAX];
    px_try_end tries[PX_BATCH_MAX];
    bool ended[PX_BATCH_MAX];
    int count, try_count;
    int writer;
    px_err *err;
} px_batch;
px_batch *px_batch_make(void);      /* NULL: no memory */
px_err *px_writers_open(px_engine *engine);
/* Which writer ends this job; a writer has one batch at a time. */
int px_writer_of(const px_work *work);
bool px_writer_free(const px_engine *engine, int which);
void px_writer_give(px_engine *engine, px_batch *batch);
int px_writers_busy(const px_engine *engine);
px_batch *px_writers_take(px_engine *engine, bool wait);
void px_writers_close(px_engine *engine);

/* ---- engine_sweep.c ---- */
/* Starts deletions of what is due, records those that are done. */
px_err *px_engine_sweep(px_engine *engine);
/* What is due each minute and hour of the (test) clock. */
px_err *px_engine_housekeeping(px_engine *engine);

#endif
