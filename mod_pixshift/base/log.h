/* Logging below the hosts: each host installs one sink at start (httpd: ap_log_error; worker and
 * ctl: stderr lines that httpd's error log collects).  Thread-safe if the sink is; the sink is set
 * once before threads start.  Messages never carry secrets, bodies or cookies; control characters
 * are escaped by px_log before the sink sees them.  Every call names a log id documented in
 * docs/log-ids.md. */
#ifndef PX_BASE_LOG_H
#define PX_BASE_LOG_H

typedef enum { PX_LOG_ERROR, PX_LOG_WARN, PX_LOG_NOTICE, PX_LOG_INFO, PX_LOG_DEBUG } px_log_level;

/* Receives one finished line without newline, of the form "PXSnnnn: text". */
typedef void px_log_sink(void *baton, px_log_level level, const char *line);

void px_log_set_sink(px_log_sink *sink, void *baton);
void px_log_set_level(px_log_level max);   /* messages above are dropped before formatting */
void px_log(px_log_level level, const char *log_id, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
