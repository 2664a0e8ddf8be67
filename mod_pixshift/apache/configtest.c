/* configtest: every fault that can be found without a network, with file and line; and
 * `httpd -t -D DUMP_PIXSHIFT`, which prints the effective settings as JSON. */
#include "host.h"
#include "plugin/plugin.h"

#include <apr_file_io.h>
#include <apr_strings.h>

APLOG_USE_MODULE(pixshift);

/* PixShift is on when any server says so; the first one's place stands for it. */
static void settle_engine(px_settings *settings, const server_rec *s)
{
    if (settings->value[PX_S_ENGINE].given) {
        return;
    }
    for (; s; s = s->next) {
        const px_server_conf *conf = ap_get_module_config(s->module_config, &pixshift_module);
        if (conf->engine == 1) {
            px_settings_set(settings, PX_S_ENGINE, "On");
            px_settings_place(settings, PX_S_ENGINE, conf->conf_file, conf->conf_line);
            return;
        }
    }
}

static void report(server_rec *s, apr_pool_t *pool, const char *lines)
{
    char *state = NULL;
    for (char *line = apr_strtok(apr_pstrdup(pool, lines), "\n", &state); line;
         line = apr_strtok(NULL, "\n", &state)) {
        ap_log_error(APLOG_MARK, APLOG_ERR | APLOG_STARTUP, 0, s, "PXS5101: %s", line);
    }
}

int px_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    px_settings *settings = px_pending_settings();
    px_buf *faults = px_pending_faults();
    (void)pconf;
    (void)plog;
    /* httpd reads its configuration twice at start: the second time counts. */
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG
        && ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_NORMAL) {
        return OK;
    }
    settle_engine(settings, s);
    px_settings_finish(settings, faults);
    if (px_set_on(settings, PX_S_ENGINE) || settings->plugins) {
        px_plugins_check(ptemp, settings, faults);
        px_secrets_check(ptemp, settings, faults);
    }
    if (faults->len == 0) {
        return OK;
    }
    report(s, ptemp, faults->data);
    return HTTP_INTERNAL_SERVER_ERROR;
}

void px_test_config(apr_pool_t *pconf, server_rec *s)
{
    apr_file_t *out;
    (void)s;
    if (!ap_exists_config_define("DUMP_PIXSHIFT")
        || apr_file_open_stdout(&out, pconf) != APR_SUCCESS) {
        return;
    }
    apr_file_printf(out, "%s\n", px_settings_to_json(pconf, px_pending_settings(), false));
    apr_file_flush(out);
}
