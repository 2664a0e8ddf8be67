/* px_log -> the error log, under this module's LogLevel ("LogLevel pixshift:debug"). */
#include "host.h"
#include "base/log.h"

APLOG_USE_MODULE(pixshift);

static server_rec *main_server;
static __thread request_rec *serving;

void px_log_request(request_rec *r)
{
    serving = r;
}

static int httpd_level(px_log_level level)
{
    switch (level) {
    case PX_LOG_ERROR:
        return APLOG_ERR;
    case PX_LOG_WARN:
        return APLOG_WARNING;
    case PX_LOG_NOTICE:
        return APLOG_NOTICE;
    case PX_LOG_INFO:
        return APLOG_INFO;
    case PX_LOG_DEBUG:
        break;
    }
    return APLOG_DEBUG;
}

static void sink(void *baton, px_log_level level, const char *line)
{
    (void)baton;
    if (serving) {
        ap_log_rerror(APLOG_MARK, httpd_level(level), 0, serving, "%s", line);
    } else {
        ap_log_error(APLOG_MARK, httpd_level(level), 0, main_server, "%s", line);
    }
}

/* The most talkative server decides what is formatted at all; ap_log_* filters per server. */
static px_log_level wanted(const server_rec *s)
{
    int most = APLOG_ERR;
    for (; s; s = s->next) {
        int level = ap_get_server_module_loglevel(s, APLOG_MODULE_INDEX);
        most = level > most ? level : most;
    }
    if (most >= APLOG_DEBUG) {
        return PX_LOG_DEBUG;
    }
    return most >= APLOG_INFO ? PX_LOG_INFO : most >= APLOG_NOTICE ? PX_LOG_NOTICE
         : most >= APLOG_WARNING ? PX_LOG_WARN : PX_LOG_ERROR;
}

void px_log_install(server_rec *s)
{
    main_server = s;
    px_log_set_sink(sink, NULL);
    px_log_set_level(wanted(s));
}
