/* Jobs of all kinds: list, look, wait, cancel, follow. */
#include "studio_api.h"

#include "base/clock.h"
#include "config/settings.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

/* ---- as clients see one ---- */

static px_err *write_job(px_req *req, px_jw *w, const px_job *job)
{
    const char *input, *result;
    px_err *err = studio_input_url(req, job, &input);
    if (!err)
        err = studio_result_url(req, job, &result);
    if (err)
        return err;
    px_jw_object(w, NULL);
    px_jw_str(w, "id", job->id);
    px_jw_str(w, "job_id", job->id);
    px_jw_str(w, "operation", job->operation);
    px_jw_str(w, "status", px_job_state_word(req->dialect, job->state));
    px_jw_str(w, "state", job->state);
    px_jw_bool(w, "cancel_requested", job->cancel_asked);
    px_jw_str(w, "input_url", input);
    px_jw_str(w, "result_url", result);
    px_jw_int(w, "cost", job->cost);
    px_jw_int(w, "credits_used", studio_credits(job));
    px_jw_int(w, "processing_time_ms", job->processing_time_ms);
    px_jw_time(w, "created_at", job->created_at);
    px_jw_time(w, "started_at", job->started_at);
    px_jw_time(w, "completed_at", job->completed_at);
    px_jw_time(w, "updated_at", job->updated_at);
    studio_write_end(w, job);
    px_jw_end_object(w);
    return NULL;
}

typedef struct { const char *operation, *status; } list_in;

static const px_field list_fields[] = {
    {"operation", PX_F_ENUM, false, 0, 0, "transformation|tryon|generation|enhancement",
     offsetof(list_in, operation)},
    {"status", PX_F_STRING, false, 1, 20, NULL, offsetof(list_in, status)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

/* GET /api/v1/jobs */
px_err *studio_job_list_api(px_req *req, px_reply *reply)
{
    px_job_filter filter = {.user_id = req->who->user_id};
    list_in in = {0};
    px_page page;
    px_job *list;
    int64_t total;
    int count;
    px_err *err = px_validate_query(req, list_fields, &in);
    if (err || (err = px_page_read(req, 20, &page)) != NULL
        || (err = studio_state_filter(req, in.status, &filter.state)) != NULL)
        return err;
    filter.operation = in.operation;
    err = px_job_list(req->app->db, req->pool, &filter, &page, &list, &count, &total);
    if (err)
        return err;
    px_jw_object(reply->json, NULL);
    px_jw_array(reply->json, "jobs");
    for (int i = 0; !err && i < count; i++)
        err = write_job(req, reply->json, &list[i]);
    px_jw_end_array(reply->json);
    px_page_write(req, reply->json, &page, total);
    px_jw_end_object(reply->json);
    return err;
}

/* ---- one, with waiting and ETag ---- */

/* Weak, for the text differs in its signatures; these run out, so the tag changes before they do. */
static const char *etag(px_req *req, const px_job *job)
{
    int64_t half = px_set_int(req->app->settings, PX_S_URL_LIFETIME) * 1000 / 2;
    int64_t epoch = half > 0 ? px_now() / half : 0;
    return apr_psprintf(req->pool, "W/\"%s-%" APR_INT64_T_FMT "-%d-%" APR_INT64_T_FMT "\"", job->state,
                        (apr_int64_t)job->updated_at, job->cancel_asked, (apr_int64_t)epoch);
}

static bool known_already(px_req *req, const char *tag)
{
    const char *sent = apr_table_get(req->headers_in, "If-None-Match");
    return sent && (strcmp(sent, "*") == 0 || strstr(sent, tag));
}

static px_err *answer(px_req *req, px_reply *reply, const px_job *job)
{
    const char *tag = etag(req, job);
    reply->mode = PX_REPLY_JSON;
    apr_table_setn(reply->headers, "ETag", tag);
    if (!px_job_ended(job))
        apr_table_setn(reply->headers, "Retry-After", "1");
    if (known_already(req, tag)) {
        reply->status = 304;
        return NULL;
    }
    return write_job(req, reply->json, job);
}

static px_err *resume(px_req *req, px_reply *reply)
{
    px_job *job;
    px_err *err = studio_resumed(req, reply, &job);
    return err || !job ? err : answer(req, reply, job);
}

/* GET /api/v1/jobs/{id} */
px_err *studio_job_get_api(px_req *req, px_reply *reply)
{
    int64_t wait_ms = px_wait_asked(req);
    px_job *job;
    px_err *err = px_validate_query(req, studio_no_fields, NULL);
    if (!err)
        err = studio_job_param(req, "id", NULL, &job);
    if (err || wait_ms <= 0 || px_job_ended(job))
        return err ? err : answer(req, reply, job);
    apr_table_setn(req->params, "job", job->id);
    reply->mode = PX_REPLY_WAIT;
    reply->topic = job->id;
    reply->deadline = px_now() + wait_ms * 1000;
    reply->resume = resume;
    return NULL;
}

/* POST /api/v1/jobs/{id}/cancel */
px_err *studio_job_cancel_api(px_req *req, px_reply *reply)
{
    px_job *job;
    px_err *err = studio_job_param(req, "id", NULL, &job);
    if (!err)
        err = studio_cancel(req, &job);
    return err ? err : write_job(req, reply->json, job);
}

/* ---- events ---- */

typedef struct { const char *job; int64_t seq; bool looked; } follower;

/* "job.succeeded" -> "succeeded"; events that are no states tell of progress. */
static bool ends_job(const char *event)
{
    const char *state = strchr(event, '.') ? strchr(event, '.') + 1 : event;
    return strcmp(state, "succeeded") == 0 || strcmp(state, "failed") == 0
           || strcmp(state, "canceled") == 0 || strcmp(state, "expired") == 0;
}

/* Made of the row alone: whoever resumes gets the same text again. */
static void put_event(px_req *req, const follower *f, const px_job_event *e, px_buf *out)
{
    const char *state = strchr(e->event, '.') ? strchr(e->event, '.') + 1 : e->event;
    px_jw *w = px_jw_make(out->pool, PX_SPELL_SNAKE);
    px_jw_object(w, NULL);
    px_jw_str(w, "job_id", f->job);
    px_jw_str(w, "state", state);
    px_jw_str(w, "status", px_job_state_word(req->dialect, state));
    px_jw_time(w, "at", e->created_at);
    px_jw_raw(w, "details", e->data ? e->data : "{}");
    px_jw_end_object(w);
    px_sse_event(out, apr_psprintf(out->pool, "%" APR_INT64_T_FMT, (apr_int64_t)e->seq), e->event,
                 w->buf->data);
}

/* The first look also asks whether the job has ended: behind its last event nothing will come. */
static px_err *nothing_new(px_req *req, follower *f, apr_pool_t *pool, bool *done)
{
    px_job *job;
    px_err *err;
    if (f->looked)
        return NULL;
    f->looked = true;
    err = px_job_get(req->app->db, pool, f->job, NULL, &job);
    *done = !err && px_job_ended(job);
    return err;
}

/* `out` has a pool for this turn alone; the request's would grow as long as the stream lives. */
static px_err *next(px_req *req, void *baton, px_buf *out, bool *done)
{
    follower *f = baton;
    px_job_event *list;
    int count;
    px_err *err = px_job_events(req->app->db, out->pool, f->job, f->seq, &list, &count);
    if (err)
        return err;
    if (count == 0)
        return nothing_new(req, f, out->pool, done);
    f->looked = true;
    for (int i = 0; i < count; i++)
        put_event(req, f, &list[i], out);
    f->seq = list[count - 1].seq;
    *done = ends_job(list[count - 1].event);
    return NULL;
}

/* GET /api/v1/jobs/{id}/events */
px_err *studio_job_events_api(px_req *req, px_reply *reply)
{
    const char *last = px_sse_last_id(req);
    follower *f = apr_pcalloc(req->pool, sizeof(*f));
    long long seq = 0;
    px_job *job;
    px_err *err = studio_job_param(req, "id", NULL, &job);
    if (err)
        return err;
    if (last && !px_parse_int(last, 0, INT32_MAX, &seq))
        return px_error_field(req->pool, "last_event_id", "it must be the id of an event.");
    f->job = job->id;
    f->seq = seq;
    reply->mode = PX_REPLY_STREAM;
    reply->topic = job->id;
    reply->next = next;
    reply->stream_baton = f;
    return NULL;
}
