/* Reading a descriptor without keeping the plugin: a forked child loads and checks it and writes
 * the result, or the sentence of refusal, to a pipe. */
#include "plugin_internal.h"

#include <apr_strings.h>
#include <string.h>

#define LIMIT_MS 5000

typedef struct {
    apr_pool_t *pool;
    const char *path;
    bool strict;
} question;

static void describe_here(void *baton, int fd)
{
    question *q = baton;
    px_plugin *plugin;
    const char *fault = px_plugin_load(q->pool, q->path, q->strict, &plugin);
    px_buf *out;

    if (fault) {
        px_child_write(fd, "E", 1);
        px_child_write(fd, fault, strlen(fault));
        return;
    }
    out = px_buf_make(q->pool, 4096);
    px_buf_add(out, "I", 1);
    px_info_write(out, px_descriptor_copy(q->pool, plugin->descriptor));
    px_child_write(fd, out->data, out->len);
}

const char *px_plugin_describe(apr_pool_t *pool, const char *path, bool strict,
                               px_plugin_info **info)
{
    question q = { pool, path, strict };
    const char *fault;
    px_buf *answer = px_child_run(pool, LIMIT_MS, describe_here, &q, &fault);

    *info = NULL;
    if (fault) {
        return apr_psprintf(pool, "%s while its descriptor was read", fault);
    }
    if (answer->len > 0 && answer->data[0] == 'E') {
        return apr_pstrdup(pool, answer->data + 1);
    }
    if (answer->len > 0 && answer->data[0] == 'I') {
        *info = px_info_read(pool, answer->data + 1, answer->len - 1);
    }
    return *info ? NULL : "it ended the process while its descriptor was read";
}
