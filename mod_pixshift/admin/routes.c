/* The routes of admins, in both spellings (docs/internals/admin.md). */
#include "admin_internal.h"
#include "audit.h"

#define PIX PX_DIALECT_PIXSHIFT
#define V1 PX_DIALECT_TRAILROOM
/* API keys never carry an admin's rights. */
#define WHO PX_CRED_USER
#define OWN_V1 (PX_ROUTE_ADMIN | PX_ROUTE_NO_V1_ALIAS)

const px_route px_admin_routes[] = {
    {"GET", "/api/admin/stats", PIX, WHO, PX_SCOPE_ACCOUNT, PX_BODY_NONE, PX_ROUTE_ADMIN,
     admin_stats_api, "Figures of the whole platform."},
    {"GET", "/api/admin/actions", PIX, WHO, PX_SCOPE_ACCOUNT, PX_BODY_NONE, PX_ROUTE_ADMIN,
     admin_actions_api, "The audit log, newest first."},
    {"GET", "/api/admin/users", PIX, WHO, PX_SCOPE_ACCOUNT, PX_BODY_NONE, OWN_V1, admin_users_api,
     "Lists users, newest first."},
    {"GET", "/api/admin/users/{id}", PIX, WHO, PX_SCOPE_ACCOUNT, PX_BODY_NONE, OWN_V1,
     admin_user_api, "Reads one user with the balance."},
    {"PUT", "/api/admin/users/{id}/role", PIX, WHO, PX_SCOPE_ACCOUNT, PX_BODY_JSON, OWN_V1,
     admin_user_role_api, "Changes a user's role or entitlement."},

    {"GET", "/api/v1/admin/users", V1, WHO, PX_SCOPE_ACCOUNT, PX_BODY_NONE, PX_ROUTE_ADMIN,
     admin_users_api, "Lists users, newest first."},
    {"GET", "/api/v1/admin/users/{userId}", V1, WHO, PX_SCOPE_ACCOUNT, PX_BODY_NONE, PX_ROUTE_ADMIN,
     admin_user_api, "Reads one user with the balance."},
    {"PUT", "/api/v1/admin/users/{userId}/role", V1, WHO, PX_SCOPE_ACCOUNT, PX_BODY_JSON,
     PX_ROUTE_ADMIN, admin_user_role_api, "Changes a user's role or entitlement."},
    {"POST", "/api/v1/admin/users/{userId}/credits", V1, WHO, PX_SCOPE_ACCOUNT, PX_BODY_JSON,
     PX_ROUTE_ADMIN | PX_ROUTE_CREATES, admin_user_credits_api,
     "Grants credits to a user; the reason is kept."},
    {"POST", "/api/v1/admin/users/{userId}/suspend", V1, WHO, PX_SCOPE_ACCOUNT, PX_BODY_JSON,
     PX_ROUTE_ADMIN, admin_user_suspend_api, "Suspends a user and ends all logins."},
    {"POST", "/api/v1/admin/users/{userId}/unsuspend", V1, WHO, PX_SCOPE_ACCOUNT, PX_BODY_JSON,
     PX_ROUTE_ADMIN, admin_user_unsuspend_api, "Ends a suspension."},

    {NULL, NULL, PIX, 0, 0, PX_BODY_NONE, 0, NULL, NULL},
};
