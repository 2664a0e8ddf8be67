/* db/: pool, statements, transactions, LISTEN, migrations against a real server. */
#include "unit_db.h"

#include "base/clock.h"
#include "base/log.h"
#include <poll.h>
#include <pthread.h>

static const char *const base[] = { "0001_base", "0003_credit", "0007_credit_audit", NULL };

static int64_t number(px_db *db, const char *sql)
{
    px_rows *rows;

    UNIT_OK(px_db_query(db, unit_pool, &rows, sql, NULL));
    return px_rows_int(rows, 0, 0);
}

static void fresh_table(void)
{
    unit_db_exec("DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, n int CONSTRAINT n_small"
                 " CHECK (n < 100))");
}

/* ---- statements ---- */

START_TEST(parameters_keep_their_values)
{
    px_db *db = unit_db_open(1, false, NULL);
    const unsigned char raw[] = { 0, 1, 255, '\\', 0 };
    const unsigned char *back;
    px_rows *rows;
    size_t len;

    UNIT_OK(px_db_query(db, unit_pool, &rows,
                        "SELECT $1::text, $2::int, $3::bigint, $4::boolean, $5::bytea, $6::jsonb->>'a',"
                        " $7::text", "silbxjs", "it's \xc3\xa9", -5, INT64_MIN, 1, raw, sizeof raw,
                        "{\"a\": \"b\"}", NULL));
    ck_assert_int_eq(px_rows_count(rows), 1);
    ck_assert_str_eq(px_rows_str(rows, 0, 0), "it's \xc3\xa9");
    ck_assert_int_eq(px_rows_int(rows, 0, 1), -5);
    ck_assert(px_rows_int(rows, 0, 2) == INT64_MIN);
    ck_assert(px_rows_bool(rows, 0, 3));
    back = px_rows_bytes(rows, 0, 4, &len);
    ck_assert_uint_eq(len, sizeof raw);
    ck_assert_mem_eq(back, raw, len);
    ck_assert_str_eq(px_rows_str(rows, 0, 5), "b");
    ck_assert(px_rows_null(rows, 0, 6));
    ck_assert_ptr_null(px_rows_str(rows, 0, 6));
    ck_assert_int_eq(px_rows_int(rows, 0, 6), 0);
    UNIT_ERR(px_db_query(db, unit_pool, &rows, "SELECT $1", "q", 1), PX_E_INTERNAL);
}
END_TEST

START_TEST(statements_are_prepared_once)
{
    px_db *db = unit_db_open(1, false, NULL);
    int i;

    for (i = 0; i < 5; i++) {
        px_rows *rows;
        UNIT_OK(px_db_query(db, unit_pool, &rows, "SELECT $1::int + 1", "i", i));
        ck_assert_int_eq(px_rows_int(rows, 0, 0), i + 1);
    }
    ck_assert_int_eq(number(db, "SELECT count(*) FROM pg_prepared_statements"
                                " WHERE statement = 'SELECT $1::int + 1'"), 1);
    for (i = 0; i < 1100; i++) {
        number(db, apr_psprintf(unit_pool, "SELECT %d", i));
    }
    ck_assert_int_le(number(db, "SELECT count(*) FROM pg_prepared_statements"), 501);
}
END_TEST

START_TEST(stale_plans_are_made_anew)
{
    px_db *db = unit_db_open(1, false, NULL);
    px_rows *rows;

    fresh_table();
    unit_db_exec("INSERT INTO t VALUES (1, 2)");
    UNIT_OK(px_db_query(db, unit_pool, &rows, "SELECT * FROM t", NULL));
    unit_db_exec("ALTER TABLE t ADD COLUMN more int DEFAULT 7");
    UNIT_OK(px_db_query(db, unit_pool, &rows, "SELECT * FROM t", NULL));
    ck_assert_int_eq(px_rows_int(rows, 0, 2), 7);
    UNIT_OK(px_db_query(db, unit_pool, NULL, "DEALLOCATE ALL", NULL));
    UNIT_OK(px_db_query(db, unit_pool, &rows, "SELECT * FROM t", NULL));
}
END_TEST

START_TEST(errors_carry_the_facts)
{
    px_db *db = unit_db_open(1, false, NULL);
    px_err *first, *second;

    fresh_table();
    unit_db_exec("INSERT INTO t VALUES (1, 2)");
    first = px_db_query(db, unit_pool, NULL, "INSERT INTO t VALUES ($1, 2)", "i", 1);
    second = px_db_query(db, unit_pool, NULL, "INSERT INTO t VALUES (2, $1)", "i", 200);
    ck_assert_int_eq(first->id, PX_E_CONFLICT);
    ck_assert_str_eq(px_db_err_sqlstate(first), "23505");
    ck_assert_str_eq(px_db_err_constraint(first), "t_pkey");
    ck_assert_int_eq(second->id, PX_E_INTERNAL);
    ck_assert_str_eq(px_db_err_constraint(second), "n_small");
    ck_assert_str_eq(px_db_err_sqlstate(second), "23514");
    ck_assert_ptr_null(px_db_err_sqlstate(px_error(unit_pool, PX_E_GONE, NULL, NULL)));
    ck_assert_ptr_null(px_db_err_sqlstate(NULL));
    first = px_db_query(db, unit_pool, NULL,
                        "DO $$ BEGIN RAISE 'x' USING ERRCODE = 'PX402', DETAIL = '{}'; END $$", NULL);
    ck_assert_str_eq(px_db_err_sqlstate(first), "PX402");
    ck_assert_str_eq(px_db_err_detail(first), "{}");
}
END_TEST

/* ---- session ---- */

START_TEST(sessions_are_set_up)
{
    px_db *db = unit_db_open(1, false, NULL);
    px_rows *rows;

    UNIT_OK(px_db_query(db, unit_pool, &rows,
                        "SELECT current_setting('lock_timeout'), current_setting('statement_timeout'),"
                        " current_setting('timezone'), current_setting('client_min_messages'),"
                        " current_setting('application_name')", NULL));
    ck_assert_str_eq(px_rows_str(rows, 0, 0), "3s");
    ck_assert_str_eq(px_rows_str(rows, 0, 1), "5s");
    ck_assert_str_eq(px_rows_str(rows, 0, 2), "UTC");
    ck_assert_str_eq(px_rows_str(rows, 0, 3), "warning");
    ck_assert_str_eq(px_rows_str(rows, 0, 4), "unit");
}
END_TEST

START_TEST(unsafe_commits_are_refused)
{
    px_db *db = unit_db_open(1, false, "options='-c synchronous_commit=off'");
    px_err *err = px_db_ping(db, unit_pool);

    ck_assert_ptr_nonnull(err);
    ck_assert_int_eq(err->id, PX_E_UNAVAILABLE);
    ck_assert_str_eq(err->log_id, "PXS2011");
    ck_assert_str_eq(px_db_ping(unit_db_open(1, false, "port=1"), unit_pool)->log_id, "PXS2001");
}
END_TEST

START_TEST(schema_version_must_fit)
{
    px_db *db;
    px_err *err;

    unit_db_exec("DROP SCHEMA IF EXISTS pixshift CASCADE");
    db = unit_db_open(1, true, NULL);
    err = px_db_query(db, unit_pool, NULL, "SELECT 1", NULL);
    ck_assert_ptr_nonnull(err);
    ck_assert_str_eq(err->log_id, "PXS2010");
    unit_db_migrate(base);
    UNIT_OK(px_db_query(db, unit_pool, NULL, "SELECT 1", NULL));
    unit_db_exec("INSERT INTO pixshift.schema_migrations VALUES (9999, 'x', repeat('0', 64))");
    err = px_db_ping(db, unit_pool);
    ck_assert_ptr_nonnull(err);
    ck_assert_str_eq(err->log_id, "PXS2010");
    ck_assert_ptr_nonnull(strstr(err->cause, "newer program"));
    unit_db_exec("DELETE FROM pixshift.schema_migrations WHERE version = 9999");
    UNIT_OK(px_db_ping(db, unit_pool));
}
END_TEST

START_TEST(test_clock_reaches_the_session)
{
    const char *clock = unit_db_path("clock");
    px_db *db;
    int64_t ahead;

    unit_db_exec("DROP SCHEMA IF EXISTS pixshift CASCADE");
    unit_db_migrate(base);
    db = unit_db_open(1, true, NULL);
    ck_assert_int_lt(llabs(number(db, "SELECT pixshift.usec(pixshift.now() - interval '0'"
                                      ") - pixshift.usec(clock_timestamp())")), 1000000);
    unit_db_write(clock, "86400000000");
    setenv("PIXSHIFT_TEST_CLOCK", clock, 1);
    usleep(60000);
    ahead = number(db, "SELECT pixshift.usec(pixshift.now()) - pixshift.usec(clock_timestamp())");
    if (px_clock_is_test()) {
        ck_assert_int_lt(llabs(ahead - 86400000000), 1000000);
        unit_db_write(clock, "-1000000");
        usleep(60000);
        ahead = number(db, "SELECT pixshift.usec(pixshift.now()) - pixshift.usec(clock_timestamp())");
        ck_assert_int_lt(llabs(ahead + 1000000), 100000);
    }
}
END_TEST

/* ---- transactions ---- */

typedef struct { int runs; const char *mode; px_db *db; } tx_case;

static px_err *tx_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    tx_case *c = baton;
    px_err *err = px_conn_query(conn, pool, NULL, "INSERT INTO t VALUES ($1, 0)", "i", 1);

    c->runs++;
    if (err) {
        return err;
    }
    if (strcmp(c->mode, "fail") == 0) {
        return px_error(pool, PX_E_GONE, NULL, NULL);
    }
    if (strcmp(c->mode, "swallow") == 0) {
        px_conn_query(conn, pool, NULL, "SELECT 1/0", NULL);
        return NULL;
    }
    if (strcmp(c->mode, "serialize") == 0 && c->runs < 3) {
        return px_conn_query(conn, pool, NULL,
                             "DO $$ BEGIN RAISE 'again' USING ERRCODE = '40001'; END $$", NULL);
    }
    if (strcmp(c->mode, "never") == 0) {
        return px_conn_query(conn, pool, NULL,
                             "DO $$ BEGIN RAISE 'again' USING ERRCODE = '40P01'; END $$", NULL);
    }
    if (strcmp(c->mode, "cut") == 0 && c->runs == 1) {
        return px_conn_query(conn, pool, NULL, "SELECT pg_terminate_backend(pg_backend_pid())", NULL);
    }
    if (strcmp(c->mode, "slow") == 0) {
        err = px_conn_query(conn, pool, NULL, "SET LOCAL statement_timeout = 20", NULL);
        return err ? err : px_conn_query(conn, pool, NULL, "SELECT pg_sleep(1)", NULL);
    }
    return NULL;
}

START_TEST(transactions_are_all_or_nothing)
{
    static const struct { const char *mode; int rows, runs; int error; } cases[] = {
        { "fine", 1, 1, -1 },          { "fail", 0, 1, PX_E_GONE },
        { "swallow", 0, 1, PX_E_INTERNAL }, { "serialize", 1, 3, -1 },
        { "never", 0, 4, PX_E_UNAVAILABLE },  { "cut", 1, 2, -1 },
        { "slow", 0, 1, PX_E_UNAVAILABLE },
    };
    px_db *db = unit_db_open(2, false, NULL);
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tx_case c = { 0, cases[i].mode, db };
        px_err *err;
        fresh_table();
        err = px_db_tx(db, unit_pool, tx_body, &c);
        ck_assert_msg((err ? (int)err->id : -1) == cases[i].error, "%s: %s", cases[i].mode,
                      err ? err->cause : "no error");
        ck_assert_msg(c.runs == cases[i].runs, "%s ran %d times", cases[i].mode, c.runs);
        ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), cases[i].rows);
    }
}
END_TEST

static px_err *nested_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    (void)conn;
    return px_db_query(baton, pool, NULL, "SELECT 1", NULL);
}

START_TEST(pool_is_bounded)
{
    px_db *db = unit_db_open(1, false, NULL);
    px_db_stats stats;
    int64_t start = px_monotonic();
    px_err *err = px_db_tx(db, unit_pool, nested_body, db);

    ck_assert_ptr_nonnull(err);
    ck_assert_int_eq(err->id, PX_E_UNAVAILABLE);
    ck_assert_str_eq(err->log_id, "PXS2000");
    ck_assert_int_eq(err->retry_after, 1);
    ck_assert_int_ge(px_monotonic() - start, 290000);
    px_db_get_stats(db, &stats);
    ck_assert_int_eq(stats.busy, 0);
    ck_assert_int_eq(stats.open, 1);
    ck_assert_int_eq(stats.max, 1);
    ck_assert_int_eq(stats.waits, 1);
    UNIT_OK(px_db_query(db, unit_pool, NULL, "SELECT 1", NULL));
}
END_TEST

START_TEST(lost_connections_are_replaced)
{
    px_db *db = unit_db_open(3, false, NULL);
    px_db_stats stats;
    int i;

    fresh_table();
    for (i = 0; i < 3; i++) {
        number(db, "SELECT 1");
        unit_db_exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                     " WHERE application_name = 'unit' AND datname = current_database()");
        ck_assert_int_eq(number(db, "SELECT 41 + 1"), 42);
    }
    /* Cut while the statement runs: nobody knows what happened, so it is not repeated... */
    UNIT_ERR(px_db_query(db, unit_pool, NULL, "INSERT INTO t SELECT 1, 1 FROM"
                         " pg_terminate_backend(pg_backend_pid())", NULL), PX_E_UNAVAILABLE);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), 0);
    px_db_get_stats(db, &stats);
    ck_assert_int_eq(stats.busy, 0);
    ck_assert_int_eq(number(db, "SELECT 1"), 1);
}
END_TEST

static void *hammer(void *baton)
{
    px_db *db = baton;
    apr_pool_t *pool;
    intptr_t bad = 0;
    int i;

    apr_pool_create_unmanaged(&pool);
    for (i = 0; i < 100; i++) {
        px_rows *rows;
        px_err *err = px_db_query(db, pool, &rows, "UPDATE t SET n = n WHERE id = $1 RETURNING id", "i",
                                  i % 4);
        bad += err != NULL || px_rows_int(rows, 0, 0) != i % 4;
        apr_pool_clear(pool);
    }
    apr_pool_destroy(pool);
    return (void *)bad;
}

START_TEST(threads_share_the_pool)
{
    px_db *db = unit_db_open(3, false, NULL);
    pthread_t threads[8];
    px_db_stats stats;
    int i;

    fresh_table();
    unit_db_exec("INSERT INTO t SELECT g, 0 FROM generate_series(0, 3) g");
    for (i = 0; i < 8; i++) {
        pthread_create(&threads[i], NULL, hammer, db);
    }
    for (i = 0; i < 8; i++) {
        void *bad;
        pthread_join(threads[i], &bad);
        ck_assert_ptr_null(bad);
    }
    px_db_get_stats(db, &stats);
    ck_assert_int_le(stats.open, 3);
    ck_assert_int_eq(stats.busy, 0);
}
END_TEST

/* ---- LISTEN ---- */

typedef struct { int notes, gaps; char last[64]; } heard;

static void on_notify(void *baton, const char *channel, const char *payload)
{
    heard *h = baton;

    h->notes++;
    snprintf(h->last, sizeof h->last, "%s:%s", channel, payload);
}

static void on_gap(void *baton)
{
    ((heard *)baton)->gaps++;
}

/* Turns the listener until *counter reaches `want`; 5 s at most. */
static void turn_until(px_listener *l, const int *counter, int want)
{
    int64_t end = px_monotonic() + 5000000;

    while (*counter < want && px_monotonic() < end) {
        struct pollfd p = { .fd = px_listener_fd(l),
                            .events = px_listener_wants_write(l) ? POLLIN | POLLOUT : POLLIN };
        poll(&p, 1, 20);
        px_listener_process(l);
    }
    ck_assert_int_eq(*counter, want);
}

START_TEST(listener_hears_and_comes_back)
{
    static const char *const channels[] = { "px_one", "px_two", NULL };
    static const char *const bad[] = { "no; drop", NULL };
    px_db *db = unit_db_open(1, false, NULL);
    heard h = { 0 };
    px_listener *l;

    UNIT_ERR(px_listener_open(db, unit_pool, bad, on_notify, on_gap, &h, &l), PX_E_INTERNAL);
    UNIT_OK(px_listener_open(db, unit_pool, channels, on_notify, on_gap, &h, &l));
    turn_until(l, &h.gaps, 1);
    ck_assert(px_listener_ready(l));
    unit_db_exec("NOTIFY px_two, 'hello'");
    turn_until(l, &h.notes, 1);
    ck_assert_str_eq(h.last, "px_two:hello");
    unit_db_exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                 " WHERE application_name = 'unit' AND datname = current_database()");
    turn_until(l, &h.gaps, 2);
    unit_db_exec("NOTIFY px_one");
    turn_until(l, &h.notes, 2);
    ck_assert_str_eq(h.last, "px_one:");
    px_listener_close(l);
    ck_assert_int_eq(px_listener_fd(l), -1);
    px_listener_process(l);
}
END_TEST

/* ---- migrations ---- */

static void put(const char *name, const char *sql)
{
    unit_db_write(apr_pstrcat(unit_pool, unit_db_path("m"), "/", name, NULL), sql);
}

/* 1 is the real base, 2 a table, 3 a view. */
static const char *small_history(void)
{
    size_t len;
    const char *root = getenv("srcdir") ? getenv("srcdir") : ".";
    char *up = unit_read(apr_pstrcat(unit_pool, root, "/sql/0001_base.up.sql", NULL), &len);
    char *down = unit_read(apr_pstrcat(unit_pool, root, "/sql/0001_base.down.sql", NULL), &len);

    unit_db_exec("DROP SCHEMA IF EXISTS pixshift CASCADE");
    mkdir(unit_db_path("m"), 0700);
    put("0001_base.up.sql", up);
    put("0001_base.down.sql", down);
    put("0002_two.up.sql", "CREATE TABLE pixshift.two (a int);");
    put("0002_two.down.sql", "DROP TABLE pixshift.two;");
    put("0010_ten.up.sql", "CREATE VIEW pixshift.ten AS SELECT a FROM pixshift.two; SELECT 1;");
    put("0010_ten.down.sql", "DROP VIEW pixshift.ten;");
    put("README", "not a migration");
    unlink(apr_pstrcat(unit_pool, unit_db_path("m"), "/0011_bad.up.sql", NULL));
    return unit_db_path("m");
}

static void count_line(void *baton, const char *line)
{
    ck_assert_ptr_nonnull(line);
    ++*(int *)baton;
}

START_TEST(migrations_go_up_and_down)
{
    const char *dir = small_history();
    px_db *db = unit_db_open(2, false, NULL);
    px_migration *list;
    int lines = 0, count;

    UNIT_OK(px_migrate_status(db, unit_pool, dir, &list, &count));
    ck_assert_int_eq(count, 3);
    ck_assert(!list[0].applied);
    UNIT_OK(px_migrate(db, unit_pool, dir, 2, NULL, count_line, &lines));
    ck_assert_int_eq(lines, 2);
    UNIT_OK(px_migrate(db, unit_pool, dir, -1, NULL, count_line, &lines));
    UNIT_OK(px_migrate(db, unit_pool, dir, -1, NULL, count_line, &lines));
    ck_assert_int_eq(lines, 3);
    UNIT_OK(px_migrate_status(db, unit_pool, dir, &list, &count));
    ck_assert_int_eq(list[2].version, 10);
    ck_assert_str_eq(list[2].name, "ten");
    ck_assert(list[2].applied && !list[2].changed);
    ck_assert_int_lt(llabs(list[2].applied_at - px_now()), 60000000);
    UNIT_OK(px_migrate(db, unit_pool, dir, 1, NULL, count_line, &lines));
    ck_assert_int_eq(number(db, "SELECT count(*) FROM pixshift.schema_migrations"), 1);
    ck_assert_int_eq(number(db, "SELECT (to_regclass('pixshift.two') IS NULL)::int"), 1);
    UNIT_OK(px_migrate(db, unit_pool, dir, 0, NULL, NULL, NULL));
    ck_assert_int_eq(number(db, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pixshift'"), 0);
    UNIT_OK(px_migrate(db, unit_pool, dir, 0, NULL, NULL, NULL));
}
END_TEST

START_TEST(migrations_refuse_what_is_wrong)
{
    const char *dir = small_history();
    px_db *db = unit_db_open(2, false, NULL);
    px_err *err;

    put("0011_bad.up.sql", "CREATE TABLE pixshift.bad (a int); SELECT 1/0;");
    err = px_migrate(db, unit_pool, dir, -1, NULL, NULL, NULL);
    ck_assert_ptr_nonnull(err);
    ck_assert_ptr_nonnull(strstr(err->cause, "0011_bad.up.sql"));
    ck_assert_int_eq(number(db, "SELECT max(version) FROM pixshift.schema_migrations"), 10);
    ck_assert_int_eq(number(db, "SELECT (to_regclass('pixshift.bad') IS NULL)::int"), 1);
    put("0011_bad.up.sql", "SELECT 1;");
    UNIT_OK(px_migrate(db, unit_pool, dir, -1, NULL, NULL, NULL));
    put("0011_bad.up.sql", "SELECT 2;");
    err = px_migrate(db, unit_pool, dir, -1, NULL, NULL, NULL);
    ck_assert_ptr_nonnull(err);
    ck_assert_str_eq(err->log_id, "PXS2021");
    unlink(apr_pstrcat(unit_pool, dir, "/0011_bad.up.sql", NULL));
    err = px_migrate(db, unit_pool, dir, -1, NULL, NULL, NULL);
    ck_assert_ptr_nonnull(err);
    ck_assert_ptr_nonnull(strstr(err->cause, "newer release"));
    UNIT_ERR(px_migrate(db, unit_pool, unit_db_path("nowhere"), -1, NULL, NULL, NULL),
             PX_E_UNAVAILABLE);
}
END_TEST

static void *migrate_thread(void *baton)
{
    px_db_config config = { .conninfo = unit_db_info, .skip_schema_check = true };
    apr_pool_t *pool;
    px_db *db;
    px_err *err;
    intptr_t failed;

    apr_pool_create_unmanaged(&pool);
    err = px_db_open(pool, &config, &db);
    if (!err) {
        err = px_migrate(db, pool, baton, -1, NULL, NULL, NULL);
    }
    failed = err != NULL;
    apr_pool_destroy(pool);
    return (void *)failed;
}

START_TEST(migrations_wait_for_each_other)
{
    const char *dir = small_history();
    pthread_t threads[4];
    int i;

    for (i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, migrate_thread, (void *)(uintptr_t)dir);
    }
    for (i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
    ck_assert_int_eq(number(unit_db_open(1, false, NULL),
                            "SELECT count(*) FROM pixshift.schema_migrations"), 3);
}
END_TEST

START_TEST(service_role_cannot_touch_the_record)
{
    const char *role = apr_psprintf(unit_pool, "px_app_%d", (int)getpid());
    px_db *db = unit_db_open(1, false, NULL);
    px_db *app;

    unit_db_exec(apr_psprintf(unit_pool, "CREATE ROLE %s LOGIN", role));
    UNIT_OK(px_migrate(db, unit_pool, small_history(), -1, role, NULL, NULL));
    app = unit_db_open(1, false, apr_psprintf(unit_pool, "user=%s", role));
    UNIT_OK(px_db_query(app, unit_pool, NULL, "INSERT INTO pixshift.two VALUES (1)", NULL));
    ck_assert_int_eq(number(app, "SELECT max(version) FROM pixshift.schema_migrations"), 10);
    ck_assert_str_eq(px_db_err_sqlstate(px_db_query(app, unit_pool, NULL,
                     "DELETE FROM pixshift.schema_migrations", NULL)), "42501");
    ck_assert_str_eq(px_db_err_sqlstate(px_db_query(app, unit_pool, NULL,
                     "DROP TABLE pixshift.two", NULL)), "42501");
    unit_db_exec(apr_psprintf(unit_pool, "DROP SCHEMA pixshift CASCADE; DROP ROLE %s", role));
}
END_TEST

static void no_log(void *baton, px_log_level level, const char *line)
{
    (void)baton, (void)level, (void)line;
}

int main(void)
{
    TCase *tc;

    unit_db_begin("db");
    px_log_set_sink(no_log, NULL);
    tc = unit_begin("db");
    tcase_add_test(tc, parameters_keep_their_values);
    tcase_add_test(tc, statements_are_prepared_once);
    tcase_add_test(tc, stale_plans_are_made_anew);
    tcase_add_test(tc, errors_carry_the_facts);
    tc = unit_case("session");
    tcase_add_test(tc, sessions_are_set_up);
    tcase_add_test(tc, unsafe_commits_are_refused);
    tcase_add_test(tc, schema_version_must_fit);
    tcase_add_test(tc, test_clock_reaches_the_session);
    tc = unit_case("tx");
    tcase_add_test(tc, transactions_are_all_or_nothing);
    tcase_add_test(tc, pool_is_bounded);
    tcase_add_test(tc, lost_connections_are_replaced);
    tcase_add_test(tc, threads_share_the_pool);
    tc = unit_case("listen");
    tcase_add_test(tc, listener_hears_and_comes_back);
    tc = unit_case("migrate");
    tcase_add_test(tc, migrations_go_up_and_down);
    tcase_add_test(tc, migrations_refuse_what_is_wrong);
    tcase_add_test(tc, migrations_wait_for_each_other);
    tcase_add_test(tc, service_role_cannot_touch_the_record);
    return unit_db_end(unit_run());
}
