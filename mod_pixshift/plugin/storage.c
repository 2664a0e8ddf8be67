/* Objects: putting, getting and deleting files through the configured storage plugin. */
#include "plugin_internal.h"

#include <apr_strings.h>
#include <string.h>
#include <sys/stat.h>

bool px_storage_key_fine(const char *key)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789/._-";
    size_t len = key ? strlen(key) : 0;

    if (len == 0 || len > 512 || key[0] == '/' || key[len - 1] == '/'
        || strspn(key, allowed) != len) {
        return false;
    }
    for (const char *part = key; part; part = strchr(part, '/')) {
        size_t n;
        part += *part == '/';
        n = strcspn(part, "/");
        if (n == 0 || (part[0] == '.' && (n == 1 || (n == 2 && part[1] == '.')))) {
            return false;
        }
    }
    return true;
}

static px_err *storage_of(const px_app *app, apr_pool_t *pool, const char *key, px_instance **out)
{
    *out = app->plugins ? px_registry_storage(app->plugins) : NULL;
    if (!*out) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS3110", "no storage plugin is configured");
    }
    if (!px_storage_key_fine(key)) {
        return px_error(pool, PX_E_NOT_FOUND, NULL, NULL);
    }
    return NULL;
}

/* The verbs of an opened storage instance. */
static const pxs_storage_ops *ops_of(const px_instance *instance)
{
    return instance->ops;
}

/* A storage that does not answer is our own outage, not that of "the image service". */
static px_err *as_outage(apr_pool_t *pool, px_err *err)
{
    if (!err || err->id == PX_E_NOT_FOUND) {
        return err;
    }
    return px_error(pool, PX_E_UNAVAILABLE, "PXS3113", "%s", err->cause ? err->cause : err->text);
}

typedef enum { VERB_PUT, VERB_GET, VERB_DELETE } storage_verb;

static px_err *run(apr_pool_t *pool, px_net *net, px_instance *instance, storage_verb verb,
                   const pxs_storage_request *request, pxs_storage_result *result, bool *temporary)
{
    const pxs_storage_ops *ops = ops_of(instance);
    px_net_options options = { .name = px_instance_name(instance), .attempts = 3,
                               .backoff_ms = 200 };
    px_op_fn *fn;

    if (!ops) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS3103",
                        "plugin %s is not opened in this process",
                        px_instance_name(instance));
    }
    fn = (px_op_fn *)(void *)(verb == VERB_PUT ? ops->put : verb == VERB_GET ? ops->get : ops->del);
    result->size = sizeof *result;
    return as_outage(pool, px_op_run_told(pool, net, instance, fn, request, result, &options,
                                          temporary));
}

px_err *px_storage_put_file(const px_app *app, px_net *net, apr_pool_t *pool, const char *key,
                            const char *content_type, const char *path, uint64_t len)
{
    pxs_storage_request request = { .size = sizeof request, .key = key, .range_first = -1,
                                    .range_last = -1, .content_type = content_type,
                                    .content = { .path = path, .len = len } };
    pxs_storage_result result = { 0 };
    px_instance *instance;
    bool temporary;
    px_err *err = storage_of(app, pool, key, &instance);

    return err ? err : run(pool, net, instance, VERB_PUT, &request, &result, &temporary);
}

/* A plugin that answers from memory (it should not) has no path to hand out. */
static px_err *path_of(apr_pool_t *pool, const px_instance *instance,
                       const pxs_storage_result *result,
                       const char **path, uint64_t *len)
{
    struct stat st;

    if (!result->path || stat(result->path, &st) != 0) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS3111", "plugin %s delivered no file",
                        px_instance_name(instance));
    }
    *path = apr_pstrdup(pool, result->path);
    *len = (uint64_t)st.st_size;
    return NULL;
}

px_err *px_storage_get_file(const px_app *app, px_net *net, apr_pool_t *pool, const char *key,
                            const char **path, uint64_t *len, bool *temporary)
{
    pxs_storage_request request = { .size = sizeof request, .key = key, .range_first = -1,
                                    .range_last = -1, .to_file = 1 };
    pxs_storage_result result = { 0 };
    px_instance *instance;
    px_err *err = storage_of(app, pool, key, &instance);

    if (!err) {
        err = run(pool, net, instance, VERB_GET, &request, &result, temporary);
    }
    return err ? err : path_of(pool, instance, &result, path, len);
}

px_err *px_storage_delete(const px_app *app, px_net *net, apr_pool_t *pool, const char *key)
{
    pxs_storage_request request = { .size = sizeof request, .key = key, .range_first = -1,
                                    .range_last = -1 };
    pxs_storage_result result = { 0 };
    px_instance *instance;
    bool temporary;
    px_err *err = storage_of(app, pool, key, &instance);

    if (!err) {
        err = run(pool, net, instance, VERB_DELETE, &request, &result, &temporary);
    }
    return err && err->id == PX_E_NOT_FOUND ? NULL : err;
}
