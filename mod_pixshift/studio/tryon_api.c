/* Virtual try-on: TRY-1 … TRY-6. */
#include "studio_api.h"

#include "prompt_store.h"
#include "resolve.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

#define OPERATION "tryon"

/* ---- as clients see one ---- */

static px_err *write_one(px_req *req, px_jw *w, const px_job *job, bool bytes)
{
    const char *url = NULL;
    px_err *err = NULL;
    px_jw_object(w, NULL);
    px_jw_str(w, "job_id", job->id);
    px_jw_str(w, "status", px_job_state_word(req->dialect, job->state));
    px_jw_str(w, "mode", studio_job_option(req, job, "mode"));
    if (bytes) {
        err = studio_write_result(req, w, "output_image_url", job);
    } else if ((err = studio_result_url(req, job, &url)) == NULL) {
        px_jw_str(w, "output_image_url", url);
    }
    px_jw_int(w, "credits_used", studio_credits(job));
    px_jw_int(w, "processing_time_ms", job->processing_time_ms);
    px_jw_time(w, "created_at", job->created_at);
    px_jw_time(w, "started_at", job->started_at);
    px_jw_time(w, "completed_at", job->completed_at);
    studio_write_end(w, job);
    px_jw_end_object(w);
    return err;
}

static px_err *resume(px_req *req, px_reply *reply)
{
    px_job *job;
    px_err *err = studio_resumed(req, reply, &job);
    return err || !job ? err : write_one(req, reply->json, job, true);
}

/* ---- creating ---- */

typedef struct { const char *user_image, *top_image, *bottom_image, *mode; } create_in;

static const px_field create_fields[] = {
    {"user_image", PX_F_IMAGE, true, 0, 0, NULL, offsetof(create_in, user_image)},
    {"top_image", PX_F_IMAGE, true, 0, 0, NULL, offsetof(create_in, top_image)},
    {"bottom_image", PX_F_IMAGE, false, 0, 0, NULL, offsetof(create_in, bottom_image)},
    {"mode", PX_F_ENUM, true, 0, 0, "top|full", offsetof(create_in, mode)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

static px_err *add_input(px_req *req, const char *field, const char *role, const char *value,
                         px_job_spec *spec, px_job_input *inputs)
{
    /* What was only sent for this job is not kept with the result. */
    px_image_ref ref = {.field = field, .role = role, .value = value,
                        .part = studio_file_part(req, field), .retention = "ephemeral"};
    return ref.value || ref.part ? px_resolve_image(req, &ref, &inputs[spec->input_count++]) : NULL;
}

/* POST /api/v1/tryon */
px_err *studio_tryon_create_api(px_req *req, px_reply *reply)
{
    px_job_spec spec = {0};
    px_job_input inputs[3];
    create_in in = {0};
    bool full;
    px_err *err = px_validate(req, create_fields, &in);
    if (err)
        return err;
    full = strcmp(in.mode, "full") == 0;
    if (!full && (in.bottom_image || studio_file_part(req, "bottom_image")))
        return px_error_field(req->pool, "bottom_image", "it goes with mode full only.");
    err = studio_spec_begin(req, OPERATION, full ? "tryon:full" : "tryon:top", &spec);
    if (!err)
        err = px_prompt_compose(req->app->db, req->pool, full ? "full_outfit" : "top_only", &spec.prompt);
    if (!err)
        err = add_input(req, "user_image", "person", in.user_image, &spec, inputs);
    if (!err)
        err = add_input(req, "top_image", "top", in.top_image, &spec, inputs);
    if (!err)
        err = add_input(req, "bottom_image", "bottom", in.bottom_image, &spec, inputs);
    if (err)
        return err;
    spec.params = full ? "{\"mode\":\"full\"}" : "{\"mode\":\"top\"}";
    spec.inputs = inputs;
    return studio_submit(req, reply, &spec, resume);
}

/* ---- reading ---- */

/* GET /api/v1/tryon/{jobId} */
px_err *studio_tryon_get_api(px_req *req, px_reply *reply)
{
    px_job *job;
    px_err *err = studio_job_param(req, "jobId", OPERATION, &job);
    return err ? err : write_one(req, reply->json, job, true);
}

/* GET /api/v1/tryon/{jobId}/base64 */
px_err *studio_tryon_base64_api(px_req *req, px_reply *reply)
{
    bool first;
    px_job *job;
    px_err *err = studio_job_param(req, "jobId", OPERATION, &job);
    if (!err)
        err = studio_result_check(req, job);
    if (!err)
        err = studio_send_base64(req, reply, "image_base64", job);
    if (!err)
        err = studio_take_once(req, job, &first);
    if (err)
        return err;
    return first ? NULL : px_err_with(px_error(req->pool, PX_E_GONE, NULL, NULL), "reason", "expired");
}

typedef struct { const char *mode, *status; } list_in;

static const px_field list_fields[] = {
    {"mode", PX_F_ENUM, false, 0, 0, "top|full", offsetof(list_in, mode)},
    {"status", PX_F_STRING, false, 1, 20, NULL, offsetof(list_in, status)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

/* GET /api/v1/tryon/history */
px_err *studio_tryon_history_api(px_req *req, px_reply *reply)
{
    px_job_filter filter = {.user_id = req->who->user_id, .operation = OPERATION};
    list_in in = {0};
    px_page page;
    px_job *list;
    int64_t total;
    int count;
    px_err *err = px_validate_query(req, list_fields, &in);
    if (err || (err = px_page_read(req, 20, &page)) != NULL
        || (err = studio_state_filter(req, in.status, &filter.state)) != NULL)
        return err;
    filter.mode = in.mode;
    err = px_job_list(req->app->db, req->pool, &filter, &page, &list, &count, &total);
    if (err)
        return err;
    px_jw_object(reply->json, NULL);
    px_jw_array(reply->json, "jobs");
    for (int i = 0; !err && i < count; i++)
        err = write_one(req, reply->json, &list[i], false);
    px_jw_end_array(reply->json);
    px_page_write(req, reply->json, &page, total);
    px_jw_end_object(reply->json);
    return err;
}

/* DELETE /api/v1/tryon/{jobId}: a job under way is canceled, so that nothing is charged for it. */
px_err *studio_tryon_delete_api(px_req *req, px_reply *reply)
{
    const char *state;
    px_job *job;
    px_err *err = studio_job_param(req, "jobId", OPERATION, &job);
    if (!err && !px_job_ended(job))
        err = px_job_cancel(req->app->db, req->pool, job->id, &state);
    if (!err && job->result_image)
        err = px_image_condemn(req->app->db, req->pool, job->result_image);
    if (!err)
        err = px_job_forget(req->app->db, req->pool, job->id);
    if (err)
        return err;
    px_jw_object(reply->json, NULL);
    px_jw_str(reply->json, "message", "Job deleted");
    px_jw_end_object(reply->json);
    return NULL;
}
