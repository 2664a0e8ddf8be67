/* Bodies in pieces. httpd's core filter writes out more than 64 KiB of memory blockingly, and a
 * client may take minutes; so the next piece is passed on only when the filters hold nothing
 * back. */
#include "send.h"
#include "reply.h"
#include "stream.h"

#include <apr_portable.h>
#include <http_connection.h>
#include <poll.h>
#include <util_filter.h>

#define PIECE 32768
/* A request thread waits so long for a client that keeps up; then the I/O thread takes over. */
#define PATIENCE_MS 250

/* The last filter is the one that writes to the socket; without a brigade it writes what it holds
 * back, without blocking. That is also how the MPM completes its writes in 2.4. */
static apr_status_t write_out(conn_rec *c)
{
    ap_filter_t *filter = c->output_filters;
    while (filter->next) {
        filter = filter->next;
    }
    return filter->frec->filter_func.out_func(filter, NULL);
}

/* Passes on the next piece of the body, with its end behind the last one. */
static apr_status_t pass_piece(px_stream *stream)
{
    apr_bucket_brigade *rest = stream->body;
    apr_bucket_brigade *piece = apr_brigade_create(stream->r->pool, stream->c->bucket_alloc);
    apr_bucket *split;
    apr_status_t rv = apr_brigade_partition(rest, PIECE, &split);
    if (rv != APR_SUCCESS && rv != APR_INCOMPLETE) {
        return rv;
    }
    while (!APR_BRIGADE_EMPTY(rest) && APR_BRIGADE_FIRST(rest) != split) {
        apr_bucket *bucket = APR_BRIGADE_FIRST(rest);
        APR_BUCKET_REMOVE(bucket);
        APR_BRIGADE_INSERT_TAIL(piece, bucket);
    }
    if (APR_BRIGADE_EMPTY(rest)) {
        APR_BRIGADE_INSERT_TAIL(piece, apr_bucket_eos_create(stream->c->bucket_alloc));
        stream->ended = true;
    }
    rv = ap_pass_brigade(stream->r->output_filters, piece);
    apr_brigade_destroy(piece);
    return rv;
}

px_pump px_send_pump(px_stream *stream)
{
    conn_rec *c = stream->c;
    for (;;) {
        apr_status_t rv = write_out(c);
        if ((rv != APR_SUCCESS && !APR_STATUS_IS_EAGAIN(rv)) || c->aborted) {
            return PX_PUMP_FAILED;
        }
        if (c->data_in_output_filters) {
            return PX_PUMP_WAIT;
        }
        if (stream->ended) {
            return PX_PUMP_DONE;
        }
        if (pass_piece(stream) != APR_SUCCESS) {
            return PX_PUMP_FAILED;
        }
    }
}

/* ---- from a request thread -------------------------------------------------------------------- */

static bool writable_soon(conn_rec *c)
{
    struct pollfd wait = {-1, POLLOUT, 0};
    apr_os_sock_t fd;
    apr_os_sock_get(&fd, ap_get_conn_socket(c));
    wait.fd = fd;
    return poll(&wait, 1, PATIENCE_MS) == 1;
}

static int pump_patiently(px_stream *stream)
{
    px_reply *reply = stream->reply;
    px_pump state;
    while ((state = px_send_pump(stream)) == PX_PUMP_WAIT) {
        if (!writable_soon(stream->c)) {
            stream->phase = PX_STREAM_SENDING;
            ap_set_module_config(stream->c->conn_config, &pixshift_module, stream);
            return SUSPENDED;
        }
    }
    if (state == PX_PUMP_FAILED) {
        stream->c->aborted = 1;
    } else if (px_reply_whole(stream->r)) {
        reply->on_sent(stream->req, reply->on_sent_baton);
    }
    px_hub_release();
    return OK;
}

int px_send_reply(request_rec *r, px_host *host, px_req *req, px_reply *reply)
{
    px_stream *stream;
    int failed;
    /* Ranges are cut by a filter that must see the whole body at once. */
    if (!reply->on_sent || apr_table_get(r->headers_in, "Range") || !px_stream_can_suspend(r, host)
        || !px_hub_reserve()) {
        return px_reply_send(r, req, reply);
    }
    stream = px_stream_make(r, req, reply);
    failed = px_reply_prepare(r, reply, &stream->body);
    if (failed) {
        px_hub_release();
        return failed;
    }
    return pump_patiently(stream);
}
