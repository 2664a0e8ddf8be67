/* configtest of the plugin sections, the provider chains and the settings that name sections. */
#include "plugin_internal.h"

#include <apr_strings.h>
#include <string.h>

static const px_plugin_section *find_section(const px_settings *settings, const char *name)
{
    for (const px_plugin_section *s = settings->plugins; s; s = s->next) {
        if (strcmp(s->name, name) == 0) {
            return s;
        }
    }
    return NULL;
}

static void fault_line(px_buf *faults, const char *file, int line, const char *sentence)
{
    px_buf_printf(faults, "%s:%d: %s\n", file ? file : "configuration", line, sentence);
}

static const px_plugin_info *info_of(apr_pool_t *pool, const px_settings *settings,
                                     const px_plugin_section *section)
{
    const px_plugin_info *info = NULL;

    px_plugin_info_cached(pool, settings, px_plugin_path(pool, settings, section->file), &info);
    return info;
}

static bool check_section(apr_pool_t *pool, const px_settings *settings,
                          const px_plugin_section *section, px_buf *faults)
{
    const px_plugin_info *info = NULL;
    const char *fault;

    if (section->file[0] != '/' && strchr(section->file, '/')) {
        fault = "the file must be a plain name or an absolute path";
    } else {
        fault = px_plugin_info_cached(pool, settings,
                                      px_plugin_path(pool, settings, section->file), &info);
    }
    if (fault) {
        fault_line(faults, section->conf_file, section->conf_line,
                   apr_psprintf(pool, "plugin %s cannot be used: %s: %s", section->name,
                                section->file, fault));
        return false;
    }
    for (const px_plugin_section *other = settings->plugins; other != section;
         other = other->next) {
        if (strcmp(other->name, section->name) == 0) {
            fault_line(faults, section->conf_file, section->conf_line,
                       apr_psprintf(pool, "there are two plugin sections named %s", section->name));
            return false;
        }
    }
    return px_plugin_options(pool, info, section, px_settings_production(settings), false, NULL,
                             faults);
}

static bool check_chain_entry(apr_pool_t *pool, const px_settings *settings, const px_chain *chain,
                              const char *name, uint32_t need, px_buf *faults)
{
    const px_plugin_section *section = find_section(settings, name);
    const px_plugin_info *info = section ? info_of(pool, settings, section) : NULL;
    const char *fault = NULL;

    if (!section) {
        fault = apr_psprintf(pool, "PixShiftProviders %s names %s, but there is no "
                             "<PixShiftPlugin %s …> section", chain->operation, name, name);
    } else if (info && info->kind != PXS_KIND_AI) {
        fault = apr_psprintf(pool, "PixShiftProviders %s names %s, which is no ai plugin",
                             chain->operation, name);
    } else if (info && need && !(info->caps & need)) {
        fault = apr_psprintf(pool, "PixShiftProviders %s names %s, whose plugin %s cannot do that",
                             chain->operation, name, info->name);
    }
    if (fault) {
        fault_line(faults, chain->conf_file, chain->conf_line, fault);
    }
    return fault == NULL;
}

static bool check_reference(apr_pool_t *pool, const px_settings *settings, px_setting_id id,
                            pxs_kind kind, uint32_t caps, px_buf *faults)
{
    const char *name = px_set_str(settings, id);
    const px_plugin_section *section = name ? find_section(settings, name) : NULL;
    const px_plugin_info *info = section ? info_of(pool, settings, section) : NULL;
    const char *directive = px_setting_rows()[id].directive;

    if (!name || (info && info->kind == kind && (caps == 0 || (info->caps & caps)))) {
        return true;
    }
    if (!section) {
        fault_line(faults, NULL, 0, apr_psprintf(pool, "%s names %s, but there is no "
                   "<PixShiftPlugin %s …> section", directive, name, name));
        return false;
    }
    if (!info) {
        return true;                    /* the section itself was reported */
    }
    fault_line(faults, section->conf_file, section->conf_line,
               apr_psprintf(pool, "%s names %s, whose plugin %s does not do that", directive, name,
                            info->name));
    return false;
}

bool px_plugins_check(apr_pool_t *pool, const px_settings *settings, px_buf *faults)
{
    bool fine = true;

    for (const px_plugin_section *s = settings->plugins; s; s = s->next) {
        fine = check_section(pool, settings, s, faults) && fine;
    }
    for (const px_chain *c = settings->chains; c; c = c->next) {
        uint32_t need = px_operation_caps(c->operation);
        for (int i = 0; i < c->count; i++) {
            fine = check_chain_entry(pool, settings, c, c->names[i], need, faults) && fine;
        }
    }
    fine = check_reference(pool, settings, PX_S_STORAGE, PXS_KIND_STORAGE, 0, faults) && fine;
    fine = check_reference(pool, settings, PX_S_MAIL, PXS_KIND_MESSAGE, PXS_MESSAGE_EMAIL, faults)
           && fine;
    return check_reference(pool, settings, PX_S_SMS, PXS_KIND_MESSAGE, PXS_MESSAGE_SMS, faults)
           && fine;
}
