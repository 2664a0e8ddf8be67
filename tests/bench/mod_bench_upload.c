/* Benchmark only: handler "bench-upload" reads a multipart body with the product's own parser (hash and
 * spool file included) and answers with the digest, so that parsing can be compared with another
 * server's without accounts, database and storage in between. Never installed. */
#include "base/id.h"
#include "config/settings.h"
#include "http/http.h"

#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>
#include <stdlib.h>
#include <string.h>

extern module AP_MODULE_DECLARE_DATA bench_upload_module __attribute__((visibility("default")));

static long read_body(px_req *req, char *buf, size_t size, px_err **err)
{
    request_rec *r = req->host;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_size_t len = 0;
    bool ended = false;
    apr_status_t rv;
    do {
        rv = ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, (apr_off_t)size);
        if (rv != APR_SUCCESS)
            break;
        ended = !APR_BRIGADE_EMPTY(bb) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb));
        len = size;
        rv = apr_brigade_flatten(bb, buf, &len);
        apr_brigade_cleanup(bb);
    } while (rv == APR_SUCCESS && len == 0 && !ended);
    apr_brigade_destroy(bb);
    if (rv != APR_SUCCESS) {
        *err = px_error(req->pool, PX_E_VALIDATION, NULL, "read");
        return -1;
    }
    return (long)len;
}

static px_req *make_req(request_rec *r)
{
    px_req *req = apr_pcalloc(r->pool, sizeof(*req));
    px_app *app = apr_pcalloc(r->pool, sizeof(*app));
    px_settings *settings = px_settings_make(r->pool);
    const char *dir = getenv("PIXSHIFT_BENCH_SPOOL");
    px_settings_set(settings, PX_S_STATE_DIR, dir ? dir : "/tmp");
    app->settings = settings;
    app->pool = r->pool;
    req->app = app;
    req->pool = r->pool;
    req->method = r->method;
    req->path = r->uri;
    req->headers_in = r->headers_in;
    req->content_length = -1;
    req->notes = apr_table_make(r->pool, 2);
    req->read_body = read_body;
    req->host = r;
    return req;
}

static int handle(request_rec *r)
{
    if (!r->handler || strcmp(r->handler, "bench-upload") != 0)
        return DECLINED;
    px_form *form;
    px_err *err = px_multipart_read(make_req(r), 64 << 20, 1, &form);
    if (err) {
        r->status = 400;
        ap_rputs(err->cause ? err->cause : err->text, r);
        return OK;
    }
    px_part *part = px_form_find(form, "image");
    ap_rputs(part && part->sha256 ? part->sha256 : "none", r);
    return OK;
}

static void hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_MIDDLE);
}

module AP_MODULE_DECLARE_DATA bench_upload_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, hooks, 0
};
