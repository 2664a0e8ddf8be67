/* Transactions: BEGIN, the caller's body, COMMIT; the whole again when the server asks for it. */
#include "db_internal.h"

#include "base/failpoint.h"
#include "base/log.h"
#include <string.h>

/* The one moment at which nobody can know: the commit was sent and no answer came. */
static px_err *outcome_unknown(px_conn *conn, apr_pool_t *pool)
{
    px_err *err = px_error(pool, PX_E_UNAVAILABLE, "PXS2007",
                           "connection lost at COMMIT, outcome unknown: %.200s",
                           PQerrorMessage(conn->pg));
    err->retry_after = 1;
    conn->tx_retry = false;
    return err;
}

static px_err *commit(px_conn *conn, apr_pool_t *pool)
{
    PGresult *result;
    px_err *err = NULL;

    if (px_failpoint("db_commit")) {
        PQfinish(conn->pg);     /* as if the cable had been cut before the commit left */
        conn->pg = NULL;
        return px_error(pool, PX_E_UNAVAILABLE, "PXS2007", "fail-point db_commit");
    }
    result = PQexec(conn->pg, "COMMIT");
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        /* A deferred trigger or a serialization failure speaks here, with a SQLSTATE; silence means
         * that the connection is gone. */
        err = PQresultErrorField(result, PG_DIAG_SQLSTATE)
                  ? px_db_error(conn, pool, result, "COMMIT")
                  : outcome_unknown(conn, pool);
    } else if (strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        /* The body swallowed a statement's error: PostgreSQL rolls back and calls it success. */
        err = px_error(pool, conn->tx_retry ? PX_E_UNAVAILABLE : PX_E_INTERNAL, "PXS2002",
                       "COMMIT answered %s: a statement failed inside", PQcmdStatus(result));
    }
    PQclear(result);
    return err;
}

static px_err *attempt_tx(px_conn *conn, apr_pool_t *pool, px_db_tx_body *body, void *baton)
{
    px_err *err = px_conn_exec(conn, pool, NULL, "BEGIN");

    if (err) {
        return err;
    }
    conn->in_tx = true;
    err = body(conn, pool, baton);
    if (!err) {
        return commit(conn, pool);
    }
    if (PQstatus(conn->pg) == CONNECTION_OK) {
        PQclear(PQexec(conn->pg, "ROLLBACK"));
    }
    return err;
}

px_err *px_db_tx(px_db *db, apr_pool_t *pool, px_db_tx_body *body, void *baton)
{
    px_err *err = NULL;
    int attempt;

    for (attempt = 1; attempt <= DB_MAX_ATTEMPTS; attempt++) {
        px_conn *conn;
        bool again;

        err = px_conn_acquire(db, pool, &conn);
        if (err) {
            return err;
        }
        err = attempt_tx(conn, pool, body, baton);
        again = err && conn->tx_retry;
        px_conn_return(conn);
        if (!again) {
            return err;
        }
        px_log(PX_LOG_DEBUG, "PXS2009", "transaction repeated (%d): %s", attempt,
               err->cause ? err->cause : "no cause");
        px_db_backoff(attempt);
    }
    return err;
}
