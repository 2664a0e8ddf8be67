/* The I/O thread of a child: it owns the connections of suspended streams and waits (REFERENCE
 * §2), hears PostgreSQL's notifications, and runs `next` and `resume` of replies.  No request
 * thread is held meanwhile.
 *
 * Hand-over: the handler reserves a slot, hangs its px_stream on the connection and returns
 * SUSPENDED; the MPM's suspend hook gives the stream to the thread.  From then on only the
 * thread touches the connection, until it destroys it, never earlier than a second after the
 * hand-over: the MPM still writes to the connection behind its hook. */
#ifndef PX_APACHE_HUB_H
#define PX_APACHE_HUB_H

#include "host.h"
#include "topics.h"

typedef enum { PX_STREAM_RUNNING, PX_STREAM_SENDING, PX_STREAM_LINGERING } px_stream_phase;

/* One suspended request; lives in the connection's pool because it outlives the request. */
typedef struct px_stream {
    conn_rec *c;
    request_rec *r;                     /* NULL when the request is over */
    px_req *req;
    px_reply *reply;
    px_waiter waiter;
    apr_bucket_brigade *body;           /* SENDING: what was not passed on yet */
    bool ended;                         /* SENDING: end passed on; RUNNING: no more events */
    bool again;                         /* RUNNING: woken while events were still on their way */
    px_buf *out;                        /* RUNNING: events not yet taken; NULL = none */
    size_t out_at;
    apr_pool_t *out_pool;
    px_stream_phase phase;
    bool gone;                          /* the client closed its side */
    int overdue;                        /* calls of resume behind the deadline */
    int fd;
    int64_t deadline;                   /* px_now; 0 = none */
    int64_t beat_at;                    /* px_monotonic of the next call of `next` */
    int64_t close_at;                   /* px_monotonic when waiting for the client is given up */
    int64_t suspended_at;               /* px_monotonic */
    struct px_stream *next, *prev;
} px_stream;

px_err *px_hub_start(apr_pool_t *pool, px_host *host, px_app *app);
px_topics *px_hub_topics(void);
/* A slot for one more stream; false = PixShiftStreams reached, no thread, or the child is
 * stopping. */
bool px_hub_reserve(void);
void px_hub_release(void);
/* The same for streams that hold their request thread (PixShiftBlockingWaits). */
bool px_hub_reserve_blocking(void);
void px_hub_release_blocking(void);
bool px_hub_closing(void);
int px_hub_open_streams(void);

/* Hooks. */
void px_hub_suspended(conn_rec *c, request_rec *r);
void px_hub_stopping(apr_pool_t *pchild, int graceful);

#endif
