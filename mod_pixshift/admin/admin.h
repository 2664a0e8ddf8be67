/* Acts of admins that the API and the command line share; each is one transaction with its audit
 * row. */
#ifndef PX_ADMIN_ADMIN_H
#define PX_ADMIN_ADMIN_H

#include "audit.h"

/* Grants `amount` credits (1 … 1 000 000) of any scope until `expires_at` (usec, 0 = for good).
 * The same `key` again grants nothing more. NOT_FOUND. */
typedef struct {
    px_audit_actor actor;
    const char *user_id, *key, *note;
    int64_t amount, expires_at;
} px_admin_grant;
px_err *px_admin_grant_credits(const px_app *app, apr_pool_t *pool, const px_admin_grant *grant);

/* Who a request's acts are recorded as. */
px_audit_actor px_audit_actor_of(const px_req *req);

#endif
