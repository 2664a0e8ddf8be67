/* The audit log: who did what, appended in the same transaction; hash-chained; never changed. */
#ifndef PX_ADMIN_AUDIT_H
#define PX_ADMIN_AUDIT_H

#include "db/db.h"
#include "http/http.h"

/* action in dotted form ("user.credits.add"), entity_type e.g. "USER", values JSON or NULL. */
px_err *px_audit_add(px_conn *conn, apr_pool_t *pool, const px_req *req, const char *action,
                     const char *entity_type, const char *entity_id, const char *old_json,
                     const char *new_json);

extern const px_route px_admin_routes[];

#endif
