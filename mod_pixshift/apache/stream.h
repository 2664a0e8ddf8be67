/* Replies of mode WAIT and STREAM: the request thread's part, and the steps that both the request
 * thread (blocking fall-back) and the I/O thread take. */
#ifndef PX_APACHE_STREAM_H
#define PX_APACHE_STREAM_H

#include "hub.h"

/* Answers at once, suspends the request, or (where the MPM cannot) holds this thread for a bounded
 * time. Returns what the handler returns. */
int px_stream_begin(request_rec *r, px_host *host, px_req *req, px_reply *reply);

/* May this request be suspended? Not where the MPM cannot, on HTTP/2, and after an internal
 * redirect. */
bool px_stream_can_suspend(const request_rec *r, const px_host *host);
/* A record of the request in its connection's pool. */
px_stream *px_stream_make(request_rec *r, px_req *req, px_reply *reply);

/* Runs `resume`. False when the reply is ready to be sent. */
bool px_stream_still_waiting(px_req *req, px_reply *reply, int *overdue);
/* Runs `next` and appends what it gave to `out`; a heartbeat when that was nothing and `beat`.
 * False when the stream ends behind it. */
bool px_stream_collect(px_req *req, px_reply *reply, bool beat, px_buf *out);
/* Ends a chunked body in an orderly way. */
void px_stream_eos(request_rec *r);

/* How often `next` is called at least, and heartbeats are sent. */
#define PX_STREAM_BEAT_USEC 15000000

#endif
