/* One suspended connection, as the I/O thread handles it. */
#include "hub_conn.h"
#include "base/clock.h"
#include "reply.h"
#include "send.h"
#include "stream.h"

#include <http_connection.h>
#include <poll.h>
#include <sys/socket.h>

/* A client that does not take its reply for so long is dropped. */
#define SEND_USEC 60000000
/* Events are flushed piece by piece, each only when the socket has room for it. */
#define EVENT_PIECE 8192
/* After our FIN the client may still send; closing at once would reset the connection under its
 * last bytes. */
#define LINGER_USEC 2000000

void px_conn_adopt(px_stream *stream)
{
    /* From here on a full socket buffer is an answer, not a reason to wait. */
    apr_socket_timeout_set(ap_get_conn_socket(stream->c), 0);
    stream->suspended_at = px_monotonic();
    stream->beat_at = stream->suspended_at + PX_STREAM_BEAT_USEC;
    stream->close_at = stream->suspended_at + SEND_USEC;
}

/* Behind this the request is logged and its pool is gone. */
static void end_request(px_stream *stream)
{
    request_rec *r = stream->r;
    px_topics_remove(px_hub_topics(), &stream->waiter);
    /* Only a wait that was never answered still has something to give back. */
    px_http_abandon(stream->req);
    px_req_notes(stream->req);
    stream->r = NULL;
    stream->req = NULL;
    stream->reply = NULL;
    stream->out = NULL;
    stream->c->keepalive = AP_CONN_CLOSE;
    ap_process_request_after_handler(r);
    px_hub_release();
}

static void linger(px_stream *stream)
{
    int64_t now = px_monotonic();
    conn_rec *c = stream->c;
    if (!c->aborted) {
        ap_shutdown_conn(c, 1);
        apr_socket_shutdown(ap_get_conn_socket(c), APR_SHUTDOWN_WRITE);
    } else {
        apr_socket_shutdown(ap_get_conn_socket(c), APR_SHUTDOWN_READWRITE);
    }
    stream->phase = PX_STREAM_LINGERING;
    stream->close_at = c->aborted || stream->gone ? now : now + LINGER_USEC;
}

void px_conn_abort(px_stream *stream)
{
    if (stream->phase == PX_STREAM_LINGERING) {
        stream->close_at = px_monotonic();
        return;
    }
    stream->c->aborted = 1;
    end_request(stream);
    linger(stream);
}

static void finish(px_stream *stream)
{
    px_reply *reply = stream->reply;
    if (reply->on_sent && px_reply_whole(stream->r)) {
        reply->on_sent(stream->req, reply->on_sent_baton);
    }
    end_request(stream);
    linger(stream);
}

void px_conn_push(px_stream *stream)
{
    switch (px_send_pump(stream)) {
    case PX_PUMP_DONE:
        finish(stream);
        break;
    case PX_PUMP_FAILED:
        px_conn_abort(stream);
        break;
    case PX_PUMP_WAIT:
        break;          /* epoll tells when to go on */
    }
}

void px_conn_reply(px_stream *stream)
{
    stream->phase = PX_STREAM_SENDING;
    stream->close_at = px_monotonic() + SEND_USEC;
    px_req_notes(stream->req);
    if (px_reply_prepare(stream->r, stream->reply, &stream->body) != 0) {
        px_conn_abort(stream);
        return;
    }
    px_conn_push(stream);
}

/* ---- event streams --------------------------------------------------------------------------- */

/* True when at least a third of the socket's buffer is free, more than a piece. Asking also
 * makes the kernel report the change through epoll. */
static bool writable(const px_stream *stream)
{
    struct pollfd wait = {stream->fd, POLLOUT, 0};
    return poll(&wait, 1, 0) == 1 && (wait.revents & POLLOUT);
}

static void events_done(px_stream *stream)
{
    stream->out = NULL;
    apr_pool_destroy(stream->out_pool);
    stream->out_pool = NULL;
    if (stream->ended) {
        px_conn_end_stream(stream);
    } else if (stream->again) {
        stream->again = false;
        px_conn_events(stream, false);
    }
}

void px_conn_events_on(px_stream *stream)
{
    px_buf *out = stream->out;
    while (stream->out_at < out->len) {
        size_t left = out->len - stream->out_at;
        size_t len = left < EVENT_PIECE ? left : EVENT_PIECE;
        if (!writable(stream)) {
            return;
        }
        /* With FLUSH: the TLS filter keeps small writes back otherwise. */
        if (px_reply_push(stream->r, out->data + stream->out_at, len) != APR_SUCCESS) {
            px_conn_abort(stream);
            return;
        }
        stream->out_at += len;
    }
    events_done(stream);
}

void px_conn_events(px_stream *stream, bool beat)
{
    if (stream->out) {
        stream->again = true;
        return;
    }
    stream->beat_at = px_monotonic() + PX_STREAM_BEAT_USEC;
    stream->close_at = px_monotonic() + SEND_USEC;
    apr_pool_create(&stream->out_pool, stream->req->pool);
    stream->out = px_buf_make(stream->out_pool, 512);
    stream->out_at = 0;
    stream->ended = !px_stream_collect(stream->req, stream->reply, beat, stream->out);
    px_conn_events_on(stream);
}

void px_conn_end_stream(px_stream *stream)
{
    px_stream_eos(stream->r);
    end_request(stream);
    linger(stream);
}

bool px_conn_bury(px_stream *stream, bool now)
{
    conn_rec *c = stream->c;
    int64_t clock = px_monotonic();
    char rest[4096];
    if (!now && (clock < stream->suspended_at + PX_QUARANTINE_USEC
                 || (!stream->gone && clock < stream->close_at))) {
        return false;
    }
    while (recv(stream->fd, rest, sizeof(rest), MSG_DONTWAIT) > 0) {
        continue;       /* unread bytes would turn the close into a reset */
    }
    /* So the MPM counts one suspended connection less when the pool's cleanups run. */
    c->cs->state = CONN_STATE_SUSPENDED;
    apr_pool_destroy(c->pool);
    return true;
}
