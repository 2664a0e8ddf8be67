/* pixshiftctl plugin …, and config export */
#include "ctl.h"

#include "base/buf.h"
#include "plugin/plugin.h"

#include <apr_strings.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *kind_name(pxs_kind kind)
{
    switch (kind) {
    case PXS_KIND_AI: return "ai";
    case PXS_KIND_PAY: return "pay";
    case PXS_KIND_STORAGE: return "storage";
    case PXS_KIND_MESSAGE: return "message";
    case PXS_KIND_IDENTITY: return "identity";
    }
    return "unknown";
}

typedef struct { pxs_kind kind; uint32_t bit; const char *name; } cap_row;

static const cap_row caps[] = {
    {PXS_KIND_AI, PXS_AI_EDIT, "edit"}, {PXS_KIND_AI, PXS_AI_COMPOSE, "compose"},
    {PXS_KIND_AI, PXS_AI_GENERATE, "generate"}, {PXS_KIND_AI, PXS_AI_ENHANCE, "enhance"},
    {PXS_KIND_AI, PXS_AI_CHAT, "chat"}, {PXS_KIND_AI, PXS_AI_STREAM, "stream"},
    {PXS_KIND_AI, PXS_AI_MASK, "mask"}, {PXS_KIND_AI, PXS_AI_TWO_IMAGES, "two-images"},
    {PXS_KIND_AI, PXS_CAP_BLOCKING, "computes-locally"},
    {PXS_KIND_STORAGE, PXS_STORAGE_SIGN_URL, "sign-url"},
    {PXS_KIND_STORAGE, PXS_STORAGE_RANGES, "ranges"}, {PXS_KIND_MESSAGE, PXS_MESSAGE_SMS, "sms"},
    {PXS_KIND_MESSAGE, PXS_MESSAGE_EMAIL, "email"},
};

static const char *caps_text(apr_pool_t *pool, const px_plugin_info *info)
{
    const char *text = "";

    for (size_t i = 0; i < sizeof caps / sizeof *caps; i++) {
        if (caps[i].kind == info->kind && (info->caps & caps[i].bit)) {
            text = apr_pstrcat(pool, text, *text ? " " : "", caps[i].name, NULL);
        }
    }
    return *text ? text : "-";
}

static const char *type_name(uint32_t type)
{
    static const char *const names[] = {"?", "string", "integer", "boolean", "duration", "size",
                                        "URL", "one of", "secret"};

    return names[type <= PXS_OPT_SECRET ? type : 0];
}

/* ---- list ---- */

static bool list_section(ctl *c, const px_plugin_section *section)
{
    px_plugin_info *info;
    const char *path = px_plugin_path(c->pool, c->settings, section->file);
    const char *fault = px_plugin_describe(c->pool, path, px_settings_production(c->settings),
                                           &info);

    if (fault) {
        printf("%-14s %-9s %-22s cannot be used: %s\n", section->name, "?", section->file, fault);
        return false;
    }
    printf("%-14s %-9s %-22s %s %s  %s\n", section->name, kind_name(info->kind), section->file,
           info->name, info->version, caps_text(c->pool, info));
    return true;
}

static void list_chains(ctl *c)
{
    for (const px_chain *chain = c->settings->chains; chain; chain = chain->next) {
        printf("%s:", chain->operation);
        for (int i = 0; i < chain->count; i++) {
            printf(" %s", chain->names[i]);
        }
        putchar('\n');
    }
}

int ctl_plugin_list(ctl *c)
{
    bool fine = true;

    if (!c->settings->plugins) {
        puts("no plugin is configured");
    }
    for (const px_plugin_section *s = c->settings->plugins; s; s = s->next) {
        fine = list_section(c, s) && fine;
    }
    list_chains(c);
    return fine ? CTL_OK : CTL_FAILED;
}

/* ---- show ---- */

/* A name without a slash that is no file here is one in the folder of plugins: the
 * configuration's where one is given, else the bundled ones'. */
static const char *plugin_file(ctl *c, const char *name)
{
    char *absolute = realpath(name, NULL);
    const char *path, *dot = strrchr(name, '.');
    px_err *err;

    if (absolute) {
        path = apr_pstrdup(c->pool, absolute);
        free(absolute);
        return path;
    }
    if (strchr(name, '/')) {
        return name;
    }
    if ((c->option[CTL_O_CONF] || c->option[CTL_O_SETTINGS])
        && (err = ctl_load_settings(c)) != NULL) {
        ctl_fail(err);
    }
    name = dot && strcmp(dot, ".so") == 0 ? name : apr_pstrcat(c->pool, name, ".so", NULL);
    return c->settings ? px_plugin_path(c->pool, c->settings, name)
                       : apr_pstrcat(c->pool, PX_PLUGINDIR, "/", name, NULL);
}

static void print_option(const pxs_option *option)
{
    printf("  %-18s %s", option->name, type_name(option->type));
    for (int i = 0; option->type == PXS_OPT_ENUM && option->choices && option->choices[i]; i++) {
        printf("%s%s", i ? ", " : " ", option->choices[i]);
    }
    if (option->max > option->min) {
        printf(" %lld...%lld", (long long)option->min, (long long)option->max);
    }
    if (option->required) {
        fputs(", required", stdout);
    } else if (option->default_value) {
        printf(", default %s", option->default_value);
    }
    printf("\n  %-18s %s\n", "", option->summary ? option->summary : "");
}

int ctl_plugin_show(ctl *c)
{
    const char *path = plugin_file(c, c->args[0]);
    px_plugin_info *info;
    const char *fault = px_plugin_describe(c->pool, path, false, &info);

    if (fault) {
        return ctl_say_error("%s: %s", path, fault);
    }
    printf("%s %s (%s)\n%s\nfile          %s\ncapabilities  %s\n", info->name, info->version,
           kind_name(info->kind), info->summary ? info->summary : "", path,
           caps_text(c->pool, info));
    puts(info->option_count ? "options" : "no options");
    for (int i = 0; i < info->option_count; i++) {
        print_option(&info->options[i]);
    }
    return CTL_OK;
}

/* ---- check ---- */

static const char *cases_folder(ctl *c, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *beside = apr_pstrcat(c->pool,
        slash ? apr_pstrmemdup(c->pool, path, (apr_size_t)(slash - path)) : ".", "/cases", NULL);
    struct stat st;

    if (c->option[CTL_O_CASES] || c->arg_count > 1) {
        return c->option[CTL_O_CASES] ? c->option[CTL_O_CASES] : c->args[1];
    }
    return stat(beside, &st) == 0 && S_ISDIR(st.st_mode) ? beside : NULL;
}

int ctl_plugin_check(ctl *c)
{
    const char *path = plugin_file(c, c->args[0]);
    px_buf *report = px_buf_make(c->pool, 4096);
    bool passed = px_plugin_conformance(c->pool, path, cases_folder(c, path), report);

    fwrite(report->data, 1, report->len, stdout);
    printf("%s %s\n", path, passed ? "conforms" : "does not conform");
    return passed ? CTL_OK : CTL_FAILED;
}

/* ---- config export ---- */

int ctl_config_export(ctl *c)
{
    puts(px_settings_to_json(c->pool, c->settings, false));
    return CTL_OK;
}
