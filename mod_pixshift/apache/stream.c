/* The beginning of streams and waits, and the blocking fall-back for MPMs that cannot suspend
 * and for HTTP/2, whose streams have no connection of their own to hand over. */
#include "stream.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "reply.h"

#include <apr_portable.h>
#include <apr_strings.h>
#include <http_connection.h>
#include <sys/socket.h>

/* A handler that goes on waiting behind its deadline is broken: it gets this many more calls. */
#define OVERDUE_MAX 3
/* Reconnect after this many milliseconds and up to as many more: a restart must not bring all
 * clients back in one instant. */
#define RETRY_MS 1000

/* ---- steps ----------------------------------------------------------------------------------- */

bool px_stream_still_waiting(px_req *req, px_reply *reply, int *overdue)
{
    bool late = reply->deadline > 0 && px_now() >= reply->deadline;
    px_err *err = reply->resume(req, reply);
    if (!err && reply->mode == PX_REPLY_WAIT && late && ++*overdue >= OVERDUE_MAX) {
        err = px_error(req->pool, PX_E_INTERNAL, "PXS5120", "a reply waits behind its deadline");
    }
    if (!err && reply->mode == PX_REPLY_STREAM) {
        err = px_error(req->pool, PX_E_INTERNAL, "PXS5121", "a wait became a stream");
    }
    if (err) {
        px_reply_error(req, reply, err);
    }
    return reply->mode == PX_REPLY_WAIT;
}

bool px_stream_collect(px_req *req, px_reply *reply, bool beat, px_buf *out)
{
    bool done = false;
    px_err *err = reply->next(req, reply->stream_baton, out, &done);
    if (err) {
        /* The status line is out: all that is left is to let the client come again. */
        px_log(PX_LOG_WARN, err->log_id ? err->log_id : "PXS5122", "a stream ended early: %s",
               err->cause ? err->cause : err->text);
        return false;
    }
    if (out->len == 0 && beat && !done) {
        px_buf_puts(out, ": still here\n\n");
    }
    return !done;
}

/* The request thread's way: it may wait for the client. False when the stream is over. */
static bool advance(px_req *req, px_reply *reply, bool beat)
{
    apr_pool_t *pool;
    px_buf *out;
    bool goes_on;
    apr_pool_create(&pool, req->pool);
    out = px_buf_make(pool, 512);
    goes_on = px_stream_collect(req, reply, beat, out);
    if (out->len > 0 && px_reply_push(px_req_rec(req), out->data, out->len) != APR_SUCCESS) {
        goes_on = false;
    }
    apr_pool_destroy(pool);
    return goes_on;
}

void px_stream_eos(request_rec *r)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(r->connection->bucket_alloc));
    ap_pass_brigade(r->output_filters, bb);
}

/* ---- beginning ------------------------------------------------------------------------------- */

/* Status, headers and the reconnect time of an event stream. */
static bool stream_head(request_rec *r, px_reply *reply)
{
    uint32_t random;
    const char *retry;
    px_random(&random, sizeof(random));
    retry = apr_psprintf(r->pool, "retry: %u\n\n", RETRY_MS + random % RETRY_MS);
    /* A suspended request cannot be kept alive (REFERENCE §2), and compression would hold
     * events. */
    apr_table_setn(r->subprocess_env, "nokeepalive", "1");
    apr_table_setn(r->subprocess_env, "no-gzip", "1");
    apr_table_setn(r->subprocess_env, "no-brotli", "1");
    apr_table_setn(r->headers_out, "X-Accel-Buffering", "no");
    px_reply_head(r, reply);
    return px_reply_push(r, retry, strlen(retry)) == APR_SUCCESS;
}

bool px_stream_can_suspend(const request_rec *r, const px_host *host)
{
    return host->async && !r->connection->master && !r->prev;
}

px_stream *px_stream_make(request_rec *r, px_req *req, px_reply *reply)
{
    px_stream *stream = apr_pcalloc(r->connection->pool, sizeof(*stream));
    stream->c = r->connection;
    stream->r = r;
    stream->req = req;
    stream->reply = reply;
    stream->deadline = reply->deadline;
    stream->waiter.topic = reply->topic ? reply->topic : "";
    stream->waiter.baton = stream;
    return stream;
}

/* Announced before the state is looked at, so that no change falls between. True = suspend now;
 * else *rc is the handler's return value. */
static bool begin_suspended(px_stream *stream, int *rc)
{
    request_rec *r = stream->r;
    px_reply *reply = stream->reply;
    *rc = OK;
    px_topics_add(px_hub_topics(), &stream->waiter);
    if (reply->mode == PX_REPLY_STREAM) {
        return stream_head(r, reply) && !r->header_only && advance(stream->req, reply, false);
    }
    if (px_stream_still_waiting(stream->req, reply, &stream->overdue)) {
        apr_table_setn(r->subprocess_env, "nokeepalive", "1");
        stream->deadline = reply->deadline;
        return true;
    }
    px_topics_remove(px_hub_topics(), &stream->waiter);
    px_req_notes(stream->req);
    *rc = px_reply_send(r, stream->req, reply);
    return false;
}

static int suspend(request_rec *r, px_req *req, px_reply *reply)
{
    px_stream *stream = px_stream_make(r, req, reply);
    int rc;
    if (begin_suspended(stream, &rc)) {
        ap_set_module_config(r->connection->conn_config, &pixshift_module, stream);
        return SUSPENDED;
    }
    px_topics_remove(px_hub_topics(), &stream->waiter);
    px_hub_release();
    return rc;
}

/* ---- blocking fall-back ---------------------------------------------------------------------- */

static int64_t time_left(int64_t deadline, int64_t most)
{
    int64_t left = deadline > 0 ? deadline - px_now() : most;
    /* The test clock may jump while we sleep. */
    most = px_clock_is_test() && most > 200000 ? 200000 : most;
    return left < 0 ? 0 : left < most ? left : most;
}

/* A held thread should not wait for a client that left: its side of the connection is at its
 * end. */
static bool client_gone(conn_rec *c)
{
    apr_os_sock_t fd;
    char byte;
    if (c->aborted || c->master) {
        return c->aborted;
    }
    return apr_os_sock_get(&fd, ap_get_conn_socket(c)) == APR_SUCCESS
           && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static int block_for_reply(px_stream *stream)
{
    px_reply *reply = stream->reply;
    while (px_stream_still_waiting(stream->req, reply, &stream->overdue)) {
        px_topics_wait(px_hub_topics(), &stream->waiter, time_left(reply->deadline, 1000000));
        if (px_hub_closing() || client_gone(stream->r->connection)) {
            reply->deadline = px_now();
        }
    }
    px_req_notes(stream->req);
    return px_reply_send(stream->r, stream->req, reply);
}

static int block_for_stream(px_stream *stream)
{
    request_rec *r = stream->r;
    int64_t beat_at = px_monotonic() + PX_STREAM_BEAT_USEC;
    bool woken = true;
    bool over = !stream_head(r, stream->reply) || r->header_only;
    while (!over && !px_hub_closing() && !client_gone(r->connection)) {
        bool beat = px_monotonic() >= beat_at;
        if (woken || beat || (stream->deadline > 0 && px_now() >= stream->deadline)) {
            stream->deadline = woken || beat ? stream->deadline : 0;
            over = !advance(stream->req, stream->reply, beat);
            beat_at = beat ? px_monotonic() + PX_STREAM_BEAT_USEC : beat_at;
        }
        if (over) {
            break;
        }
        woken = px_topics_wait(px_hub_topics(), &stream->waiter,
                               time_left(stream->deadline, 1000000));
    }
    px_stream_eos(r);
    return OK;
}

static int block(request_rec *r, px_req *req, px_reply *reply)
{
    px_stream *stream = px_stream_make(r, req, reply);
    int rc;
    px_topics_add(px_hub_topics(), &stream->waiter);
    rc = reply->mode == PX_REPLY_WAIT ? block_for_reply(stream) : block_for_stream(stream);
    px_topics_remove(px_hub_topics(), &stream->waiter);
    px_hub_release_blocking();
    return rc;
}

/* A child that is stopping tells what there is and when to come back: a younger one goes on. */
static int brief_stream(request_rec *r, px_req *req, px_reply *reply)
{
    if (stream_head(r, reply) && !r->header_only) {
        advance(req, reply, false);
    }
    px_stream_eos(r);
    return OK;
}

/* No room: a wait answers as if its time were up, a stream is refused. */
static int answer_now(request_rec *r, px_req *req, px_reply *reply)
{
    int overdue = OVERDUE_MAX - 1;
    if (reply->mode == PX_REPLY_STREAM && px_hub_closing()) {
        return brief_stream(r, req, reply);
    }
    if (reply->mode == PX_REPLY_WAIT) {
        reply->deadline = px_now();
        px_stream_still_waiting(req, reply, &overdue);
    } else {
        px_reply_error(req, reply, px_error(req->pool, PX_E_UNAVAILABLE, "PXS5123",
                                            "no room for one more stream"));
    }
    px_req_notes(req);
    return px_reply_send(r, req, reply);
}

int px_stream_begin(request_rec *r, px_host *host, px_req *req, px_reply *reply)
{
    bool can_suspend = px_stream_can_suspend(r, host);
    if (can_suspend && px_hub_reserve()) {
        return suspend(r, req, reply);
    }
    if (!can_suspend && px_hub_reserve_blocking()) {
        return block(r, req, reply);
    }
    return answer_now(r, req, reply);
}
