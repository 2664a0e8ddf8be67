/* SQL of the profile page. */
#include "profile_store.h"

/* What was paid stands in the view that billing keeps; what was transformed in the jobs. */
px_err *profile_store_stats(px_db *db, apr_pool_t *pool, const char *user_id, profile_stats *stats)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "SELECT (SELECT count(*) FROM pixshift.audit_job WHERE user_id = $1"
        "         AND operation = 'transformation'),"
        " (SELECT coalesce(sum(amount), 0)::numeric(20,2)::text FROM pixshift.revenue"
        "   WHERE user_id = $1)", "s", user_id);

    if (!err) {
        stats->transformations = px_rows_int(rows, 0, 0);
        stats->spent = px_rows_str(rows, 0, 1);
    }
    return err;
}

px_err *profile_store_update(px_db *db, apr_pool_t *pool, const char *user_id,
                             const profile_change *change)
{
    return px_db_query(db, pool, NULL,
        "UPDATE pixshift.users SET"
        " phone_verified = phone_verified AND ($2::text IS NULL OR phone = $2),"
        " phone = coalesce($2, phone), first_name = coalesce($3, first_name),"
        " last_name = coalesce($4, last_name), updated_at = pixshift.now() WHERE id = $1",
        "ssss", user_id, change->phone, change->first_name, change->last_name);
}
