/* SQL behind what admins do to jobs over HTTP: parts of a transaction that also writes the audit log. */
#ifndef PX_STUDIO_JOB_CHANGE_STORE_H
#define PX_STUDIO_JOB_CHANGE_STORE_H

#include "base/error.h"
#include "db/db.h"

/* Runs an ended, unsuccessful job once more with a new hold; limits of users do not apply. Errors of the
 * ledger in the client's words. */
px_err *px_job_change_redrive(px_conn *conn, apr_pool_t *pool, const char *id, const char *scope,
                              int64_t deadline_ms);

/* What the job's hold took and what was given back since. The hold stays locked. */
typedef struct { const char *hold_id; int64_t captured, refunded; } px_job_charge;
px_err *px_job_change_charge(px_conn *conn, apr_pool_t *pool, const char *id, px_job_charge *charge);

#endif
