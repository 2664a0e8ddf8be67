/* Not broken: takes every way through an operation, chosen by the prompt.  The option Name is the
 * vendor's address. */
#define BROKEN_OPEN steps_open
#define BROKEN_RUN steps_run
#include "broken.h"

#include <stdio.h>

typedef struct {
    const char *base;
} steps;

static int steps_open(const pxs_value *values, void **instance, char *error, size_t error_size)
{
    steps *s = calloc(1, sizeof *s);

    (void)error;
    (void)error_size;
    s->base = values[0].text;
    *instance = s;
    return 0;
}

static pxs_step ask(const steps *s, pxs_call *call, const char *path)
{
    char *url = call->alloc(call, 300);

    snprintf(url, 300, "%s%s", s->base, path);
    call->exchange.method = "POST";
    call->exchange.url = url;
    call->exchange.idempotency_key = call->idempotency_key;
    return PXS_SEND;
}

static pxs_step end(pxs_call *call, pxs_ai_result *result, const char *text)
{
    char *message = call->alloc(call, 32);

    if (call->reply && call->reply->status == 200) {
        result->text = text;
        return PXS_DONE;
    }
    snprintf(message, 32, "status %d", call->reply ? call->reply->status : 0);
    call->fail.klass = PXS_FAIL_NOT_FOUND;
    call->fail.message = message;
    return PXS_FAIL;
}

static int pass_on(pxs_call *call, const void *data, size_t len)
{
    call->emit(call, data, len);
    return 0;
}

static pxs_step two_calls(const steps *s, pxs_call *call, pxs_ai_result *result)
{
    switch (call->phase++) {
    case 0:
        return ask(s, call, "/status?code=204");
    case 1:
        return ask(s, call, "/echo");
    default:
        return end(call, result, call->reply->body);
    }
}

static pxs_step wait_for_job(pxs_call *call, pxs_ai_result *result)
{
    char *text = call->alloc(call, 600);

    if (call->phase == 0) {
        call->phase = 1;
        snprintf(call->token, sizeof call->token, "job-1");
        call->remote_id = "job-1";
        call->wait_ms = 1234;
        return PXS_WAIT;
    }
    snprintf(text, 600, "%s done", call->token);
    result->text = text;
    return PXS_DONE;
}

static pxs_step steps_run(void *instance, pxs_call *call, const pxs_ai_request *request,
                          pxs_ai_result *result)
{
    const steps *s = instance;
    const char *what = request->prompt;

    if (strcmp(what, "two") == 0) {
        return two_calls(s, call, result);
    }
    if (strcmp(what, "wait") == 0) {
        return wait_for_job(call, result);
    }
    if (strcmp(what, "pure") == 0) {
        result->text = "pure";
        return PXS_DONE;
    }
    if (call->reply) {
        result->image.path = call->reply->path;
        result->image.len = call->reply->body_len;
        return end(call, result, "");
    }
    if (strcmp(what, "stream") == 0) {
        call->exchange.on_data = pass_on;
        return ask(s, call, "/stream");
    }
    if (strcmp(what, "file") == 0) {
        call->exchange.reply_to_file = 1;
        return ask(s, call, "/big?n=100000");
    }
    return ask(s, call, "/status?code=404");
}

BROKEN_PLUGIN("b_steps")
