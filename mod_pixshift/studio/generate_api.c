/* Images out of words: GEN-1, GEN-3. */
#include "studio_api.h"

#include "config/settings.h"

#include <apr_strings.h>
#include <stddef.h>

#define OPERATION "generation"

typedef struct { const char *prompt, *style; int64_t width, height; } generate_in;

static const px_field fields[] = {
    {"prompt", PX_F_STRING, true, 3, 300, NULL, offsetof(generate_in, prompt)},
    {"width", PX_F_INT, false, 64, 4096, NULL, offsetof(generate_in, width)},
    {"height", PX_F_INT, false, 64, 4096, NULL, offsetof(generate_in, height)},
    {"style", PX_F_STRING, false, 1, 50, NULL, offsetof(generate_in, style)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

static px_err *answer(px_req *req, px_reply *reply, const px_job *job)
{
    px_jw *w = reply->json;
    px_err *err;
    px_jw_object(w, NULL);
    px_jw_str(w, "job_id", job->id);
    px_jw_str(w, "status", px_job_state_word(req->dialect, job->state));
    err = studio_write_result(req, w, "image_url", job);
    px_jw_str(w, "image_id", job->result_image);
    px_jw_int(w, "credits_used", studio_credits(job));
    px_jw_time(w, "created_at", job->created_at);
    px_jw_time(w, "completed_at", job->completed_at);
    studio_write_end(w, job);
    px_jw_end_object(w);
    return err;
}

static px_err *resume(px_req *req, px_reply *reply)
{
    px_job *job;
    px_err *err = studio_resumed(req, reply, &job);
    return err || !job ? err : answer(req, reply, job);
}

static const char *params_json(px_req *req, const generate_in *in)
{
    px_jw *w = px_jw_make(req->pool, PX_SPELL_SNAKE);
    px_jw_object(w, NULL);
    if (in->width)
        px_jw_str(w, "width", apr_psprintf(req->pool, "%d", (int)in->width));
    if (in->height)
        px_jw_str(w, "height", apr_psprintf(req->pool, "%d", (int)in->height));
    if (in->style)
        px_jw_str(w, "style", in->style);
    px_jw_end_object(w);
    return w->buf->data;
}

/* POST /api/v1/generate */
px_err *studio_generate_create_api(px_req *req, px_reply *reply)
{
    int64_t most = px_set_int(req->app->settings, PX_S_MAX_PIXELS);
    generate_in in = {0};
    px_job_spec spec = {0};
    px_err *err = px_validate(req, fields, &in);
    if (!err && in.width * in.height > most)
        err = px_error_field(req->pool, "width", "the image would have more than %lld pixels.",
                             (long long)most);
    if (!err)
        err = studio_spec_begin(req, OPERATION, OPERATION, &spec);
    if (err)
        return err;
    spec.prompt = in.prompt;
    spec.params = params_json(req, &in);
    return studio_submit(req, reply, &spec, resume);
}

/* GET /api/v1/generate/{jobId} */
px_err *studio_generate_get_api(px_req *req, px_reply *reply)
{
    px_job *job;
    px_err *err = studio_job_param(req, "jobId", OPERATION, &job);
    return err ? err : answer(req, reply, job);
}
