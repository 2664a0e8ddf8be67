/* SQL of the platform's figures (ADM-1). */
#include "stats_store.h"

/* Active: signed in or seen within 30 days. */
px_err *stats_store_read(px_db *db, apr_pool_t *pool, admin_stats *stats)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "SELECT u.users, u.active, u.suspended, j.transformations, j.jobs, r.revenue FROM"
        " (SELECT count(*) AS users, count(*) FILTER (WHERE is_suspended) AS suspended,"
        "   count(*) FILTER (WHERE last_login > pixshift.now() - interval '30 days' OR EXISTS ("
        "     SELECT 1 FROM pixshift.sessions s WHERE s.user_id = users.id"
        "        AND s.last_activity > pixshift.now() - interval '30 days')) AS active"
        "   FROM pixshift.users WHERE deleted_at IS NULL) u,"
        " (SELECT count(*) AS jobs, count(*) FILTER (WHERE operation = 'transformation')"
        "   AS transformations FROM pixshift.audit_job) j,"
        " (SELECT coalesce(sum(amount), 0)::numeric(20,2)::text AS revenue"
        "   FROM pixshift.revenue) r", "");

    if (!err) {
        stats->users = px_rows_int(rows, 0, 0);
        stats->active_users = px_rows_int(rows, 0, 1);
        stats->suspended_users = px_rows_int(rows, 0, 2);
        stats->transformations = px_rows_int(rows, 0, 3);
        stats->jobs = px_rows_int(rows, 0, 4);
        stats->revenue = px_rows_str(rows, 0, 5);
    }
    return err;
}
