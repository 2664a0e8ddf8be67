/* What doctor asks the database. */
#ifndef PX_CTL_DOCTOR_STORE_H
#define PX_CTL_DOCTOR_STORE_H

#include "db/db.h"

typedef struct {
    const char *version, *role, *synchronous_commit, *fsync;
    bool owner;                 /* the role owns the schema: the service should not */
    bool rights;                /* may read and write what the service must */
    int64_t now;                /* usec, the server's wall clock with the test offset */
    int64_t free_lifetime, free_daily, free_initial;
    int64_t workers;            /* alive, as their locks tell */
} doctor_facts;
/* Works without any schema: what needs one is read by doctor_store_schema. */
px_err *doctor_store_server(px_db *db, apr_pool_t *pool, doctor_facts *facts);
/* The newest migration that was applied; 0 = none. */
px_err *doctor_store_version(px_db *db, apr_pool_t *pool, int *version);
px_err *doctor_store_schema(px_db *db, apr_pool_t *pool, doctor_facts *facts);

#endif
