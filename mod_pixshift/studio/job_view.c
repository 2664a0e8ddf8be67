/* Jobs in the words of the dialects, and how a create is answered. */
#include "studio.h"

#include "base/clock.h"
#include "base/id.h"
#include "config/settings.h"

#include <apr_strings.h>
#include <string.h>

static const struct { const char *state, *pixshift, *trailroom; } words[] = {
    {"queued", "PENDING", "queued"},         {"waiting_payment", "PENDING", "queued"},
    {"running", "PROCESSING", "processing"}, {"succeeded", "COMPLETED", "completed"},
    {"failed", "FAILED", "failed"},          {"canceled", "FAILED", "failed"},
    {"expired", "FAILED", "failed"},
};
#define WORDS (sizeof words / sizeof *words)

const char *px_job_state_word(px_dialect dialect, const char *state)
{
    for (size_t i = 0; i < WORDS; i++)
        if (strcmp(words[i].state, state) == 0)
            return dialect == PX_DIALECT_PIXSHIFT ? words[i].pixshift : words[i].trailroom;
    return state;
}

const char *px_job_state_from_word(px_dialect dialect, const char *word)
{
    for (size_t i = 0; i < WORDS; i++)
        if (strcmp(dialect == PX_DIALECT_PIXSHIFT ? words[i].pixshift : words[i].trailroom, word) == 0)
            return words[i].state;
    return NULL;
}

bool px_job_ended(const px_job *job)
{
    return job->completed_at != 0;
}

const char *px_job_fault(const px_job *job)
{
    if (job->error_message)
        return job->error_message;
    if (strcmp(job->state, "canceled") == 0)
        return "The job was canceled.";
    if (strcmp(job->state, "expired") == 0)
        return "The job was not finished in time. You were not charged.";
    return strcmp(job->state, "failed") == 0 ? "The image could not be processed." : NULL;
}

px_err *px_job_for(px_req *req, const char *id, px_job **out)
{
    bool any = req->who->role == PX_ROLE_ADMIN;
    if (!px_uuid_valid(id))
        return px_error(req->pool, PX_E_NOT_FOUND, NULL, NULL);
    px_err *err = px_job_get(req->app->db, req->pool, id, any ? NULL : req->who->user_id, out);
    if (!err)
        apr_table_setn(req->notes, "pixshift-job", (*out)->id);
    return err;
}

/* Where the job can be asked for: the route that lists its own kind. */
static const char *location(px_req *req, const char *job_id)
{
    return px_public_url(req, apr_pstrcat(req->pool, "/api/v1/jobs/", job_id, NULL));
}

px_err *px_job_answer(px_req *req, px_reply *reply, const char *job_id, px_handler *resume)
{
    const px_settings *s = req->app->settings;
    bool v1 = req->dialect != PX_DIALECT_PIXSHIFT;
    int64_t wait_ms = px_wait_asked(req);
    apr_table_setn(req->params, "job", job_id);
    reply->status = (int)px_set_int(s, v1 ? PX_S_TRAILROOM_CREATE_STATUS : PX_S_CREATE_STATUS);
    if (reply->status == 202) {
        apr_table_setn(reply->headers, "Location", location(req, job_id));
        apr_table_setn(reply->headers, "Retry-After", "1");
    }
    if (wait_ms > 0) {
        reply->mode = PX_REPLY_WAIT;
        reply->topic = job_id;
        reply->deadline = px_now() + wait_ms * 1000;
        reply->resume = resume;
        return NULL;
    }
    return resume(req, reply);
}
