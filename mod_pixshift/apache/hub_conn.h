/* Connections of the I/O thread: writing without blocking, ending requests, quarantine. All
 * functions run on that thread. */
#ifndef PX_APACHE_HUB_CONN_H
#define PX_APACHE_HUB_CONN_H

#include "hub.h"

/* A closed connection is destroyed this long after its suspension at the earliest: the MPM
 * thread may still be inside the code behind its suspend hook (REFERENCE §2). */
#define PX_QUARANTINE_USEC 1000000

/* Prepares the socket of a connection just handed over. */
void px_conn_adopt(px_stream *stream);
/* Sends the finished reply; moves the stream to SENDING, or on to LINGERING. */
void px_conn_reply(px_stream *stream);
/* Pushes on what waits in the output filters. */
void px_conn_push(px_stream *stream);
/* Asks an event stream for its next events and sends them. */
void px_conn_events(px_stream *stream, bool beat);
/* Sends on events that the socket did not take before. */
void px_conn_events_on(px_stream *stream);
/* Ends an event stream in an orderly way. */
void px_conn_end_stream(px_stream *stream);
/* Cuts the connection off: the client is gone, or too slow. */
void px_conn_abort(px_stream *stream);
/* True when a lingering connection was destroyed; the stream is gone with it. */
bool px_conn_bury(px_stream *stream, bool now);

#endif
