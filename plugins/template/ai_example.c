/* ai_example: a complete PixShift plugin for an imaginary vendor, to copy and change.
 *
 *   POST {BaseURL}/v1/images      Authorization: Bearer KEY      Content-Type: application/json
 *   {"model":"…","prompt":"…"}                                    make an image from words
 *   {"model":"…","prompt":"…","image":"<base64>","mime":"…"}      change an image
 *
 *   200 image/png, image/jpeg or image/webp: the picture itself; X-Cost-Micro-USD: 12000
 *   4xx/5xx {"error":{"code":"content_policy","message":"…"}}
 *
 * A plugin does no I/O: run() fills call->exchange and returns PXS_SEND, the host performs it and
 * calls run() again with call->reply.  It needs libc only. */
#include <pixshift/plugin.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- options: the host parses and checks them; values arrive in this order ---- */

enum { OPT_API_KEY, OPT_BASE_URL, OPT_MODEL, OPT_TIMEOUT, OPT_COUNT };

static const pxs_option options[OPT_COUNT] = {
    { "ApiKey", PXS_OPT_SECRET, 1, NULL, 0, 0, NULL, "Key of the account at the vendor." },
    { "BaseURL", PXS_OPT_URL, 0, "https://api.example.com", 0, 0, NULL,
      "Address of the vendor's API; tests point it elsewhere." },
    { "Model", PXS_OPT_STRING, 0, "painter-1", 0, 0, NULL, "Model that does the work." },
    { "Timeout", PXS_OPT_DURATION, 0, "90s", 1000, 600000, NULL,
      "Longest time that one image may take." },
};

/* What an instance remembers. Option values live as long as the instance, so keeping the pointer is
 * fine; keep nothing in static variables, because several instances may be open. */
typedef struct {
    const pxs_value *values;
} example;

static int example_open(const pxs_value *values, void **instance, char *error, size_t error_size)
{
    example *e = calloc(1, sizeof *e);

    if (!e) {
        snprintf(error, error_size, "out of memory");
        return -1;
    }
    e->values = values;
    *instance = e;
    return 0;
}

static void example_close(void *instance)
{
    free(instance);                 /* close(NULL) is allowed */
}

/* ---- building the request ---- */

/* A C string as the inside of a JSON string. */
static const char *json_escape(pxs_call *call, const char *text)
{
    char *out = call->alloc(call, strlen(text) * 6 + 1);
    char *at = out;

    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\') {
            *at++ = '\\';
            *at++ = (char)*p;
        } else if (*p < 0x20) {
            at += snprintf(at, 7, "\\u%04x", *p);
        } else {
            *at++ = (char)*p;
        }
    }
    *at = '\0';
    return out;
}

static char *join(pxs_call *call, const char *a, const char *b, const char *c)
{
    size_t size = strlen(a) + strlen(b) + strlen(c) + 1;
    char *out = call->alloc(call, size);

    snprintf(out, size, "%s%s%s", a, b, c);
    return out;
}

static void set_headers(const example *e, pxs_call *call)
{
    pxs_header *headers = call->alloc(call, sizeof *headers * 3);

    headers[0].name = "Authorization";
    headers[0].value = join(call, "Bearer ", e->values[OPT_API_KEY].text, "");
    headers[0].secret = 1;              /* never logged */
    headers[1].name = "Content-Type";
    headers[1].value = "application/json";
    headers[2].name = "Accept";
    headers[2].value = "image/png, image/jpeg, image/webp";
    call->exchange.headers = headers;
    call->exchange.header_count = 3;
}

/* The picture is named, not read: the host streams the file and makes the base64 on the way. */
static void set_body(const example *e, pxs_call *call, const pxs_ai_request *request)
{
    const char *model = json_escape(call, e->values[OPT_MODEL].text);
    const char *prompt = json_escape(call, request->prompt ? request->prompt : "");
    char *head = join(call, "{\"model\":\"", model, "\",\"prompt\":\"");
    pxs_piece *pieces = call->alloc(call, sizeof *pieces * 3);
    uint32_t count = 1;

    head = join(call, head, prompt, "\"");
    if (request->operation == PXS_AI_EDIT) {
        const pxs_image *image = &request->images[0];
        head = join(call, head, ",\"mime\":\"", image->mime);
        head = join(call, head, "\",\"image\":\"", "");
        pieces[1].path = image->path;
        pieces[1].len = image->len;
        pieces[1].base64 = 1;
        pieces[2].data = "\"}";
        pieces[2].len = 2;
        count = 3;
    } else {
        head = join(call, head, "}", "");
    }
    pieces[0].data = head;
    pieces[0].len = strlen(head);
    call->exchange.pieces = pieces;
    call->exchange.piece_count = count;
}

static pxs_step send_request(const example *e, pxs_call *call, const pxs_ai_request *request)
{
    call->exchange.method = "POST";
    call->exchange.url = join(call, e->values[OPT_BASE_URL].text, "/v1/images", "");
    call->exchange.timeout_ms = (uint32_t)e->values[OPT_TIMEOUT].number;
    call->exchange.reply_limit = 32u << 20;
    call->exchange.reply_to_file = 1;   /* large replies cost no memory */
    /* The vendor recognises repetitions by this key, so the host may send again. */
    call->exchange.idempotency_key = call->idempotency_key;
    call->exchange.idempotent = call->idempotency_key != NULL;
    set_headers(e, call);
    set_body(e, call, request);
    return PXS_SEND;
}

/* ---- understanding the reply ---- */

static pxs_step fail(pxs_call *call, pxs_fail_class klass, const char *message)
{
    call->fail.klass = klass;
    call->fail.message = message;
    return PXS_FAIL;
}

static const char *header(const pxs_reply *reply, const char *name)
{
    for (uint32_t i = 0; i < reply->header_count; i++) {
        if (strcmp(reply->headers[i].name, name) == 0) {
            return reply->headers[i].value;
        }
    }
    return NULL;
}

/* The value of the first member "name" that is a plain string, or "". Enough for error codes; use a
 * JSON library for more. */
static const char *json_text(pxs_call *call, const char *json, const char *name)
{
    const char *key = join(call, "\"", name, "\"");
    const char *at = json ? strstr(json, key) : NULL;
    size_t len;
    char *out;

    if (!at) {
        return "";
    }
    at += strlen(key);
    at += strspn(at, " \t\r\n");
    if (*at++ != ':') {
        return "";
    }
    at += strspn(at, " \t\r\n");
    if (*at++ != '"') {
        return "";
    }
    len = strcspn(at, "\"\\");
    out = call->alloc(call, len + 1);
    memcpy(out, at, len);
    return out;
}

static pxs_step vendor_error(pxs_call *call)
{
    const pxs_reply *reply = call->reply;
    const char *code = json_text(call, reply->body, "code");
    const char *retry = header(reply, "retry-after");
    const char *message = join(call, "the vendor says ", code[0] ? code : "nothing", "");

    if (strcmp(code, "content_policy") == 0) {
        return fail(call, PXS_FAIL_REFUSED, message);
    }
    switch (reply->status) {
    case 401:
    case 403:
        return fail(call, PXS_FAIL_AUTH, message);
    case 402:
        return fail(call, PXS_FAIL_QUOTA, message);
    case 404:
        return fail(call, PXS_FAIL_NOT_FOUND, message);
    case 429:
        call->fail.retry_ms = retry ? strtol(retry, NULL, 10) * 1000 : 0;
        return fail(call, PXS_FAIL_RATE, message);
    default:
        return fail(call, reply->status >= 500 ? PXS_FAIL_UNAVAILABLE : PXS_FAIL_BAD_REQUEST,
                    message);
    }
}

static int known_mime(const char *mime)
{
    return mime && (strcmp(mime, "image/png") == 0 || strcmp(mime, "image/jpeg") == 0
                    || strcmp(mime, "image/webp") == 0);
}

static pxs_step take_reply(const example *e, pxs_call *call, pxs_ai_result *result)
{
    const pxs_reply *reply = call->reply;
    const char *mime = header(reply, "content-type");
    const char *cost = header(reply, "x-cost-micro-usd");

    call->remote_id = header(reply, "x-request-id");
    if (reply->status == 0) {           /* no reply: the host knows why */
        return fail(call, (pxs_fail_class)reply->failure, "no reply from the vendor");
    }
    if (reply->status != 200) {
        return vendor_error(call);
    }
    if (!known_mime(mime) || !reply->path || reply->body_len == 0) {
        return fail(call, PXS_FAIL_MALFORMED, "a success without a picture");
    }
    result->image.path = reply->path;
    result->image.len = reply->body_len;
    result->mime = mime;                /* the host decodes the picture to be sure */
    result->model = e->values[OPT_MODEL].text;
    result->cost_micro_usd = cost ? strtoll(cost, NULL, 10) : -1;
    return PXS_DONE;
}

static pxs_step run(void *instance, pxs_call *call, const pxs_ai_request *request,
                    pxs_ai_result *result)
{
    if (call->reply) {
        return take_reply(instance, call, result);
    }
    if (request->operation != PXS_AI_GENERATE
        && (request->operation != PXS_AI_EDIT || request->image_count < 1)) {
        return fail(call, PXS_FAIL_UNSUPPORTED, "this vendor only edits and generates");
    }
    return send_request(instance, call, request);
}

static int64_t price(void *instance, const pxs_ai_request *request)
{
    (void)instance;
    return request->operation == PXS_AI_EDIT ? 15000 : 12000;   /* millionths of a US dollar */
}

/* ---- what the host sees ---- */

static const pxs_ai_ops ops = {
    .size = sizeof ops,
    .caps = PXS_AI_EDIT | PXS_AI_GENERATE,
    .open = example_open,
    .close = example_close,
    .run = run,
    .price = price,
};

static const pxs_plugin plugin = {
    .magic = PXS_MAGIC,
    .abi_major = PXS_ABI_MAJOR,
    .abi_minor = PXS_ABI_MINOR,
    .size = sizeof plugin,
    .kind = PXS_KIND_AI,
    .name = "ai_example",
    .version = "1.0",
    .summary = "Edits and generates images at an imaginary vendor; a template for new plugins.",
    .option_size = sizeof(pxs_option),
    .option_count = OPT_COUNT,
    .options = options,
    .ops = &ops,
};

const pxs_plugin *pixshift_plugin(void)
{
    return &plugin;
}
