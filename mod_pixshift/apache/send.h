/* Sending a prepared body piece by piece without ever waiting inside httpd's filters. */
#ifndef PX_APACHE_SEND_H
#define PX_APACHE_SEND_H

#include "hub.h"

typedef enum { PX_PUMP_DONE, PX_PUMP_WAIT, PX_PUMP_FAILED } px_pump;

/* Passes on as much of stream->body as the socket takes, its end included. WAIT: the socket is
 * full. The thread that owns the connection calls it. */
px_pump px_send_pump(px_stream *stream);
/* Sends a finished reply from a request thread and runs on_sent. A client that does not keep up is
 * left to the I/O thread, so that slow downloads hold no request threads. Returns what the handler
 * returns. */
int px_send_reply(request_rec *r, px_host *host, px_req *req, px_reply *reply);

#endif
