/* What the files of db/ share: the structs behind px_db, px_conn and px_rows, and the steps between
 * "borrow a connection" and "give it back".  Nobody outside db/ includes this. */
#ifndef PX_DB_INTERNAL_H
#define PX_DB_INTERNAL_H

#include "db.h"
#include <apr_hash.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <libpq-fe.h>
#include <stdarg.h>

/* How long one look at the schema's version is believed. */
#define DB_SCHEMA_RECHECK_US 10000000
/* Statements kept prepared per connection; more (generated SQL) empties the cache. */
#define DB_MAX_PREPARED 500
#define DB_MAX_ATTEMPTS 4       /* the first run and three repetitions */

struct px_db {
    apr_pool_t *pool;
    px_db_config config;
    apr_thread_mutex_t *mutex;      /* guards everything below */
    apr_thread_cond_t *freed;
    px_conn *idle;                  /* last used first: the others may age and be found dead */
    int open, busy;
    int64_t waits, failures;
    int64_t schema_checked_at;      /* px_monotonic; 0 = look again */
};

struct px_conn {
    px_db *db;
    PGconn *pg;
    apr_pool_t *pool;               /* own allocator, lives as long as the connection */
    apr_hash_t *statements;         /* SQL text -> statement name */
    unsigned next_statement;
    int64_t clock_offset;           /* what the session was told last */
    bool in_tx;
    bool tx_retry;                  /* a statement failed in a way that is worth repeating */
    bool sent;                      /* the last statement has left for the server */
    px_conn *next;
};

struct px_rows {
    PGresult *result;
    apr_pool_t *pool;
};

/* connect.c */
px_err *px_conn_open(px_db *db, apr_pool_t *pool, px_conn **out);
void px_conn_close(px_conn *conn);
/* False when the server has closed the connection meanwhile. Never blocks. */
bool px_conn_alive(px_conn *conn);
px_err *px_conn_sync_clock(px_conn *conn, apr_pool_t *pool);
px_err *px_conn_check_schema(px_conn *conn, apr_pool_t *pool);
/* The connection parameters of a pool, for PQconnect*Params: arrays of DB_PARAMS entries. */
#define DB_PARAMS 12
/* libpq's notices go to the log, never to standard error by themselves. */
void px_conn_notice(void *baton, const char *message);
void px_conn_params(const px_db *db, const char **keywords, const char **values);

/* pool.c */
px_err *px_conn_acquire(px_db *db, apr_pool_t *pool, px_conn **out);
/* A connection that is broken or still inside a transaction is closed instead of kept. */
void px_conn_return(px_conn *conn);

/* query.c */
px_err *px_conn_vquery(px_conn *conn, apr_pool_t *pool, px_rows **rows, const char *sql,
                       const char *types, va_list args);
/* Several statements, or ones that cannot be prepared; no parameters. */
px_err *px_conn_exec(px_conn *conn, apr_pool_t *pool, px_rows **rows, const char *sql);
void px_conn_forget_statements(px_conn *conn);

/* rows.c */
px_rows *px_rows_wrap(apr_pool_t *pool, PGresult *result);

/* errors.c */
px_err *px_db_error(px_conn *conn, apr_pool_t *pool, const PGresult *result, const char *sql);
/* True when repeating the whole transaction (or lone statement) may succeed. */
bool px_db_state_retryable(const char *sqlstate);
/* Waits a little, longer and less predictably with each attempt. */
void px_db_backoff(int attempt);

#endif
