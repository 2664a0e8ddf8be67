/* Results on their way out: the image's row, the object, and the job's end, many at a time. */
#include "engine_internal.h"

#include "base/crypto.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "base/log.h"
#include "cache/cache.h"
#include <apr_strings.h>
#include <string.h>
#include <sys/mman.h>

#define BATCH_MAX 256

/* ---- storing ---- */

static const char *extension(const char *mime)
{
    return strcmp(mime, "image/jpeg") == 0 ? "jpg" : strcmp(mime, "image/webp") == 0 ? "webp" : "png";
}

static const char *digest(px_work *work)
{
    void *bytes = work->bytes > 0
        ? mmap(NULL, (size_t)work->bytes, PROT_READ, MAP_SHARED, work->final, 0) : MAP_FAILED;
    const char *hex;
    if (bytes == MAP_FAILED) {
        return NULL;
    }
    hex = px_sha256_hex(work->pool, bytes, (size_t)work->bytes);
    munmap(bytes, (size_t)work->bytes);
    return hex;
}

void px_work_store(px_work *work)
{
    work->sha256 = digest(work);
    if (!work->sha256 || !work->mime) {
        px_work_tried(work, PXS_FAIL_MALFORMED, "an empty image", 0);
        return;
    }
    work->image_id = px_uuid7(work->pool);
    /* The lease's number keeps a fenced worker from writing over its successor's object. */
    work->image_key = apr_psprintf(work->pool, "transformations/%s/%s-%d.%s", work->job.user_id,
                                   work->job.id, work->job.lease, extension(work->mime));
    work->storing = true;
    px_queue_push(&work->engine->to_store, work);
}

static void put_object(px_work *work);

static void was_put(void *baton, px_op *op, pxs_step step)
{
    px_work *work = baton;
    const char *why = step == PXS_FAIL ? px_op_fail(op)->message : "it wants to wait";
    work->op = NULL;
    if (px_work_over(work)) {
        return;
    }
    if (step == PXS_DONE && !px_failpoint("cm08_result_written")) {
        work->try_ended = true;
        work->try_end.outcome = "ok";
        work->try_end.message = NULL;
        work->try_end.remote_id = work->remote_id;
        work->try_end.model = work->model;
        work->try_end.cost_micro_usd = work->cost;
        px_work_succeed(work);
        return;
    }
    /* The provider did its work: try until the deadline ends the job. */
    px_log(PX_LOG_WARN, "PXS6050", "the result of job %s cannot be stored: %s", work->job.id,
           why ? why : "no reason given");
    px_work_sleep(work, px_work_backoff(work->put_tries++), put_object);
}

static void put_object(px_work *work)
{
    px_op_events events = {.finished = was_put, .baton = work};
    pxs_storage_request *request = &work->storage_request;
    px_err *err;
    memset(request, 0, sizeof(*request));
    memset(&work->storage_result, 0, sizeof(work->storage_result));
    request->size = sizeof(*request);
    request->key = work->image_key;
    request->content_type = work->mime;
    request->range_first = request->range_last = -1;
    request->content.path = apr_psprintf(work->pool, "/proc/self/fd/%d", work->final);
    request->content.len = work->bytes;
    err = px_engine_storage(work->engine, work->pool, PX_STORE_PUT, request, &work->storage_result, &events,
                            &work->op);
    if (err) {
        px_log(PX_LOG_ERROR, err->log_id ? err->log_id : "PXS6050", "%s", err->cause);
        px_work_sleep(work, px_work_backoff(work->put_tries++), put_object);
    }
}

static int64_t lifetime_ms(const px_work *work)
{
    return strcmp(work->job.retention, "persistent") == 0
        ? -1 : px_set_int(work->engine->app->settings, PX_S_RESULT_LIFETIME);
}

/* The row before the object, so that every object is known to the sweeper. */
px_err *px_engine_flush_images(px_engine *engine)
{
    px_new_image list[BATCH_MAX];
    px_work *works[BATCH_MAX];
    int count = 0;
    px_err *err;
    for (px_work *w = engine->to_store.first; w && count < BATCH_MAX; w = w->next_task) {
        works[count] = w;
        list[count++] = (px_new_image){
            .id = w->image_id, .user_id = w->job.user_id, .kind = "result", .job_id = w->job.id,
            .key = w->image_key, .mime = w->mime, .sha256 = w->sha256, .retention = w->job.retention,
            .width = w->width, .height = w->height, .bytes = (int64_t)w->bytes,
            .lifetime_ms = lifetime_ms(w)};
    }
    if (count == 0) {
        return NULL;
    }
    err = px_engine_store_new_images(engine->db, engine->turn_pool, list, count);
    if (err) {
        return err;
    }
    for (int i = 0; i < count; i++) {
        px_queue_remove(&engine->to_store, works[i]);
        works[i]->storing = false;
    }
    for (int i = 0; i < count; i++) {
        put_object(works[i]);
    }
    return NULL;
}

/* ---- ending ---- */

static void count_end(px_engine *engine, const px_work *work)
{
    struct px_cache *cache = engine->app->cache;
    if (strcmp(work->state, "succeeded") == 0) {
        px_count(cache, PX_C_JOBS_DONE, 1);
        px_count(cache, PX_C_CREDITS_CAPTURED, work->job.cost);
    } else {
        px_count(cache, PX_C_JOBS_FAILED, 1);
        px_count(cache, PX_C_JOBS_DEAD, work->dead);
        px_count(cache, PX_C_CREDITS_RELEASED, work->job.cost);
    }
}

static void take_out(px_engine *engine, px_work *const *works, int count)
{
    for (int i = 0; i < count; i++) {
        px_queue_remove(&engine->to_end, works[i]);
        px_work_release(works[i]);
    }
}

static px_err *write_ends(px_engine *engine, px_work *const *works, int count)
{
    apr_pool_t *pool = engine->turn_pool;
    px_ending *ends = apr_pcalloc(pool, sizeof(*ends) * (size_t)count);
    px_try_end *tries = apr_pcalloc(pool, sizeof(*tries) * (size_t)count);
    bool *ended = apr_pcalloc(pool, sizeof(*ended) * (size_t)count);
    int try_count = 0;
    px_err *err;
    for (int i = 0; i < count; i++) {
        const px_work *w = works[i];
        ends[i] = (px_ending){.id = w->job.id, .token = w->job.token, .state = w->state, .code = w->code,
                              .message = w->message, .dead = w->dead,
                              .image_id = strcmp(w->state, "succeeded") == 0 ? w->image_id : NULL};
        if (w->try_ended) {
            tries[try_count++] = w->try_end;
        }
    }
    err = px_engine_store_finish(engine->db, pool, tries, try_count, ends, count, ended);
    if (err) {
        return err;
    }
    if (px_failpoint("cm10_finished")) {
        px_log(PX_LOG_INFO, "PXS6032", "fail-point cm10_finished has no error to make");
    }
    for (int i = 0; i < count; i++) {
        if (ended[i]) {
            count_end(engine, works[i]);
        } else {
            px_log(PX_LOG_NOTICE, "PXS6051", "the end of job %s is discarded: its lease is gone",
                   works[i]->job.id);
            px_count(engine->app->cache, PX_C_JOBS_FENCED, 1);
        }
    }
    take_out(engine, works, count);
    return NULL;
}

/* One job that the database refuses must not keep the others from ending. */
static px_err *write_ends_singly(px_engine *engine, px_work *const *works, int count)
{
    for (int i = 0; i < count; i++) {
        px_err *err = write_ends(engine, &works[i], 1);
        if (err && err->id == PX_E_UNAVAILABLE) {
            return err;
        }
        if (err) {
            px_log(PX_LOG_ERROR, "PXS6052", "job %s cannot be ended: %s", works[i]->job.id,
                   err->cause ? err->cause : err->text);
            take_out(engine, &works[i], 1);
        }
    }
    return NULL;
}

static px_err *write_again(px_engine *engine, px_work *const *works, int count)
{
    apr_pool_t *pool = engine->turn_pool;
    const char **ids = apr_pcalloc(pool, sizeof(*ids) * (size_t)count);
    const char **tokens = apr_pcalloc(pool, sizeof(*tokens) * (size_t)count);
    int64_t *delays = apr_pcalloc(pool, sizeof(*delays) * (size_t)count);
    px_err *err;
    for (int i = 0; i < count; i++) {
        ids[i] = works[i]->job.id;
        tokens[i] = works[i]->job.token;
        delays[i] = works[i]->again_ms;
    }
    err = px_engine_store_requeue(engine->db, pool, ids, tokens, delays, count);
    if (!err) {
        take_out(engine, works, count);
    }
    return err;
}

/* The next batch: those that ended, or else those that go back. */
static int gather(px_engine *engine, bool again, px_work **works)
{
    int count = 0;
    for (px_work *w = engine->to_end.first; w && count < BATCH_MAX; w = w->next_task) {
        if ((w->state == NULL) == again) {
            works[count++] = w;
        }
    }
    return count;
}

px_err *px_engine_flush_ends(px_engine *engine)
{
    px_work *works[BATCH_MAX];
    int count;
    px_err *err = NULL;
    while (!err && (count = gather(engine, false, works)) > 0) {
        err = write_ends(engine, works, count);
        if (err && err->id != PX_E_UNAVAILABLE) {
            err = write_ends_singly(engine, works, count);
        }
    }
    while (!err && (count = gather(engine, true, works)) > 0) {
        err = write_again(engine, works, count);
    }
    return err;
}
