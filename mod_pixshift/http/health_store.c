/* What health and metrics ask the database. */
#include "http_internal.h"

#include "db/db.h"

#include <string.h>

static px_err *no_database(px_req *req)
{
    return req->app->db ? NULL : px_error(req->pool, PX_E_UNAVAILABLE, "PXS4042",
                                          "this process has no database");
}

px_err *px_health_database(px_req *req)
{
    px_err *err = no_database(req);
    return err ? err : px_db_ping(req->app->db, req->pool);
}

static void pool_gauges(px_req *req, px_buf *out)
{
    px_db_stats stats;
    px_db_get_stats(req->app->db, &stats);
    px_buf_printf(out,
        "# HELP pixshift_database_connections Connections of the process that answers, by state\n"
        "# TYPE pixshift_database_connections gauge\n"
        "pixshift_database_connections{state=\"open\"} %d\n"
        "pixshift_database_connections{state=\"busy\"} %d\n"
        "pixshift_database_connections{state=\"max\"} %d\n"
        "# HELP pixshift_database_waits_total Times a request waited for a connection\n"
        "# TYPE pixshift_database_waits_total counter\n"
        "pixshift_database_waits_total %lld\n"
        "# HELP pixshift_database_failures_total Connections that failed or were lost\n"
        "# TYPE pixshift_database_failures_total counter\n"
        "pixshift_database_failures_total %lld\n",
        stats.open, stats.busy, stats.max, (long long)stats.waits, (long long)stats.failures);
}

/* Which of the tables exist: a slice may not be installed. */
static px_err *exists(px_req *req, const char *table, bool *yes)
{
    px_rows *rows;
    px_err *err = px_db_query(req->app->db, req->pool, &rows, "SELECT to_regclass($1) IS NOT NULL",
                              "s", table);
    *yes = !err && px_rows_bool(rows, 0, 0);
    return err;
}

static px_err *job_gauges(px_req *req, px_buf *out)
{
    px_rows *rows;
    px_err *err = px_db_query(
        req->app->db, req->pool, &rows,
        "SELECT state, count(*),"
        "       coalesce(max(extract(epoch FROM pixshift.now() - created_at))::bigint, 0)"
        "  FROM pixshift.audit_job WHERE state IN ('queued', 'running', 'waiting_payment')"
        " GROUP BY state ORDER BY state",
        "");
    if (err) {
        return err;
    }
    px_buf_puts(out, "# HELP pixshift_jobs Unfinished jobs by state\n# TYPE pixshift_jobs gauge\n");
    for (int i = 0; i < px_rows_count(rows); i++) {
        px_buf_printf(out, "pixshift_jobs{state=\"%s\"} %lld\n", px_rows_str(rows, i, 0),
                      (long long)px_rows_int(rows, i, 1));
    }
    px_buf_puts(out,
                "# HELP pixshift_job_oldest_seconds Age of the oldest unfinished job by state\n"
                "# TYPE pixshift_job_oldest_seconds gauge\n");
    for (int i = 0; i < px_rows_count(rows); i++) {
        px_buf_printf(out, "pixshift_job_oldest_seconds{state=\"%s\"} %lld\n",
                      px_rows_str(rows, i, 0), (long long)px_rows_int(rows, i, 2));
    }
    return NULL;
}

static px_err *outbox_gauge(px_req *req, px_buf *out)
{
    px_rows *rows;
    px_err *err = px_db_query(req->app->db, req->pool, &rows,
        "SELECT count(*) FROM pixshift.outbox WHERE done_at IS NULL", "");
    if (!err) {
        px_buf_printf(out, "# HELP pixshift_outbox_pending Events that wait for delivery\n"
                      "# TYPE pixshift_outbox_pending gauge\npixshift_outbox_pending %lld\n",
                      (long long)px_rows_int(rows, 0, 0));
    }
    return err;
}

px_err *px_health_gauges(px_req *req, px_buf *out)
{
    bool jobs = false, outbox = false;
    px_err *err = no_database(req);
    if (err) {
        return err;
    }
    pool_gauges(req, out);
    if ((err = exists(req, "pixshift.audit_job", &jobs)) != NULL ||
        (err = exists(req, "pixshift.outbox", &outbox)) != NULL) {
        return err;
    }
    if (jobs && (err = job_gauges(req, out)) != NULL) {
        return err;
    }
    return outbox ? outbox_gauge(req, out) : NULL;
}
