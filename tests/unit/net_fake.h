/* A small HTTP server in a thread of the test, whose behaviour the path chooses (see net_fake.c). */
#ifndef PX_TESTS_NET_FAKE_H
#define PX_TESTS_NET_FAKE_H

/* Listens on 127.0.0.1 and gives back the port. */
int net_fake_start(void);
/* Requests seen since the start. */
int net_fake_requests(void);
/* Connections accepted since the start. */
int net_fake_connections(void);

#endif
