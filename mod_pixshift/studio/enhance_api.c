/* Enhancement and upscaling: UPS-3, UPS-4. Clients expect the result in the answer, so that a request
 * waits unless it says otherwise. */
#include "studio_api.h"

#include "resolve.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

#define OPERATION "enhancement"
#define PATIENCE "wait=30"

typedef struct {
    const char *image, *image_url, *mode, *format, *prompt;
    int64_t scale;
    bool preserve_text;
} enhance_in;

static const px_field fields[] = {
    {"image", PX_F_IMAGE, false, 0, 0, NULL, offsetof(enhance_in, image)},
    {"image_url", PX_F_IMAGE, false, 0, 0, NULL, offsetof(enhance_in, image_url)},
    {"mode", PX_F_ENUM, false, 0, 0, "standard|enhanced|gentle|portrait|product", offsetof(enhance_in, mode)},
    {"scale", PX_F_INT, false, 2, 8, NULL, offsetof(enhance_in, scale)},
    {"format", PX_F_ENUM, false, 0, 0, "jpg|png|webp", offsetof(enhance_in, format)},
    {"preserve_text", PX_F_BOOL, false, 0, 0, NULL, offsetof(enhance_in, preserve_text)},
    {"prompt", PX_F_STRING, false, 1, 1000, NULL, offsetof(enhance_in, prompt)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

/* ---- the answer ---- */

static void write_size(px_jw *w, const char *key, const px_image *image)
{
    px_jw_object(w, key);
    px_jw_int(w, "width", image->width);
    px_jw_int(w, "height", image->height);
    px_jw_int(w, "bytes", image->bytes);
    px_jw_end_object(w);
}

/* Of the images that are known; a remote input has no row here. */
static px_err *write_sizes(px_req *req, px_jw *w, const px_job *job)
{
    px_image *image;
    px_err *err = job->first_input_key
                      ? px_image_by_key(req->app->db, req->pool, job->first_input_key, &image) : NULL;
    if (!err && job->first_input_key)
        write_size(w, "input_size", image);
    if ((!err || err->id == PX_E_NOT_FOUND) && job->result_image) {
        err = px_image_get(req->app->db, req->pool, job->result_image, NULL, &image);
        if (!err)
            write_size(w, "output_size", image);
    }
    return err && err->id == PX_E_NOT_FOUND ? NULL : err;
}

static px_err *write_metadata(px_req *req, px_jw *w, const px_job *job)
{
    const char *text = studio_job_option(req, job, "scale");
    long long scale = 0;
    px_err *err;
    px_jw_object(w, "metadata");
    err = write_sizes(req, w, job);
    if (text && px_parse_int(text, 1, 64, &scale))
        px_jw_int(w, "scale", scale);
    px_jw_str(w, "mode", studio_job_option(req, job, "mode"));
    px_jw_end_object(w);
    return err;
}

static px_err *answer(px_req *req, px_reply *reply, const px_job *job)
{
    px_jw *w = reply->json;
    const char *url;
    px_err *err = studio_result_url(req, job, &url);
    if (err)
        return err;
    px_jw_object(w, NULL);
    px_jw_bool(w, "success", !px_job_ended(job) || strcmp(job->state, "succeeded") == 0);
    px_jw_object(w, "data");
    px_jw_str(w, "job_id", job->id);
    px_jw_str(w, "status", px_job_state_word(req->dialect, job->state));
    err = studio_write_result(req, w, "output_url", job);
    px_jw_str(w, "image_url", url);
    px_jw_int(w, "credits_used", studio_credits(job));
    px_jw_int(w, "processing_time", job->processing_time_ms);
    if (!err)
        err = write_metadata(req, w, job);
    studio_write_end(w, job);
    px_jw_end_object(w);
    px_jw_end_object(w);
    return err;
}

static px_err *resume(px_req *req, px_reply *reply)
{
    px_job *job;
    px_err *err = studio_resumed(req, reply, &job);
    return err || !job ? err : answer(req, reply, job);
}

/* ---- creating ---- */

static px_err *image_ref(px_req *req, const enhance_in *in, px_image_ref *ref)
{
    const px_part *file = studio_file_part(req, "image"), *other = studio_file_part(req, "image_url");
    int given = !!in->image + !!in->image_url + !!file + !!other;
    ref->role = "input";
    ref->field = in->image_url || other ? "image_url" : "image";
    ref->value = in->image ? in->image : in->image_url;
    ref->part = file ? file : other;
    if (given > 1)
        return px_error_say(req->pool, PX_E_VALIDATION, "Name the image once, not several times.");
    return given == 1 ? NULL : px_error_field(req->pool, "image", "it is required.");
}

static const char *params_json(px_req *req, const enhance_in *in)
{
    px_jw *w = px_jw_make(req->pool, PX_SPELL_SNAKE);
    px_jw_object(w, NULL);
    px_jw_str(w, "mode", in->mode);
    px_jw_str(w, "scale", apr_psprintf(req->pool, "%d", (int)in->scale));
    px_jw_str(w, "format", in->format);
    px_jw_str(w, "preserve_text", in->preserve_text ? "true" : "false");
    px_jw_end_object(w);
    return w->buf->data;
}

/* For providers that take words; those that only compute look at the params. */
static const char *prompt_text(px_req *req, const enhance_in *in)
{
    return apr_psprintf(req->pool, "Upscale this image %d times and make it sharp and clean (mode: %s). Keep "
                        "its content exactly as it is.%s%s%s", (int)in->scale, in->mode,
                        in->preserve_text ? " Keep all text in it readable and unchanged." : "",
                        in->prompt ? " " : "", in->prompt ? in->prompt : "");
}

/* POST /api/upscale */
px_err *studio_enhance_create_api(px_req *req, px_reply *reply)
{
    enhance_in in = {.mode = "standard", .format = "png", .scale = 2, .preserve_text = true};
    px_job_spec spec = {0};
    px_image_ref ref = {0};
    px_job_input input;
    px_err *err = px_validate(req, fields, &in);
    if (!err && in.scale != 2 && in.scale != 4 && in.scale != 8)
        err = px_error_field(req->pool, "scale", "it must be 2, 4 or 8.");
    if (!err)
        err = image_ref(req, &in, &ref);
    if (!err)
        err = studio_spec_begin(req, OPERATION, apr_psprintf(req->pool, "enhancement:%s:%d", in.mode,
                                                             (int)in.scale), &spec);
    if (err)
        return err;
    ref.retention = "ephemeral";
    if ((err = px_resolve_image(req, &ref, &input)) != NULL)
        return err;
    spec.params = params_json(req, &in);
    spec.prompt = prompt_text(req, &in);
    spec.inputs = &input;
    spec.input_count = 1;
    if (px_wait_asked(req) < 0)
        apr_table_setn(req->headers_in, "Prefer", PATIENCE);
    return studio_submit(req, reply, &spec, resume);
}

/* GET /api/upscale/{jobId} */
px_err *studio_enhance_get_api(px_req *req, px_reply *reply)
{
    px_job *job;
    px_err *err = studio_job_param(req, "jobId", OPERATION, &job);
    return err ? err : answer(req, reply, job);
}
