/* Playing a recorded case against a plugin, as recorded or with one reply spoilt. */
#include "conform.h"
#include "base/id.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#define STEPS_MAX 100

typedef struct {
    apr_pool_t *pool;
    const px_case *c;
    const px_mutation *mutation;
    pxs_call call;
    pxs_exchange sent;
    int exchanges;          /* made so far */
    const char *fault;
} player;

static void *on_alloc(pxs_call *call, size_t size)
{
    return apr_pcalloc(((player *)call->host)->pool, size ? size : 1);
}

/* Reads all of a text, whatever the optimiser thinks of it: a stale pointer shall be noticed. */
static void touch(const char *text)
{
    const volatile char *at = text;

    while (at && *at) {
        at++;
    }
}

static void on_log(pxs_call *call, int level, const char *message)
{
    (void)call;
    (void)level;
    touch(message);
}

static void on_emit(pxs_call *call, const char *text, size_t len)
{
    player *p = call->host;

    apr_pstrmemdup(p->pool, text, len);     /* reads all of it */
}

/* ---- what the plugin asks for ---- */

static const char *exchange_fault(const player *p)
{
    const pxs_exchange *x = &p->call.exchange;

    if (!x->method || !x->method[0] || !x->url) {
        return "an exchange without method or URL";
    }
    if (strncmp(x->url, "https://", 8) != 0 && strncmp(x->url, "http://", 7) != 0
        && strncmp(x->url, "file:///", 8) != 0) {
        return "an exchange whose URL is not absolute";
    }
    for (uint32_t i = 0; i < x->header_count; i++) {
        if (!x->headers || !x->headers[i].name || !x->headers[i].value
            || strpbrk(x->headers[i].value, "\r\n")) {
            return "an exchange with a broken header";
        }
    }
    if ((x->piece_count && !x->pieces) || (x->part_count && !x->parts)) {
        return "an exchange with a body that is missing";
    }
    return NULL;
}

static void add_piece(px_buf *out, const pxs_piece *piece)
{
    px_buf *raw = px_buf_make(out->pool, 256);
    char buffer[8192];
    ssize_t n;
    int fd;

    if (piece->data) {
        px_buf_add(raw, piece->data, (size_t)piece->len);
    } else if (piece->path && (fd = open(piece->path, O_RDONLY | O_CLOEXEC)) >= 0) {
        while ((n = read(fd, buffer, sizeof buffer)) > 0) {
            px_buf_add(raw, buffer, (size_t)n);
        }
        close(fd);
    }
    if (piece->base64) {
        px_buf_puts(out, px_b64(out->pool, raw->data, raw->len));
    } else {
        px_buf_add(out, raw->data, raw->len);
    }
}

static px_buf *body_of(apr_pool_t *pool, const pxs_exchange *x)
{
    px_buf *out = px_buf_make(pool, 1024);

    for (uint32_t i = 0; i < x->piece_count; i++) {
        add_piece(out, &x->pieces[i]);
    }
    for (uint32_t i = 0; i < x->part_count; i++) {
        add_piece(out, &x->parts[i].content);
        px_buf_add(out, "\n", 1);
    }
    return out;
}

static const char *expect_headers(const player *p, json_object *want)
{
    if (!want) {
        return NULL;
    }
    json_object_object_foreach(want, name, value) {
        const char *found = NULL;
        for (uint32_t i = 0; i < p->sent.header_count; i++) {
            if (strcasecmp(p->sent.headers[i].name, name) == 0) {
                found = p->sent.headers[i].value;
            }
        }
        if (!found || strcmp(found, json_object_get_string(value)) != 0) {
            return apr_psprintf(p->pool, "header %s is %s, expected %s", name,
                                found ? found : "absent", json_object_get_string(value));
        }
    }
    return NULL;
}

static const char *expect_parts(const player *p, json_object *want)
{
    if (!want) {
        return NULL;
    }
    json_object_object_foreach(want, name, value) {
        px_buf *have = NULL;
        for (uint32_t i = 0; i < p->sent.part_count; i++) {
            if (p->sent.parts[i].name && strcmp(p->sent.parts[i].name, name) == 0) {
                have = px_buf_make(p->pool, 256);
                add_piece(have, &p->sent.parts[i].content);
            }
        }
        if (!have || strcmp(have->data, json_object_get_string(value)) != 0) {
            return apr_psprintf(p->pool, "part %s is %.200s, expected %.200s", name,
                                have ? have->data : "absent", json_object_get_string(value));
        }
    }
    return NULL;
}

static bool same_body(apr_pool_t *pool, const px_buf *have, json_object *want)
{
    json_object *parsed = NULL;

    if (json_object_is_type(want, json_type_string)) {
        return have->len == (size_t)json_object_get_string_len(want)
               && memcmp(have->data, json_object_get_string(want), have->len) == 0;
    }
    return px_json_parse(pool, have->data, have->len, NULL, &parsed) == NULL
           && json_object_equal(parsed, want);
}

static const char *expect_body(const player *p, json_object *expect)
{
    json_object *whole = px_json_get(expect, "body");
    json_object *contains = px_json_get(expect, "body_contains");
    px_buf *have = body_of(p->pool, &p->sent);
    size_t count = contains && json_object_is_type(contains, json_type_array)
                       ? json_object_array_length(contains) : contains != NULL;

    if (whole && !same_body(p->pool, have, whole)) {
        return apr_psprintf(p->pool, "the body is %.300s", have->data);
    }
    for (size_t i = 0; i < count; i++) {
        json_object *item = json_object_is_type(contains, json_type_array)
                                ? json_object_array_get_idx(contains, i) : contains;
        if (!strstr(have->data, json_object_get_string(item))) {
            return apr_psprintf(p->pool, "the body does not contain %.200s: %.300s",
                                json_object_get_string(item), have->data);
        }
    }
    return NULL;
}

static const char *expect_text(const player *p, json_object *expect, const char *name,
                               const char *have)
{
    const char *want = px_json_str(expect, name);

    return !want || strcmp(want, have) == 0
               ? NULL : apr_psprintf(p->pool, "%s is %s, expected %s", name, have, want);
}

static const char *check_expected(const player *p, json_object *exchange)
{
    json_object *expect = px_json_get(exchange, "expect");
    const char *fault;

    if (!expect) {
        return NULL;
    }
    fault = expect_text(p, expect, "method", p->sent.method);
    if (!fault) {
        fault = expect_text(p, expect, "url", p->sent.url);
    }
    if (!fault) {
        fault = expect_headers(p, px_json_get(expect, "headers"));
    }
    if (!fault) {
        fault = expect_parts(p, px_json_get(expect, "parts"));
    }
    return fault ? fault : expect_body(p, expect);
}

/* ---- replies ---- */

/* The bytes end, with their NUL, right before a page that nobody may read. */
static const char *guarded(const char *data, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (len + page) / page * page;
    char *map = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *at;

    if (map == MAP_FAILED) {
        _exit(3);
    }
    mprotect(map + room, page, PROT_NONE);
    at = map + room - len - 1;
    if (len) {
        memcpy(at, data, len);
    }
    return at;
}

static const char *memory_file(apr_pool_t *pool, const char *data, size_t len)
{
    int fd = memfd_create("reply", 0);

    px_child_write(fd, data, len);
    return apr_psprintf(pool, "/proc/self/fd/%d", fd);
}

static void set_headers(player *p, pxs_reply *reply, json_object *headers)
{
    size_t count = headers ? (size_t)json_object_object_length(headers) : 0;
    pxs_header *list = apr_pcalloc(p->pool, sizeof *list * (count + 1));

    reply->headers = list;
    if (headers) {
        json_object_object_foreach(headers, name, value) {
            char *lower = apr_pstrdup(p->pool, name);
            for (char *at = lower; *at; at++) {
                *at = *at >= 'A' && *at <= 'Z' ? (char)(*at + 32) : *at;
            }
            list[reply->header_count].name = lower;
            list[reply->header_count++].value = apr_pstrdup(p->pool, json_object_get_string(value));
        }
    }
}

static uint32_t failure_of(const char *name)
{
    for (uint32_t i = PXS_FAIL_BAD_REQUEST; name && i <= PXS_FAIL_INTERNAL; i++) {
        if (strcmp(px_fail_name((pxs_fail_class)i), name) == 0) {
            return i;
        }
    }
    return 0;
}

/* Hands the body over in the form that the exchange asked for. */
static void set_body(player *p, pxs_reply *reply, const char *data, size_t len)
{
    bool success = reply->status >= 200 && reply->status <= 299;

    reply->body_len = len;
    if (success && p->sent.on_data) {
        for (size_t at = 0; at < len; at += 7) {
            size_t n = len - at < 7 ? len - at : 7;
            if (p->sent.on_data(&p->call, guarded(data + at, n), n) != 0) {
                break;
            }
        }
    } else if (success && p->sent.reply_to_file) {
        reply->path = memory_file(p->pool, data, len);
    } else {
        reply->body = guarded(data, len);
    }
}

static json_object *recorded(const px_case *c, int i, const char *member)
{
    return i < c->exchange_count
               ? px_json_get(json_object_array_get_idx(c->exchanges, (size_t)i), member) : NULL;
}

static pxs_reply *make_reply(player *p, int i)
{
    const px_mutation *m = p->mutation && p->mutation->exchange == i ? p->mutation : NULL;
    pxs_reply *reply = apr_pcalloc(p->pool, sizeof *reply);
    json_object *from = recorded(p->c, i, "reply");
    const char *body = NULL;
    size_t len = 0;

    if (i >= p->c->exchange_count) {
        reply->status = 500;                /* unscripted */
    } else {
        reply->status = (int32_t)px_json_int(from, "status", 200);
        reply->failure = failure_of(px_json_str(from, "failure"));
        body = px_case_bytes(p->pool, from, "body", &len);
    }
    if (reply->failure) {
        reply->status = 0;
        return reply;
    }
    set_headers(p, reply, px_json_get(from, "headers"));
    if (m && m->status) {
        reply->status = m->status > 0 ? m->status : 0;
        reply->failure = m->failure;
    }
    if (reply->status == 0) {
        reply->header_count = 0;
        return reply;
    }
    if (m) {
        body = m->body ? m->body : body;
        len = m->body ? m->body_len : m->body_len < len ? m->body_len : len;
    }
    set_body(p, reply, body ? body : "", len);
    return reply;
}

size_t px_case_reply_len(apr_pool_t *pool, const px_case *c, int i)
{
    json_object *from = recorded(c, i, "reply");
    size_t len = 0;

    px_case_bytes(pool, from, "body", &len);
    return len;
}

/* ---- the end ---- */

static const char *compare_bytes(player *p, const char *name, const pxs_piece *have)
{
    json_object *want = px_json_get(p->c->json, "result");
    size_t len = 0;
    const char *data = px_case_bytes(p->pool, want, name, &len);
    px_buf *got;

    if (!data) {
        return NULL;
    }
    got = px_buf_make(p->pool, 1024);
    add_piece(got, have);
    return got->len == len && memcmp(got->data, data, len) == 0
               ? NULL : apr_psprintf(p->pool, "result.%s has %" APR_SIZE_T_FMT " bytes that differ "
                                     "from the case's %" APR_SIZE_T_FMT,
                                     name, got->len, len);
}

static const char *compare_result(player *p, const px_plugin_info *info, json_object *want)
{
    int count;
    const px_field *fields = px_conform_result_fields(info->kind, p->c->webhook, &count);
    const char *fault = px_conform_compare(p->pool, p->c->result, fields, count, want,
                                           "image image_base64 body body_base64");

    if (!fault && info->kind == PXS_KIND_AI) {
        fault = compare_bytes(p, "image", &((pxs_ai_result *)p->c->result)->image);
    } else if (!fault && info->kind == PXS_KIND_STORAGE) {
        const pxs_storage_result *r = p->c->result;
        pxs_piece piece = { r->body, r->body ? r->len : 0, r->path, 0 };
        fault = compare_bytes(p, "body", &piece);
    }
    return fault;
}

static void touch_result(const player *p)
{
    int count;
    const px_field *fields = px_conform_result_fields(p->c->info->kind, p->c->webhook, &count);
    const char *text;

    for (int i = 0; i < count; i++) {
        if (fields[i].type == PX_FIELD_TEXT) {
            memcpy(&text, (const char *)p->c->result + fields[i].offset, sizeof text);
            touch(text);
        }
    }
}

static const char *judge(player *p, const px_plugin_info *info, pxs_step step)
{
    json_object *want = px_json_get(p->c->json, "result");
    const char *fail = px_json_str(p->c->json, "fail");
    const char *name = px_fail_name((pxs_fail_class)p->call.fail.klass);

    if (!want && !fail) {
        return "the case has neither \"result\" nor \"fail\"";
    }
    if (p->exchanges != p->c->exchange_count) {
        return apr_psprintf(p->pool, "%d of %d recorded exchanges were made (%s)", p->exchanges,
                            p->c->exchange_count, step == PXS_FAIL && p->call.fail.message
                            ? p->call.fail.message : "no message");
    }
    if (fail) {
        return step == PXS_FAIL && strcmp(fail, name) == 0
                   ? NULL : apr_psprintf(p->pool, "it %s, expected the failure %s",
                                         step == PXS_FAIL ? name : "succeeded", fail);
    }
    if (step == PXS_FAIL) {
        return apr_psprintf(p->pool, "it failed (%s: %s)", name,
                            p->call.fail.message ? p->call.fail.message : "no message");
    }
    return compare_result(p, info, want);
}

/* ---- the loop ---- */

static const char *step_fault(player *p, pxs_step step)
{
    if (step < PXS_DONE || step > PXS_FAIL) {
        return apr_psprintf(p->pool, "it returned the unknown step %d", (int)step);
    }
    if (!memchr(p->call.token, '\0', PXS_TOKEN_MAX)) {
        return "it left a token without NUL";
    }
    if (step == PXS_FAIL) {
        if (p->call.fail.klass < PXS_FAIL_BAD_REQUEST || p->call.fail.klass > PXS_FAIL_INTERNAL) {
            return apr_psprintf(p->pool, "it failed with the unknown class %u", p->call.fail.klass);
        }
        touch(p->call.fail.message);
    }
    return step == PXS_SEND ? exchange_fault(p) : NULL;
}

static pxs_step call_once(player *p, const void *ops, void *instance, const pxs_reply *reply)
{
    px_op_fn *verb = px_kind_verb(ops, p->c->verb);

    memset(&p->call.exchange, 0, sizeof p->call.exchange);
    memset(&p->call.fail, 0, sizeof p->call.fail);
    p->call.reply = reply;
    p->call.now_usec = p->c->now_usec;
    return verb(instance, &p->call, p->c->request, p->c->result);
}

static const pxs_reply *perform(player *p)
{
    int i = p->exchanges++;
    bool strict = p->c->recorded && !p->mutation;

    p->sent = p->call.exchange;
    if (strict && i >= p->c->exchange_count) {
        p->fault = apr_psprintf(p->pool, "it asks for exchange %d (%s %s), the case has %d", i + 1,
                                p->sent.method, p->sent.url, p->c->exchange_count);
        return NULL;
    }
    if (strict) {
        const char *fault = check_expected(p, json_object_array_get_idx(p->c->exchanges,
                                                                        (size_t)i));
        p->fault = fault ? apr_psprintf(p->pool, "exchange %d: %s", i + 1, fault) : NULL;
    } else {
        (void)body_of(p->pool, &p->sent);   /* reads everything that would be sent */
    }
    return make_reply(p, i);
}

/* After WAIT the call is a new one, as after a restart: only phase and token are left. */
static void restart(player *p)
{
    p->call.state = NULL;
    p->call.reply = NULL;
}

const char *px_case_play(apr_pool_t *pool, const px_case *c, const void *ops, void *instance,
                         const px_mutation *mutation)
{
    player *p = apr_pcalloc(pool, sizeof *p);
    const pxs_reply *reply = NULL;
    const px_plugin_info *info = mutation ? NULL : c->info;
    pxs_step step = PXS_FAIL;

    p->pool = pool;
    p->c = c;
    p->mutation = mutation;
    px_call_init(&p->call, p, on_alloc, on_log, on_emit);
    p->call.idempotency_key = "case-key";
    memset((char *)c->result + sizeof(uint32_t), 0, c->result_size - sizeof(uint32_t));
    if (c->info->kind == PXS_KIND_AI && (c->info->caps & PXS_CAP_BLOCKING)) {
        ((pxs_ai_result *)c->result)->output_path = memory_file(pool, "", 0);
    }
    for (int steps = 0; steps < STEPS_MAX; steps++) {
        step = call_once(p, ops, instance, reply);
        p->fault = step_fault(p, step);
        if (p->fault) {
            return p->fault;
        }
        if (step == PXS_DONE) {
            touch_result(p);
        }
        if (step == PXS_DONE || step == PXS_FAIL) {
            return info && c->recorded ? judge(p, info, step) : NULL;
        }
        reply = NULL;
        if (step == PXS_WAIT) {
            restart(p);
            continue;
        }
        reply = perform(p);
        if (p->fault) {
            return p->fault;
        }
    }
    return "it does not come to an end: 100 steps and still no result";
}
