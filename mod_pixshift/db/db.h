/* PostgreSQL: a bounded pool of libpq connections, prepared statements, transactions, LISTEN.
 *
 * A px_db belongs to one process (open it after fork) and may be used by all its threads; a px_conn is
 * borrowed by one thread.  Rows live in the pool given.  Every statement is prepared once per
 * connection.  Session set-up refuses synchronous_commit=off, sets lock_timeout 3 s,
 * statement_timeout 5 s, timezone UTC, and the test-clock offset (pixshift.now() in SQL).
 * A lost connection is replaced; a schema older or newer than the code knows gives UNAVAILABLE with
 * log id PXS2010.  Only db/ and *_store.c include this. */
#ifndef PX_DB_DB_H
#define PX_DB_DB_H

#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct px_db px_db;
typedef struct px_conn px_conn;
typedef struct px_rows px_rows;

typedef struct {
    const char *conninfo;       /* libpq keywords or URL; the password comes from `password` */
    const char *password;       /* resolved secret or NULL */
    int max_connections;        /* 1…100, default 8 */
    int acquire_timeout_ms;     /* wait for a free connection; default 2000, then UNAVAILABLE */
    bool skip_schema_check;     /* migrations only */
    const char *app_name;       /* shown in pg_stat_activity */
} px_db_config;

/* Connects lazily; never blocks. Closed with the pool. */
px_err *px_db_open(apr_pool_t *pool, const px_db_config *config, px_db **out);

/* One statement on a borrowed connection. `types` has one letter a parameter:
 *   s const char * (NULL = SQL NULL)   i int   l int64_t   b bool (as int)
 *   x bytea: const void *, size_t      j const char * JSON text (NULL = SQL NULL)
 * rows may be NULL when the result does not matter. Serialization failures and lost connections
 * before anything was sent are retried; a statement that begins with "SELECT " also when its
 * connection was lost under way, so a function with effects that is called in a lone SELECT must
 * bear repetition (those of the ledger and the outbox do: they have keys). */
px_err *px_db_query(px_db *db, apr_pool_t *pool, px_rows **rows, const char *sql,
                    const char *types, ...);

/* A transaction: body runs between BEGIN and COMMIT and may be run again after a serialization
 * failure or deadlock (at most 3 times), so it must not have effects outside the database.  An error
 * from body rolls back.  A connection lost at COMMIT is reported as UNAVAILABLE with the outcome
 * unknown: callers repeat with the same idempotency key. */
typedef px_err *px_db_tx_body(px_conn *conn, apr_pool_t *pool, void *baton);
px_err *px_db_tx(px_db *db, apr_pool_t *pool, px_db_tx_body *body, void *baton);

/* One statement inside a transaction. */
px_err *px_conn_query(px_conn *conn, apr_pool_t *pool, px_rows **rows, const char *sql,
                      const char *types, ...);
/* Name of the constraint that the last failed statement on this error violated, or NULL; and its
 * SQLSTATE. Errors made by px_*_query carry both. */
const char *px_db_err_constraint(const px_err *err);
const char *px_db_err_sqlstate(const px_err *err);
/* Its DETAIL (for the SQL functions of PixShift: JSON), or NULL. */
const char *px_db_err_detail(const px_err *err);

/* Rows: 0-based. Column by position. Text borrowed from the rows' pool; NULL for SQL NULL. */
int px_rows_count(const px_rows *rows);
int px_rows_affected(const px_rows *rows);      /* INSERT/UPDATE/DELETE */
const char *px_rows_str(const px_rows *rows, int row, int col);
int64_t px_rows_int(const px_rows *rows, int row, int col);   /* 0 for NULL */
bool px_rows_bool(const px_rows *rows, int row, int col);
bool px_rows_null(const px_rows *rows, int row, int col);
/* timestamptz selected as (extract(epoch from x)*1000000)::bigint is read with px_rows_int. */
const unsigned char *px_rows_bytes(const px_rows *rows, int row, int col, size_t *len);

/* ---- LISTEN: one dedicated nonblocking connection, for event loops ---- */
typedef struct px_listener px_listener;
typedef void px_notify_fn(void *baton, const char *channel, const char *payload);
/* Connects (again) by itself; after every connect, the first included, `on_gap` runs, because
 * notifications may have been lost: look at everything now. One thread; nonblocking but for the name
 * look-up of a remote host. channels: NULL-terminated. Callbacks may not close the listener. */
px_err *px_listener_open(px_db *db, apr_pool_t *pool, const char *const *channels,
                         px_notify_fn *on_notify, void (*on_gap)(void *baton), void *baton,
                         px_listener **out);
/* Also runs `session_sql` on every connect, before LISTEN: what it takes (an advisory lock) is held as
 * long as the listener is connected. */
px_err *px_listener_open_as(px_db *db, apr_pool_t *pool, const char *const *channels,
                            const char *session_sql, px_notify_fn *on_notify,
                            void (*on_gap)(void *baton), void *baton, px_listener **out);
int px_listener_fd(px_listener *listener);       /* -1 while disconnected; changes on reconnect */
bool px_listener_ready(const px_listener *listener);    /* LISTEN is in force */
bool px_listener_wants_write(px_listener *listener);
/* Call when the fd is ready and at least once a second. Never blocks. */
void px_listener_process(px_listener *listener);
void px_listener_close(px_listener *listener);

/* ---- health ---- */
typedef struct { int open, busy, max; int64_t waits, failures; } px_db_stats;
void px_db_get_stats(px_db *db, px_db_stats *stats);
/* Round trip + schema check; for /readyz and doctor. */
px_err *px_db_ping(px_db *db, apr_pool_t *pool);

#endif
