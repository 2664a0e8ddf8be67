/* What all routes that make a job have in common: price, retention, refusal for want of credit, and the
 * end of a create that waits. */
#include "studio_api.h"

#include "base/clock.h"
#include "config/settings.h"
#include "credit/credit.h"

#include <apr_strings.h>
#include <string.h>

const px_field studio_no_fields[] = {{NULL, PX_F_STRING, false, 0, 0, NULL, 0}};

px_err *studio_spec_begin(px_req *req, const char *operation, const char *cost_name, px_job_spec *spec)
{
    const px_settings *s = req->app->settings;
    const char *retention = px_settings_retention(s, operation);
    spec->user_id = req->who->user_id;
    spec->operation = operation;
    spec->tier = req->who->tier;
    spec->scope = strcmp(operation, "transformation") == 0 ? PX_SCOPE_TRANSFORMATION : PX_SCOPE_ANY;
    spec->retention = retention ? retention : "ephemeral";
    spec->cost = px_settings_cost(s, cost_name);
    if (spec->cost < 0)
        return px_error(req->pool, PX_E_NO_PROVIDER, "PXS6080", "no PixShiftCost is configured for %s",
                        cost_name);
    return NULL;
}

/* The clients of /api know two reasons to pay; which one it is depends on whether a plan was chosen
 * (C-19). The numbers stay. */
px_err *studio_credit_words(px_req *req, px_err *err)
{
    px_err *said;
    if (!err || err->id != PX_E_INSUFFICIENT_CREDITS || req->dialect != PX_DIALECT_PIXSHIFT)
        return err;
    said = px_error(req->pool, req->who->tier ? PX_E_PAYMENT_REQUIRED : PX_E_FREE_TIER_EXHAUSTED, NULL,
                    NULL);
    said->details = err->details;
    return said;
}

px_err *studio_submit(px_req *req, px_reply *reply, const px_job_spec *spec, px_handler *resume)
{
    const char *id;
    px_err *err = studio_credit_words(req, px_job_create(req, spec, &id));
    return err ? err : px_job_answer(req, reply, id, resume);
}

px_err *studio_resumed(px_req *req, px_reply *reply, px_job **job)
{
    bool waiting = reply->mode == PX_REPLY_WAIT;
    px_job *found;
    px_err *err = px_job_for(req, px_param(req, "job"), &found);
    *job = NULL;
    if (err)
        return err;
    if (waiting && !px_job_ended(found) && px_now() < reply->deadline)
        return NULL;
    reply->mode = PX_REPLY_JSON;
    if (!waiting && strcmp(req->method, "POST") == 0) {
        /* A create that waits for nothing tells what it made, however quick the worker is. */
        found->state = "queued";
        found->started_at = found->completed_at = 0;
        found->result_image = found->result_key = NULL;
    }
    if (px_job_ended(found)) {
        reply->status = 200;
        apr_table_unset(reply->headers, "Location");
        apr_table_unset(reply->headers, "Retry-After");
    }
    *job = found;
    return NULL;
}

const px_part *studio_file_part(px_req *req, const char *name)
{
    const px_part *part = req->form ? px_form_find(req->form, px_field_name(req, name)) : NULL;
    return part && part->file ? part : NULL;
}

/* ---- jobs that exist ---- */

px_err *studio_job_param(px_req *req, const char *name, const char *operation, px_job **job)
{
    px_err *err = px_job_for(req, px_param(req, name), job);
    if (!err && operation && strcmp((*job)->operation, operation) != 0)
        err = px_error(req->pool, PX_E_NOT_FOUND, NULL, NULL);
    return err;
}

px_err *studio_cancel(px_req *req, px_job **job)
{
    const char *state;
    px_err *err = NULL;
    if (!px_job_ended(*job))
        err = px_job_cancel(req->app->db, req->pool, (*job)->id, &state);
    else
        err = px_err_with(px_error_say(req->pool, PX_E_CONFLICT, "The job has ended already."), "status",
                          px_job_state_word(req->dialect, (*job)->state));
    return err ? err : px_job_for(req, (*job)->id, job);
}

px_err *studio_retry_check(px_req *req, const px_job *job)
{
    if (px_job_ended(job) && strcmp(job->state, "succeeded") != 0)
        return NULL;
    return px_err_with(px_error_say(req->pool, PX_E_CONFLICT,
                                    "Only a job that failed or was canceled can be run again."),
                       "status", px_job_state_word(req->dialect, job->state));
}

px_err *studio_retry(px_req *req, px_job **job)
{
    px_err *err = studio_retry_check(req, *job);
    if (!err)
        err = studio_credit_words(req, px_job_redo(req, *job));
    return err ? err : px_job_for(req, (*job)->id, job);
}

px_err *studio_state_filter(px_req *req, const char *word, const char **state)
{
    *state = word ? px_job_state_from_word(req->dialect, word) : NULL;
    if (!word || *state)
        return NULL;
    return px_error_field(req->pool, "status", "it must be one of: %s.",
                          req->dialect == PX_DIALECT_PIXSHIFT ? "PENDING PROCESSING COMPLETED FAILED"
                                                              : "queued processing completed failed");
}
