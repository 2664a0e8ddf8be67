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
    px_new_image list[PX_BATCH_MAX];
    px_work *works[PX_BATCH_MAX];
    int count = 0;
    px_err *err;
    for (px_work *w = engine->to_store.first; w && count < PX_BATCH_MAX; w = w->next_task) {
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

static void add_end(px_batch *batch, px_work *w)
{
    batch->works[batch->count] = w;
    batch->ends[batch->count++] = (px_ending){
        .id = w->job.id, .token = w->job.token, .state = w->state, .code = w->code, .message = w->message,
        .dead = w->dead, .image_id = strcmp(w->state, "succeeded") == 0 ? w->image_id : NULL};
    if (w->try_ended) {
        batch->tries[batch->try_count++] = w->try_end;
    }
}

static void written(px_engine *engine, const px_batch *batch)
{
    for (int i = 0; i < batch->count; i++) {
        px_work *work = batch->works[i];
        if (batch->ended[i]) {
            count_end(engine, work);
        } else {
            px_log(PX_LOG_NOTICE, "PXS6051", "the end of job %s is discarded: its lease is gone",
                   work->job.id);
            px_count(engine->app->cache, PX_C_JOBS_FENCED, 1);
        }
        px_work_release(work);
    }
    if (px_failpoint("cm10_finished")) {
        px_log(PX_LOG_INFO, "PXS6032", "fail-point cm10_finished has no error to make");
    }
}

/* One job that the database refuses must not keep the others from ending. */
static px_err *write_singly(px_engine *engine, const px_batch *all)
{
    px_err *err = NULL;
    for (int i = 0; i < all->count; i++) {
        px_batch *one = err ? NULL : px_batch_make();
        if (!one) {
            px_queue_push(&engine->to_end, all->works[i]);
            continue;
        }
        add_end(one, all->works[i]);
        one->err = px_engine_store_finish(engine->db, one->pool, one->tries, one->try_count, one->ends, 1,
                                          one->ended);
        if (!one->err) {
            written(engine, one);
        } else if (one->err->id == PX_E_UNAVAILABLE) {
            px_queue_push(&engine->to_end, all->works[i]);
            err = px_error(engine->turn_pool, PX_E_UNAVAILABLE, one->err->log_id, "%s",
                           one->err->cause ? one->err->cause : one->err->text);
        } else {
            px_log(PX_LOG_ERROR, "PXS6052", "job %s cannot be ended: %s", all->works[i]->job.id,
                   one->err->cause ? one->err->cause : one->err->text);
            px_work_release(all->works[i]);
        }
        apr_pool_destroy(one->pool);
    }
    return err;
}

static px_err *settle(px_engine *engine, px_batch *batch)
{
    px_err *err = NULL;
    if (!batch->err) {
        written(engine, batch);
    } else if (batch->err->id != PX_E_UNAVAILABLE && batch->count > 1) {
        err = write_singly(engine, batch);
    } else if (batch->err->id != PX_E_UNAVAILABLE) {
        px_log(PX_LOG_ERROR, "PXS6052", "job %s cannot be ended: %s", batch->works[0]->job.id,
               batch->err->cause ? batch->err->cause : batch->err->text);
        px_work_release(batch->works[0]);
    } else {
        for (int i = 0; i < batch->count; i++) {
            px_queue_push(&engine->to_end, batch->works[i]);
        }
        err = px_error(engine->turn_pool, PX_E_UNAVAILABLE, batch->err->log_id, "%s",
                       batch->err->cause ? batch->err->cause : batch->err->text);
    }
    apr_pool_destroy(batch->pool);
    return err;
}

/* The writer's part of what is over; what goes back to the queue stays in the list. */
static void give(px_engine *engine, int which)
{
    px_batch *batch = px_batch_make();
    px_work_queue rest = {NULL, NULL, 0};
    px_work *work;
    if (!batch) {
        return;
    }
    batch->writer = which;
    while ((work = px_queue_pop(&engine->to_end)) != NULL) {
        if (work->state && px_writer_of(work) == which && batch->count < PX_BATCH_MAX) {
            add_end(batch, work);
        } else {
            px_queue_push(&rest, work);
        }
    }
    while ((work = px_queue_pop(&rest)) != NULL) {
        px_queue_push(&engine->to_end, work);
    }
    if (batch->count > 0) {
        px_writer_give(engine, batch);
    } else {
        apr_pool_destroy(batch->pool);
    }
}

static void hand_out(px_engine *engine)
{
    for (int i = 0; i < PX_WRITERS && engine->to_end.count > 0; i++) {
        if (px_writer_free(engine, i)) {
            give(engine, i);
        }
    }
}

static px_err *write_again(px_engine *engine)
{
    px_work *works[PX_BATCH_MAX];
    const char *ids[PX_BATCH_MAX], *tokens[PX_BATCH_MAX];
    int64_t delays[PX_BATCH_MAX];
    int count = 0;
    px_err *err;
    for (px_work *w = engine->to_end.first; w && count < PX_BATCH_MAX; w = w->next_task) {
        if (!w->state) {
            works[count] = w;
            ids[count] = w->job.id;
            tokens[count] = w->job.token;
            delays[count++] = w->again_ms;
        }
    }
    if (count == 0) {
        return NULL;
    }
    err = px_engine_store_requeue(engine->db, engine->turn_pool, ids, tokens, delays, count);
    for (int i = 0; !err && i < count; i++) {
        px_queue_remove(&engine->to_end, works[i]);
        px_work_release(works[i]);
    }
    return err;
}

px_err *px_engine_flush_ends(px_engine *engine, bool wait)
{
    px_batch *batch;
    px_err *err = NULL, *failed;
    do {
        while ((batch = px_writers_take(engine, wait && px_writers_busy(engine) > 0)) != NULL) {
            failed = settle(engine, batch);
            err = err ? err : failed;
        }
        if (!err) {
            err = write_again(engine);
        }
        if (!err) {
            hand_out(engine);
        }
    } while (wait && ((!err && engine->to_end.count > 0) || px_writers_busy(engine) > 0));
    return err;
}
