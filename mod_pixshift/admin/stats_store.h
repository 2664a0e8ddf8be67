/* SQL of the platform's figures. */
#ifndef PX_ADMIN_STATS_STORE_H
#define PX_ADMIN_STATS_STORE_H

#include "db/db.h"

typedef struct {
    int64_t users, active_users, suspended_users, transformations, jobs;
    const char *revenue;        /* exact decimal text */
} admin_stats;
px_err *stats_store_read(px_db *db, apr_pool_t *pool, admin_stats *stats);

#endif
