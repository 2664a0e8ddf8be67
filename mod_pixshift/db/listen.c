/* LISTEN on a connection of its own, as a state machine for an event loop. */
#include "db_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include <apr_strings.h>
#include <string.h>

#define FIRST_DELAY_US 100000
#define LONGEST_DELAY_US 2000000
#define CONNECT_LIMIT_US 5000000

typedef enum { DOWN, CONNECTING, SUBSCRIBING, READY } listen_state;

struct px_listener {
    px_db *db;
    PGconn *pg;
    listen_state state;
    PostgresPollingStatusType poll;
    const char *subscribe;          /* LISTEN a; LISTEN b */
    px_notify_fn *on_notify;
    void (*on_gap)(void *baton);
    void *baton;
    int64_t retry_at;               /* px_monotonic */
    int64_t since;                  /* when the present attempt began */
    int64_t delay;
};

static void go_down(px_listener *l, const char *what)
{
    px_log(PX_LOG_WARN, "PXS2013", "notifications are interrupted: %s: %s", what,
           l->pg ? PQerrorMessage(l->pg) : "");
    PQfinish(l->pg);
    l->pg = NULL;
    l->state = DOWN;
    l->retry_at = px_monotonic() + l->delay;
    l->delay = l->delay * 2 > LONGEST_DELAY_US ? LONGEST_DELAY_US : l->delay * 2;
}

static void start(px_listener *l)
{
    const char *keywords[DB_PARAMS], *values[DB_PARAMS];

    px_conn_params(l->db, keywords, values);
    l->pg = PQconnectStartParams(keywords, values, 1);
    if (l->pg) {
        PQsetNoticeProcessor(l->pg, px_conn_notice, NULL);
    }
    l->state = CONNECTING;
    l->since = px_monotonic();
    l->poll = PGRES_POLLING_WRITING;
    if (!l->pg || PQstatus(l->pg) == CONNECTION_BAD) {
        go_down(l, "cannot connect");
    }
}

static void go_on_connecting(px_listener *l)
{
    l->poll = PQconnectPoll(l->pg);
    if (l->poll == PGRES_POLLING_FAILED) {
        go_down(l, "cannot connect");
    } else if (l->poll == PGRES_POLLING_OK) {
        PQsetnonblocking(l->pg, 1);
        if (PQsendQuery(l->pg, l->subscribe)) {
            l->state = SUBSCRIBING;
        } else {
            go_down(l, "cannot send LISTEN");
        }
    } else if (px_monotonic() - l->since > CONNECT_LIMIT_US) {
        go_down(l, "no answer while connecting");
    }
}

/* Reads what has come; false when the connection is gone. */
static bool take_in(px_listener *l)
{
    if (PQflush(l->pg) < 0 || !PQconsumeInput(l->pg) || PQstatus(l->pg) != CONNECTION_OK) {
        go_down(l, "connection lost");
        return false;
    }
    return true;
}

static void go_on_subscribing(px_listener *l)
{
    bool failed = false;

    if (!take_in(l)) {
        return;
    }
    while (!PQisBusy(l->pg)) {
        PGresult *result = PQgetResult(l->pg);
        if (!result) {
            if (failed) {
                go_down(l, "LISTEN was refused");
                return;
            }
            l->state = READY;
            l->delay = FIRST_DELAY_US;
            if (l->on_gap) {
                l->on_gap(l->baton);
            }
            return;
        }
        failed = failed || (PQresultStatus(result) != PGRES_COMMAND_OK
                            && PQresultStatus(result) != PGRES_TUPLES_OK);
        PQclear(result);
    }
    if (px_monotonic() - l->since > CONNECT_LIMIT_US) {
        go_down(l, "no answer to LISTEN");
    }
}

static void deliver(px_listener *l)
{
    PGnotify *note;

    if (!take_in(l)) {
        return;
    }
    while ((note = PQnotifies(l->pg)) != NULL) {
        l->on_notify(l->baton, note->relname, note->extra);
        PQfreemem(note);
    }
}

void px_listener_process(px_listener *l)
{
    if (l->state == DOWN && px_monotonic() >= l->retry_at) {
        start(l);
    }
    if (l->state == CONNECTING) {
        go_on_connecting(l);
    }
    if (l->state == SUBSCRIBING) {
        go_on_subscribing(l);
    }
    if (l->state == READY) {
        deliver(l);
    }
}

static apr_status_t close_listener(void *data)
{
    px_listener *l = data;

    PQfinish(l->pg);
    l->pg = NULL;
    l->state = DOWN;
    l->retry_at = INT64_MAX;
    return APR_SUCCESS;
}

px_err *px_listener_open_as(px_db *db, apr_pool_t *pool, const char *const *channels,
                            const char *session_sql, px_notify_fn *on_notify,
                            void (*on_gap)(void *baton), void *baton, px_listener **out)
{
    px_listener *l = apr_pcalloc(pool, sizeof *l);
    const char *sql = session_sql ? apr_pstrcat(pool, session_sql, "; ", NULL) : "";
    int i;

    for (i = 0; channels[i]; i++) {
        const char *c = channels[i];
        if (!*c || c[strspn(c, "abcdefghijklmnopqrstuvwxyz0123456789_")]) {
            return px_error(pool, PX_E_INTERNAL, "PXS2013", "bad channel name %s", c);
        }
        sql = apr_pstrcat(pool, sql, "LISTEN ", c, "; ", NULL);
    }
    l->db = db;
    l->subscribe = sql;
    l->on_notify = on_notify;
    l->on_gap = on_gap;
    l->baton = baton;
    l->delay = FIRST_DELAY_US;
    apr_pool_cleanup_register(pool, l, close_listener, apr_pool_cleanup_null);
    *out = l;
    px_listener_process(l);
    return NULL;
}

px_err *px_listener_open(px_db *db, apr_pool_t *pool, const char *const *channels,
                         px_notify_fn *on_notify, void (*on_gap)(void *baton), void *baton,
                         px_listener **out)
{
    return px_listener_open_as(db, pool, channels, NULL, on_notify, on_gap, baton, out);
}

int px_listener_fd(px_listener *l)
{
    return l->pg ? PQsocket(l->pg) : -1;
}

bool px_listener_ready(const px_listener *l)
{
    return l->state == READY;
}

bool px_listener_wants_write(px_listener *l)
{
    if (l->state == CONNECTING) {
        return l->poll == PGRES_POLLING_WRITING;
    }
    return l->pg && l->state != DOWN && PQflush(l->pg) == 1;
}

void px_listener_close(px_listener *l)
{
    close_listener(l);
}
