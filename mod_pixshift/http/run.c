/* One request from its route to its reply: the guards in the one fixed order of DESIGN §5, the
 * handler, and what every answer gets. */
#include "http_internal.h"

#include "base/clock.h"

#include <apr_strings.h>
#include <string.h>

/* ---- end of a request ---- */

static void count(px_req *req, const px_reply *reply)
{
    struct px_http_state *state = px_http_state(req);
    struct px_cache *cache = req->app->cache;
    if (state->counted) {
        return;
    }
    state->counted = true;
    px_count(cache, PX_C_REQUESTS, 1);
    px_count(cache, PX_C_REQUEST_USEC, state->busy + px_monotonic() - state->started);
    if (reply->status >= 500) {
        px_count(cache, PX_C_ERRORS_5XX, 1);
    } else if (reply->status >= 400) {
        px_count(cache, PX_C_ERRORS_4XX, 1);
    }
}

static px_err *resume_wrapped(px_req *req, px_reply *reply);

static void finish(px_req *req, px_reply *reply, px_err *err)
{
    struct px_http_state *state = px_http_state(req);
    if (err) {
        px_reply_error(req, reply, err);
    }
    if (state->claim && !(reply->mode == PX_REPLY_WAIT && state->waiting)) {
        px_idem_settle(req, reply, err);
    }
    if (reply->mode == PX_REPLY_WAIT) {
        state->waiting = true;          /* a wake that changes nothing costs no query */
        state->busy += px_monotonic() - state->started;
        state->resume = reply->resume;
        reply->resume = resume_wrapped;
        return;
    }
    px_reply_headers(req, reply);
    count(req, reply);
}

/* The host calls this for each wake of a waiting reply. */
static px_err *resume_wrapped(px_req *req, px_reply *reply)
{
    struct px_http_state *state = px_http_state(req);
    px_err *err;
    state->started = px_monotonic();
    reply->resume = state->resume;
    err = reply->resume
              ? reply->resume(req, reply)
              : px_error(req->pool, PX_E_INTERNAL, "PXS4011", "a waiting reply has no resume");
    finish(req, reply, err);
    return NULL;
}

void px_http_abandon(px_req *req)
{
    if (req->state && req->state->claim) {
        px_idem_give_back(req);
    }
}

/* ---- guards ---- */

/* *answered: the reply is complete without a handler. */
static px_err *guards(const px_router *router, px_req *req, px_reply *reply, bool *answered)
{
    struct px_http_state *state = px_http_state(req);
    px_err *lost = px_router_find(router, req, &state->allow);
    px_err *err;
    px_reply_reset(req, reply);         /* the dialect is known now */
    if ((err = px_guard_rate_ip(req)) != NULL) {
        return err; /* also for addresses that do not exist: scans are limited */
    }
    if (lost && state->allow && strcmp(req->method, "OPTIONS") == 0) {
        *answered = true;
        reply->status = 204;
        return NULL;
    }
    if (lost) {
        return lost;
    }
    if (req->notes) {
        apr_table_setn(req->notes, "pixshift-route", req->route->pattern);
    }
    if ((err = px_guard_credential(req)) != NULL || (err = px_guard_rate_who(req)) != NULL ||
        (err = px_guard_csrf(req)) != NULL || (err = px_guard_scope(req)) != NULL ||
        (err = px_http_body_read(req)) != NULL) {
        return err;
    }
    return req->route->flags & PX_ROUTE_CREATES ? px_idem_begin(req, reply, answered) : NULL;
}

void px_http_run(const px_router *router, px_req *req, px_reply *reply)
{
    bool answered = false;
    px_err *err;
    px_http_state(req);
    px_reply_reset(req, reply);
    if (px_cors_preflight(req, reply)) {
        finish(req, reply, NULL);
        return;
    }
    err = guards(router, req, reply, &answered);
    if (!err && !answered) {
        err = req->route->handler(req, reply);
    }
    finish(req, reply, err);
}
