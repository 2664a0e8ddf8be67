/* Jobs in an admin's hands: the command line lists and redrives them. Any thread. */
#ifndef PX_STUDIO_JOB_ADMIN_H
#define PX_STUDIO_JOB_ADMIN_H

#include "db/db.h"

typedef struct {
    const char *id, *user_id, *email, *operation, *state, *provider, *error_code, *error_message;
    int64_t cost, attempt, claims, retry_count, created_at, completed_at;   /* times in usec */
    bool dead;
} px_job_admin_row;

/* state NULL = all, "dead" = given up and not redriven; user_id NULL = all. Newest first. */
px_err *px_job_admin_list(px_db *db, apr_pool_t *pool, const char *state, const char *user_id,
                          int64_t limit, px_job_admin_row **list, int *count);
/* Runs an unsuccessful job once more with a new hold. NOT_FOUND, CONFLICT, INSUFFICIENT_CREDITS. */
px_err *px_job_admin_retry(px_db *db, apr_pool_t *pool, const char *id, int64_t deadline_ms);

#endif
