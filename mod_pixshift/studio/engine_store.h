/* The engine's statements. All are blocking, most take many jobs at once.  Only the worker's thread. */
#ifndef PX_STUDIO_ENGINE_STORE_H
#define PX_STUDIO_ENGINE_STORE_H

#include "base/error.h"
#include "db/db.h"

/* A leased job as the claim returns it. */
typedef struct {
    const char *id, *user_id, *operation, *params, *prompt, *inputs, *retention, *token, *request_id;
    int64_t cost, deadline;         /* deadline: usec */
    int lease, attempt, max_attempts, retry;
    /* the try whose outcome nobody saw, NULL = none */
    const char *open_provider, *open_token;
    int open_phase;
    int64_t open_resume;            /* usec; 0 = does not wait */
} px_claim;

/* How a job ended; with `delay_ms` ≥ 0 it did not end but is queued again. */
typedef struct {
    const char *id, *token;
    const char *state;              /* succeeded, failed, canceled, expired */
    const char *image_id;           /* of the result; NULL = none */
    const char *code, *message;     /* NULL when it succeeded */
    bool dead;
} px_ending;

/* How a try at a provider ended. */
typedef struct {
    const char *job, *token, *outcome, *message, *remote_id, *model;
    int64_t cost_micro_usd;         /* -1 = unknown */
} px_try_end;

/* A result or input that is about to be stored. */
typedef struct {
    const char *id, *user_id, *kind, *job_id, *key, *mime, *sha256, *retention;
    int64_t width, height, bytes;
    int64_t lifetime_ms;            /* -1 = for good */
} px_new_image;

px_err *px_engine_store_register(px_db *db, apr_pool_t *pool, const char *worker, const char *host,
                                 int pid, int64_t *lock_key);
px_err *px_engine_store_stopped(px_db *db, apr_pool_t *pool, const char *worker);
/* SQL that a listener runs to hold the worker's liveness lock. */
const char *px_engine_store_lock_sql(apr_pool_t *pool, int64_t lock_key);

px_err *px_engine_store_claim(px_db *db, apr_pool_t *pool, const char *worker, int limit,
                              int64_t lease_ms, px_claim **list, int *count);
/* Each lease that this worker still has. */
typedef struct { const char *id, *token; bool cancel; } px_lease;
px_err *px_engine_store_heartbeat(px_db *db, apr_pool_t *pool, const char *worker, int64_t lease_ms,
                                  px_lease **list, int *count);
typedef struct { int rescued, dead, expired; } px_reaped;
px_err *px_engine_store_reap(px_db *db, apr_pool_t *pool, const char *worker, px_reaped *reaped);

/* *attempt 0 = the lease is lost. */
px_err *px_engine_store_try(px_db *db, apr_pool_t *pool, const char *job, const char *token,
                            const char *provider, bool again, int *attempt);
px_err *px_engine_store_note(px_db *db, apr_pool_t *pool, const char *job, const char *token, int phase,
                             const char *memory, const char *remote_id, int64_t wait_ms, bool *held);
px_err *px_engine_store_try_end(px_db *db, apr_pool_t *pool, const px_try_end *list, int count);
/* One transaction: ends tries and jobs. ended[i] tells which jobs were still ours. */
px_err *px_engine_store_finish(px_db *db, apr_pool_t *pool, const px_try_end *tries, int try_count,
                               const px_ending *list, int count, bool *ended);
px_err *px_engine_store_requeue(px_db *db, apr_pool_t *pool, const char *const *ids,
                                const char *const *tokens, const int64_t *delays_ms, int count);

px_err *px_engine_store_new_images(px_db *db, apr_pool_t *pool, const px_new_image *list, int count);
/* Objects whose time is over. */
px_err *px_engine_store_due_images(px_db *db, apr_pool_t *pool, int limit, const char ***ids,
                                   const char ***keys, int *count);
px_err *px_engine_store_deleted(px_db *db, apr_pool_t *pool, const char *const *ids, int count);
px_err *px_engine_store_purge(px_db *db, apr_pool_t *pool, int64_t *removed);

#endif
