/* One connection: parameters, session set-up, liveness, test clock, schema version. */
#include "db_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "migrate.h"
#include <apr_lib.h>
#include <apr_strings.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* Runs once per connection; the last result tells what the server really does about commits. */
static const char session_sql[] =
    "SET lock_timeout = '3s'; SET statement_timeout = '5s';"
    "SET idle_in_transaction_session_timeout = '30s';"
    "SET client_min_messages = warning; SET timezone = 'UTC'; SET datestyle = 'ISO, YMD';"
    "SET bytea_output = 'hex'; SET search_path = pixshift, public;"
    "SELECT current_setting('synchronous_commit'), current_setting('server_version_num')::int";

void px_conn_params(const px_db *db, const char **keywords, const char **values)
{
    int n = 0;

#define PARAM(k, v) (keywords[n] = (k), values[n] = (v), n++)
    /* What stands before dbname can be overridden by the connection string. */
    PARAM("connect_timeout", "3");
    PARAM("keepalives_idle", "30");
    PARAM("keepalives_interval", "5");
    PARAM("keepalives_count", "3");
    PARAM("tcp_user_timeout", "15000");
    PARAM("application_name", db->config.app_name ? db->config.app_name : "pixshift");
    PARAM("dbname", db->config.conninfo);
    PARAM("client_encoding", "UTF8");
    if (db->config.password) {
        PARAM("password", db->config.password);
    }
    PARAM(NULL, NULL);
#undef PARAM
}

void px_conn_notice(void *baton, const char *message)
{
    size_t len = strlen(message);

    (void)baton;
    while (len > 0 && message[len - 1] == '\n') {
        len--;
    }
    px_log(PX_LOG_INFO, "PXS2012", "PostgreSQL says: %.*s", (int)len, message);
}

static px_err *set_up_session(px_conn *conn, apr_pool_t *pool)
{
    px_rows *rows;
    px_err *err = px_conn_exec(conn, pool, &rows, session_sql);
    const char *commits;

    if (err) {
        return err;
    }
    commits = px_rows_str(rows, 0, 0);
    if (strcmp(commits, "off") == 0) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS2011",
                        "synchronous_commit is off: acknowledged jobs and payments could be lost");
    }
    if (px_rows_int(rows, 0, 1) < 140000) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS2014", "PostgreSQL %s is older than 14",
                        px_rows_str(rows, 0, 1));
    }
    return NULL;
}

/* libpq's hints stand on lines of their own; logs and reports want one. */
static const char *one_line(apr_pool_t *pool, const char *text)
{
    char *copy = apr_pstrdup(pool, text);
    char *to = copy;

    for (const char *from = copy; *from; from++) {
        bool space = apr_isspace(*from);
        if (!space || (to > copy && to[-1] != ' ')) {
            *to++ = space ? ' ' : *from;
        }
    }
    to -= to > copy && to[-1] == ' ';
    *to = '\0';
    return copy;
}

px_err *px_conn_open(px_db *db, apr_pool_t *pool, px_conn **out)
{
    const char *keywords[DB_PARAMS], *values[DB_PARAMS];
    apr_pool_t *own;
    px_conn *conn;
    px_err *err = NULL;

    if (apr_pool_create_unmanaged(&own) != APR_SUCCESS) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS2001", "no memory for a connection");
    }
    conn = apr_pcalloc(own, sizeof *conn);
    conn->db = db;
    conn->pool = own;
    conn->statements = apr_hash_make(own);
    px_conn_params(db, keywords, values);
    conn->pg = PQconnectdbParams(keywords, values, 1);
    if (PQstatus(conn->pg) != CONNECTION_OK) {
        err = px_error(pool, PX_E_UNAVAILABLE, "PXS2001", "cannot connect: %.300s",
                       one_line(pool, PQerrorMessage(conn->pg)));
        err->retry_after = 1;
    } else {
        PQsetNoticeProcessor(conn->pg, px_conn_notice, NULL);
        err = set_up_session(conn, pool);
    }
    if (err) {
        px_conn_close(conn);
        return err;
    }
    *out = conn;
    return NULL;
}

void px_conn_close(px_conn *conn)
{
    PQfinish(conn->pg);
    apr_pool_destroy(conn->pool);
}

bool px_conn_alive(px_conn *conn)
{
    struct pollfd p = { .fd = PQsocket(conn->pg), .events = POLLIN };

    if (PQstatus(conn->pg) != CONNECTION_OK || p.fd < 0) {
        return false;
    }
    /* Nothing is due from the server on an idle connection: bytes mean a farewell or a notice. */
    if (poll(&p, 1, 0) > 0 && (!PQconsumeInput(conn->pg) || (p.revents & (POLLHUP | POLLERR)))) {
        return false;
    }
    return PQstatus(conn->pg) == CONNECTION_OK;
}

px_err *px_conn_sync_clock(px_conn *conn, apr_pool_t *pool)
{
    int64_t offset = px_clock_offset();
    px_err *err;

    if (offset == conn->clock_offset) {
        return NULL;
    }
    err = px_conn_query(conn, pool, NULL,
                        "SELECT set_config('pixshift.clock_offset', $1, false)", "l", offset);
    if (!err) {
        conn->clock_offset = offset;
    }
    return err;
}

px_err *px_conn_check_schema(px_conn *conn, apr_pool_t *pool)
{
    px_rows *rows;
    int64_t found;
    px_err *err = px_conn_exec(conn, pool, &rows,
                               "SELECT max(version) FROM pixshift.schema_migrations");

    if (err) {
        const char *state = px_db_err_sqlstate(err);
        if (state && (strcmp(state, "42P01") == 0 || strcmp(state, "3F000") == 0)) {
            return px_error(pool, PX_E_UNAVAILABLE, "PXS2010",
                            "the database has no PixShift schema: run pixshiftctl migrate");
        }
        return err;
    }
    found = px_rows_int(rows, 0, 0);
    if (found == px_schema_version()) {
        return NULL;
    }
    return px_error(pool, PX_E_UNAVAILABLE, "PXS2010",
                    "the schema has version %d, this program needs %d: %s", (int)found,
                    px_schema_version(),
                    found < px_schema_version() ? "run pixshiftctl migrate"
                                                : "install the newer program");
}
