/* From SQLSTATE to px_err.  An error remembers SQLSTATE, constraint and DETAIL for callers that
 * decide by them; these facts hang on the error's pool, so that base/ needs to know nothing of SQL. */
#include "db_internal.h"

#include "base/clock.h"
#include "base/crypto.h"
#include <apr_strings.h>
#include <apr_time.h>
#include <string.h>

typedef struct facts {
    const px_err *err;
    const char *sqlstate, *constraint, *detail;
    struct facts *next;
} facts;

static const char facts_key[] = "pixshift.db.facts";

static void remember(px_err *err, const PGresult *result, const char *sqlstate)
{
    facts *f = apr_pcalloc(err->pool, sizeof *f);
    void *older = NULL;

    f->err = err;
    f->sqlstate = apr_pstrdup(err->pool, sqlstate);
    if (result) {
        f->constraint = apr_pstrdup(err->pool, PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME));
        f->detail = apr_pstrdup(err->pool, PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL));
    }
    apr_pool_userdata_get(&older, facts_key, err->pool);
    f->next = older;
    apr_pool_userdata_setn(f, facts_key, NULL, err->pool);
}

static const facts *recall(const px_err *err)
{
    void *first = NULL;
    const facts *f;

    if (!err || !err->pool) {
        return NULL;
    }
    apr_pool_userdata_get(&first, facts_key, err->pool);
    for (f = first; f && f->err != err; f = f->next) {
    }
    return f;
}

const char *px_db_err_sqlstate(const px_err *err)
{
    const facts *f = recall(err);
    return f ? f->sqlstate : NULL;
}

const char *px_db_err_constraint(const px_err *err)
{
    const facts *f = recall(err);
    return f ? f->constraint : NULL;
}

const char *px_db_err_detail(const px_err *err)
{
    const facts *f = recall(err);
    return f ? f->detail : NULL;
}

/* One row per SQLSTATE or class; the first match wins. */
static const struct {
    const char *prefix;
    px_err_id id;
    const char *log_id;
    bool retry;
} states[] = {
    { "40001", PX_E_UNAVAILABLE, "PXS2004", true },     /* serialization failure */
    { "40P01", PX_E_UNAVAILABLE, "PXS2004", true },     /* deadlock */
    { "55P03", PX_E_UNAVAILABLE, "PXS2005", false },    /* lock_timeout: the caller waited 3 s */
    { "57014", PX_E_UNAVAILABLE, "PXS2005", false },    /* statement_timeout, cancel */
    { "57P0",  PX_E_UNAVAILABLE, "PXS2003", true },     /* shutdown, crash, starting up */
    { "08",    PX_E_UNAVAILABLE, "PXS2003", true },
    { "53",    PX_E_UNAVAILABLE, "PXS2006", false },    /* disk full, memory, connections */
    { "58",    PX_E_UNAVAILABLE, "PXS2006", false },    /* I/O error in the server */
    { "25006", PX_E_UNAVAILABLE, "PXS2006", false },    /* read-only: a standby */
    { "25P03", PX_E_UNAVAILABLE, "PXS2005", false },    /* idle_in_transaction_session_timeout */
    /* A prepared statement that a migration made stale, or that the server no longer knows. */
    { "0A000", PX_E_UNAVAILABLE, "PXS2009", true },
    { "26000", PX_E_UNAVAILABLE, "PXS2009", true },
    { "23505", PX_E_CONFLICT,    "PXS2008", false },    /* unique violation */
    { "23P01", PX_E_CONFLICT,    "PXS2008", false },    /* exclusion violation */
    { "",      PX_E_INTERNAL,    "PXS2002", false },
};

static size_t find_state(const char *sqlstate)
{
    size_t i = 0;

    while (strncmp(sqlstate, states[i].prefix, strlen(states[i].prefix)) != 0) {
        i++;
    }
    return i;
}

bool px_db_state_retryable(const char *sqlstate)
{
    return states[find_state(sqlstate)].retry;
}

px_err *px_db_error(px_conn *conn, apr_pool_t *pool, const PGresult *result, const char *sql)
{
    const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *message = result ? PQresultErrorMessage(result) : PQerrorMessage(conn->pg);
    size_t row;
    px_err *err;

    if (!sqlstate) {
        sqlstate = "08006";     /* libpq's own words: the connection failed */
    }
    row = find_state(sqlstate);
    /* The statement is ours and has no values in it; the message may quote one row, never secrets:
     * those are stored hashed or sealed. */
    err = px_error(pool, states[row].id, states[row].log_id, "%s: %.300s [%.200s]", sqlstate,
                   message, sql);
    if (states[row].id == PX_E_UNAVAILABLE) {
        err->retry_after = 1;
    }
    remember(err, result, sqlstate);
    if (states[row].retry) {
        conn->tx_retry = true;
    }
    return err;
}

void px_db_backoff(int attempt)
{
    unsigned char noise;

    px_random(&noise, 1);
    apr_sleep((apr_interval_time_t)attempt * 4000 + noise * 40);
}
