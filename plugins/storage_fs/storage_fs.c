/* storage_fs: objects are files below one folder.  The host does the work (file: exchanges are
 * atomic and cannot leave Root); this plugin says which file an object is. */
#include <pixshift/plugin.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_ROOT, OPT_FSYNC, OPT_COUNT };

static const pxs_option options[OPT_COUNT] = {
    { "Root", PXS_OPT_STRING, 1, NULL, 0, 0, NULL,
      "Absolute path of the folder that holds the objects; only the service may read it." },
    { "Fsync", PXS_OPT_BOOLEAN, 0, "On", 0, 0, NULL,
      "Flush each object and its folder to the disk before it counts as stored." },
};

typedef struct {
    char *root;             /* percent-encoded, without trailing slash */
    int fsync;
} store;

/* Unreserved characters and '/' stay; everything else is percent-encoded. */
static size_t encode(const char *text, char *out)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = 0;

    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        int plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9')
                    || strchr("/._-~", *p) != NULL;
        if (plain) {
            out[n++] = (char)*p;
        } else {
            out[n++] = '%';
            out[n++] = hex[*p >> 4];
            out[n++] = hex[*p & 15];
        }
    }
    out[n] = '\0';
    return n;
}

static int open_store(const pxs_value *values, void **instance, char *error, size_t error_size)
{
    const char *root = values[OPT_ROOT].text;
    store *s;
    size_t len;

    if (!root || root[0] != '/' || root[1] == '\0') {
        snprintf(error, error_size, "Root must be an absolute path below /");
        return -1;
    }
    s = calloc(1, sizeof *s);
    if (s) {
        s->root = malloc(strlen(root) * 3 + 1);
    }
    if (!s || !s->root) {
        free(s);
        snprintf(error, error_size, "out of memory");
        return -1;
    }
    len = encode(root, s->root);
    while (len > 1 && s->root[len - 1] == '/') {
        s->root[--len] = '\0';
    }
    s->fsync = values[OPT_FSYNC].number != 0;
    *instance = s;
    return 0;
}

static void close_store(void *instance)
{
    store *s = instance;

    if (s) {
        free(s->root);
        free(s);
    }
}

static pxs_step fail(pxs_call *call, pxs_fail_class klass, const char *message)
{
    call->fail.klass = klass;
    call->fail.message = message;
    return PXS_FAIL;
}

static pxs_header *one_header(pxs_call *call, const char *name, const char *value)
{
    pxs_header *header = call->alloc(call, sizeof *header);

    header->name = name;
    header->value = value;
    call->exchange.headers = header;
    call->exchange.header_count = 1;
    return header;
}

static void ask(const store *s, pxs_call *call, const char *method, const char *key)
{
    size_t size = strlen("file://") + strlen(s->root) + 1 + strlen(key) * 3 + 1;
    char *url = call->alloc(call, size);
    int n = snprintf(url, size, "file://%s/", s->root);

    encode(key, url + n);
    call->exchange.method = method;
    call->exchange.url = url;
    call->exchange.idempotent = 1;
    if (!s->fsync) {
        one_header(call, "x-fsync", "off");
    }
}

static pxs_step no_reply(pxs_call *call)
{
    if (call->reply->status == 404) {
        return fail(call, PXS_FAIL_NOT_FOUND, "there is no such object");
    }
    return fail(call, call->reply->failure ? (pxs_fail_class)call->reply->failure
                                           : PXS_FAIL_UNAVAILABLE,
                "the folder cannot be read or written");
}

static pxs_step put(void *instance, pxs_call *call, const pxs_storage_request *request,
                    pxs_storage_result *result)
{
    if (!call->reply) {
        ask(instance, call, "PUT", request->key);
        call->exchange.pieces = &request->content;
        call->exchange.piece_count = 1;
        return PXS_SEND;
    }
    if (call->reply->status < 200 || call->reply->status > 299) {
        return no_reply(call);
    }
    result->len = request->content.len;
    return PXS_DONE;
}

static pxs_step get(void *instance, pxs_call *call, const pxs_storage_request *request,
                    pxs_storage_result *result)
{
    if (!call->reply) {
        ask(instance, call, "GET", request->key);
        call->exchange.reply_to_file = request->to_file;
        call->exchange.reply_limit = 64u * 1024 * 1024;
        if (!request->to_file && request->range_first >= 0) {
            char *range = call->alloc(call, 64);
            if (request->range_last >= 0) {
                snprintf(range, 64, "bytes=%lld-%lld", (long long)request->range_first,
                         (long long)request->range_last);
            } else {
                snprintf(range, 64, "bytes=%lld-", (long long)request->range_first);
            }
            one_header(call, "range", range);
        }
        return PXS_SEND;
    }
    if (call->reply->status != 200 && call->reply->status != 206) {
        return no_reply(call);
    }
    result->path = call->reply->path;
    result->body = call->reply->body;
    result->len = call->reply->body_len;
    return PXS_DONE;
}

static pxs_step del(void *instance, pxs_call *call, const pxs_storage_request *request,
                    pxs_storage_result *result)
{
    (void)result;
    if (!call->reply) {
        ask(instance, call, "DELETE", request->key);
        return PXS_SEND;
    }
    if (call->reply->status == 404 || (call->reply->status >= 200 && call->reply->status <= 299)) {
        return PXS_DONE;
    }
    return no_reply(call);
}

static const pxs_storage_ops ops = {
    .size = sizeof ops,
    .caps = PXS_STORAGE_RANGES,
    .open = open_store,
    .close = close_store,
    .put = put,
    .get = get,
    .del = del,
};

static const pxs_plugin plugin = {
    .magic = PXS_MAGIC,
    .abi_major = PXS_ABI_MAJOR,
    .abi_minor = PXS_ABI_MINOR,
    .size = sizeof plugin,
    .kind = PXS_KIND_STORAGE,
    .name = "storage_fs",
    .version = "1.0",
    .summary = "Stores images as files below one folder of this machine.",
    .option_size = sizeof(pxs_option),
    .option_count = OPT_COUNT,
    .options = options,
    .ops = &ops,
};

const pxs_plugin *pixshift_plugin(void)
{
    return &plugin;
}
