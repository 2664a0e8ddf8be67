/* Unit tests that need PostgreSQL: PIXSHIFT_TEST_DB names a server where databases may be made
 * (tests/lib/pg.py makes a private one); without it the program ends with 77, "skipped".  Each
 * program works in a database of its own, removed at the end. */
#ifndef PX_TESTS_UNIT_DB_H
#define PX_TESTS_UNIT_DB_H

#include "unit.h"

#include "db/db.h"
#include "db/migrate.h"
#include <libpq-fe.h>
#include <sys/stat.h>

static char unit_db_name[64];
static char unit_db_info[1024];
static char unit_db_dir[64];            /* temporary files */

static UNIT_UNUSED void unit_db_admin(const char *fmt, const char *name)
{
    PGconn *pg = PQconnectdb(getenv("PIXSHIFT_TEST_DB"));
    char sql[256];
    PGresult *result;

    snprintf(sql, sizeof sql, fmt, name);
    result = PQexec(pg, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fprintf(stderr, "%s: %s\n", sql, PQerrorMessage(pg));
        exit(EXIT_FAILURE);
    }
    PQclear(result);
    PQfinish(pg);
}

/* Call first in main. */
static UNIT_UNUSED void unit_db_begin(const char *area)
{
    const char *server = getenv("PIXSHIFT_TEST_DB");

    if (!server) {
        fprintf(stderr, "PIXSHIFT_TEST_DB is not set\n");
        exit(77);
    }
    setenv("PGOPTIONS", "-c client_min_messages=warning", 1);
    snprintf(unit_db_name, sizeof unit_db_name, "pxunit_%s_%d", area, (int)getpid());
    snprintf(unit_db_info, sizeof unit_db_info, "%s dbname=%s", server, unit_db_name);
    snprintf(unit_db_dir, sizeof unit_db_dir, "/tmp/pxunit.XXXXXX");
    if (!mkdtemp(unit_db_dir)) {
        exit(EXIT_FAILURE);
    }
    unit_db_admin("CREATE DATABASE \"%s\"", unit_db_name);
}

static UNIT_UNUSED int unit_db_end(int result)
{
    char command[128];

    unit_db_admin("DROP DATABASE \"%s\" WITH (FORCE)", unit_db_name);
    snprintf(command, sizeof command, "rm -rf %s", unit_db_dir);
    return system(command) == 0 ? result : EXIT_FAILURE;
}

static UNIT_UNUSED void unit_db_write(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static UNIT_UNUSED const char *unit_db_path(const char *name)
{
    return apr_pstrcat(unit_pool, unit_db_dir, "/", name, NULL);
}

static UNIT_UNUSED px_db *unit_db_open(int connections, bool check_schema, const char *extra)
{
    px_db_config config = {
        .conninfo = apr_pstrcat(unit_pool, unit_db_info, " ", extra ? extra : "", NULL),
        .max_connections = connections,
        .acquire_timeout_ms = 300,
        .skip_schema_check = !check_schema,
        .app_name = "unit",
    };
    px_db *db = NULL;

    UNIT_OK(px_db_open(unit_pool, &config, &db));
    return db;
}

static UNIT_UNUSED void unit_db_exec(const char *sql)
{
    PGconn *pg = PQconnectdb(unit_db_info);
    PGresult *result = PQexec(pg, sql);

    ck_assert_msg(PQresultStatus(result) == PGRES_COMMAND_OK
                      || PQresultStatus(result) == PGRES_TUPLES_OK,
                  "%s: %s", sql, PQerrorMessage(pg));
    PQclear(result);
    PQfinish(pg);
}

/* A folder with the migrations named, a table of users in place of account's, and an empty one with
 * the number that the code expects. */
static UNIT_UNUSED const char *unit_db_migrations(const char *const *names)
{
    const char *root = getenv("srcdir") ? getenv("srcdir") : ".";
    const char *dir = unit_db_path("sql");
    const char *path;
    size_t len;
    int i;

    mkdir(dir, 0700);
    for (i = 0; names[i]; i++) {
        const char *const ends[] = { ".up.sql", ".down.sql" };
        for (int k = 0; k < 2; k++) {
            const char *file = apr_pstrcat(unit_pool, names[i], ends[k], NULL);
            char *text = unit_read(apr_pstrcat(unit_pool, root, "/sql/", file, NULL), &len);
            ck_assert_msg(text != NULL, "%s: run it in the build folder with srcdir set", file);
            unit_db_write(apr_pstrcat(unit_pool, dir, "/", file, NULL), text);
        }
    }
    unit_db_write(apr_pstrcat(unit_pool, dir, "/0002_users.up.sql", NULL),
                  "CREATE TABLE pixshift.users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),"
                  " pricing_tier text, updated_at timestamptz);");
    unit_db_write(apr_pstrcat(unit_pool, dir, "/0002_users.down.sql", NULL),
                  "DROP TABLE pixshift.users;");
    path = apr_psprintf(unit_pool, "%s/%04d_last", dir, px_schema_version());
    if (px_schema_version() != 7) {
        unit_db_write(apr_pstrcat(unit_pool, path, ".up.sql", NULL), "SELECT 1;");
        unit_db_write(apr_pstrcat(unit_pool, path, ".down.sql", NULL), "SELECT 1;");
    }
    return dir;
}

static UNIT_UNUSED void unit_db_migrate(const char *const *names)
{
    px_db *db = unit_db_open(1, false, NULL);

    UNIT_OK(px_migrate(db, unit_pool, unit_db_migrations(names), -1, NULL, NULL, NULL));
}

#endif
