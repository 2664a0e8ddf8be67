/* Getting a job's inputs: from our storage, or from outside under the address guard. */
#include "engine_internal.h"

#include "base/log.h"
#include "image/scan.h"
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FETCH_TIMEOUT_MS 10000
#define LOAD_RETRY_MS 2000

/* ---- storage ---- */

px_err *px_engine_storage(px_engine *engine, apr_pool_t *pool, px_store_verb verb,
                          const pxs_storage_request *request, pxs_storage_result *result,
                          const px_op_events *events, px_op **op)
{
    px_instance *instance = px_registry_storage(engine->app->plugins);
    const pxs_storage_ops *ops = instance ? px_instance_ops(instance) : NULL;
    px_net_options options = {.attempts = 3, .backoff_ms = 200};
    px_op_fn *fn;
    if (!ops) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS6020", "no storage plugin is open in the worker");
    }
    fn = (px_op_fn *)(void *)(verb == PX_STORE_PUT ? ops->put : verb == PX_STORE_GET ? ops->get : ops->del);
    result->size = sizeof(*result);
    return px_op_start(pool, engine->net, instance, fn, request, result, &options, events, op);
}

/* ---- what was loaded ---- */

static px_err *open_path(px_work *work, const char *path, int *fd)
{
    *fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    return *fd >= 0 ? NULL : px_error(work->pool, PX_E_UNAVAILABLE, "PXS6021", "%s: %s",
                                      path ? path : "no file was delivered", strerror(errno));
}

/* Uploads were scanned when they came; this is for what the worker fetched itself. */
static px_err *scan_fd(px_work *work, int fd)
{
    const px_settings *s = work->engine->app->settings;
    px_scan_limits limits = {.min_side = (uint32_t)px_set_int(s, PX_S_MIN_SIDE),
                             .max_side = (uint32_t)px_set_int(s, PX_S_MAX_SIDE),
                             .max_pixels = (uint64_t)px_set_int(s, PX_S_MAX_PIXELS),
                             .max_bytes = (size_t)px_set_int(s, PX_S_MAX_UPLOAD)};
    px_scan_result found;
    struct stat st;
    void *bytes = MAP_FAILED;
    px_err *err;
    if (fstat(fd, &st) == 0 && st.st_size > 0) {
        bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    if (bytes == MAP_FAILED) {
        return px_error(work->pool, PX_E_INVALID_FILE, NULL, "an empty file was fetched");
    }
    err = px_image_scan(work->pool, bytes, (size_t)st.st_size, &limits, &found);
    munmap(bytes, (size_t)st.st_size);
    return err;
}

static void next_input(px_work *work)
{
    work->input_at++;
    px_work_load(work);
}

/* ---- from storage ---- */

static void got_object(void *baton, px_op *op, pxs_step step)
{
    px_work *work = baton;
    work->op = NULL;
    if (px_work_over(work)) {
        return;
    }
    if (step == PXS_DONE) {
        px_err *err = open_path(work, work->storage_result.path, &work->inputs[work->input_at].fd);
        if (!err) {
            next_input(work);
            return;
        }
        px_log(PX_LOG_WARN, err->log_id, "%s", err->cause);
        px_work_again(work, LOAD_RETRY_MS);
    } else if (step == PXS_FAIL && px_op_fail(op)->klass == PXS_FAIL_NOT_FOUND) {
        px_work_fail(work, PX_E_GONE, NULL);
    } else {
        px_log(PX_LOG_WARN, "PXS6022", "an input of job %s cannot be loaded: %s", work->job.id,
               step == PXS_FAIL && px_op_fail(op)->message ? px_op_fail(op)->message : "no reason given");
        px_work_again(work, LOAD_RETRY_MS);
    }
}

static void load_object(px_work *work, const char *key)
{
    px_op_events events = {.finished = got_object, .baton = work};
    pxs_storage_request *request = &work->storage_request;
    px_err *err;
    memset(request, 0, sizeof(*request));
    memset(&work->storage_result, 0, sizeof(work->storage_result));
    request->size = sizeof(*request);
    request->key = key;
    request->range_first = request->range_last = -1;
    request->to_file = 1;
    if (!px_storage_key_fine(key)) {
        px_work_fail(work, PX_E_GONE, NULL);
        return;
    }
    err = px_engine_storage(work->engine, work->pool, PX_STORE_GET, request, &work->storage_result, &events,
                            &work->op);
    if (err) {
        px_log(PX_LOG_ERROR, err->log_id ? err->log_id : "PXS6022", "%s", err->cause);
        px_work_again(work, LOAD_RETRY_MS);
    }
}

/* ---- from outside ---- */

typedef struct {
    px_work *work;
    pxs_exchange exchange;
    int *fd;
    void (*then)(px_work *work);
} fetch;

static void fetched(void *baton, const pxs_reply *reply)
{
    fetch *f = baton;
    px_work *work = f->work;
    work->transfer = NULL;
    if (px_work_over(work)) {
        return;
    }
    if (reply->status == 200 && reply->path) {
        px_err *err = open_path(work, reply->path, f->fd);
        if (px_net_reply_temporary(reply)) {
            unlink(reply->path);
        }
        if (err) {
            px_log(PX_LOG_WARN, err->log_id, "%s", err->cause);
        }
    }
    f->then(work);
}

void px_work_fetch(px_work *work, const char *url, int *fd, void (*then)(px_work *work))
{
    px_engine *engine = work->engine;
    fetch *f = apr_pcalloc(work->pool, sizeof(*f));
    /* No breaker: one stranger's dead host must not stop the fetches of all others. */
    px_net_options options = {.attempts = 2, .backoff_ms = 500, .request_id = work->job.request_id};
    px_err *err;
    f->work = work;
    f->fd = fd;
    f->then = then;
    f->exchange.method = "GET";
    f->exchange.url = url;
    f->exchange.timeout_ms = FETCH_TIMEOUT_MS;
    f->exchange.reply_limit = (uint64_t)px_set_int(engine->app->settings, PX_S_MAX_UPLOAD);
    f->exchange.reply_to_file = 1;
    f->exchange.idempotent = 1;
    f->exchange.public_target = 1;
    err = px_net_url_fault_for(engine->net, url, false)
        ? px_error(work->pool, PX_E_VALIDATION, "PXS6023", "an address is refused")
        : px_net_start_in(engine->net, work->pool, &f->exchange, &options, fetched, f, &work->transfer);
    if (err) {
        work->transfer = NULL;
        then(work);
    }
}

static void fetched_input(px_work *work)
{
    int fd = work->inputs[work->input_at].fd;
    px_err *err;
    if (fd < 0) {
        /* What was reached there is not told (it might be an inside address). */
        px_work_fail(work, PX_E_INVALID_FILE, "The image could not be fetched from its address.");
        return;
    }
    err = scan_fd(work, fd);
    if (err) {
        px_work_fail(work, err->id, err->text);
        return;
    }
    next_input(work);
}

void px_work_load(px_work *work)
{
    px_work_input *input = &work->inputs[work->input_at];
    if (work->input_at == work->input_count) {
        work->input_at = 0;
        px_work_prepare(work);
    } else if (input->url) {
        px_work_fetch(work, input->url, &input->fd, fetched_input);
    } else {
        load_object(work, input->key);
    }
}
