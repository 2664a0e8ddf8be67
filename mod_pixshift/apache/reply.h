/* Sending a px_reply through httpd's filters. */
#ifndef PX_APACHE_REPLY_H
#define PX_APACHE_REPLY_H

#include "host.h"

/* Sends a finished reply (JSON, BYTES, FILE) with its end from a request thread. Returns what
 * the handler returns: OK, or an HTTP status when nothing was sent. on_sent has run when the
 * last byte was taken. */
int px_reply_send(request_rec *r, px_req *req, px_reply *reply);
/* The first half of that: status and headers set, the body in a brigade without its end. 0, or
 * an HTTP status. The I/O thread sends such a brigade piece by piece. */
int px_reply_prepare(request_rec *r, px_reply *reply, apr_bucket_brigade **body);
/* Status and headers into the request_rec; px_reply_send does it itself. */
void px_reply_head(request_rec *r, const px_reply *reply);
/* Bytes of a running stream: written at once or APR error. */
apr_status_t px_reply_push(request_rec *r, const char *data, size_t len);
/* True when a whole 200 body was asked for, so that its end means a completed download. */
bool px_reply_whole(const request_rec *r);

#endif
