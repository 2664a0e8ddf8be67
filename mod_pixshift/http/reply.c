/* Replies: the JSON writer in the request's dialect, error envelopes, headers that every answer
 * has. */
#include "http_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <apr_strings.h>
#include <string.h>

/* Seconds before a repetition when the error does not know better. */
#define RETRY_SOON 1
#define RETRY_LATER 5

px_spelling px_http_spelling(px_dialect dialect)
{
    return dialect == PX_DIALECT_PIXSHIFT ? PX_SPELL_CAMEL : PX_SPELL_SNAKE;
}

struct px_http_state *px_http_state(px_req *req)
{
    if (!req->state) {
        req->state = apr_pcalloc(req->pool, sizeof(*req->state));
        req->state->started = px_monotonic();
    }
    return req->state;
}

/* Keeps what is unused: this runs several times a request. */
void px_reply_reset(px_req *req, px_reply *reply)
{
    apr_table_t *headers = reply->headers;
    px_jw *json = reply->json;
    memset(reply, 0, sizeof(*reply));
    reply->mode = PX_REPLY_JSON;
    reply->status = 200;
    reply->headers = headers ? headers : apr_table_make(req->pool, 16);
    apr_table_clear(reply->headers);
    reply->json = json && json->buf->len == 0 ? json : px_jw_make(req->pool, PX_SPELL_SNAKE);
    reply->json->spelling = px_http_spelling(req->dialect);
}

px_reply *px_reply_make(px_req *req)
{
    px_reply *reply = apr_pcalloc(req->pool, sizeof(*reply));
    px_reply_reset(req, reply);
    return reply;
}

const char *px_reply_text(px_reply *reply, size_t *len)
{
    *len = reply->json->buf->len;
    return reply->json->buf->data;
}

void px_reply_success(px_req *req, px_reply *reply)
{
    if (req->dialect == PX_DIALECT_PIXSHIFT && strcmp(req->method, "GET") != 0 &&
        strcmp(req->method, "HEAD") != 0) {
        px_jw_bool(reply->json, "success", true);
    }
}

const char *px_field_name(px_req *req, const char *snake)
{
    return req->dialect == PX_DIALECT_PIXSHIFT ? px_camel(req->pool, snake) : snake;
}

/* ---- errors ---- */

static const char *detail_text(const px_err *err, const char *key)
{
    for (const px_err_detail *d = err->details; d; d = d->next) {
        if (d->text && strcmp(d->key, key) == 0) {
            return d->text;
        }
    }
    return NULL;
}

/* The field that a validation error names, as this client spells it; NULL = none. */
static const char *field_of(px_req *req, const px_err *err)
{
    const char *field = detail_text(err, "field");
    return field && px_http_state(req)->verbatim != err ? px_field_name(req, field) : field;
}

/* px_error_field made its sentence before anybody knew the dialect. */
static const char *text_of(px_req *req, const px_err *err)
{
    const char *field = detail_text(err, "field");
    const char *reason = detail_text(err, "reason");
    const char *spelled = field_of(req, err);
    if (field && reason && strcmp(field, spelled) != 0) {
        const char *made = apr_psprintf(req->pool, "The field '%s' is not valid: %s", field,
                                        reason);
        if (strcmp(made, err->text) == 0) {
            return apr_psprintf(req->pool, "The field '%s' is not valid: %s", spelled, reason);
        }
    }
    return err->text;
}

static void write_details(px_req *req, px_jw *w, const px_err *err)
{
    px_jw_object(w, "details");
    for (const px_err_detail *d = err->details; d; d = d->next) {
        if (!d->text) {
            px_jw_int(w, d->key, d->number);
        } else {
            px_jw_str(w, d->key, strcmp(d->key, "field") == 0 ? field_of(req, err) : d->text);
        }
    }
    px_jw_end_object(w);
}

static void write_api_error(px_req *req, px_jw *w, const px_err *err, const px_err_row *row)
{
    bool pixshift = req->dialect == PX_DIALECT_PIXSHIFT;
    px_jw_object(w, NULL);
    if (pixshift) {
        px_jw_bool(w, "success", false);
    }
    px_jw_object(w, "error");
    px_jw_str(w, "code", pixshift ? row->code : row->v1_code);
    px_jw_str(w, "message", text_of(req, err));
    px_jw_str(w, "category", row->category);
    write_details(req, w, err);
    px_jw_str(w, "request_id", req->request_id);
    px_jw_end_object(w);
    if (!pixshift) {
        px_jw_str(w, "detail", text_of(req, err));
    }
    px_jw_end_object(w);
}

static const char *openai_type(int status, const px_err_row *row)
{
    if (row->id == PX_E_INSUFFICIENT_CREDITS || row->id == PX_E_PAYMENT_REQUIRED ||
        row->id == PX_E_FREE_TIER_EXHAUSTED) {
        return "insufficient_quota";
    }
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 409: return "conflict_error";
    case 429: return "rate_limit_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

static void write_openai_error(px_req *req, px_jw *w, const px_err *err, const px_err_row *row)
{
    px_jw_object(w, NULL);
    px_jw_object(w, "error");
    px_jw_str(w, "message", text_of(req, err));
    px_jw_str(w, "type", openai_type(row->v1_status, row));
    px_jw_str(w, "param", field_of(req, err));
    px_jw_str(w, "code", row->v1_code);
    px_jw_end_object(w);
    px_jw_end_object(w);
}

static void log_error(px_req *req, const px_err *err, const px_err_row *row, int status)
{
    const char *who = req->who && req->who->user_id ? req->who->user_id : "-";
    const char *id = req->request_id ? req->request_id : "-";
    /* Only what has an id of its own concerns the admin: a forged token must not fill the log. */
    if (err->log_id || status >= 500) {
        px_log(status >= 500 ? PX_LOG_ERROR : PX_LOG_WARN, err->log_id ? err->log_id : "PXS4000",
               "%s %s: %d %s: %s [request %s, user %s]", req->method, req->path, status, row->name,
               err->cause ? err->cause : err->text, id, who);
    } else {
        px_log(PX_LOG_INFO, "PXS4001", "%s %s: %d %s: %s [request %s, user %s]", req->method,
               req->path, status, row->name, err->cause ? err->cause : err->text, id, who);
    }
}

static void retry_after(px_reply *reply, apr_pool_t *pool, const px_err *err, const px_err_row *row)
{
    int seconds = err->retry_after;
    if (seconds <= 0 && row->retry == PX_RETRY_LATER) {
        seconds = row->id == PX_E_IDEMPOTENCY_BUSY ? RETRY_SOON : RETRY_LATER;
    }
    if (seconds > 0) {
        apr_table_setn(reply->headers, "Retry-After", apr_psprintf(pool, "%d", seconds));
    }
}

void px_reply_error(px_req *req, px_reply *reply, px_err *err)
{
    const px_err_row *row = px_err_info(err->id);
    px_reply_reset(req, reply);
    reply->status = req->dialect == PX_DIALECT_PIXSHIFT ? row->status : row->v1_status;
    log_error(req, err, row, reply->status);
    if (req->notes) {
        apr_table_setn(req->notes, "pixshift-error", row->name);
    }
    if (reply->status == 401) {
        apr_table_setn(reply->headers, "WWW-Authenticate", "Bearer realm=\"pixshift\"");
    }
    retry_after(reply, req->pool, err, row);
    if (req->dialect == PX_DIALECT_OPENAI) {
        write_openai_error(req, reply->json, err, row);
    } else {
        write_api_error(req, reply->json, err, row);
    }
    px_reply_headers(req, reply);
}

/* ---- headers of every answer ---- */

void px_reply_headers(px_req *req, px_reply *reply)
{
    apr_table_t *h = reply->headers;
    bool raw = req->route && (req->route->flags & PX_ROUTE_RAW);
    if (reply->mode == PX_REPLY_JSON && !reply->content_type) {
        reply->content_type = "application/json";
    } else if (reply->mode == PX_REPLY_STREAM && !reply->content_type) {
        reply->content_type = "text/event-stream";
    }
    apr_table_setn(h, "X-Content-Type-Options", "nosniff");
    if (!raw || reply->mode == PX_REPLY_JSON) {
        apr_table_setn(h, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
        if (!apr_table_get(h, "Cache-Control")) {
            apr_table_setn(h, "Cache-Control", "no-store");
        }
    }
    if (req->request_id) {
        apr_table_setn(h, "X-Request-Id", req->request_id);
    }
    if (req->state && req->state->allow) {
        apr_table_setn(h, "Allow", req->state->allow);
    }
    px_rate_headers(req, h);
    px_cors_headers(req, h);
}
