/* Requests: the URL space, the adapter from request_rec to px_req, the handler. */
#include "host.h"
#include "net/net.h"
#include "send.h"
#include "stream.h"

#include <apr_lib.h>
#include <apr_strings.h>

APLOG_USE_MODULE(pixshift);

#define HANDLER "pixshift"

/* ---- hooks ----------------------------------------------------------------------------------- */

/* "X_PS_" is "X-PS-" to a back end that makes environment variables of headers. */
static bool begins_with(const char *name, const char *prefix)
{
    while (*prefix && (*name == '_' ? '-' : apr_tolower(*name)) == *prefix) {
        name++;
        prefix++;
    }
    return !*prefix;
}

/* X-PS-* and X-PixShift-* are what this server tells back ends about the user; from a client
 * they are forged. */
static bool is_identity(const char *name)
{
    return begins_with(name, "x-ps-") || begins_with(name, "x-pixshift-");
}

int px_strip_headers(request_rec *r)
{
    const apr_array_header_t *headers = apr_table_elts(r->headers_in);
    const apr_table_entry_t *entries = (const apr_table_entry_t *)headers->elts;
    apr_table_t *kept = NULL;
    if (!px_host_on(r->server)) {
        return DECLINED;
    }
    for (int i = 0; i < headers->nelts && !kept; i++) {
        if (is_identity(entries[i].key)) {
            kept = apr_table_make(r->pool, headers->nelts);
        }
    }
    for (int i = 0; kept && i < headers->nelts; i++) {
        if (!is_identity(entries[i].key)) {
            apr_table_addn(kept, entries[i].key, entries[i].val);
        }
    }
    if (kept) {
        r->headers_in = kept;
    }
    return DECLINED;
}

static bool ours(request_rec *r)
{
    px_host *host = px_host_get();
    size_t len;
    if (!host || r->proxyreq || r->main || r->uri[0] != '/' || !px_host_on(r->server)) {
        return false;
    }
    len = 1 + strcspn(r->uri + 1, "/");
    return apr_table_get(host->prefixes, apr_pstrmemdup(r->pool, r->uri, len)) != NULL;
}

int px_translate(request_rec *r)
{
    if (!ours(r)) {
        return DECLINED;
    }
    /* No file stands behind these addresses: this skips the walk through the file system. */
    r->handler = HANDLER;
    r->filename = apr_pstrcat(r->pool, "pixshift:", r->uri, NULL);
    return OK;
}

int px_map_to_storage(request_rec *r)
{
    return r->handler && strcmp(r->handler, HANDLER) == 0 && r->filename
                   && strncmp(r->filename, "pixshift:", 9) == 0
               ? OK : DECLINED;
}

/* ---- adapter --------------------------------------------------------------------------------- */

static px_err *body_error(px_req *req, apr_status_t rv)
{
    char text[128];
    px_req_rec(req)->connection->keepalive = AP_CONN_CLOSE;
    if (APR_STATUS_IS_TIMEUP(rv)) {
        return px_error_say(req->pool, PX_E_VALIDATION, "The request body did not arrive in time.");
    }
    apr_strerror(rv, text, sizeof(text));
    return px_error(req->pool, PX_E_VALIDATION, "PXS5111", "reading the body failed: %s", text);
}

/* One blocking read of at most `size` bytes; 0 at the end. */
static long read_body(px_req *req, char *buf, size_t size, px_err **err)
{
    request_rec *r = px_req_rec(req);
    apr_bucket_brigade *bb;
    apr_size_t len = 0;
    apr_status_t rv;
    bool ended = false;
    bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    do {
        rv = ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ,
                            (apr_off_t)size);
        if (rv != APR_SUCCESS) {
            break;
        }
        ended = !APR_BRIGADE_EMPTY(bb) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb));
        len = size;
        rv = apr_brigade_flatten(bb, buf, &len);
        apr_brigade_cleanup(bb);
    } while (rv == APR_SUCCESS && len == 0 && !ended);
    apr_brigade_destroy(bb);
    if (rv != APR_SUCCESS) {
        *err = body_error(req, rv);
        return -1;
    }
    return (long)len;
}

static int64_t content_length(const request_rec *r)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    if (apr_table_get(r->headers_in, "Transfer-Encoding")) {
        return -1;
    }
    return length ? apr_atoi64(length) : 0;     /* httpd has checked its form */
}

px_err *px_req_make(request_rec *r, px_host *host, px_req **out)
{
    px_req *req = apr_pcalloc(r->pool, sizeof(*req));
    px_err *err;
    req->app = host->app;
    req->pool = r->pool;
    req->method = r->method;
    req->path = r->uri;
    req->query = r->args;
    req->headers_in = r->headers_in;
    req->client_ip = r->useragent_ip;
    req->https = strcmp(ap_http_scheme(r), "https") == 0;
    req->request_id = px_request_id(r);
    req->content_length = content_length(r);
    req->params = apr_table_make(r->pool, 4);
    req->notes = apr_table_make(r->pool, 8);
    req->read_body = read_body;
    req->host = r;
    err = px_thread_net(r->pool, host, &req->net);
    *out = req;
    return err;
}

void px_req_notes(px_req *req)
{
    request_rec *r = px_req_rec(req);
    apr_table_overlap(r->notes, req->notes, APR_OVERLAP_TABLES_SET);
    apr_table_setn(r->notes, "pixshift-request-id", req->request_id);
    if (req->route) {
        apr_table_setn(r->notes, "pixshift-route", req->route->pattern);
    }
    if (req->who) {
        apr_table_setn(r->notes, "pixshift-user", req->who->user_id);
        r->user = (char *)req->who->user_id;
    }
}

/* ---- handler --------------------------------------------------------------------------------- */

int px_handle(request_rec *r)
{
    px_host *host = px_host_get();
    px_reply *reply;
    px_req *req;
    px_err *err;
    int rc;
    if (!r->handler || strcmp(r->handler, HANDLER) != 0) {
        return DECLINED;
    }
    if (!host || !host->app || !px_host_on(r->server)) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    px_log_request(r);
    err = px_req_make(r, host, &req);
    reply = px_reply_make(req);
    if (err) {
        px_reply_error(req, reply, err);
    } else {
        px_http_run(host->router, req, reply);
    }
    px_req_notes(req);
    rc = reply->mode == PX_REPLY_WAIT || reply->mode == PX_REPLY_STREAM
             ? px_stream_begin(r, host, req, reply)
             : px_send_reply(r, host, req, reply);
    px_log_request(NULL);
    return rc;
}
