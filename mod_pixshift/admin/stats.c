/* The platform's figures (ADM-1). */
#include "stats_store.h"

#include "admin_internal.h"

px_err *admin_stats_api(px_req *req, px_reply *reply)
{
    px_jw *w = reply->json;
    admin_stats stats;
    px_err *err = stats_store_read(req->app->db, req->pool, &stats);

    if (err) {
        return err;
    }
    px_jw_object(w, NULL);
    px_jw_int(w, "total_users", stats.users);
    px_jw_int(w, "total_transformations", stats.transformations);
    px_jw_decimal(w, "total_revenue", stats.revenue);
    px_jw_int(w, "active_users", stats.active_users);
    px_jw_int(w, "suspended_users", stats.suspended_users);
    px_jw_int(w, "total_jobs", stats.jobs);
    px_jw_end_object(w);
    return NULL;
}
