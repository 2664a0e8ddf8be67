/* The configured instances of a process: which plugins there are, and those of them that this
 * process uses, opened. */
#include "plugin_internal.h"
#include "base/log.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

const char *px_plugin_path(apr_pool_t *pool, const px_settings *settings, const char *file)
{
    const char *folder = px_set_str(settings, PX_S_PLUGIN_DIR);

    if (file[0] == '/') {
        return apr_pstrdup(pool, file);
    }
    return apr_pstrcat(pool, folder ? folder : PX_PLUGINDIR, "/", file, NULL);
}

/* A section's file is a plain name below the plugin folder, or absolute. */
static const char *file_fault(const char *file)
{
    if (!file || !file[0]) {
        return "no file is named";
    }
    if (file[0] != '/' && strchr(file, '/')) {
        return "the file must be a plain name or an absolute path";
    }
    return NULL;
}

/* configtest describes every plugin in httpd's parent; children inherit what it found by fork
 * and need not load anything to know it. */
const char *px_plugin_info_cached(apr_pool_t *pool, const px_settings *settings, const char *path,
                                  const px_plugin_info **info)
{
    apr_pool_t *keep = settings->pool ? settings->pool : pool;
    const char *key = apr_pstrcat(pool, "pixshift-plugin-info:", path, NULL);
    px_plugin_info *found = NULL;
    void *data = NULL;
    const char *fault;

    apr_pool_userdata_get(&data, key, keep);
    if (data) {
        *info = data;
        return NULL;
    }
    fault = px_plugin_describe(keep, path, px_settings_production(settings), &found);
    if (!fault) {
        apr_pool_userdata_set(found, key, apr_pool_cleanup_null, keep);
    }
    *info = found;
    return fault;
}

const char *px_file_root_of(const px_plugin_info *info, const pxs_value *values)
{
    if (info->kind != PXS_KIND_STORAGE && info->kind != PXS_KIND_MESSAGE) {
        return NULL;
    }
    for (int i = 0; i < info->option_count; i++) {
        const char *name = info->options[i].name;
        if ((strcmp(name, "Root") == 0 || strcmp(name, "Folder") == 0) && values[i].is_set
            && values[i].text && values[i].text[0] == '/') {
            return values[i].text;
        }
    }
    return NULL;
}

/* ---- opening ---- */

static const char *open_instance(apr_pool_t *pool, const px_settings *settings,
                                 px_instance *instance)
{
    px_buf *faults = px_buf_make(pool, 64);
    bool production = px_settings_production(settings);
    const px_ops_head *ops;
    char error[512] = "";
    const char *fault;

    if (!px_plugin_options(pool, instance->info, instance->section, production, true,
                           &instance->values, faults)) {
        return faults->data;
    }
    if (px_instance_blocking(instance)) {
        return NULL;                    /* the helper opens it */
    }
    instance->file_root = px_file_root_of(instance->info, instance->values);
    fault = px_plugin_load(pool, instance->path, production, &instance->plugin);
    if (fault) {
        return fault;
    }
    if (instance->plugin->descriptor->option_count != (uint32_t)instance->info->option_count) {
        return "its file changed since the configuration was checked";
    }
    ops = instance->plugin->descriptor->ops;
    if (ops->open(instance->values, &instance->opened, error, sizeof error) != 0) {
        error[sizeof error - 1] = '\0';
        return apr_psprintf(pool, "it does not open: %s", error[0] ? error : "no reason given");
    }
    instance->ops = ops;
    return NULL;
}

/* Runs before the plugins are unloaded: cleanups run last in, first out, and this one is registered
 * after the loads. */
static apr_status_t close_all(void *data)
{
    px_registry *registry = data;

    for (int i = registry->count - 1; i >= 0; i--) {
        px_instance *instance = registry->instances[i];
        if (instance->ops) {
            ((const px_ops_head *)instance->ops)->close(instance->opened);
            instance->ops = NULL;
        }
    }
    return APR_SUCCESS;
}

static px_err *refuse(apr_pool_t *pool, const px_plugin_section *section, const char *fault)
{
    return px_error(pool, PX_E_UNAVAILABLE, "PXS3100", "plugin %s (%s): %s", section->name,
                    section->file, fault);
}

px_err *px_registry_open(apr_pool_t *pool, const px_settings *settings, unsigned kinds,
                         px_registry **out)
{
    px_registry *registry = apr_pcalloc(pool, sizeof *registry);
    px_err *err = NULL;
    int count = 0;

    for (const px_plugin_section *s = settings->plugins; s; s = s->next) {
        count++;
    }
    registry->pool = pool;
    registry->settings = settings;
    registry->instances = apr_pcalloc(pool, sizeof(px_instance *) * (size_t)(count + 1));
    for (const px_plugin_section *s = settings->plugins; s && !err; s = s->next) {
        px_instance *instance = apr_pcalloc(pool, sizeof *instance);
        const char *fault = file_fault(s->file);
        pthread_mutex_init(&instance->lock, NULL);
        instance->section = s;
        instance->path = fault ? NULL : px_plugin_path(pool, settings, s->file);
        if (!fault) {
            fault = px_plugin_info_cached(pool, settings, instance->path, &instance->info);
        }
        if (!fault && (kinds & (1u << instance->info->kind))) {
            fault = open_instance(pool, settings, instance);
        }
        registry->instances[registry->count++] = instance;
        err = fault ? refuse(pool, s, fault) : NULL;
    }
    if (err) {
        close_all(registry);
        return err;
    }
    apr_pool_cleanup_register(pool, registry, close_all, apr_pool_cleanup_null);
    *out = registry;
    return NULL;
}

/* ---- looking up ---- */

px_instance *px_registry_find(const px_registry *registry, const char *name)
{
    for (int i = 0; name && i < registry->count; i++) {
        if (strcmp(registry->instances[i]->section->name, name) == 0) {
            return registry->instances[i];
        }
    }
    return NULL;
}

px_instance *px_registry_storage(const px_registry *registry)
{
    px_instance *instance = px_registry_find(registry,
                                             px_set_str(registry->settings, PX_S_STORAGE));

    return instance && instance->info->kind == PXS_KIND_STORAGE ? instance : NULL;
}

int px_registry_count(const px_registry *registry)
{
    return registry->count;
}

px_instance *px_registry_at(const px_registry *registry, int i)
{
    return i >= 0 && i < registry->count ? registry->instances[i] : NULL;
}

const char *px_instance_name(const px_instance *instance)
{
    return instance->section->name;
}

pxs_kind px_instance_kind(const px_instance *instance)
{
    return instance->info->kind;
}

uint32_t px_instance_caps(const px_instance *instance)
{
    return instance->info->caps;
}

bool px_instance_blocking(const px_instance *instance)
{
    return instance->info->kind == PXS_KIND_AI && (instance->info->caps & PXS_CAP_BLOCKING);
}

const px_plugin_section *px_instance_section(const px_instance *instance)
{
    return instance->section;
}

const char *px_instance_path(const px_instance *instance)
{
    return instance->path;
}

const px_plugin_info *px_instance_info(const px_instance *instance)
{
    return instance->info;
}

const pxs_value *px_instance_values(const px_instance *instance, int *count)
{
    *count = instance->values ? instance->info->option_count : 0;
    return instance->values;
}

const void *px_instance_ops(const px_instance *instance)
{
    return instance->ops;
}

const char *px_instance_file_root(const px_instance *instance)
{
    return instance->file_root;
}
