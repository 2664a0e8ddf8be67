/* px_reply -> status, headers, buckets. */
#include "reply.h"

#include <apr_strings.h>
#include <util_filter.h>

APLOG_USE_MODULE(pixshift);

static int add_header(void *baton, const char *name, const char *value)
{
    request_rec *r = baton;
    if (strcasecmp(name, "Content-Type") == 0) {
        ap_set_content_type(r, value);
    } else if (strcasecmp(name, "Content-Length") != 0) {
        apr_table_add(r->headers_out, name, value);     /* Set-Cookie may repeat */
    }
    return 1;
}

void px_reply_head(request_rec *r, const px_reply *reply)
{
    r->status = reply->status > 0 ? reply->status : HTTP_OK;
    if (reply->content_type) {
        ap_set_content_type(r, reply->content_type);
    }
    apr_table_do(add_header, r, reply->headers, NULL);
    if (reply->mode == PX_REPLY_FILE || reply->mode == PX_REPLY_BYTES) {
        return;
    }
    /* Half an API object helps nobody. */
    apr_table_unset(r->headers_in, "Range");
    apr_table_unset(r->headers_in, "If-Range");
}

bool px_reply_whole(const request_rec *r)
{
    return r->status == HTTP_OK && !r->header_only && !r->connection->aborted;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

/* Buckets of the reply's body; 0 or an HTTP status. */
static int file_body(request_rec *r, const px_reply *reply, apr_bucket_brigade *bb)
{
    apr_file_t *file;
    apr_finfo_t info;
    apr_status_t rv = apr_file_open(&file, reply->file,
                                    APR_READ | APR_BINARY | APR_SENDFILE_ENABLED, APR_OS_DEFAULT,
                                    r->pool);
    if (rv == APR_SUCCESS && reply->unlink_file) {
        apr_file_remove(reply->file, r->pool);
    }
    if (rv != APR_SUCCESS
        || (rv = apr_file_info_get(&info, APR_FINFO_SIZE | APR_FINFO_MTIME | APR_FINFO_TYPE, file))
               != APR_SUCCESS
        || info.filetype != APR_REG) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, r, "PXS5110: the reply's file %s cannot be read",
                      reply->file);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!reply->unlink_file) {
        ap_update_mtime(r, info.mtime);
        ap_set_last_modified(r);
    }
    ap_set_accept_ranges(r);
    ap_set_content_length(r, info.size);
    apr_brigade_insert_file(bb, file, 0, info.size, r->pool);
    return 0;
}

static int memory_body(request_rec *r, px_reply *reply, apr_bucket_brigade *bb)
{
    size_t len = reply->bytes_len;
    const char *data = reply->mode == PX_REPLY_BYTES ? reply->bytes : px_reply_text(reply, &len);
    ap_set_content_length(r, (apr_off_t)len);
    if (len > 0) {
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_pool_create(data, len, r->pool, bb->bucket_alloc));
    }
    return 0;
}

static bool bodiless(int status)
{
    return status == HTTP_NO_CONTENT || status == HTTP_NOT_MODIFIED || status < 200;
}

/* A client that refused data gets its connection closed: the unread rest of a large upload is not
 * worth reading. */
static void drop_rest(request_rec *r)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    if (r->status >= 400 && ((length && apr_atoi64(length) > 65536)
                             || apr_table_get(r->headers_in, "Transfer-Encoding"))) {
        r->connection->keepalive = AP_CONN_CLOSE;
    }
}

static bool not_modified(request_rec *r)
{
    return (r->method_number == M_GET) && r->status == HTTP_OK
           && (apr_table_get(r->headers_out, "ETag") || r->mtime)
           && ap_meets_conditions(r) == HTTP_NOT_MODIFIED;
}

/* Waits until the socket has taken everything. Only for replies that must know it: others are
 * written out by the MPM while this thread serves the next request. */
static bool flush(conn_rec *c)
{
    apr_bucket_brigade *bb = apr_brigade_create(c->pool, c->bucket_alloc);
    apr_status_t rv;
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
    rv = ap_pass_brigade(c->output_filters, bb);
    apr_brigade_destroy(bb);
    return rv == APR_SUCCESS;
}

int px_reply_prepare(request_rec *r, px_reply *reply, apr_bucket_brigade **body)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    int failed = 0;
    *body = bb;
    px_reply_head(r, reply);
    drop_rest(r);
    if (bodiless(r->status)) {
        apr_table_unset(r->headers_out, "Content-Type");
    } else if (reply->mode == PX_REPLY_FILE) {
        failed = file_body(r, reply, bb);
    } else {
        failed = memory_body(r, reply, bb);
    }
    if (!failed && not_modified(r)) {
        r->status = HTTP_NOT_MODIFIED;
        apr_brigade_cleanup(bb);
    }
    return failed;
}

int px_reply_send(request_rec *r, px_req *req, px_reply *reply)
{
    apr_bucket_brigade *bb;
    apr_status_t rv;
    int failed = px_reply_prepare(r, reply, &bb);
    if (failed) {
        return failed;
    }
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(bb->bucket_alloc));
    rv = ap_pass_brigade(r->output_filters, bb);
    if (rv == APR_SUCCESS && reply->on_sent && px_reply_whole(r) && flush(r->connection)
        && px_reply_whole(r)) {
        reply->on_sent(req, reply->on_sent_baton);
    }
    return OK;
}

apr_status_t px_reply_push(request_rec *r, const char *data, size_t len)
{
    conn_rec *c = r->connection;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, c->bucket_alloc);
    apr_status_t rv;
    if (len > 0) {
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_transient_create(data, len, c->bucket_alloc));
    }
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
    rv = ap_pass_brigade(r->output_filters, bb);
    apr_brigade_destroy(bb);
    if (rv == APR_SUCCESS && c->aborted) {
        rv = APR_ECONNABORTED;
    }
    return rv;
}
