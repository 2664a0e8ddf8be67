/* Outbound events: a row per event, written in the transaction of what it tells (delivery comes with
 * the webhook slice).  Types: job.succeeded, job.failed, job.canceled, tryon.completed, tryon.failed,
 * transformation.completed, transformation.failed, credits.low, user.registered. */
#ifndef PX_WEBHOOK_OUTBOX_H
#define PX_WEBHOOK_OUTBOX_H

#include "db/db.h"

/* key makes the event unique and names what it is about: "job:<id>:succeeded"; a repetition changes
 * nothing. data_json NULL = {}. Joins the transaction of conn. */
px_err *px_outbox_add(px_conn *conn, apr_pool_t *pool, const char *key, const char *type,
                      const char *user_id, const char *data_json);

#endif
