/* The secrets of plugin sections.  Which options are secret only the plugin's own table tells,
 * so this goes over the descriptors; config/ does the reading. */
#include "host.h"
#include "plugin/plugin.h"

#include <apr_strings.h>
#include <stdlib.h>

typedef px_err *each_secret(px_settings *settings, px_plugin_option *option, void *baton);

static bool is_secret(const px_plugin_info *info, const char *name)
{
    for (int i = 0; i < info->option_count; i++) {
        if (info->options[i].type == PXS_OPT_SECRET
            && strcasecmp(info->options[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Sections whose plugin cannot be described are px_plugins_check's business. */
static px_err *for_plugin_secrets(apr_pool_t *pool, px_settings *settings, each_secret *each,
                                  void *baton)
{
    for (px_plugin_section *section = settings->plugins; section; section = section->next) {
        px_plugin_info *info = NULL;
        const char *path = px_plugin_path(pool, settings, section->file);
        if (px_plugin_describe(pool, path, px_settings_production(settings), &info) != NULL) {
            continue;
        }
        for (px_plugin_option *option = section->options; option; option = option->next) {
            px_err *err = is_secret(info, option->name) ? each(settings, option, baton) : NULL;
            if (err) {
                return err;
            }
        }
    }
    return NULL;
}

static void check_variable(px_buf *faults, const char *ref, const char *name, const char *file,
                           int line)
{
    if (ref && strncmp(ref, "env:", 4) == 0 && !getenv(ref + 4)) {
        px_buf_printf(faults, "%s:%d: %s: the environment variable %s is not set\n", file, line,
                      name, ref + 4);
    }
}

static px_err *check_option(px_settings *settings, px_plugin_option *option, void *baton)
{
    (void)settings;
    check_variable(baton, option->value, option->name, option->file, option->line);
    return NULL;
}

void px_secrets_check(apr_pool_t *pool, px_settings *settings, px_buf *faults)
{
    for (int i = 0; i < PX_S_COUNT; i++) {
        const px_setting *set = &settings->value[i];
        if (px_setting_rows()[i].type == PX_SET_SECRET) {
            check_variable(faults, set->text, px_setting_rows()[i].directive, set->conf_file,
                           set->conf_line);
        }
    }
    (void)for_plugin_secrets(pool, settings, check_option, faults);
}

static px_err *resolve_option(px_settings *settings, px_plugin_option *option, void *baton)
{
    (void)baton;
    return px_settings_resolve_option(settings, option);
}

px_err *px_secrets_resolve(apr_pool_t *pool, px_settings *settings)
{
    px_err *err = px_settings_resolve_secrets(settings);
    return err ? err : for_plugin_secrets(pool, settings, resolve_option, NULL);
}
