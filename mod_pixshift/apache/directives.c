/* Directives: every scalar one comes from settings.def through one setter; lists and plugin
 * sections have their own.  All but PixShift itself belong to the main server: there is one
 * PixShift per httpd. */
#include "host.h"

#include <apr_strings.h>

static px_settings *pending;
static px_buf *faults;

px_settings *px_pending_settings(void)
{
    return pending;
}

px_buf *px_pending_faults(void)
{
    return faults;
}

int px_directives_reset(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)plog;
    (void)ptemp;
    pending = px_settings_make(pconf);
    faults = px_buf_make(pconf, 256);
    return OK;
}

/* ---- per server ------------------------------------------------------------------------------ */

void *px_server_conf_make(apr_pool_t *pool, server_rec *s)
{
    px_server_conf *conf = apr_pcalloc(pool, sizeof(*conf));
    (void)s;
    conf->engine = -1;
    return conf;
}

void *px_server_conf_merge(apr_pool_t *pool, void *base, void *over)
{
    px_server_conf *conf = apr_pmemdup(pool, over, sizeof(*conf));
    if (conf->engine < 0) {
        conf->engine = ((px_server_conf *)base)->engine;
    }
    return conf;
}

bool px_host_on(const server_rec *s)
{
    const px_server_conf *conf = ap_get_module_config(s->module_config, &pixshift_module);
    return conf->engine == 1;
}

static const char *set_engine(cmd_parms *cmd, void *dir, int on)
{
    px_server_conf *conf = ap_get_module_config(cmd->server->module_config, &pixshift_module);
    (void)dir;
    conf->engine = on;
    conf->conf_file = cmd->directive->filename;
    conf->conf_line = cmd->directive->line_num;
    return NULL;
}

/* ---- setters --------------------------------------------------------------------------------- */

static const char *main_server_only(cmd_parms *cmd)
{
    return cmd->server->is_virtual
               ? apr_pstrcat(cmd->pool, cmd->cmd->name, " belongs to the main server, not into a ",
                             "<VirtualHost>", NULL)
               : NULL;
}

static const char *set_scalar(cmd_parms *cmd, void *dir, const char *arg)
{
    px_setting_id id = (px_setting_id)(intptr_t)cmd->info;
    const char *fault = main_server_only(cmd);
    (void)dir;
    if (fault) {
        return fault;
    }
    if (px_setting_rows()[id].type == PX_SET_PATH && arg[0] != '/' && arg[0] != '$') {
        arg = ap_server_root_relative(cmd->pool, arg);
        if (!arg) {
            return apr_pstrcat(cmd->pool, cmd->cmd->name, ": not a path", NULL);
        }
    }
    fault = px_settings_set(pending, id, arg);
    px_settings_place(pending, id, cmd->directive->filename, cmd->directive->line_num);
    return fault;
}

static const char *add_list(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    const char *fault = main_server_only(cmd);
    (void)dir;
    return fault ? fault
                 : px_settings_add(pending, cmd->cmd->name, argc, (const char *const *)argv,
                                   cmd->directive->filename, cmd->directive->line_num);
}

/* ---- <PixShiftPlugin NAME FILE> -------------------------------------------------------------- */

static bool section_name_fine(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= 32 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

/* One line of the section: the option's name is the directive, its value the one argument. */
static const char *section_line(cmd_parms *cmd, px_plugin_section *section,
                                const ap_directive_t *line)
{
    const char *args = line->args;
    const char *value = ap_getword_conf(cmd->pool, &args);
    if (line->directive[0] == '<') {
        return apr_pstrcat(cmd->pool, line->directive, " cannot stand inside <PixShiftPlugin>",
                           NULL);
    }
    if (*args) {
        return apr_psprintf(cmd->pool, "%s takes one value; put quotes around it", line->directive);
    }
    if (!*value) {
        return apr_psprintf(cmd->pool, "%s wants a value", line->directive);
    }
    return px_settings_add_option(pending, section, line->directive, value, line->filename,
                                  line->line_num);
}

static const char *plugin_section(cmd_parms *cmd, void *dir, const char *args)
{
    const char *end = ap_strrchr_c(args, '>');
    const char *words = end ? apr_pstrmemdup(cmd->pool, args, (apr_size_t)(end - args)) : "";
    const char *fault = main_server_only(cmd);
    px_plugin_section *section;
    const char *name;
    const char *file;
    (void)dir;
    if (fault) {
        return fault;
    }
    if (!end) {
        return "<PixShiftPlugin> lacks its closing '>'";
    }
    name = ap_getword_conf(cmd->pool, &words);
    file = ap_getword_conf(cmd->pool, &words);
    if (!section_name_fine(name) || !*file || *words) {
        return "<PixShiftPlugin> wants a name of a-z, 0-9, _ and -, and a plugin file";
    }
    section = px_settings_add_plugin(pending, name, file, cmd->directive->filename,
                                     cmd->directive->line_num);
    /* Faults in a line are kept with that line's place: httpd would report the section's. */
    for (const ap_directive_t *line = cmd->directive->first_child; line; line = line->next) {
        fault = section_line(cmd, section, line);
        if (fault) {
            px_buf_printf(faults, "%s:%d: %s\n", line->filename, line->line_num, fault);
        }
    }
    return NULL;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* PixShift itself is per server and has its own setter. */
#define ENGINE_NAME "PixShift"

static const char *set_row(cmd_parms *cmd, void *dir, const char *arg)
{
    if (strcasecmp(cmd->cmd->name, ENGINE_NAME) != 0) {
        return set_scalar(cmd, dir, arg);
    }
    if (strcasecmp(arg, "on") != 0 && strcasecmp(arg, "off") != 0) {
        return "PixShift: wants On or Off";
    }
    return set_engine(cmd, dir, strcasecmp(arg, "on") == 0);
}

const command_rec px_directives[] = {
#define PX_SETTING(id, directive, type, fallback, min, max, choices, doc) \
    AP_INIT_TAKE1(directive, set_row, (void *)(intptr_t)PX_S_##id, RSRC_CONF, doc),
#include "config/settings.def"
#undef PX_SETTING
    AP_INIT_TAKE_ARGV("PixShiftProviders", add_list, NULL, RSRC_CONF,
                      "OPERATION and the plugin sections that do it, in the order of fallback"),
    AP_INIT_TAKE_ARGV("PixShiftCost", add_list, NULL, RSRC_CONF, "OPERATION[:VARIANT] and credits"),
    AP_INIT_TAKE_ARGV("PixShiftRetention", add_list, NULL, RSRC_CONF,
                      "OPERATION and none, ephemeral or persistent"),
    AP_INIT_TAKE_ARGV("PixShiftRateLimit", add_list, NULL, RSRC_CONF,
                      "NAME ip|key|user requests|jobs LIMIT WINDOW, or NAME off"),
    AP_INIT_TAKE_ARGV("PixShiftTier", add_list, NULL, RSRC_CONF,
                      "ID NAME per_image|monthly PRICE CURRENCY [LIMIT [DESCRIPTION]]"),
    AP_INIT_RAW_ARGS("<PixShiftPlugin", plugin_section, NULL, RSRC_CONF,
                     "NAME FILE; each line inside is an option of the plugin"),
    {NULL, {NULL}, NULL, 0, RAW_ARGS, NULL}
};
