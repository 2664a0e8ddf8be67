/* Statements: parameters, the cache of prepared statements, lone statements with repetition. */
#include "db_internal.h"

#include <apr_strings.h>
#include <string.h>

#define BYTEA_OID 17

typedef struct {
    int count;
    Oid *oids;
    const char **values;
    int *lengths;
    int *formats;
} params;

/* Text parameters leave their type to the server, which infers it from the statement. */
static params *read_params(apr_pool_t *pool, const char *types, va_list args)
{
    params *p = apr_pcalloc(pool, sizeof *p);
    size_t n = types ? strlen(types) : 0;
    size_t i;

    p->count = (int)n;
    p->oids = apr_pcalloc(pool, (n + 1) * sizeof *p->oids);
    p->values = apr_pcalloc(pool, (n + 1) * sizeof *p->values);
    p->lengths = apr_pcalloc(pool, (n + 1) * sizeof *p->lengths);
    p->formats = apr_pcalloc(pool, (n + 1) * sizeof *p->formats);
    for (i = 0; i < n; i++) {
        switch (types[i]) {
        case 's':
        case 'j':
            p->values[i] = va_arg(args, const char *);
            break;
        case 'i':
            p->values[i] = apr_itoa(pool, va_arg(args, int));
            break;
        case 'l':
            p->values[i] = apr_psprintf(pool, "%" APR_INT64_T_FMT,
                                        (apr_int64_t)va_arg(args, int64_t));
            break;
        case 'b':
            p->values[i] = va_arg(args, int) ? "t" : "f";
            break;
        case 'x':
            p->values[i] = va_arg(args, const char *);
            p->lengths[i] = (int)va_arg(args, size_t);
            p->formats[i] = 1;
            p->oids[i] = BYTEA_OID;
            break;
        default:
            return NULL;
        }
    }
    return p;
}

void px_conn_forget_statements(px_conn *conn)
{
    /* The names are never used again, so that nothing depends on DEALLOCATE succeeding. The key
     * copies stay in the connection's pool; DB_MAX_PREPARED keeps this from happening often. */
    apr_hash_clear(conn->statements);
    if (PQstatus(conn->pg) == CONNECTION_OK
        && PQtransactionStatus(conn->pg) == PQTRANS_IDLE) {
        PQclear(PQexec(conn->pg, "DEALLOCATE ALL"));
    }
}

static px_err *prepare(px_conn *conn, apr_pool_t *pool, const char *sql, const params *p,
                       const char **name)
{
    const char *fresh;
    PGresult *result;

    *name = apr_hash_get(conn->statements, sql, APR_HASH_KEY_STRING);
    if (*name) {
        return NULL;
    }
    if (apr_hash_count(conn->statements) >= DB_MAX_PREPARED
        && PQtransactionStatus(conn->pg) == PQTRANS_IDLE) {
        px_conn_forget_statements(conn);
    }
    fresh = apr_psprintf(conn->pool, "px%u", conn->next_statement++);
    result = PQprepare(conn->pg, fresh, sql, p->count, p->oids);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        px_err *err = px_db_error(conn, pool, result, sql);
        PQclear(result);
        return err;
    }
    PQclear(result);
    apr_hash_set(conn->statements, apr_pstrdup(conn->pool, sql), APR_HASH_KEY_STRING, fresh);
    *name = fresh;
    return NULL;
}

/* Keeps or clears a result, or turns it into an error. */
static px_err *finish(px_conn *conn, apr_pool_t *pool, PGresult *result, px_rows **rows,
                      const char *sql)
{
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        px_err *err = px_db_error(conn, pool, result, sql);
        PQclear(result);
        return err;
    }
    if (rows) {
        *rows = px_rows_wrap(pool, result);
    } else {
        PQclear(result);
    }
    return NULL;
}

static px_err *run(px_conn *conn, apr_pool_t *pool, px_rows **rows, const char *sql,
                   const params *p)
{
    const char *name;
    PGresult *result;
    px_err *err;

    conn->sent = false;
    if (!p) {
        return px_error(pool, PX_E_INTERNAL, "PXS2002", "bad parameter letter [%.200s]", sql);
    }
    err = prepare(conn, pool, sql, p, &name);
    if (err) {
        return err;
    }
    conn->sent = true;
    result = PQexecPrepared(conn->pg, name, p->count, p->values, p->lengths, p->formats, 0);
    err = finish(conn, pool, result, rows, sql);
    if (err) {
        const char *state = px_db_err_sqlstate(err);
        /* Stale plans: forget this one, so that the repetition prepares anew. */
        if (strcmp(state, "0A000") == 0 || strcmp(state, "26000") == 0) {
            apr_hash_set(conn->statements, sql, APR_HASH_KEY_STRING, NULL);
        }
    }
    return err;
}

px_err *px_conn_exec(px_conn *conn, apr_pool_t *pool, px_rows **rows, const char *sql)
{
    return finish(conn, pool, PQexec(conn->pg, sql), rows, sql);
}

px_err *px_conn_vquery(px_conn *conn, apr_pool_t *pool, px_rows **rows, const char *sql,
                       const char *types, va_list args)
{
    return run(conn, pool, rows, sql, read_params(pool, types, args));
}

px_err *px_conn_query(px_conn *conn, apr_pool_t *pool, px_rows **rows, const char *sql,
                      const char *types, ...)
{
    va_list args;
    px_err *err;

    va_start(args, types);
    err = px_conn_vquery(conn, pool, rows, sql, types, args);
    va_end(args);
    return err;
}

/* A lone statement that ended with a SQLSTATE from the server was rolled back and may run again.
 * One whose connection died without a word may have been carried out: it may run again only when it
 * had not been sent, or reads (db.h says what a lone SELECT may call). */
static bool may_repeat(const px_conn *conn, const px_err *err, const char *sql)
{
    bool harmless = !conn->sent || strncmp(sql, "SELECT ", 7) == 0;

    return conn->tx_retry && (harmless || strcmp(px_db_err_sqlstate(err), "08006") != 0);
}

px_err *px_db_query(px_db *db, apr_pool_t *pool, px_rows **rows, const char *sql, const char *types,
                    ...)
{
    va_list args;
    const params *p;
    px_err *err = NULL;
    int attempt;

    va_start(args, types);
    p = read_params(pool, types, args);
    va_end(args);
    for (attempt = 1; attempt <= DB_MAX_ATTEMPTS; attempt++) {
        px_conn *conn;
        bool again;

        err = px_conn_acquire(db, pool, &conn);
        if (err) {
            return err;
        }
        err = run(conn, pool, rows, sql, p);
        again = err && may_repeat(conn, err, sql);
        px_conn_return(conn);
        if (!again) {
            return err;
        }
        px_db_backoff(attempt);
    }
    return err;
}
