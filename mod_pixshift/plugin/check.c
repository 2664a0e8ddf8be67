/* Is a descriptor one that this host can work with?  Every refusal is a sentence that names the
 * fault. */
#include "plugin_internal.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>
#include <strings.h>

/* ABI 1.0's sizes: what every plugin must have, however much the structures grow. */
#define DESCRIPTOR_SIZE sizeof(pxs_plugin)
#define OPTION_SIZE sizeof(pxs_option)

const pxs_option *px_option_row(const pxs_plugin *d, uint32_t i)
{
    const char *table = (const char *)d->options;

    return (const pxs_option *)(const void *)(table + (size_t)d->option_size * i);
}

static const char *head_fault(apr_pool_t *pool, const pxs_plugin *d)
{
    if (!d) {
        return "pixshift_plugin() returned NULL";
    }
    if (d->magic != PXS_MAGIC) {
        return apr_psprintf(pool, "bad magic 0x%08x: this is not a PixShift plugin's descriptor",
                            d->magic);
    }
    if (d->abi_major != PXS_ABI_MAJOR) {
        return apr_psprintf(pool, "built for ABI major %u, this host speaks %u",
                            (unsigned)d->abi_major, (unsigned)PXS_ABI_MAJOR);
    }
    if (d->size < DESCRIPTOR_SIZE) {
        return apr_psprintf(pool, "the descriptor is too short: %u bytes, ABI 1.0 has %u", d->size,
                            (unsigned)DESCRIPTOR_SIZE);
    }
    if (!px_kind_find(d->kind)) {
        return apr_psprintf(pool, "unknown kind %u", d->kind);
    }
    return NULL;
}

static bool name_fine(const char *name)
{
    size_t len = name ? strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") : 0;

    return len >= 1 && len <= 32 && name[len] == '\0';
}

static const char *texts_fault(apr_pool_t *pool, const pxs_plugin *d, const char *path)
{
    const char *base = strrchr(path, '/');

    base = base ? base + 1 : path;
    if (!name_fine(d->name)) {
        return "the plugin's name is not 1 to 32 of a-z, 0-9 and _";
    }
    if (strcmp(base, apr_pstrcat(pool, d->name, ".so", NULL)) != 0) {
        return apr_psprintf(pool, "the plugin calls itself \"%s\", so its file must be %s.so",
                            d->name, d->name);
    }
    if (!d->version || !d->version[0] || !d->summary || !d->summary[0]) {
        return "the descriptor lacks a version or a summary";
    }
    return NULL;
}

/* ---- the option table ---- */

static bool option_name_fine(const char *name)
{
    if (!name || name[0] < 'A' || name[0] > 'Z' || strlen(name) > 64) {
        return false;
    }
    for (; *name; name++) {
        if (!apr_isalnum(*name)) {
            return false;
        }
    }
    return true;
}

static const char *default_fault(apr_pool_t *pool, const pxs_option *o)
{
    pxs_value value;
    const char *fault;

    if (!o->default_value) {
        return NULL;
    }
    if (o->type == PXS_OPT_SECRET) {
        return apr_psprintf(pool, "option %s is a secret and has a default", o->name);
    }
    fault = px_option_parse(pool, o, o->default_value, &value);
    return fault ? apr_psprintf(pool, "the default of option %s does not fit: %s", o->name, fault)
                 : NULL;
}

static const char *option_fault(apr_pool_t *pool, const pxs_plugin *d, uint32_t i)
{
    const pxs_option *o = px_option_row(d, i);

    if (!option_name_fine(o->name)) {
        return apr_psprintf(pool, "option %u has no valid CamelCase name", i + 1);
    }
    if (o->type < PXS_OPT_STRING || o->type > PXS_OPT_SECRET) {
        return apr_psprintf(pool, "option %s has the unknown type %u", o->name, o->type);
    }
    if (o->min > o->max) {
        return apr_psprintf(pool, "option %s has a minimum above its maximum", o->name);
    }
    if (o->type == PXS_OPT_ENUM && (!o->choices || !o->choices[0])) {
        return apr_psprintf(pool, "option %s is an enum without choices", o->name);
    }
    if (!o->summary || !o->summary[0]) {
        return apr_psprintf(pool, "option %s has no summary", o->name);
    }
    for (uint32_t other = 0; other < i; other++) {
        if (strcasecmp(px_option_row(d, other)->name, o->name) == 0) {
            return apr_psprintf(pool, "option %s stands twice in the table", o->name);
        }
    }
    return default_fault(pool, o);
}

static const char *options_fault(apr_pool_t *pool, const pxs_plugin *d)
{
    if (d->option_count == 0) {
        return NULL;
    }
    if (d->option_count > PX_PLUGIN_OPTIONS_MAX) {
        return apr_psprintf(pool, "bad option table: %u options, at most %d are allowed",
                            d->option_count, PX_PLUGIN_OPTIONS_MAX);
    }
    if (!d->options || d->option_size < OPTION_SIZE || d->option_size > 4096) {
        return apr_psprintf(pool, "bad option table: rows of %u bytes, ABI 1.0 has %u",
                            d->option_size, (unsigned)OPTION_SIZE);
    }
    for (uint32_t i = 0; i < d->option_count; i++) {
        const char *fault = option_fault(pool, d, i);
        if (fault) {
            return apr_pstrcat(pool, "bad option table: ", fault, NULL);
        }
    }
    return NULL;
}

/* ---- the ops table ---- */

static const char *ops_fault(apr_pool_t *pool, const pxs_plugin *d)
{
    const px_kind *kind = px_kind_find(d->kind);
    const px_ops_head *head = d->ops;

    if (!head) {
        return "the ops table is missing";
    }
    if (head->size < kind->ops_size) {
        return apr_psprintf(pool, "the %s ops table is too short: %u bytes, ABI 1.0 has %u",
                            kind->name, head->size, (unsigned)kind->ops_size);
    }
    if (!head->open || !head->close) {
        return apr_psprintf(pool, "operation missing: %s", head->open ? "close" : "open");
    }
    if (kind->work && !(head->caps & kind->work)) {
        return apr_psprintf(pool, "the %s plugin declares no capability", kind->name);
    }
    if ((head->caps & PXS_CAP_BLOCKING) && kind->kind != PXS_KIND_AI) {
        return "only ai plugins may declare PXS_CAP_BLOCKING";
    }
    for (int i = 0; i < kind->verb_count; i++) {
        const px_verb *verb = &kind->verbs[i];
        bool needed = verb->caps == 0 || (head->caps & verb->caps);
        if (needed && !px_kind_verb(head, verb)) {
            return apr_psprintf(pool, "operation missing: %s", verb->name);
        }
    }
    return NULL;
}

const char *px_descriptor_fault(apr_pool_t *pool, const pxs_plugin *d, const char *path)
{
    const char *fault = head_fault(pool, d);

    if (!fault) {
        fault = texts_fault(pool, d, path);
    }
    if (!fault) {
        fault = options_fault(pool, d);
    }
    return fault ? fault : ops_fault(pool, d);
}

/* ---- copying ---- */

static const char *copy_text(apr_pool_t *pool, const char *text)
{
    return text ? apr_pstrdup(pool, text) : NULL;
}

static const char *const *copy_choices(apr_pool_t *pool, const pxs_option *o)
{
    const char **copy;
    int count = 0;

    if (o->type != PXS_OPT_ENUM) {
        return NULL;
    }
    while (o->choices[count]) {
        count++;
    }
    copy = apr_pcalloc(pool, sizeof *copy * (size_t)(count + 1));
    for (int i = 0; i < count; i++) {
        copy[i] = apr_pstrdup(pool, o->choices[i]);
    }
    return copy;
}

px_plugin_info *px_descriptor_copy(apr_pool_t *pool, const pxs_plugin *d)
{
    px_plugin_info *info = apr_pcalloc(pool, sizeof *info);
    pxs_option *options = apr_pcalloc(pool, sizeof *options * (d->option_count + 1));

    info->kind = (pxs_kind)d->kind;
    info->name = apr_pstrdup(pool, d->name);
    info->version = apr_pstrdup(pool, d->version);
    info->summary = apr_pstrdup(pool, d->summary);
    info->caps = ((const px_ops_head *)d->ops)->caps;
    info->option_count = (int)d->option_count;
    info->options = options;
    for (uint32_t i = 0; i < d->option_count; i++) {
        const pxs_option *o = px_option_row(d, i);
        options[i] = *o;
        options[i].name = apr_pstrdup(pool, o->name);
        options[i].default_value = copy_text(pool, o->default_value);
        options[i].summary = apr_pstrdup(pool, o->summary);
        options[i].choices = copy_choices(pool, o);
    }
    return info;
}
