/* Jobs in the hands of admins: ADM-7. */
#include "studio_api.h"

#include "admin/audit.h"
#include "config/settings.h"
#include "credit/credit.h"
#include "job_change_store.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

static void write_job(px_req *req, px_jw *w, const char *key, const px_job *job)
{
    px_jw_object(w, key);
    px_jw_str(w, "id", job->id);
    px_jw_str(w, "job_id", job->id);
    px_jw_str(w, "user_id", job->user_id);
    px_jw_str(w, "operation", job->operation);
    px_jw_str(w, "mode", studio_job_option(req, job, "mode"));
    px_jw_str(w, "status", px_job_state_word(req->dialect, job->state));
    px_jw_str(w, "state", job->state);
    px_jw_str(w, "provider", job->provider);
    px_jw_str(w, "prompt_used", job->prompt_used);
    px_jw_int(w, "cost", job->cost);
    px_jw_int(w, "credits_used", job->credits_used);
    px_jw_int(w, "attempts", job->attempt);
    px_jw_int(w, "claims", job->claims);
    px_jw_int(w, "processing_time_ms", job->processing_time_ms);
    px_jw_bool(w, "cancel_requested", job->cancel_asked);
    px_jw_time(w, "created_at", job->created_at);
    px_jw_time(w, "started_at", job->started_at);
    px_jw_time(w, "completed_at", job->completed_at);
    studio_write_end(w, job);
    px_jw_end_object(w);
}

typedef struct { const char *status, *user_id, *operation; } list_in;

static const px_field list_fields[] = {
    {"status", PX_F_STRING, false, 1, 20, NULL, offsetof(list_in, status)},
    {"user_id", PX_F_UUID, false, 0, 0, NULL, offsetof(list_in, user_id)},
    {"operation", PX_F_ENUM, false, 0, 0, "transformation|tryon|generation|enhancement",
     offsetof(list_in, operation)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

/* GET /api/v1/admin/jobs */
px_err *studio_job_admin_list_api(px_req *req, px_reply *reply)
{
    px_job_filter filter = {0};
    list_in in = {0};
    px_page page;
    px_job *list;
    int64_t total;
    int count;
    px_err *err = px_validate_query(req, list_fields, &in);
    if (err || (err = px_page_read(req, 20, &page)) != NULL
        || (err = studio_state_filter(req, in.status, &filter.state)) != NULL)
        return err;
    filter.user_id = in.user_id;
    filter.operation = in.operation;
    err = px_job_list(req->app->db, req->pool, &filter, &page, &list, &count, &total);
    if (err)
        return err;
    px_jw_object(reply->json, NULL);
    px_jw_array(reply->json, "jobs");
    for (int i = 0; i < count; i++)
        write_job(req, reply->json, NULL, &list[i]);
    px_jw_end_array(reply->json);
    px_page_write(req, reply->json, &page, total);
    px_jw_end_object(reply->json);
    return NULL;
}

/* ---- changes: each with its audit row in one transaction ---- */

typedef struct {
    px_req *req;
    const px_job *job;
    const char *reason;
    int64_t refunded;
} change_in;

static const px_field change_fields[] = {
    {"reason", PX_F_STRING, false, 1, 500, NULL, offsetof(change_in, reason)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

static const char *change_json(apr_pool_t *pool, const change_in *in, const char *state)
{
    px_jw *w = px_jw_make(pool, PX_SPELL_SNAKE);
    px_jw_object(w, NULL);
    px_jw_str(w, "state", state);
    if (in->refunded)
        px_jw_int(w, "refunded", in->refunded);
    if (in->reason)
        px_jw_str(w, "reason", in->reason);
    px_jw_end_object(w);
    return w->buf->data;
}

static px_err *retry_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    const change_in *in = baton;
    bool transformation = strcmp(in->job->operation, "transformation") == 0;
    px_err *err = studio_retry_check(in->req, in->job);
    if (!err)
        err = px_job_change_redrive(conn, pool, in->job->id,
                                    transformation ? PX_SCOPE_TRANSFORMATION : PX_SCOPE_ANY,
                                    px_set_int(in->req->app->settings, PX_S_JOB_DEADLINE));
    return err ? err
               : px_audit_add(conn, pool, in->req, "job.retry", "JOB", in->job->id,
                              apr_psprintf(pool, "{\"state\":\"%s\"}", in->job->state),
                              change_json(pool, in, "queued"));
}

/* All of it, once: the key is the job's. */
static px_err *refund_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    change_in *in = baton;
    px_job_charge charge;
    px_err *err = px_job_change_charge(conn, pool, in->job->id, &charge);
    if (err)
        return err;
    if (charge.captured == 0)
        return px_error_say(pool, PX_E_CONFLICT, "Nothing was charged for this job.");
    in->refunded = charge.captured - charge.refunded;
    if (in->refunded <= 0)
        return px_error_say(pool, PX_E_CONFLICT, "The credits of this job were given back already.");
    err = px_credit_refund(conn, pool, charge.hold_id, in->refunded,
                           apr_pstrcat(pool, "refund:job:", in->job->id, NULL),
                           in->reason ? in->reason : "Refunded by support");
    return err ? err
               : px_audit_add(conn, pool, in->req, "job.refund", "JOB", in->job->id, NULL,
                              change_json(pool, in, in->job->state));
}

static px_err *change(px_req *req, px_reply *reply, const char *who, px_db_tx_body *body)
{
    change_in in = {.req = req};
    px_job *job;
    px_err *err = px_admin_require(req, who);
    if (!err)
        err = px_validate(req, change_fields, &in);
    if (!err)
        err = studio_job_param(req, "jobId", NULL, &job);
    if (err)
        return err;
    in.job = job;
    err = px_db_tx(req->app->db, req->pool, body, &in);
    if (!err)
        err = px_job_get(req->app->db, req->pool, job->id, NULL, &job);
    if (err)
        return err;
    px_jw_object(reply->json, NULL);
    if (in.refunded)
        px_jw_int(reply->json, "credits_refunded", in.refunded);
    write_job(req, reply->json, "job", job);
    px_jw_end_object(reply->json);
    return NULL;
}

/* POST /api/v1/admin/jobs/{jobId}/retry */
px_err *studio_job_admin_retry_api(px_req *req, px_reply *reply)
{
    return change(req, reply, "support", retry_body);
}

/* POST /api/v1/admin/jobs/{jobId}/refund */
px_err *studio_job_admin_refund_api(px_req *req, px_reply *reply)
{
    return change(req, reply, "support|finance", refund_body);
}

/* POST /api/v1/admin/jobs/{jobId}/cancel */
px_err *studio_job_admin_cancel_api(px_req *req, px_reply *reply)
{
    px_job *job;
    px_err *err = px_admin_require(req, "support");
    if (!err)
        err = studio_job_param(req, "jobId", NULL, &job);
    if (!err)
        err = studio_cancel(req, &job);
    if (err)
        return err;
    px_jw_object(reply->json, NULL);
    write_job(req, reply->json, "job", job);
    px_jw_end_object(reply->json);
    return NULL;
}
