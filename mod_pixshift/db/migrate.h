/* Versioned migrations: sql/NNNN_name.up.sql and .down.sql, applied in order under an advisory lock,
 * each in one transaction, recorded with the SHA-256 of the file.  A changed file that is already
 * applied is refused.  Used by pixshiftctl and tests; one thread; blocking. */
#ifndef PX_DB_MIGRATE_H
#define PX_DB_MIGRATE_H

#include "base/error.h"
#include "db.h"

typedef struct {
    int version;
    const char *name;
    bool applied;
    bool changed;           /* the file is not what was applied */
    int64_t applied_at;     /* usec */
} px_migration;

/* The version that this code was built for (the highest in sql/ at build time). */
int px_schema_version(void);

/* Upgrades to `target` (-1 = newest) or down to a lower one. `app_role` (may be NULL) receives the
 * rights that the running service needs. progress may be NULL. */
px_err *px_migrate(px_db *db, apr_pool_t *pool, const char *sql_dir, int target,
                   const char *app_role, void (*progress)(void *baton, const char *line), void *baton);
px_err *px_migrate_status(px_db *db, apr_pool_t *pool, const char *sql_dir,
                          px_migration **list, int *count);

#endif
