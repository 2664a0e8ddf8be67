/* Who waits for which topic (a job id, a user id).  One table per child, used by request threads
 * that wait or announce a waiter, and by the I/O thread that hears notifications; a mutex guards
 * it.
 *
 * A waiter belongs to its stream and must be removed before that goes away.  It starts
 * `announced`: a wake between announcing and waiting is kept, so nothing that happens after
 * px_topics_add is missed. */
#ifndef PX_APACHE_TOPICS_H
#define PX_APACHE_TOPICS_H

#include <apr_pools.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct px_topics px_topics;

typedef struct px_waiter {
    const char *topic;                  /* lives as long as the waiter is in the table */
    void *baton;                        /* the owner's */
    struct px_waiter *next, **link;     /* chain of its hash bucket */
    struct px_waiter *ready_next;       /* list of woken waiters that the I/O thread drives */
    bool woken, attached, queued;
} px_waiter;

px_topics *px_topics_make(apr_pool_t *pool);
void px_topics_add(px_topics *topics, px_waiter *waiter);
void px_topics_remove(px_topics *topics, px_waiter *waiter);
/* From now on wakes put the waiter on the ready list (at once when one came before). */
void px_topics_attach(px_topics *topics, px_waiter *waiter);
/* Wakes all waiters of a topic; NULL = all there are. Returns how many. */
int px_topics_wake(px_topics *topics, const char *topic);
/* Next woken waiter that is attached, NULL = none. Its wake is used up. */
px_waiter *px_topics_ready(px_topics *topics);
/* Blocks this thread until a wake (true), the time-out or px_topics_close (false). */
bool px_topics_wait(px_topics *topics, px_waiter *waiter, int64_t timeout_usec);
/* Ends all blocking waits for good. */
void px_topics_close(px_topics *topics);

#endif
