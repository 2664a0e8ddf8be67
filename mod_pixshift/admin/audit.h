/* The audit log: who did what, appended in the same transaction; hash-chained; never changed. */
#ifndef PX_ADMIN_AUDIT_H
#define PX_ADMIN_AUDIT_H

#include "db/db.h"
#include "http/http.h"

/* action in dotted form ("user.credits.add"), entity_type e.g. "USER", values JSON or NULL. The
 * actor is the request's principal. */
px_err *px_audit_add(px_conn *conn, apr_pool_t *pool, const px_req *req, const char *action,
                     const char *entity_type, const char *entity_id, const char *old_json,
                     const char *new_json);

/* The same for acts without a request: the command line, the system itself. */
typedef struct {
    const char *admin_id;       /* UUID or NULL */
    const char *name;           /* email address, or "ctl:<login name>", "system" */
    const char *ip, *user_agent, *request_id;
} px_audit_actor;
px_err *px_audit_put(px_conn *conn, apr_pool_t *pool, const px_audit_actor *actor,
                     const char *action, const char *entity_type, const char *entity_id,
                     const char *old_json, const char *new_json);

/* AUTH_FORBIDDEN unless the caller's admin role is super or one of `allowed` ("support|finance"). */
px_err *px_admin_require(px_req *req, const char *allowed);

extern const px_route px_admin_routes[];

#endif
