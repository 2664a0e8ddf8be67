/* Migrations: up and down under one advisory lock, each file in one transaction with its record. */
#include "migrate.h"
#include "migrate_files.h"

#include "db_internal.h"
#include "base/clock.h"
#include <apr_strings.h>
#include <string.h>

/* pg_advisory_lock key: "pixshift" read as a number; every migrating process takes it. */
#define MIGRATE_LOCK "8100124876530872180"

typedef struct {
    px_conn *conn;
    apr_pool_t *pool;
    migration_file *files;
    int count;
    bool have_table;
    px_rows *applied;       /* version, name, sha256, applied_at usec; ascending */
    void (*progress)(void *baton, const char *line);
    void *baton;
} run_state;

static void tell(run_state *run, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void tell(run_state *run, const char *fmt, ...)
{
    va_list args;

    if (!run->progress) {
        return;
    }
    va_start(args, fmt);
    run->progress(run->baton, apr_pvsprintf(run->pool, fmt, args));
    va_end(args);
}

static px_err *read_applied(run_state *run)
{
    px_err *err = px_conn_exec(run->conn, run->pool, &run->applied,
                               "SELECT to_regclass('pixshift.schema_migrations') IS NOT NULL");
    if (err) {
        return err;
    }
    run->have_table = px_rows_bool(run->applied, 0, 0);
    return px_conn_exec(run->conn, run->pool, &run->applied,
                        run->have_table
                            ? "SELECT version, name, sha256,"
                              " (extract(epoch FROM applied_at) * 1000000)::bigint"
                              " FROM pixshift.schema_migrations ORDER BY version"
                            : "SELECT 0, '', '', 0 WHERE false");
}

static int find_applied(const run_state *run, int version)
{
    int i;

    for (i = 0; i < px_rows_count(run->applied); i++) {
        if (px_rows_int(run->applied, i, 0) == version) {
            return i;
        }
    }
    return -1;
}

static const migration_file *find_file(const run_state *run, int version)
{
    int i;

    for (i = 0; i < run->count; i++) {
        if (run->files[i].version == version) {
            return &run->files[i];
        }
    }
    return NULL;
}

/* Every applied version must have its file, unchanged: else the folder is another release's. */
static px_err *check_history(const run_state *run)
{
    int i;

    for (i = 0; i < px_rows_count(run->applied); i++) {
        int version = (int)px_rows_int(run->applied, i, 0);
        const migration_file *file = find_file(run, version);
        if (!file) {
            return px_error(run->pool, PX_E_CONFLICT, "PXS2021",
                            "the database has migration %d (%s), which is not in the folder: "
                            "it was made by a newer release", version,
                            px_rows_str(run->applied, i, 1));
        }
        if (strcmp(file->sha256, px_rows_str(run->applied, i, 2)) != 0) {
            return px_error(run->pool, PX_E_CONFLICT, "PXS2021",
                            "%s was changed after it had been applied", file->up);
        }
    }
    return NULL;
}

/* Runs the file and the statement that records it in one transaction; the record comes first when
 * going down, because the first migration takes the record's table away. */
static px_err *apply(run_state *run, const migration_file *file, bool up)
{
    const char *sql, *record;
    px_err *err = migration_file_read(run->pool, up ? file->up : file->down, &sql);

    if (err) {
        return err;
    }
    record = up ? "INSERT INTO pixshift.schema_migrations (version, name, sha256)"
                  " VALUES ($1, $2, $3)"
                : "DELETE FROM pixshift.schema_migrations WHERE version = $1 AND name = $2"
                  " AND sha256 = $3";
    err = px_conn_exec(run->conn, run->pool, NULL, "BEGIN");
    if (!err && up) {
        err = px_conn_exec(run->conn, run->pool, NULL, sql);
    }
    if (!err) {
        err = px_conn_query(run->conn, run->pool, NULL, record, "iss", file->version, file->name,
                            file->sha256);
    }
    if (!err && !up) {
        err = px_conn_exec(run->conn, run->pool, NULL, sql);
    }
    if (!err) {
        err = px_conn_exec(run->conn, run->pool, NULL, "COMMIT");
    }
    if (err) {
        px_conn_exec(run->conn, run->pool, NULL, "ROLLBACK");
        err->cause = apr_psprintf(run->pool, "%s: %s", up ? file->up : file->down, err->cause);
    }
    return err;
}

static px_err *go_up(run_state *run, int target)
{
    px_err *err = NULL;
    int i;

    for (i = 0; i < run->count && !err; i++) {
        const migration_file *file = &run->files[i];
        if (file->version <= target && find_applied(run, file->version) < 0) {
            int64_t start = px_monotonic();
            err = apply(run, file, true);
            if (!err) {
                tell(run, "applied %04d %s (%d ms)", file->version, file->name,
                     (int)((px_monotonic() - start) / 1000));
            }
        }
    }
    return err;
}

static px_err *go_down(run_state *run, int target)
{
    px_err *err = NULL;
    int i;

    for (i = px_rows_count(run->applied) - 1; i >= 0 && !err; i--) {
        int version = (int)px_rows_int(run->applied, i, 0);
        if (version > target) {
            const migration_file *file = find_file(run, version);
            err = apply(run, file, false);
            if (!err) {
                tell(run, "took back %04d %s", file->version, file->name);
            }
        }
    }
    return err;
}

static px_err *give_rights(run_state *run, const char *app_role)
{
    px_err *err = read_applied(run);

    if (err || !app_role || !run->have_table) {
        return err;
    }
    err = px_conn_query(run->conn, run->pool, NULL, "SELECT pixshift.grant_app($1)", "s", app_role);
    if (!err) {
        tell(run, "rights given to role %s", app_role);
    }
    return err;
}

/* Waits for a concurrent migration to end; DDL may take long, so the limits are lifted. */
static px_err *lock(run_state *run)
{
    px_err *err = px_conn_exec(run->conn, run->pool, NULL,
                               "SET statement_timeout = 0; SET lock_timeout = '30s';"
                               "SET idle_in_transaction_session_timeout = 0;"
                               "SET search_path = pixshift");
    if (!err) {
        err = px_conn_exec(run->conn, run->pool, NULL, "SELECT pg_advisory_lock(" MIGRATE_LOCK ")");
    }
    return err;
}

static px_err *migrate_locked(run_state *run, int target, const char *app_role)
{
    px_err *err = read_applied(run);
    int newest = run->files[run->count - 1].version;

    if (!err) {
        err = check_history(run);
    }
    if (!err) {
        err = target >= 0 && target < newest ? go_down(run, target) : NULL;
    }
    if (!err) {
        err = go_up(run, target < 0 ? newest : target);
    }
    return err ? err : give_rights(run, app_role);
}

static px_err *begin(px_db *db, apr_pool_t *pool, const char *sql_dir, run_state *run)
{
    px_err *err = migration_files_list(pool, sql_dir, &run->files, &run->count);

    run->pool = pool;
    return err ? err : px_conn_acquire(db, pool, &run->conn);
}

px_err *px_migrate(px_db *db, apr_pool_t *pool, const char *sql_dir, int target,
                   const char *app_role, void (*progress)(void *baton, const char *line),
                   void *baton)
{
    run_state run = { .progress = progress, .baton = baton };
    px_err *err = begin(db, pool, sql_dir, &run);

    if (err) {
        return err;
    }
    err = lock(&run);
    if (!err) {
        err = migrate_locked(&run, target, app_role);
    }
    /* The changed settings and the advisory lock end with this connection. */
    PQfinish(run.conn->pg);
    run.conn->pg = NULL;
    px_conn_return(run.conn);
    return err;
}

px_err *px_migrate_status(px_db *db, apr_pool_t *pool, const char *sql_dir, px_migration **list,
                          int *count)
{
    run_state run = { 0 };
    px_err *err = begin(db, pool, sql_dir, &run);
    int i;

    if (err) {
        return err;
    }
    err = read_applied(&run);
    px_conn_return(run.conn);
    if (err) {
        return err;
    }
    *count = run.count;
    *list = apr_pcalloc(pool, (apr_size_t)run.count * sizeof **list);
    for (i = 0; i < run.count; i++) {
        px_migration *m = &(*list)[i];
        int at = find_applied(&run, run.files[i].version);
        m->version = run.files[i].version;
        m->name = run.files[i].name;
        m->applied = at >= 0;
        if (m->applied) {
            m->changed = strcmp(run.files[i].sha256, px_rows_str(run.applied, at, 2)) != 0;
            m->applied_at = px_rows_int(run.applied, at, 3);
        }
    }
    return NULL;
}
