/* Asking providers: the try's row before each send, waiting over restarts, the next one when one fails. */
#include "engine_internal.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "base/log.h"
#include "cache/cache.h"
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/linkhash.h>
#include <string.h>
#include <unistd.h>

#define PARAMS_MAX 32

px_instance *px_work_provider(const px_work *work)
{
    return work->providers[work->provider_at];
}

/* ---- the request ---- */

static uint32_t operation_bit(const char *operation)
{
    return px_operation_caps(operation);
}

/* Vendors that ask for a user get a name that tells nobody who it is. */
static const char *user_tag(px_work *work)
{
    const char *secret = px_set_str(work->engine->app->settings, PX_S_SECRET);
    unsigned char key[32], mac[PX_SHA256_LEN];
    if (!secret) {
        return NULL;
    }
    px_derive_key(secret, "provider user tag", key);
    px_hmac_sha256(key, sizeof(key), work->job.user_id, strlen(work->job.user_id), mac);
    return px_hex(work->pool, mac, 16);
}

static uint32_t fill_params(px_work *work, pxs_param *params)
{
    uint32_t count = 0;
    if (!work->params || !json_object_is_type(work->params, json_type_object)) {
        return 0;
    }
    json_object_object_foreach(work->params, name, value) {
        if (value && count < PARAMS_MAX) {
            params[count].name = name;
            params[count++].value = json_object_get_string(value);
        }
    }
    return count;
}

static void make_request(px_work *work)
{
    pxs_ai_request *request = &work->request;
    pxs_param *params = apr_pcalloc(work->pool, sizeof(*params) * PARAMS_MAX);
    request->size = sizeof(*request);
    request->operation = operation_bit(work->job.operation);
    request->request_id = work->job.request_id ? work->job.request_id : work->job.id;
    request->prompt = work->job.prompt ? work->job.prompt : "";
    request->images = work->images;
    request->image_count = (uint32_t)work->input_count;
    request->params = params;
    request->param_count = fill_params(work, params);
    request->user_tag = user_tag(work);
}

/* ---- a try ---- */

bool px_work_try_begins(px_work *work)
{
    const char *provider = px_instance_name(px_work_provider(work));
    int attempt = 0;
    px_err *err = px_engine_store_try(work->engine->db, work->pool, work->job.id, work->job.token, provider,
                                      work->again, &attempt);
    if (err) {
        px_log(PX_LOG_WARN, err->log_id ? err->log_id : "PXS6040", "job %s: %s", work->job.id,
               err->cause ? err->cause : err->text);
        px_work_again(work, 1000);
        return false;
    }
    if (attempt == 0) {
        px_work_drop(work);
        return false;
    }
    work->job.attempt = attempt;
    work->try_open = true;
    work->again = false;
    work->idempotency_key = apr_psprintf(work->pool, "%s-%d-%d", work->job.id, work->job.retry, attempt);
    px_work_served(work);
    px_count(work->engine->app->cache, PX_C_PROVIDER_CALLS, 1);
    return true;
}

/* Before each exchange. The first one of a try has its row already. */
static px_err *before_send(void *baton, const pxs_call *call)
{
    px_work *work = baton;
    bool held = true;
    px_err *err = NULL;
    bool same = call->phase == work->noted_phase && strcmp(call->token, work->noted_token) == 0;
    if (!same) {
        err = px_engine_store_note(work->engine->db, work->pool, work->job.id, work->job.token,
                                   (int)call->phase, call->token, call->remote_id, 0, &held);
        work->noted_phase = call->phase;
        work->noted_token = apr_pstrdup(work->pool, call->token);
    }
    if (!err && !held) {
        err = px_error(work->pool, PX_E_INTERNAL, "PXS6041", "the lease of job %s is lost", work->job.id);
    }
    return err;
}

/* ---- what a provider delivered ---- */

static px_err *write_all(px_work *work, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = write(work->output, at, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return px_error(work->pool, PX_E_UNAVAILABLE, "PXS6042", "a result cannot be kept: %s",
                            strerror(errno));
        }
        at += n;
        len -= (size_t)n;
    }
    return NULL;
}

static px_err *take_bytes(px_work *work, const pxs_piece *piece)
{
    const void *data = piece->data;
    size_t len = (size_t)piece->len;
    px_err *err = px_work_file(work, &work->output);
    if (!err && piece->base64) {
        data = px_b64_decode(work->pool, piece->data, len, &len);
        if (!data) {
            err = px_error(work->pool, PX_E_PROVIDER, NULL, "the image is not base64");
        }
    }
    return err ? err : write_all(work, data, len);
}

static void fetched_result(px_work *work)
{
    if (work->output < 0) {
        px_work_tried(work, PXS_FAIL_UNAVAILABLE, "the result could not be fetched from its address", 0);
    } else {
        px_work_check(work);
    }
}

static void take_result(px_work *work)
{
    const pxs_ai_result *result = &work->result;
    px_err *err = NULL;
    if (result->image_url) {
        px_work_fetch(work, result->image_url, &work->output, fetched_result);
        return;
    }
    if (result->image.path) {
        work->output = open(result->image.path, O_RDONLY | O_CLOEXEC);
    } else if (result->image.data && result->image.len > 0) {
        err = take_bytes(work, &result->image);
    }
    if (err || work->output < 0) {
        px_work_tried(work, PXS_FAIL_MALFORMED, err && err->cause ? err->cause : "no image was sent", 0);
        return;
    }
    px_work_check(work);
}

static void resume(px_work *work)
{
    px_err *err = px_op_resume(work->op, work->noted_phase, work->noted_token);
    if (err) {
        px_work_tried(work, PXS_FAIL_INTERNAL, err->cause, 0);
    }
}

static void waits(px_work *work, px_op *op)
{
    const pxs_call *call = px_op_call(op);
    int64_t wait = call->wait_ms > 0 ? call->wait_ms : 1000;
    bool held = false;
    px_err *err;
    work->noted_phase = call->phase;
    work->noted_token = apr_pstrdup(work->pool, call->token);
    err = px_engine_store_note(work->engine->db, work->pool, work->job.id, work->job.token,
                               (int)call->phase, work->noted_token, call->remote_id, wait, &held);
    if (!err && !held) {
        px_work_drop(work);
        return;
    }
    if (err) {
        /* Going on is right: at worst a restart begins the try anew. */
        px_log(PX_LOG_WARN, err->log_id ? err->log_id : "PXS6040", "job %s: %s", work->job.id,
               err->cause ? err->cause : err->text);
    }
    px_work_sleep(work, wait, resume);
}

static void finished(void *baton, px_op *op, pxs_step step)
{
    px_work *work = baton;
    const pxs_call *call = px_op_call(op);
    if (px_work_over(work)) {
        return;
    }
    if (call->remote_id) {
        work->remote_id = apr_pstrdup(work->pool, call->remote_id);
    }
    if (step == PXS_WAIT) {
        work->op = op;
        waits(work, op);
    } else if (step == PXS_FAIL) {
        px_work_tried(work, (pxs_fail_class)px_op_fail(op)->klass, px_op_fail(op)->message,
                      px_op_fail(op)->retry_ms);
    } else if (px_failpoint("cm07_reply")) {
        px_work_tried(work, PXS_FAIL_MALFORMED, "fail-point cm07_reply", 0);
    } else {
        work->model = apr_pstrdup(work->pool, work->result.model);
        work->cost = work->result.cost_micro_usd;
        work->mime = apr_pstrdup(work->pool, work->result.mime);
        take_result(work);
    }
}

/* A try that was under way when its worker died is asked for its result instead of being made again. */
static bool resumes(const px_work *work)
{
    return work->again && work->job.open_token && work->job.open_token[0];
}

static void call_provider(px_work *work)
{
    px_instance *provider = px_work_provider(work);
    const pxs_ai_ops *ops = px_instance_ops(provider);
    px_net_options options = {.name = px_instance_name(provider), .attempts = 3, .backoff_ms = 1000,
                              .request_id = work->request.request_id};
    px_op_events events = {.before_send = before_send, .finished = finished, .baton = work};
    bool later = resumes(work);
    px_op_fn *run;
    px_err *err;
    if (!px_work_try_begins(work)) {
        return;
    }
    if (!ops) {
        px_work_tried(work, PXS_FAIL_UNAVAILABLE, "the plugin is not open in the worker", 0);
        return;
    }
    run = (px_op_fn *)(void *)ops->run;
    events.idempotency_key = work->idempotency_key;
    memset(&work->result, 0, sizeof(work->result));
    work->result.size = sizeof(work->result);
    work->result.cost_micro_usd = -1;
    work->noted_phase = later ? (uint32_t)work->job.open_phase : 0;
    work->noted_token = later ? work->job.open_token : "";
    work->op = NULL;
    err = later ? px_op_prepare(work->pool, work->engine->net, provider, run, &work->request, &work->result,
                                &options, &events, &work->op)
                : px_op_start(work->pool, work->engine->net, provider, run, &work->request, &work->result,
                              &options, &events, &work->op);
    if (err) {
        px_work_tried(work, PXS_FAIL_INTERNAL, err->cause, 0);
    } else if (later) {
        int64_t rest = (work->job.open_resume - px_now()) / 1000;
        px_work_sleep(work, rest > 0 ? rest : 0, resume);
    } else if (px_failpoint("cm06_provider_called")) {
        px_log(PX_LOG_INFO, "PXS6032", "fail-point cm06_provider_called has no error to make");
    }
}

void px_work_run(px_work *work)
{
    make_request(work);
    if (work->job.attempt >= work->job.max_attempts && !work->again) {
        px_work_fail(work, PX_E_PROVIDER, NULL);
    } else if (px_instance_blocking(px_work_provider(work))) {
        px_work_queue_task(work, PX_TASK_RUN);
    } else {
        call_provider(work);
    }
}

/* ---- failures ---- */

static px_err_id reason_of(px_work *work, pxs_fail_class klass)
{
    pxs_fail fail = {.klass = (uint32_t)klass};
    px_err_id id = px_fail_error(work->pool, &fail, "")->id;
    return id == PX_E_NOT_FOUND ? PX_E_PROVIDER : id;
}

static bool end_try(px_work *work, pxs_fail_class klass, const char *message)
{
    px_try_end *end = &work->try_end;
    px_err *err;
    end->outcome = px_fail_name(klass);
    end->message = message;
    end->remote_id = work->remote_id;
    end->cost_micro_usd = -1;
    err = px_engine_store_try_end(work->engine->db, work->pool, end, 1);
    work->try_open = false;
    if (err) {
        px_log(PX_LOG_WARN, err->log_id ? err->log_id : "PXS6040", "job %s: %s", work->job.id,
               err->cause ? err->cause : err->text);
        px_work_again(work, 1000);
    }
    return !err;
}

/* Nothing of a failed try may pass for a later one's result. */
static void forget_output(px_work *work)
{
    int *const fds[2] = {&work->output, &work->final};
    for (int i = 0; i < 2; i++) {
        if (*fds[i] >= 0) {
            close(*fds[i]);
            *fds[i] = -1;
        }
    }
    work->mime = work->model = work->remote_id = NULL;
}

void px_work_tried(px_work *work, pxs_fail_class klass, const char *message, int64_t retry_ms)
{
    const char *provider = px_instance_name(px_work_provider(work));
    bool tries_left = work->job.attempt < work->job.max_attempts;
    px_log(PX_LOG_INFO, "PXS6043", "job %s, try %d: %s failed (%s): %s", work->job.id, work->job.attempt,
           provider, px_fail_name(klass), message ? message : "no reason given");
    px_count(work->engine->app->cache, PX_C_PROVIDER_ERRORS, 1);
    if (!end_try(work, klass, message ? apr_pstrdup(work->pool, message) : NULL)) {
        return;
    }
    forget_output(work);
    if (px_fail_allows_retry(klass)) {
        work->retry_wanted = true;
        work->retry_ms = retry_ms > work->retry_ms ? retry_ms : work->retry_ms;
    }
    if (px_fail_allows_fallback(klass) && tries_left && work->provider_at + 1 < work->provider_count) {
        work->provider_at++;
        px_work_run(work);
    } else if (work->retry_wanted && tries_left && klass != PXS_FAIL_REFUSED) {
        int64_t pause = px_work_backoff(work->job.attempt - 1);
        px_work_again(work, pause > work->retry_ms ? pause : work->retry_ms);
    } else {
        work->dead = !tries_left && px_fail_allows_fallback(klass);
        px_work_fail(work, reason_of(work, klass), NULL);
    }
}
