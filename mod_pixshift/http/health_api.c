/* Health and metrics: /api/health for people, /healthz (this process lives), /readyz (it can work:
 * database and schema), /metrics for Prometheus.  None of them needs a credential or is limited; an
 * admin who wants /metrics private says so with a <Location> of httpd. */
#include "http_internal.h"

#include "base/clock.h"

#include <string.h>

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0.1.0"
#endif

static px_err *answer(px_reply *reply, const char *status, const char *database, bool detailed)
{
    px_jw *w = reply->json;
    px_jw_object(w, NULL);
    px_jw_str(w, "status", status);
    if (database) {
        px_jw_str(w, "database", database);
    }
    if (detailed) {
        px_jw_str(w, "version", PACKAGE_VERSION);
        px_jw_time(w, "time", px_now());
    }
    px_jw_end_object(w);
    return NULL;
}

static px_err *get_health(px_req *req, px_reply *reply)
{
    bool up = px_health_database(req) == NULL;
    return answer(reply, up ? "ok" : "degraded", up ? "ok" : "unavailable", true);
}

static px_err *get_healthz(px_req *req, px_reply *reply)
{
    (void)req;
    return answer(reply, "ok", NULL, false);
}

static px_err *get_readyz(px_req *req, px_reply *reply)
{
    px_err *err = px_health_database(req);
    return err ? err : answer(reply, "ready", "ok", false);
}

static void counters(px_req *req, px_buf *out)
{
    for (int i = 0; i < PX_C_COUNT; i++) {
        const char *name = px_counter_name((px_counter)i);
        size_t len = strlen(name);
        bool total = len > 6 && strcmp(name + len - 6, "_total") == 0;
        px_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %lld\n", name,
                      px_counter_help((px_counter)i), name, total ? "counter" : "gauge", name,
                      (long long)px_counter_value(req->app->cache, (px_counter)i));
    }
}

static px_err *get_metrics(px_req *req, px_reply *reply)
{
    px_buf *out = px_buf_make(req->pool, 8192);
    px_err *err;
    counters(req, out);
    err = px_health_gauges(req, out);
    /* Counters are most wanted when the database is away. */
    px_buf_printf(out, "# HELP pixshift_database_up Whether the database answers\n"
                  "# TYPE pixshift_database_up gauge\npixshift_database_up %d\n", err == NULL);
    reply->mode = PX_REPLY_BYTES;
    reply->bytes = out->data;
    reply->bytes_len = out->len;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    return NULL;
}

#define OPEN(path, fn, text)                                                                       \
    {                                                                                              \
        "GET", path, PX_DIALECT_PIXSHIFT, PX_CRED_NONE, 0, PX_BODY_NONE,                           \
            PX_ROUTE_RAW | PX_ROUTE_NO_RATE, fn, text                                              \
    }

const px_route px_http_routes[] = {
    OPEN("/api/health", get_health, "Tells whether the service and its database work."),
    OPEN("/healthz", get_healthz, "Tells that the process answers."),
    OPEN("/readyz", get_readyz, "Tells whether requests can be served: database and schema."),
    OPEN("/metrics", get_metrics, "Counters and gauges in Prometheus text."),
    {NULL, NULL, PX_DIALECT_PIXSHIFT, 0, 0, PX_BODY_NONE, 0, NULL, NULL}
};
