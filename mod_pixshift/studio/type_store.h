/* SQL of transformation types. */
#ifndef PX_STUDIO_TYPE_STORE_H
#define PX_STUDIO_TYPE_STORE_H

#include "base/error.h"
#include "db/db.h"

typedef struct {
    const char *id, *name, *description, *prompt_template;
    bool enabled;
    int64_t usage_count;            /* jobs ever made with it; only px_type_list */
    int64_t created_at, updated_at; /* usec */
} px_type;

/* All that are not deleted, in the order of their making; usage is counted when asked for. */
px_err *px_type_list(px_db *db, apr_pool_t *pool, bool only_enabled, bool usage, px_type **list,
                     int *count);
/* NOT_FOUND also for deleted ones. */
px_err *px_type_get(px_db *db, apr_pool_t *pool, const char *id, px_type **out);
/* Locks the whole table against other admins: the rule about the last enabled type looks at all rows. */
px_err *px_type_lock(px_conn *conn, apr_pool_t *pool, const char *id, px_type **out);
/* VALIDATION naming `name` when it is taken. */
px_err *px_type_add(px_conn *conn, apr_pool_t *pool, const px_type *type, const char **id);
px_err *px_type_update(px_conn *conn, apr_pool_t *pool, const px_type *type);
/* What stands against removing a type: unfinished jobs; and enabled types beside it. */
typedef struct { int64_t open_jobs, other_enabled; } px_type_use;
px_err *px_type_usage(px_conn *conn, apr_pool_t *pool, const char *id, px_type_use *use);
/* Hidden from now on; its name is free again. */
px_err *px_type_remove(px_conn *conn, apr_pool_t *pool, const char *id);

#endif
