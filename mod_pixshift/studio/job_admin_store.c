/* SQL of jobs in an admin's hands. */
#include "job_admin.h"

#include "base/id.h"
#include "credit/credit.h"

#include <apr_strings.h>
#include <string.h>

/* An admin's redrive is not bound by the limits of users. */
#define NO_LIMIT 1000000

static void read_row(const px_rows *rows, int i, px_job_admin_row *row)
{
    row->id = px_rows_str(rows, i, 0);
    row->user_id = px_rows_str(rows, i, 1);
    row->email = px_rows_str(rows, i, 2);
    row->operation = px_rows_str(rows, i, 3);
    row->state = px_rows_str(rows, i, 4);
    row->provider = px_rows_str(rows, i, 5);
    row->error_code = px_rows_str(rows, i, 6);
    row->error_message = px_rows_str(rows, i, 7);
    row->cost = px_rows_int(rows, i, 8);
    row->attempt = px_rows_int(rows, i, 9);
    row->claims = px_rows_int(rows, i, 10);
    row->retry_count = px_rows_int(rows, i, 11);
    row->created_at = px_rows_int(rows, i, 12);
    row->completed_at = px_rows_int(rows, i, 13);
    row->dead = px_rows_bool(rows, i, 14);
}

px_err *px_job_admin_list(px_db *db, apr_pool_t *pool, const char *state, const char *user_id,
                          int64_t limit, px_job_admin_row **list, int *count)
{
    bool dead = state && strcmp(state, "dead") == 0;
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "SELECT j.id, j.user_id, u.email, j.operation, j.state, j.provider, j.error_code,"
        " j.error_message, j.cost, j.attempt, j.claims, j.retry_count, pixshift.usec(j.created_at),"
        " pixshift.usec(j.completed_at), d.job_id IS NOT NULL"
        " FROM pixshift.jobs j JOIN pixshift.users u ON u.id = j.user_id"
        " LEFT JOIN pixshift.dead_letters d"
        "   ON d.job_id = j.id AND d.retry = j.retry_count AND d.redriven_at IS NULL"
        " WHERE ($1::text IS NULL OR j.state = $1) AND ($2::uuid IS NULL OR j.user_id = $2)"
        " AND (NOT $3::boolean OR d.job_id IS NOT NULL)"
        " ORDER BY j.created_at DESC, j.id DESC LIMIT $4",
        "ssbl", dead ? NULL : state, user_id, dead, limit);

    if (err) {
        return err;
    }
    *count = px_rows_count(rows);
    *list = apr_pcalloc(pool, (apr_size_t)(*count + 1) * sizeof **list);
    for (int i = 0; i < *count; i++) {
        read_row(rows, i, &(*list)[i]);
    }
    return NULL;
}

static px_err *translate(apr_pool_t *pool, px_err *err, const char *id)
{
    const char *state = px_db_err_sqlstate(err);

    if (!state) {
        return err;
    }
    if (strcmp(state, "PX404") == 0) {
        return px_error_say(pool, PX_E_NOT_FOUND, "There is no job %s.", id);
    }
    if (strcmp(state, "PX409") == 0) {
        return px_error_say(pool, PX_E_CONFLICT,
                            "Job %s cannot be run again: only failed, canceled and expired ones can.", id);
    }
    return px_credit_explain(pool, err);
}

/* The scope is the operation's, as it was when the job was made. */
px_err *px_job_admin_retry(px_db *db, apr_pool_t *pool, const char *id, int64_t deadline_ms)
{
    px_rows *rows;
    px_err *err;

    if (!px_uuid_valid(id)) {
        return px_error_say(pool, PX_E_NOT_FOUND, "There is no job %s.", id);
    }
    err = px_db_query(db, pool, &rows,
        "SELECT pixshift.job_redrive($1, NULL, coalesce((SELECT h.scope FROM pixshift.jobs j"
        "  JOIN pixshift.holds h ON h.id = j.hold_id WHERE j.id = $1), 'any'), $2, '[]', $3)",
        "sil", id, NO_LIMIT, deadline_ms);
    return err ? translate(pool, err, id) : NULL;
}
