/* The pool: at most max_connections, made when needed, the last used handed out first. */
#include "db_internal.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include <apr_strings.h>
#include <stdlib.h>

static apr_status_t close_db(void *data)
{
    px_db *db = data;

    while (db->idle) {
        px_conn *conn = db->idle;
        db->idle = conn->next;
        px_conn_close(conn);
    }
    apr_thread_cond_destroy(db->freed);
    apr_thread_mutex_destroy(db->mutex);
    return APR_SUCCESS;
}

px_err *px_db_open(apr_pool_t *pool, const px_db_config *config, px_db **out)
{
    px_db *db;

    if (!config->conninfo || config->max_connections < 0 || config->max_connections > 100) {
        return px_error(pool, PX_E_INTERNAL, "PXS2000", "bad database configuration");
    }
    db = apr_pcalloc(pool, sizeof *db);
    db->pool = pool;
    db->config = *config;
    db->config.conninfo = apr_pstrdup(pool, config->conninfo);
    db->config.password = apr_pstrdup(pool, config->password);
    db->config.app_name = apr_pstrdup(pool, config->app_name);
    if (db->config.max_connections == 0) {
        db->config.max_connections = 8;
    }
    if (db->config.acquire_timeout_ms <= 0) {
        db->config.acquire_timeout_ms = 2000;
    }
    if (apr_thread_mutex_create(&db->mutex, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS
        || apr_thread_cond_create(&db->freed, pool) != APR_SUCCESS) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS2000", "no mutex for the connection pool");
    }
    apr_pool_cleanup_register(pool, db, close_db, apr_pool_cleanup_null);
    *out = db;
    return NULL;
}

/* A slot: an idle connection, or NULL in *out with the right to open one. */
static px_err *take_slot(px_db *db, apr_pool_t *pool, px_conn **out)
{
    int64_t deadline = px_monotonic() + (int64_t)db->config.acquire_timeout_ms * 1000;
    px_err *err = NULL;

    apr_thread_mutex_lock(db->mutex);
    if (!db->idle && db->open >= db->config.max_connections) {
        db->waits++;
    }
    while (!db->idle && db->open >= db->config.max_connections && !err) {
        int64_t left = deadline - px_monotonic();
        if (left <= 0) {
            err = px_error(pool, PX_E_UNAVAILABLE, "PXS2000",
                           "no free database connection within %d ms (%d in use)",
                           db->config.acquire_timeout_ms, db->busy);
            err->retry_after = 1;
            db->failures++;
        } else {
            apr_thread_cond_timedwait(db->freed, db->mutex, left);
        }
    }
    if (!err) {
        *out = db->idle;
        if (db->idle) {
            db->idle = db->idle->next;
        } else {
            db->open++;
        }
        db->busy++;
    }
    apr_thread_mutex_unlock(db->mutex);
    return err;
}

/* The holder of a slot has no connection (any more). */
static void drop_slot(px_db *db, bool failed)
{
    apr_thread_mutex_lock(db->mutex);
    db->open--;
    db->busy--;
    if (failed) {
        db->failures++;
    }
    apr_thread_cond_signal(db->freed);
    apr_thread_mutex_unlock(db->mutex);
}

static px_err *check_schema_when_due(px_conn *conn, apr_pool_t *pool, bool fresh)
{
    px_db *db = conn->db;
    bool due;
    px_err *err;

    if (db->config.skip_schema_check) {
        return NULL;
    }
    apr_thread_mutex_lock(db->mutex);
    due = fresh || db->schema_checked_at == 0
          || px_monotonic() - db->schema_checked_at > DB_SCHEMA_RECHECK_US;
    apr_thread_mutex_unlock(db->mutex);
    if (!due) {
        return NULL;
    }
    err = px_conn_check_schema(conn, pool);
    apr_thread_mutex_lock(db->mutex);
    db->schema_checked_at = err ? 0 : px_monotonic();
    apr_thread_mutex_unlock(db->mutex);
    return err;
}

/* Makes the slot's connection usable: dead ones are replaced, the session learns the clock. */
static px_err *make_ready(px_db *db, apr_pool_t *pool, px_conn **conn)
{
    bool fresh = false;
    px_err *err;

    if (*conn && !px_conn_alive(*conn)) {
        px_conn_close(*conn);
        *conn = NULL;
    }
    if (!*conn) {
        err = px_conn_open(db, pool, conn);
        if (err) {
            return err;
        }
        fresh = true;
    }
    (*conn)->in_tx = false;
    (*conn)->tx_retry = false;
    err = px_conn_sync_clock(*conn, pool);
    return err ? err : check_schema_when_due(*conn, pool, fresh);
}

px_err *px_conn_acquire(px_db *db, apr_pool_t *pool, px_conn **out)
{
    px_conn *conn = NULL;
    px_err *err;

    if (px_failpoint("db_acquire")) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS2000", "fail-point db_acquire");
    }
    err = take_slot(db, pool, &conn);
    if (err) {
        return err;
    }
    err = make_ready(db, pool, &conn);
    if (err) {
        if (conn) {
            px_conn_close(conn);
        }
        drop_slot(db, true);
        return err;
    }
    *out = conn;
    return NULL;
}

void px_conn_return(px_conn *conn)
{
    px_db *db = conn->db;

    if (PQstatus(conn->pg) != CONNECTION_OK
        || PQtransactionStatus(conn->pg) != PQTRANS_IDLE) {
        px_conn_close(conn);
        drop_slot(db, false);
        return;
    }
    apr_thread_mutex_lock(db->mutex);
    conn->next = db->idle;
    db->idle = conn;
    db->busy--;
    apr_thread_cond_signal(db->freed);
    apr_thread_mutex_unlock(db->mutex);
}

void px_db_get_stats(px_db *db, px_db_stats *stats)
{
    apr_thread_mutex_lock(db->mutex);
    stats->open = db->open;
    stats->busy = db->busy;
    stats->max = db->config.max_connections;
    stats->waits = db->waits;
    stats->failures = db->failures;
    apr_thread_mutex_unlock(db->mutex);
}

px_err *px_db_ping(px_db *db, apr_pool_t *pool)
{
    px_conn *conn;
    px_err *err = px_conn_acquire(db, pool, &conn);

    if (err) {
        return err;
    }
    err = db->config.skip_schema_check ? px_conn_exec(conn, pool, NULL, "SELECT 1")
                                       : px_conn_check_schema(conn, pool);
    px_conn_return(conn);
    return err;
}
