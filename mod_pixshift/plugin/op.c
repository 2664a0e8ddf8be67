/* Driving an operation: call it, perform the exchange it asks for, call it again. */
#include "plugin_internal.h"
#include "base/clock.h"
#include "base/log.h"

#include <apr_strings.h>
#include <string.h>
#include <unistd.h>

/* A plugin that never comes to an end must not keep the host busy for ever. */
#define EXCHANGES_MAX 200

struct px_op {
    apr_pool_t *pool;               /* everything of this op; child of the caller's */
    apr_pool_t *reply_pool;         /* of the exchange under way or just made */
    apr_pool_t *former_pool;        /* of the one before: its reply may be part of what is sent */
    px_net *net;
    px_instance *instance;
    px_op_fn *verb;
    const void *request;
    void *result;
    px_net_options options;
    px_op_events events;
    pxs_call call;
    pxs_exchange exchange;          /* as sent: the plugin may not change it meanwhile */
    px_transfer *transfer;
    int exchanges;
    bool ended;
    bool temporary_path;            /* the last reply's path is a spool file */
};

/* ---- services for the plugin ---- */

static void *on_alloc(pxs_call *call, size_t size)
{
    px_op *op = call->host;

    return apr_pcalloc(op->pool, size ? size : 1);
}

static void on_log(pxs_call *call, int level, const char *message)
{
    px_op *op = call->host;
    px_log_level to = level <= 0 ? PX_LOG_ERROR : level >= 4 ? PX_LOG_DEBUG : (px_log_level)level;

    px_log(to, "PXS3102", "%s: %.500s", px_instance_name(op->instance), message ? message : "");
}

static void on_emit(pxs_call *call, const char *text, size_t len)
{
    px_op *op = call->host;

    if (op->events.emit) {
        op->events.emit(op->events.baton, text, len);
    }
}

void px_call_init(pxs_call *call, void *host, void *(*alloc)(pxs_call *, size_t),
                  void (*log)(pxs_call *, int, const char *),
                  void (*emit)(pxs_call *, const char *, size_t))
{
    memset(call, 0, sizeof *call);
    call->size = sizeof *call;
    call->host = host;
    call->alloc = alloc;
    call->log = log;
    call->emit = emit;
}

/* ---- steps ---- */

static void set_fail(px_op *op, pxs_fail_class klass, const char *message)
{
    op->call.fail.klass = klass;
    op->call.fail.message = message;
    op->call.fail.retry_ms = 0;
}

static void finish(px_op *op, pxs_step step)
{
    op->ended = true;
    op->events.finished(op->events.baton, op, step);
}

static apr_status_t unlink_reply(void *path)
{
    unlink(path);
    return APR_SUCCESS;
}

static pxs_step call_verb(px_op *op, const pxs_reply *reply)
{
    pxs_call *call = &op->call;
    pxs_step step;

    memset(&call->exchange, 0, sizeof call->exchange);
    memset(&call->fail, 0, sizeof call->fail);
    call->wait_ms = 0;
    call->reply = reply;
    call->now_usec = px_now();
    pthread_mutex_lock(&op->instance->lock);
    step = op->verb(op->instance->opened, call, op->request, op->result);
    pthread_mutex_unlock(&op->instance->lock);
    call->reply = NULL;
    call->token[PXS_TOKEN_MAX - 1] = '\0';
    if (step < PXS_DONE || step > PXS_FAIL) {
        set_fail(op, PXS_FAIL_INTERNAL, "the plugin returned an unknown step");
        return PXS_FAIL;
    }
    if (step == PXS_FAIL && (call->fail.klass < PXS_FAIL_BAD_REQUEST
                             || call->fail.klass > PXS_FAIL_INTERNAL)) {
        call->fail.klass = PXS_FAIL_INTERNAL;
    }
    return step;
}

static const char *sentence(const px_err *err)
{
    return err->cause ? err->cause : err->text;
}

static void renew_reply_pool(px_op *op)
{
    if (op->former_pool) {
        apr_pool_destroy(op->former_pool);
    }
    op->former_pool = op->reply_pool;
    apr_pool_create(&op->reply_pool, op->pool);
}

static bool may_send(px_op *op)
{
    px_err *err;

    if (++op->exchanges > EXCHANGES_MAX) {
        set_fail(op, PXS_FAIL_INTERNAL, "the plugin asked for too many exchanges");
        return false;
    }
    err = op->events.before_send ? op->events.before_send(op->events.baton, &op->call) : NULL;
    if (err) {
        set_fail(op, PXS_FAIL_INTERNAL, sentence(err));
        return false;
    }
    op->exchange = op->call.exchange;
    return true;
}

static void keep_path(px_op *op, const pxs_reply *reply)
{
    op->temporary_path = reply->path && px_net_reply_temporary(reply);
    if (op->temporary_path) {
        apr_pool_cleanup_register(op->reply_pool, apr_pstrdup(op->reply_pool, reply->path),
                                  unlink_reply, apr_pool_cleanup_null);
    }
}

static void advance(px_op *op, const pxs_reply *reply);

static void on_reply(void *baton, const pxs_reply *reply)
{
    px_op *op = baton;

    op->transfer = NULL;
    keep_path(op, reply);
    advance(op, reply);
}

static void advance(px_op *op, const pxs_reply *reply)
{
    pxs_step step = call_verb(op, reply);
    bool send = !op->ended && step == PXS_SEND && may_send(op);
    px_err *err;

    if (op->ended) {
        return;                         /* cancelled by one of the host's own callbacks */
    }
    if (send) {
        renew_reply_pool(op);
        err = px_net_start_in(op->net, op->reply_pool, &op->exchange, &op->options, on_reply, op,
                              &op->transfer);
        if (!err) {
            return;
        }
        set_fail(op, PXS_FAIL_INTERNAL, sentence(err));
    }
    finish(op, step == PXS_SEND ? PXS_FAIL : step);
}

/* ---- entry points ---- */

static px_err *make(apr_pool_t *pool, px_net *net, px_instance *instance, px_op_fn *verb,
                    const void *request, void *result, const px_net_options *options, px_op **out)
{
    apr_pool_t *own;
    px_op *op;

    if (!instance->ops || !verb) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS3103",
                        "plugin %s is not opened in this process",
                        px_instance_name(instance));
    }
    apr_pool_create(&own, pool);
    op = apr_pcalloc(own, sizeof *op);
    op->pool = own;
    op->net = net;
    op->instance = instance;
    op->verb = verb;
    op->request = request;
    op->result = result;
    if (options) {
        op->options = *options;
    }
    if (!op->options.name) {
        op->options.name = px_instance_name(instance);
    }
    op->options.file_root = instance->file_root;    /* nobody else's folder */
    op->options.call = &op->call;
    px_call_init(&op->call, op, on_alloc, on_log, on_emit);
    *out = op;
    return NULL;
}

px_err *px_op_prepare(apr_pool_t *pool, px_net *net, px_instance *instance, px_op_fn *verb,
                      const void *request, void *result, const px_net_options *options,
                      const px_op_events *events, px_op **op)
{
    px_err *err = make(pool, net, instance, verb, request, result, options, op);

    if (!err) {
        (*op)->events = *events;
        (*op)->call.idempotency_key = events->idempotency_key;
    }
    return err;
}

px_err *px_op_start(apr_pool_t *pool, px_net *net, px_instance *instance, px_op_fn *verb,
                    const void *request, void *result, const px_net_options *options,
                    const px_op_events *events, px_op **op)
{
    px_err *err = px_op_prepare(pool, net, instance, verb, request, result, options, events, op);

    if (!err) {
        advance(*op, NULL);
    }
    return err;
}

px_err *px_op_resume(px_op *op, uint32_t phase, const char *token)
{
    if (op->transfer) {
        return px_error(op->pool, PX_E_INTERNAL, "PXS3104",
                        "an operation was resumed while it runs");
    }
    op->ended = false;
    op->exchanges = 0;
    op->call.phase = phase;
    apr_cpystrn(op->call.token, token ? token : "", PXS_TOKEN_MAX);
    advance(op, NULL);
    return NULL;
}

void px_op_cancel(px_op *op)
{
    px_transfer *transfer = op->transfer;

    op->transfer = NULL;
    if (transfer) {
        px_net_cancel(op->net, transfer);
    }
    op->ended = true;
}

const pxs_call *px_op_call(const px_op *op)
{
    return &op->call;
}

const pxs_fail *px_op_fail(const px_op *op)
{
    return &op->call.fail;
}

/* ---- the blocking driver ---- */

static pxs_step run_to_end(px_op *op)
{
    const pxs_reply *reply = NULL;
    pxs_step step;

    while ((step = call_verb(op, reply)) == PXS_SEND) {
        px_err *err;
        if (!may_send(op)) {
            return PXS_FAIL;
        }
        renew_reply_pool(op);
        err = px_net_call(op->net, op->reply_pool, &op->exchange, &op->options, &reply);
        if (err) {
            set_fail(op, PXS_FAIL_INTERNAL, sentence(err));
            return PXS_FAIL;
        }
        keep_path(op, reply);
    }
    if (step == PXS_WAIT) {
        set_fail(op, PXS_FAIL_INTERNAL, "the plugin wants to wait where it may not");
        return PXS_FAIL;
    }
    return step;
}

px_err *px_op_run_told(apr_pool_t *pool, px_net *net, px_instance *instance, px_op_fn *verb,
                       const void *request, void *result, const px_net_options *options,
                       bool *temporary)
{
    px_op *op;
    px_err *err = make(pool, net, instance, verb, request, result, options, &op);

    if (err) {
        return err;
    }
    if (run_to_end(op) == PXS_FAIL) {
        return px_fail_error(pool, &op->call.fail, px_instance_name(instance));
    }
    *temporary = op->temporary_path;
    return NULL;
}

px_err *px_op_run(apr_pool_t *pool, px_net *net, px_instance *instance, px_op_fn *verb,
                  const void *request, void *result, const px_net_options *options)
{
    bool temporary;

    return px_op_run_told(pool, net, instance, verb, request, result, options, &temporary);
}
