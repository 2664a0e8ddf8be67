/* One job from its claim to its end. */
#include "engine_internal.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "cache/cache.h"
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 2000
#define BACKOFF_MOST_MS 60000

/* ---- small things ---- */

bool px_work_over(const px_work *work)
{
    return work->state || work->again_ms >= 0 || work->dropped;
}

void px_work_served(px_work *work)
{
    if (work->unserved) {
        work->unserved = false;
        work->engine->unserved--;
    }
}

void px_work_sleep(px_work *work, int64_t ms, void (*wake)(px_work *work))
{
    work->wake = wake;
    work->wake_at = px_monotonic() + ms * 1000;
    if (work->wake_at < work->engine->look_at) {
        work->engine->look_at = work->wake_at;
    }
}

int64_t px_work_backoff(int n)
{
    unsigned char noise;
    int64_t ms = BACKOFF_FIRST_MS;
    while (n-- > 0 && ms < BACKOFF_MOST_MS) {
        ms *= 2;
    }
    ms = ms < BACKOFF_MOST_MS ? ms : BACKOFF_MOST_MS;
    px_random(&noise, 1);
    return ms * (80 + noise * 40 / 255) / 100;      /* ±20 %: those that failed together part */
}

static apr_status_t close_fd(void *baton)
{
    int *fd = baton;
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return APR_SUCCESS;
}

px_err *px_work_file(px_work *work, int *fd)
{
    *fd = open(work->engine->spool, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
        return px_helper_memfd(work->pool, NULL, 0, fd);
    }
    return *fd >= 0 ? NULL : px_error(work->pool, PX_E_UNAVAILABLE, "PXS6010", "no spool file in %s: %s",
                                      work->engine->spool, strerror(errno));
}

/* ---- ends ---- */

/* Stops whatever is under way outside the helper. */
static void quiet(px_work *work)
{
    px_engine *engine = work->engine;
    if (work->op) {
        px_op_cancel(work->op);
        work->op = NULL;
    }
    if (work->transfer) {
        px_net_cancel(engine->net, work->transfer);
        work->transfer = NULL;
    }
    if (work->in_queue) {
        px_queue_remove(&engine->tasks[work->task], work);
        work->in_queue = false;
    }
    if (work->storing) {
        px_queue_remove(&engine->to_store, work);
        work->storing = false;
    }
    work->wake = NULL;
    px_work_served(work);
}

static void over(px_work *work)
{
    quiet(work);
    work->engine->ending++;
    px_queue_push(&work->engine->to_end, work);
}

void px_work_succeed(px_work *work)
{
    work->state = "succeeded";
    over(work);
}

void px_work_fail(px_work *work, px_err_id reason, const char *message)
{
    const px_err_row *row = px_err_info(reason);
    work->state = "failed";
    work->code = row->name;
    work->message = message ? message : row->text;
    over(work);
}

void px_work_stop(px_work *work, const char *state)
{
    bool canceled = strcmp(state, "canceled") == 0;
    work->state = state;
    work->code = canceled ? "CANCELED" : "EXPIRED";
    work->message = canceled ? "The job was canceled."
                             : "The job took too long. You were not charged.";
    if (work->try_open && !work->try_ended) {
        work->try_ended = true;
        work->try_end.outcome = state;
        work->try_end.cost_micro_usd = -1;
    }
    over(work);
}

void px_work_again(px_work *work, int64_t delay_ms)
{
    if (delay_ms > 0 && px_now() + delay_ms * 1000 >= work->job.deadline) {
        px_work_stop(work, "expired");
        return;
    }
    work->again_ms = delay_ms;
    over(work);
}

void px_work_drop(px_work *work)
{
    px_log(PX_LOG_NOTICE, "PXS6011", "job %s has gone to another worker", work->job.id);
    px_count(work->engine->app->cache, PX_C_JOBS_FENCED, 1);
    work->dropped = true;
    quiet(work);
    px_work_release(work);
}

void px_work_release(px_work *work)
{
    px_engine *engine = work->engine;
    if (work->released) {
        return;
    }
    work->released = true;
    APR_RING_REMOVE(work, link);
    engine->count--;
    engine->ending -= !work->dropped;
    if (apr_hash_get(engine->by_id, work->job.id, APR_HASH_KEY_STRING) == work) {
        apr_hash_set(engine->by_id, work->job.id, APR_HASH_KEY_STRING, NULL);
    }
    if (!work->in_helper) {
        px_queue_push(&engine->to_free, work);
    }
}

/* ---- the beginning ---- */

static void copy_claim(px_work *work, const px_claim *from)
{
    apr_pool_t *pool = work->pool;
    px_claim *to = &work->job;
    *to = *from;
    to->id = apr_pstrdup(pool, from->id);
    to->user_id = apr_pstrdup(pool, from->user_id);
    to->operation = apr_pstrdup(pool, from->operation);
    to->params = apr_pstrdup(pool, from->params);
    to->prompt = apr_pstrdup(pool, from->prompt);
    to->inputs = apr_pstrdup(pool, from->inputs);
    to->retention = apr_pstrdup(pool, from->retention);
    to->token = apr_pstrdup(pool, from->token);
    to->request_id = apr_pstrdup(pool, from->request_id);
    to->open_provider = apr_pstrdup(pool, from->open_provider);
    to->open_token = apr_pstrdup(pool, from->open_token);
}

static px_work *make(px_engine *engine, const px_claim *claim)
{
    apr_pool_t *pool;
    px_work *work;
    apr_pool_create(&pool, engine->pool);
    work = apr_pcalloc(pool, sizeof(*work));
    work->pool = pool;
    work->engine = engine;
    work->again_ms = -1;
    work->output = work->final = -1;
    copy_claim(work, claim);
    work->try_end.job = work->job.id;
    work->try_end.token = work->job.token;
    for (int i = 0; i < PX_WORK_INPUTS; i++) {
        work->inputs[i].fd = work->inputs[i].prepared = -1;
        apr_pool_cleanup_register(pool, &work->inputs[i].fd, close_fd, apr_pool_cleanup_null);
        apr_pool_cleanup_register(pool, &work->inputs[i].prepared, close_fd, apr_pool_cleanup_null);
    }
    apr_pool_cleanup_register(pool, &work->output, close_fd, apr_pool_cleanup_null);
    apr_pool_cleanup_register(pool, &work->final, close_fd, apr_pool_cleanup_null);
    APR_RING_INSERT_TAIL(&engine->works, work, px_work, link);
    apr_hash_set(engine->by_id, work->job.id, APR_HASH_KEY_STRING, work);
    engine->count++;
    return work;
}

static px_err *read_inputs(px_work *work)
{
    json_object *list;
    px_err *err = px_json_parse(work->pool, work->job.inputs, strlen(work->job.inputs), NULL, &list);
    size_t count;
    if (err) {
        return err;
    }
    count = list && json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
    if (count > PX_WORK_INPUTS) {
        return px_error(work->pool, PX_E_INTERNAL, "PXS6012", "job %s has %d inputs", work->job.id,
                        (int)count);
    }
    for (size_t i = 0; i < count; i++) {
        json_object *item = json_object_array_get_idx(list, i);
        px_work_input *input = &work->inputs[i];
        const char *role = px_json_str(item, "role");
        input->role = role ? role : "input";
        input->key = px_json_str(item, "key");
        input->url = px_json_str(item, "url");
    }
    work->input_count = (int)count;
    return NULL;
}

/* What a provider must be able to do for this very job. */
static uint32_t wanted_caps(const px_work *work)
{
    int garments = 0;
    for (int i = 0; i < work->input_count; i++) {
        garments += strcmp(work->inputs[i].role, "top") == 0 || strcmp(work->inputs[i].role, "bottom") == 0;
    }
    return px_operation_caps(work->job.operation) | (garments > 1 ? PXS_AI_TWO_IMAGES : 0u);
}

/* The open try's provider goes first: it may have the work done already. */
static void take_up_open_try(px_work *work)
{
    for (int i = 0; work->job.open_provider && i < work->provider_count; i++) {
        if (strcmp(px_instance_name(work->providers[i]), work->job.open_provider) == 0) {
            work->provider_at = i;
            work->again = work->try_open = true;
            return;
        }
    }
    if (work->job.open_provider) {
        px_try_end end = {.job = work->job.id, .token = work->job.token, .outcome = "lost",
                          .message = "the provider is not configured any more", .cost_micro_usd = -1};
        px_err *err = px_engine_store_try_end(work->engine->db, work->pool, &end, 1);
        if (err) {
            px_work_again(work, 1000);
        }
    }
}

static px_err *begin(px_work *work)
{
    const px_app *app = work->engine->app;
    px_err *err = read_inputs(work);
    if (!err) {
        err = px_json_parse(work->pool, work->job.params, strlen(work->job.params), NULL, &work->params);
    }
    if (!err) {
        err = px_registry_select(app->plugins, work->engine->net, work->pool, work->job.operation,
                                 wanted_caps(work), &work->providers, &work->provider_count);
    }
    if (!err && work->provider_count == 0) {
        err = px_error(work->pool, PX_E_NO_PROVIDER, "PXS6013", "no provider can do job %s (%s)",
                       work->job.id, work->job.operation);
    }
    return err;
}

void px_work_start(px_engine *engine, const px_claim *claim)
{
    px_work *work = make(engine, claim);
    px_err *err;
    if (strcmp(work->job.operation, "noop") == 0) {
        if (engine->noop_allowed) {
            px_work_succeed(work);
        } else {
            px_work_fail(work, PX_E_NO_PROVIDER, NULL);
        }
        return;
    }
    work->unserved = true;
    engine->unserved++;
    err = begin(work);
    if (err) {
        px_log(PX_LOG_ERROR, err->log_id ? err->log_id : "PXS6014", "%s",
               err->cause ? err->cause : err->text);
        px_work_fail(work, err->id, NULL);
        return;
    }
    take_up_open_try(work);
    if (!px_work_over(work)) {
        px_work_load(work);
    }
}
