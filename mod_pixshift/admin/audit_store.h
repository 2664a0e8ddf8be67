/* SQL of the audit log. */
#ifndef PX_ADMIN_AUDIT_STORE_H
#define PX_ADMIN_AUDIT_STORE_H

#include "audit.h"

typedef struct {
    const char *id, *admin_id, *admin_email, *action, *entity_type, *entity_id;
    const char *old_json, *new_json, *ip, *user_agent, *request_id;
    int64_t created_at;
} audit_row;

typedef struct {
    const char *action;         /* whole ("user.role.update"), or its last word ("UPDATE") */
    const char *entity_type, *entity_id, *admin_id;
    int64_t limit, offset;
} audit_filter;

px_err *audit_store_put(px_conn *conn, apr_pool_t *pool, const px_audit_actor *actor,
                        const char *action, const char *entity_type, const char *entity_id,
                        const char *old_json, const char *new_json);
px_err *audit_store_list(px_db *db, apr_pool_t *pool, const audit_filter *filter, audit_row **list,
                         int *count, int64_t *total);

#endif
