/* Reading a recorded case: docs/plugins/writing.md has the format. */
#include "conform.h"
#include "base/id.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CASE_MAX (16 * 1024 * 1024)

static const struct { const char *name; uint32_t bit; } ai_operations[] = {
    { "edit", PXS_AI_EDIT }, { "compose", PXS_AI_COMPOSE }, { "generate", PXS_AI_GENERATE },
    { "enhance", PXS_AI_ENHANCE }, { "chat", PXS_AI_CHAT },
};

const char *px_case_bytes(apr_pool_t *pool, json_object *from, const char *name, size_t *len)
{
    const char *coded = px_json_str(from, apr_pstrcat(pool, name, "_base64", NULL));
    json_object *value = px_json_get(from, name);
    const char *text;

    if (coded) {
        return (const char *)px_b64_decode(pool, coded, strlen(coded), len);
    }
    if (!value) {
        return NULL;
    }
    if (json_object_is_type(value, json_type_string)) {
        *len = (size_t)json_object_get_string_len(value);
        return apr_pstrmemdup(pool, json_object_get_string(value), *len);
    }
    text = json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN
                                                     | JSON_C_TO_STRING_NOSLASHESCAPE);
    text = apr_pstrdup(pool, text);
    *len = strlen(text);
    return text;
}

/* Bytes as a file that the plugin may only name, never open. */
static const char *as_file(apr_pool_t *pool, const char *data, size_t len)
{
    int fd = memfd_create("case", 0);

    if (fd < 0) {
        return NULL;
    }
    px_child_write(fd, data, len);
    return apr_psprintf(pool, "/proc/self/fd/%d", fd);
}

/* ---- the parts of an ai request that are lists ---- */

static const char *fill_images(apr_pool_t *pool, pxs_ai_request *request, json_object *list)
{
    size_t count = list ? json_object_array_length(list) : 0;
    pxs_image *images = apr_pcalloc(pool, sizeof *images * (count + 1));

    for (size_t i = 0; i < count; i++) {
        json_object *from = json_object_array_get_idx(list, i);
        size_t len = 0;
        const char *data = px_case_bytes(pool, from, "content", &len);
        images[i].role = px_json_str(from, "role");
        images[i].mime = px_json_str(from, "mime");
        images[i].width = (uint32_t)px_json_int(from, "width", 512);
        images[i].height = (uint32_t)px_json_int(from, "height", 512);
        if (!data || !images[i].role || !images[i].mime) {
            return "each of request.images needs role, mime and content or content_base64";
        }
        images[i].len = len;
        images[i].path = as_file(pool, data, len);
    }
    request->images = images;
    request->image_count = (uint32_t)count;
    return NULL;
}

static const pxs_param *params_of(apr_pool_t *pool, json_object *from, uint32_t *count)
{
    size_t size = from ? (size_t)json_object_object_length(from) : 0;
    pxs_param *params = apr_pcalloc(pool, sizeof *params * (size + 1));

    *count = 0;
    if (from) {
        json_object_object_foreach(from, name, value) {
            params[*count].name = apr_pstrdup(pool, name);
            params[(*count)++].value = apr_pstrdup(pool, json_object_get_string(value));
        }
    }
    return params;
}

static void fill_messages(apr_pool_t *pool, pxs_ai_request *request, json_object *list)
{
    size_t count = list ? json_object_array_length(list) : 0;
    pxs_message *messages = apr_pcalloc(pool, sizeof *messages * (count + 1));

    for (size_t i = 0; i < count; i++) {
        json_object *from = json_object_array_get_idx(list, i);
        messages[i].role = px_json_str(from, "role");
        messages[i].text = px_json_str(from, "text");
    }
    request->messages = messages;
    request->message_count = (uint32_t)count;
}

static uint32_t ai_bit(const char *operation)
{
    for (size_t i = 0; i < sizeof ai_operations / sizeof *ai_operations; i++) {
        if (strcmp(ai_operations[i].name, operation) == 0) {
            return ai_operations[i].bit;
        }
    }
    return 0;
}

static const char *fill_ai(apr_pool_t *pool, pxs_ai_request *request, json_object *from,
                           const char *operation)
{
    request->operation = ai_bit(operation);
    if (!request->request_id) {
        request->request_id = "case";
    }
    request->params = params_of(pool, px_json_get(from, "params"), &request->param_count);
    fill_messages(pool, request, px_json_get(from, "messages"));
    return fill_images(pool, request, px_json_get(from, "images"));
}

/* ---- other requests ---- */

static void fill_webhook(apr_pool_t *pool, pxs_pay_webhook *webhook, json_object *from,
                         int64_t now_usec)
{
    json_object *headers = px_json_get(from, "headers");
    size_t size = headers ? (size_t)json_object_object_length(headers) : 0;
    pxs_header *list = apr_pcalloc(pool, sizeof *list * (size + 1));
    size_t len = 0;

    webhook->body = px_case_bytes(pool, from, "body", &len);
    webhook->body_len = len;
    webhook->now_usec = now_usec;
    webhook->headers = list;
    if (headers) {
        json_object_object_foreach(headers, name, value) {
            list[webhook->header_count].name = apr_pstrdup(pool, name);
            list[webhook->header_count++].value = apr_pstrdup(pool, json_object_get_string(value));
        }
    }
}

/* Members that are no scalars, after the scalars. */
static const char *fill_special(apr_pool_t *pool, const px_plugin_info *info, px_case *c,
                                json_object *from, const char *operation)
{
    if (info->kind == PXS_KIND_AI) {
        return fill_ai(pool, c->request, from, operation);
    }
    if (c->webhook) {
        fill_webhook(pool, c->request, from, c->now_usec);
    } else if (info->kind == PXS_KIND_STORAGE) {
        pxs_storage_request *request = c->request;
        size_t len = 0;
        request->content.data = px_case_bytes(pool, from, "content", &len);
        request->content.len = len;
    } else if (info->kind == PXS_KIND_PAY) {
        pxs_pay_request *request = c->request;
        request->params = params_of(pool, px_json_get(from, "params"), &request->param_count);
    } else if (info->kind == PXS_KIND_IDENTITY) {
        ((pxs_identity_request *)c->request)->now_usec = c->now_usec;
    }
    return NULL;
}

static const px_verb *find_verb(const px_plugin_info *info, const char *operation)
{
    const px_kind *kind = px_kind_find(info->kind);

    if (info->kind == PXS_KIND_AI) {
        return ai_bit(operation) ? &kind->verbs[0] : NULL;
    }
    for (int i = 0; i < kind->verb_count; i++) {
        if (strcmp(kind->verbs[i].name, operation) == 0) {
            return &kind->verbs[i];
        }
    }
    return NULL;
}

static void *sized(apr_pool_t *pool, size_t size)
{
    uint32_t *head = apr_pcalloc(pool, size);

    *head = (uint32_t)size;             /* every request and result begins with its size */
    return head;
}

/* json-c ends the process when a list is no list, so the shapes are looked at first. */
static const char *shape_fault(apr_pool_t *pool, json_object *json)
{
    static const struct { bool in_request; const char *name; enum json_type type; } shapes[] = {
        { false, "options", json_type_object }, { false, "request", json_type_object },
        { false, "exchanges", json_type_array }, { false, "result", json_type_object },
        { true, "images", json_type_array }, { true, "messages", json_type_array },
        { true, "params", json_type_object }, { true, "headers", json_type_object },
    };

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        json_object *in = shapes[i].in_request ? px_json_get(json, "request") : json;
        json_object *value = px_json_get(in, shapes[i].name);
        if (value && !json_object_is_type(value, shapes[i].type)) {
            return apr_psprintf(pool, "\"%s\" must be %s", shapes[i].name,
                                shapes[i].type == json_type_array ? "a list" : "an object");
        }
    }
    return NULL;
}

static const char *exchanges_fault(apr_pool_t *pool, json_object *list)
{
    size_t count = list ? json_object_array_length(list) : 0;

    for (size_t i = 0; i < count; i++) {
        json_object *exchange = json_object_array_get_idx(list, i);
        json_object *reply = px_json_get(exchange, "reply");
        json_object *expect = px_json_get(exchange, "expect");
        json_object *maps[] = { px_json_get(reply, "headers"), px_json_get(expect, "headers"),
                                px_json_get(expect, "parts"), expect };
        if (!json_object_is_type(reply, json_type_object)) {
            return apr_psprintf(pool, "exchange %d has no \"reply\"", (int)i + 1);
        }
        for (int m = 0; m < 4; m++) {
            if (maps[m] && !json_object_is_type(maps[m], json_type_object)) {
                return apr_psprintf(pool, "exchange %d: expect, headers and parts must be objects",
                                    (int)i + 1);
            }
        }
    }
    return NULL;
}

static const char *build(apr_pool_t *pool, const px_plugin_info *info, px_case *c)
{
    const char *operation = px_json_str(c->json, "operation");
    json_object *request = px_json_get(c->json, "request");
    const px_field *fields;
    const char *fault = shape_fault(pool, c->json);
    int count;

    if (!fault) {
        fault = exchanges_fault(pool, px_json_get(c->json, "exchanges"));
    }
    if (fault) {
        return fault;
    }
    c->info = info;
    c->verb = operation ? find_verb(info, operation) : NULL;
    if (!c->verb) {
        return apr_psprintf(pool, "\"operation\" names nothing that %s plugins do",
                            px_kind_find(info->kind)->name);
    }
    c->webhook = strcmp(c->verb->name, "verify_event") == 0
                 || strcmp(c->verb->name, "parse_event") == 0;
    c->now_usec = px_json_int(c->json, "now", 1800000000) * 1000000;
    c->exchanges = px_json_get(c->json, "exchanges");
    c->exchange_count = c->exchanges ? (int)json_object_array_length(c->exchanges) : 0;
    c->request = sized(pool, c->verb->request_size);
    c->result_size = c->verb->result_size;
    c->result = sized(pool, c->result_size);
    if (info->kind == PXS_KIND_STORAGE) {
        ((pxs_storage_request *)c->request)->range_first = -1;
        ((pxs_storage_request *)c->request)->range_last = -1;
    }
    fields = px_conform_request_fields(info->kind, c->webhook, &count);
    fault = px_conform_fill(pool, c->request, fields, count, request,
                            "images params messages content content_base64 body body_base64 "
                            "headers");
    return fault ? fault : fill_special(pool, info, c, request, operation);
}

static char *read_file(apr_pool_t *pool, const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *data = NULL;
    ssize_t n;

    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= CASE_MAX) {
        data = apr_pcalloc(pool, (apr_size_t)st.st_size + 1);
        n = read(fd, data, (size_t)st.st_size);
        *len = n < 0 ? 0 : (size_t)n;
    }
    if (fd >= 0) {
        close(fd);
    }
    return data;
}

const char *px_case_load(apr_pool_t *pool, const px_plugin_info *info, const char *path,
                         px_case **out)
{
    px_case *c = apr_pcalloc(pool, sizeof *c);
    const char *base = strrchr(path, '/');
    size_t len = 0;
    char *text = read_file(pool, path, &len);
    px_err *err;

    c->name = base ? base + 1 : path;
    c->recorded = true;
    if (!text) {
        return "the file cannot be read";
    }
    err = px_json_parse(pool, text, len, NULL, &c->json);
    if (err || !json_object_is_type(c->json, json_type_object)) {
        return err ? apr_psprintf(pool, "no valid JSON: %s", err->text) : "no JSON object";
    }
    *out = c;
    return build(pool, info, c);
}

static const char *made_up(const px_plugin_info *info)
{
    static const char *const ai[] = {
        "{\"operation\":\"edit\",\"request\":{\"prompt\":\"sepia\",\"images\":[{\"role\":\"input\","
        "\"mime\":\"image/png\",\"content\":\"no picture\"}]}}",
        "{\"operation\":\"compose\",\"request\":{\"prompt\":\"\",\"images\":[{\"role\":\"person\","
        "\"mime\":\"image/png\",\"content\":\"no picture\"},{\"role\":\"top\",\"mime\":"
        "\"image/png\",\"content\":\"no picture\"}]}}",
        "{\"operation\":\"generate\",\"request\":{\"prompt\":\"a red hat\"}}",
        "{\"operation\":\"enhance\",\"request\":{\"prompt\":\"\",\"images\":[{\"role\":\"input\","
        "\"mime\":\"image/png\",\"content\":\"no picture\"}],\"params\":{\"scale\":\"2\"}}}",
        "{\"operation\":\"chat\",\"request\":{\"prompt\":\"\",\"messages\":[{\"role\":\"user\","
        "\"text\":\"hello\"}]}}",
    };

    switch (info->kind) {
    case PXS_KIND_AI:
        for (int i = 0; i < 5; i++) {
            if (info->caps & (1u << i)) {
                return ai[i];
            }
        }
        return ai[0];
    case PXS_KIND_STORAGE:
        return "{\"operation\":\"get\",\"request\":{\"key\":\"uploads/u/i.jpg\"}}";
    case PXS_KIND_MESSAGE:
        return info->caps & PXS_MESSAGE_EMAIL
                   ? "{\"operation\":\"send\",\"request\":{\"channel\":2,\"message_id\":\"m1\","
                     "\"to\":\"a@example.com\",\"subject\":\"s\",\"text\":\"t\"}}"
                   : "{\"operation\":\"send\",\"request\":{\"channel\":1,\"message_id\":\"m1\","
                     "\"to\":\"+15005550006\",\"text\":\"t\"}}";
    case PXS_KIND_PAY:
        return "{\"operation\":\"query\",\"request\":{\"order_id\":\"o1\",\"remote_id\":\"r1\","
               "\"amount_minor\":99,\"currency\":\"USD\"}}";
    default:
        return info->caps & PXS_IDENTITY_OIDC
                   ? "{\"operation\":\"authorize_url\",\"request\":{\"redirect_uri\":"
                     "\"https://example.com/cb\",\"state\":\"s\",\"nonce\":\"n\","
                     "\"code_challenge\":\"c\"}}"
                   : "{\"operation\":\"profile\",\"request\":{\"token\":\"t\"}}";
    }
}

const char *px_case_make(apr_pool_t *pool, const px_plugin_info *info, px_case **out)
{
    px_case *c = apr_pcalloc(pool, sizeof *c);
    const char *text = made_up(info);
    px_err *err = px_json_parse(pool, text, strlen(text), NULL, &c->json);

    c->name = "built-in case";
    *out = c;
    return err ? err->text : build(pool, info, c);
}

/* ---- option values ---- */

/* A value that fits when the case gives none. */
static const char *plausible(apr_pool_t *pool, const pxs_option *o)
{
    switch (o->type) {
    case PXS_OPT_INTEGER:
        return apr_psprintf(pool, "%" APR_INT64_T_FMT, (apr_int64_t)o->min);
    case PXS_OPT_BOOLEAN:
        return "On";
    case PXS_OPT_DURATION:
        return apr_psprintf(pool, "%" APR_INT64_T_FMT "ms", (apr_int64_t)(o->min ? o->min : 1000));
    case PXS_OPT_SIZE:
        return apr_psprintf(pool, "%" APR_INT64_T_FMT, (apr_int64_t)(o->min ? o->min : 1024));
    case PXS_OPT_URL:
        return "https://vendor.invalid/";
    case PXS_OPT_ENUM:
        return o->choices[0];
    case PXS_OPT_SECRET:
        return "secret-of-the-check";
    default:
        return "/tmp/pixshift-plugin-check";
    }
}

static const char *option_text(apr_pool_t *pool, const pxs_option *o, json_object *given)
{
    json_object *value = px_json_get(given, o->name);

    if (value) {
        return json_object_get_string(value);
    }
    if (o->default_value) {
        return o->default_value;
    }
    return o->required ? plausible(pool, o) : NULL;
}

static const char *unknown_option(apr_pool_t *pool, const px_plugin_info *info, json_object *given)
{
    if (!given) {
        return NULL;
    }
    json_object_object_foreach(given, name, value) {
        int i = 0;
        (void)value;
        while (i < info->option_count && strcmp(info->options[i].name, name) != 0) {
            i++;
        }
        if (i == info->option_count) {
            return apr_psprintf(pool, "options.%s is no option of the plugin", name);
        }
    }
    return NULL;
}

/* One mapping holds the table and then the strings. */
static char *map_pages(const px_plugin_info *info, const char **texts, size_t *size)
{
    void *pages;

    *size = sizeof(pxs_value) * (size_t)(info->option_count + 1);
    for (int i = 0; i < info->option_count; i++) {
        *size += texts[i] ? strlen(texts[i]) + 1 : 0;
    }
    pages = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

const char *px_case_values(apr_pool_t *pool, const px_plugin_info *info, const px_case *c,
                           pxs_value **values, void **pages, size_t *size)
{
    json_object *given = px_json_get(c->json, "options");
    const char **texts = apr_pcalloc(pool, sizeof *texts * (size_t)(info->option_count + 1));
    const char *fault = unknown_option(pool, info, given);
    char *at;

    for (int i = 0; i < info->option_count; i++) {
        texts[i] = option_text(pool, &info->options[i], given);
    }
    at = map_pages(info, texts, size);
    if (fault || !at) {
        return fault ? fault : "out of memory";
    }
    *pages = at;
    *values = (pxs_value *)(void *)at;
    at += sizeof(pxs_value) * (size_t)(info->option_count + 1);
    for (int i = 0; i < info->option_count && !fault; i++) {
        if (!texts[i]) {
            continue;
        }
        memcpy(at, texts[i], strlen(texts[i]) + 1);
        fault = px_option_parse(pool, &info->options[i], at, &(*values)[i]);
        if (fault) {
            fault = apr_psprintf(pool, "options.%s %s", info->options[i].name, fault);
        }
        at += strlen(texts[i]) + 1;
    }
    return fault;
}
