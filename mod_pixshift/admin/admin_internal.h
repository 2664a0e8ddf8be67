/* What the files of admin/ share. */
#ifndef PX_ADMIN_INTERNAL_H
#define PX_ADMIN_INTERNAL_H

#include "http/http.h"

/* Sub-roles (USER-10): super may do everything, support works with users and credits, finance with
 * money. `allowed` names the sub-roles besides super, separated by '|'. */
px_err *admin_require(px_req *req, const char *allowed);

px_handler admin_actions_api, admin_stats_api;
px_handler admin_users_api, admin_user_api, admin_user_role_api, admin_user_credits_api,
    admin_user_suspend_api, admin_user_unsuspend_api;

#endif
