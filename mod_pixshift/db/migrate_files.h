/* The files of a migrations folder: NNNN_name.up.sql with its .down.sql.  Used by migrate.c. */
#ifndef PX_DB_MIGRATE_FILES_H
#define PX_DB_MIGRATE_FILES_H

#include "base/error.h"

typedef struct {
    int version;
    const char *name;           /* "credit" of 0003_credit.up.sql */
    const char *up, *down;      /* paths; down is NULL when there is no such file */
    const char *sha256;         /* of the up file, hex */
} migration_file;

/* All migrations of a folder in order. Refuses two files of one number and unreadable ones. */
px_err *migration_files_list(apr_pool_t *pool, const char *dir, migration_file **list, int *count);
/* A whole SQL file, NUL-terminated. */
px_err *migration_file_read(apr_pool_t *pool, const char *path, const char **sql);

#endif
