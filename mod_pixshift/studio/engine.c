/* The worker's loop: events, timers, claims, and what is written at the end of each turn. */
#include "engine_internal.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "base/log.h"
#include "cache/cache.h"
#include <apr_strings.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define USEC 1000000LL
#define POLL_USEC USEC                  /* a NOTIFY may be lost */
#define REAP_USEC (USEC * 7 / 10)       /* a dead worker's jobs are free within a second */
#define SWEEP_USEC (2 * USEC)
#define LOOK_USEC (USEC / 4)
#define BATCH_MAX PX_BATCH_MAX
#define BATCH_MIN 4

/* ---- queues ---- */

void px_queue_push(px_work_queue *queue, px_work *work)
{
    work->next_task = NULL;
    if (!queue->first) {
        queue->last = &queue->first;
    }
    *queue->last = work;
    queue->last = &work->next_task;
    queue->count++;
}

px_work *px_queue_pop(px_work_queue *queue)
{
    px_work *work = queue->first;
    if (work) {
        queue->first = work->next_task;
        queue->count--;
        work->next_task = NULL;
    }
    return work;
}

bool px_queue_remove(px_work_queue *queue, px_work *work)
{
    px_work **at = &queue->first;
    while (*at && *at != work) {
        at = &(*at)->next_task;
    }
    if (!*at) {
        return false;
    }
    *at = work->next_task;
    if (!*at) {
        queue->last = at;
    }
    work->next_task = NULL;
    queue->count--;
    return true;
}

/* ---- notifications ---- */

static void on_notify(void *baton, const char *channel, const char *payload)
{
    px_engine *engine = baton;
    const char *space = strchr(payload, ' ');
    (void)channel;
    if (!space) {
        return;
    }
    if (strcmp(space + 1, "queued") == 0) {
        engine->hungry = true;
    } else if (strcmp(space + 1, "canceling") == 0) {
        px_work *work = apr_hash_get(engine->by_id, payload, space - payload);
        if (work && !px_work_over(work)) {
            px_work_stop(work, "canceled");
        }
    }
}

/* Connected (again): the lock is held, everything must be looked at. */
static void on_gap(void *baton)
{
    px_engine *engine = baton;
    engine->hungry = true;
    engine->reap_at = engine->heartbeat_at = 0;
}

static px_err *join_workers(px_engine *engine)
{
    static const char *const channels[] = {"pixshift_job", NULL};
    char host[256];
    int64_t lock_key;
    px_err *err;
    if (gethostname(host, sizeof(host)) != 0) {
        host[0] = '\0';
    }
    host[sizeof(host) - 1] = '\0';
    err = px_engine_store_register(engine->db, engine->turn_pool, engine->worker, host, (int)getpid(),
                                   &lock_key);
    if (!err) {
        err = px_listener_open_as(engine->db, engine->pool, channels,
                                  px_engine_store_lock_sql(engine->pool, lock_key), on_notify, on_gap,
                                  engine, &engine->listener);
    }
    engine->registered = !err;
    return err;
}

/* ---- waiting ---- */

static bool may_claim(const px_engine *engine)
{
    return engine->listener && px_listener_ready(engine->listener) && !engine->draining
           && engine->count - engine->ending < engine->capacity && engine->to_end.count < 2 * BATCH_MAX
           && engine->unserved < 4 * engine->helper_slots;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int wait_ms(const px_engine *engine, int timeout_ms)
{
    int64_t now = px_monotonic();
    int64_t next = earlier(earlier(engine->poll_at, engine->heartbeat_at),
                           earlier(engine->reap_at, engine->sweep_at));
    int64_t ms;
    int helper = px_helper_timeout_ms(engine->helper);
    if (engine->hungry && may_claim(engine)) {
        return 0;
    }
    if (engine->count > 0) {
        next = earlier(next, engine->look_at);
    }
    ms = (next - now + 999) / 1000;
    ms = ms < 0 ? 0 : ms;
    if (helper >= 0 && helper < ms) {
        ms = helper;
    }
    return (int)(ms < timeout_ms ? ms : timeout_ms);
}

static px_err *wait_for_events(px_engine *engine, int timeout_ms)
{
    px_net_fd fds[2];
    int count = 0;
    px_err *err;
    if (px_helper_fd(engine->helper) >= 0) {
        fds[count++] = (px_net_fd){.fd = px_helper_fd(engine->helper), .events = POLLIN};
    }
    if (engine->listener && px_listener_fd(engine->listener) >= 0) {
        short events = px_listener_wants_write(engine->listener) ? POLLIN | POLLOUT : POLLIN;
        fds[count++] = (px_net_fd){.fd = px_listener_fd(engine->listener), .events = events};
    }
    err = px_net_perform(engine->net, fds, count, wait_ms(engine, timeout_ms));
    px_helper_process(engine->helper);
    if (engine->listener) {
        px_listener_process(engine->listener);
    }
    return err;
}

/* ---- timers ---- */

static bool due(int64_t *at, int64_t period)
{
    int64_t now = px_monotonic();
    if (now < *at) {
        return false;
    }
    *at = now + period;
    return true;
}

/* A lease that nobody here works on: the claim's answer was lost. */
static px_err *give_back(px_engine *engine, const px_lease *lease)
{
    const int64_t none = 0;
    px_log(PX_LOG_NOTICE, "PXS6001", "job %s is leased to us unknown to us: it goes back", lease->id);
    return px_engine_store_requeue(engine->db, engine->turn_pool, &lease->id, &lease->token, &none, 1);
}

static void compare_leases(px_engine *engine, const px_lease *list, int count, px_err **err)
{
    apr_hash_t *held = apr_hash_make(engine->turn_pool);
    px_work *work, *next;
    for (int i = 0; i < count; i++) {
        work = apr_hash_get(engine->by_id, list[i].id, APR_HASH_KEY_STRING);
        apr_hash_set(held, list[i].token, APR_HASH_KEY_STRING, "");
        if (!work || strcmp(work->job.token, list[i].token) != 0) {
            px_err *failed = give_back(engine, &list[i]);
            *err = *err ? *err : failed;
        } else if (list[i].cancel && !px_work_over(work)) {
            px_work_stop(work, "canceled");
        }
    }
    for (work = APR_RING_FIRST(&engine->works); work != APR_RING_SENTINEL(&engine->works, px_work, link);
         work = next) {
        next = APR_RING_NEXT(work, link);
        if (!px_work_over(work) && !apr_hash_get(held, work->job.token, APR_HASH_KEY_STRING)) {
            px_work_drop(work);
        }
    }
}

static px_err *heartbeat(px_engine *engine)
{
    px_lease *list;
    int count;
    px_err *err;
    if (engine->count == 0 && !engine->doubtful) {
        return NULL;
    }
    err = px_engine_store_heartbeat(engine->db, engine->turn_pool, engine->worker,
                                    px_set_int(engine->app->settings, PX_S_JOB_LEASE), &list, &count);
    if (!err) {
        compare_leases(engine, list, count, &err);
    }
    engine->doubtful = err != NULL;
    return err;
}

static px_err *reap(px_engine *engine)
{
    px_reaped reaped = {0};
    px_err *err = px_engine_store_reap(engine->db, engine->turn_pool, engine->worker, &reaped);
    if (err) {
        return err;
    }
    if (reaped.rescued > 0) {
        px_log(PX_LOG_NOTICE, "PXS6002", "%d jobs of a dead worker are queued again", reaped.rescued);
        engine->hungry = true;
    }
    if (reaped.dead > 0) {
        px_log(PX_LOG_WARN, "PXS6003", "%d jobs were given up after their last claim", reaped.dead);
    }
    px_count(engine->app->cache, PX_C_JOBS_RESCUED, reaped.rescued);
    px_count(engine->app->cache, PX_C_JOBS_DEAD, reaped.dead);
    px_count(engine->app->cache, PX_C_JOBS_FAILED, reaped.dead + reaped.expired);
    return NULL;
}

/* Those that sleep and those whose deadline is over. */
static void look_at_works(px_engine *engine)
{
    int64_t clock = px_monotonic(), now = px_now();
    px_work *work, *next;
    if (clock < engine->look_at) {
        return;
    }
    engine->look_at = clock + LOOK_USEC;
    for (work = APR_RING_FIRST(&engine->works); work != APR_RING_SENTINEL(&engine->works, px_work, link);
         work = next) {
        next = APR_RING_NEXT(work, link);
        if (px_work_over(work)) {
            continue;
        }
        if (now >= work->job.deadline) {
            px_work_stop(work, "expired");
        } else if (work->wake && clock >= work->wake_at) {
            void (*wake)(px_work *) = work->wake;
            work->wake = NULL;
            wake(work);
        } else if (work->wake && work->wake_at < engine->look_at) {
            engine->look_at = work->wake_at;
        }
    }
}

static px_err *timers(px_engine *engine)
{
    px_err *err = NULL, *failed;
    const px_settings *s = engine->app->settings;
    if (engine->registered && due(&engine->heartbeat_at, px_set_int(s, PX_S_JOB_HEARTBEAT) * 1000)) {
        err = heartbeat(engine);
    }
    if (engine->registered && px_listener_ready(engine->listener) && due(&engine->reap_at, REAP_USEC)) {
        failed = reap(engine);
        err = err ? err : failed;
    }
    look_at_works(engine);
    if (due(&engine->sweep_at, SWEEP_USEC) && !engine->draining) {
        failed = px_engine_sweep(engine);
        err = err ? err : failed;
        failed = px_engine_housekeeping(engine);
        err = err ? err : failed;
    }
    return err;
}

/* ---- claims ---- */

/* Grows while claimed jobs do not pile up before the helper, so that cheap jobs are claimed by the
 * hundred and expensive ones stay free for other workers. */
static void adapt_batch(px_engine *engine, int limit, int got)
{
    if (engine->unserved >= 4 * engine->helper_slots) {
        engine->batch = BATCH_MIN;
    } else if (got == limit && engine->unserved == 0) {
        engine->batch = engine->batch * 2 < BATCH_MAX ? engine->batch * 2 : BATCH_MAX;
    }
}

static px_err *claim(px_engine *engine)
{
    px_claim *list;
    int count, limit = engine->capacity - (engine->count - engine->ending);
    px_err *err;
    if (due(&engine->poll_at, POLL_USEC)) {
        engine->hungry = true;
    }
    if (!engine->hungry || !may_claim(engine)) {
        return NULL;
    }
    limit = limit < engine->batch ? limit : engine->batch;
    err = px_engine_store_claim(engine->db, engine->turn_pool, engine->worker, limit,
                                px_set_int(engine->app->settings, PX_S_JOB_LEASE), &list, &count);
    if (!err && count > 0 && px_failpoint("cm05_claimed")) {
        err = px_error(engine->turn_pool, PX_E_UNAVAILABLE, NULL, "fail-point cm05_claimed");
    }
    if (err) {
        /* Jobs may be leased to us that we do not know of: the heartbeat finds them. */
        engine->doubtful = true;
        engine->heartbeat_at = 0;
        return err;
    }
    engine->poll_at = px_monotonic() + POLL_USEC;
    engine->hungry = count == limit;
    for (int i = 0; i < count; i++) {
        px_work_start(engine, &list[i]);
    }
    adapt_batch(engine, limit, count);
    return NULL;
}

/* ---- one turn ---- */

static void free_works(px_engine *engine)
{
    px_work *work;
    while ((work = px_queue_pop(&engine->to_free)) != NULL) {
        apr_pool_destroy(work->pool);
    }
}

/* The network layer counts for itself: it knows nothing of shared memory. */
static void count_net(px_engine *engine)
{
    uint64_t blocked = px_net_blocked_count(engine->net), opened = px_net_opened_count(engine->net);
    if (blocked != engine->blocked_told || opened != engine->opened_told) {
        px_count(engine->app->cache, PX_C_SSRF_BLOCKED, (int64_t)(blocked - engine->blocked_told));
        px_count(engine->app->cache, PX_C_BREAKER_OPEN, (int64_t)(opened - engine->opened_told));
        engine->blocked_told = blocked;
        engine->opened_told = opened;
    }
}

px_err *px_engine_turn(px_engine *engine, int timeout_ms)
{
    px_err *err = NULL, *failed;
    apr_pool_clear(engine->turn_pool);
    if (!engine->registered) {
        err = join_workers(engine);
    }
    failed = wait_for_events(engine, err ? 0 : timeout_ms);
    err = err ? err : failed;
    failed = timers(engine);
    err = err ? err : failed;
    if (!err) {
        err = claim(engine);
    }
    px_engine_pump(engine);
    count_net(engine);
    failed = px_engine_flush_images(engine);
    err = err ? err : failed;
    failed = px_engine_flush_ends(engine, false);
    err = err ? err : failed;
    free_works(engine);
    return err;
}

/* ---- open, drain, close ---- */

px_err *px_engine_open(apr_pool_t *pool, const px_app *app, px_engine **out)
{
    px_engine *engine = apr_pcalloc(pool, sizeof(*engine));
    px_err *err;
    engine->pool = pool;
    apr_pool_create(&engine->turn_pool, pool);
    engine->app = app;
    engine->db = app->db;
    engine->net = app->net;
    engine->worker = px_uuid7(pool);
    engine->spool = apr_pstrcat(pool, px_set_str(app->settings, PX_S_STATE_DIR), "/spool", NULL);
    engine->capacity = (int)px_set_int(app->settings, PX_S_WORKER_CONCURRENCY);
    engine->helper_slots = (int)px_set_int(app->settings, PX_S_HELPERS);
    engine->noop_allowed = !px_settings_production(app->settings);
    engine->batch = BATCH_MIN;
    engine->by_id = apr_hash_make(pool);
    APR_RING_INIT(&engine->works, px_work, link);
    if (mkdir(engine->spool, 0700) != 0 && errno != EEXIST) {
        return px_error(pool, PX_E_INTERNAL, "PXS6010", "no spool folder %s: %s", engine->spool,
                        strerror(errno));
    }
    err = px_engine_helper_open(engine);
    if (!err) {
        err = px_writers_open(engine);
    }
    if (!err) {
        px_count(app->cache, PX_C_WORKER_STARTS, 1);
        *out = engine;
    }
    return err;
}

void px_engine_drain(px_engine *engine)
{
    engine->draining = true;
}

bool px_engine_idle(const px_engine *engine)
{
    return engine->count == 0 && engine->to_end.count == 0 && engine->sweeping == 0;
}

void px_engine_hand_back(px_engine *engine)
{
    px_work *work, *next;
    px_err *err;
    engine->draining = true;
    for (work = APR_RING_FIRST(&engine->works); work != APR_RING_SENTINEL(&engine->works, px_work, link);
         work = next) {
        next = APR_RING_NEXT(work, link);
        if (!px_work_over(work)) {
            px_work_again(work, 0);
        }
    }
    err = px_engine_flush_ends(engine, true);
    if (err) {
        px_log(PX_LOG_WARN, "PXS6004", "jobs could not be handed back, their leases will lapse: %s",
               err->cause ? err->cause : err->text);
    }
}

void px_engine_close(px_engine *engine)
{
    px_err *err;
    px_writers_close(engine);
    err = engine->registered
        ? px_engine_store_stopped(engine->db, engine->turn_pool, engine->worker) : NULL;
    if (err) {
        px_log(PX_LOG_INFO, "PXS6005", "the worker could not sign off: %s",
               err->cause ? err->cause : err->text);
    }
    if (engine->listener) {
        px_listener_close(engine->listener);
    }
    px_helper_stop(engine->helper);
    free_works(engine);
}
