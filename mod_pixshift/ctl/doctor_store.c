/* What doctor asks the database. */
#include "doctor_store.h"

px_err *doctor_store_server(px_db *db, apr_pool_t *pool, doctor_facts *facts)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "SELECT current_setting('server_version'), current_user,"
        " current_setting('synchronous_commit'), current_setting('fsync'),"
        " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", "");

    if (!err) {
        facts->version = px_rows_str(rows, 0, 0);
        facts->role = px_rows_str(rows, 0, 1);
        facts->synchronous_commit = px_rows_str(rows, 0, 2);
        facts->fsync = px_rows_str(rows, 0, 3);
        facts->now = px_rows_int(rows, 0, 4);
    }
    return err;
}

px_err *doctor_store_version(px_db *db, apr_pool_t *pool, int *version)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
                              "SELECT coalesce(max(version), 0) FROM pixshift.schema_migrations", "");

    *version = err ? 0 : (int)px_rows_int(rows, 0, 0);
    return err;
}

px_err *doctor_store_schema(px_db *db, apr_pool_t *pool, doctor_facts *facts)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "SELECT pg_has_role(n.nspowner, 'USAGE'),"
        " has_table_privilege('pixshift.users', 'INSERT')"
        "  AND has_table_privilege('pixshift.jobs', 'UPDATE')"
        "  AND has_function_privilege('pixshift.credit_hold(uuid, bigint, text, text)', 'EXECUTE'),"
        " p.lifetime_free, p.daily_free, p.initial,"
        " (SELECT count(*) FROM pixshift.workers w JOIN pg_locks l ON l.locktype = 'advisory'"
        "    AND l.classid = pixshift.worker_class()::oid AND l.objid = w.lock_key::oid"
        "    AND l.granted"
        "   WHERE w.stopped_at IS NULL)"
        " FROM pg_namespace n, pixshift.credit_profile p WHERE n.nspname = 'pixshift'", "");

    if (!err && px_rows_count(rows) == 1) {
        facts->owner = px_rows_bool(rows, 0, 0);
        facts->rights = px_rows_bool(rows, 0, 1);
        facts->free_lifetime = px_rows_int(rows, 0, 2);
        facts->free_daily = px_rows_int(rows, 0, 3);
        facts->free_initial = px_rows_int(rows, 0, 4);
        facts->workers = px_rows_int(rows, 0, 5);
    }
    return err;
}
