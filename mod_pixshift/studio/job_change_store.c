/* SQL of admins' changes to jobs. */
#include "job_change_store.h"

#include "credit/credit.h"

/* Admins are not held back by a user's limit of unfinished jobs. */
#define NO_LIMIT 1000000

px_err *px_job_change_redrive(px_conn *conn, apr_pool_t *pool, const char *id, const char *scope,
                              int64_t deadline_ms)
{
    return px_credit_explain(pool, px_conn_query(conn, pool, NULL,
                                                 "SELECT pixshift.job_redrive($1::uuid, NULL, $2, "
                                                 "$3::integer, '[]'::jsonb, $4::bigint)", "ssil", id, scope,
                                                 NO_LIMIT, deadline_ms));
}

px_err *px_job_change_charge(px_conn *conn, apr_pool_t *pool, const char *id, px_job_charge *charge)
{
    px_rows *rows = NULL;
    px_err *err = px_conn_query(conn, pool, &rows,
                                "SELECT h.id, h.captured, h.refunded FROM pixshift.jobs j "
                                "JOIN pixshift.holds h ON h.id = j.hold_id WHERE j.id = $1::uuid "
                                "FOR UPDATE OF h", "s", id);
    if (err)
        return err;
    *charge = (px_job_charge){0};
    if (px_rows_count(rows) > 0)
        *charge = (px_job_charge){px_rows_str(rows, 0, 0), px_rows_int(rows, 0, 1),
                                  px_rows_int(rows, 0, 2)};
    return NULL;
}
