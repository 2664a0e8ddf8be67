/* Transformations: TRF-3 … TRF-6, C-29. */
#include "studio_api.h"

#include "base/id.h"
#include "resolve.h"
#include "type_store.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

#define OPERATION "transformation"

/* ---- as clients see one ---- */

static px_err *write_one(px_req *req, px_jw *w, const char *key, const px_job *job)
{
    const char *original, *result;
    px_err *err = studio_input_url(req, job, &original);
    if (!err)
        err = studio_result_url(req, job, &result);
    if (err)
        return err;
    px_jw_object(w, key);
    px_jw_str(w, "id", job->id);
    px_jw_str(w, "status", px_job_state_word(req->dialect, job->state));
    px_jw_str(w, "transformation_type_id", job->type_id);
    px_jw_str(w, "original_image_url", original);
    px_jw_str(w, "transformed_image_url", result);
    px_jw_int(w, "credits_used", job->credits_used);
    px_jw_time(w, "created_at", job->created_at);
    px_jw_time(w, "updated_at", job->updated_at);
    px_jw_time(w, "expires_at", result ? job->result_delete_after : 0);
    studio_write_end(w, job);
    px_jw_end_object(w);
    return NULL;
}

static px_err *answer(px_req *req, px_reply *reply, const px_job *job)
{
    px_err *err;
    px_jw_object(reply->json, NULL);
    px_reply_success(req, reply);
    err = write_one(req, reply->json, "transformation", job);
    px_jw_end_object(reply->json);
    return err;
}

static px_err *resume(px_req *req, px_reply *reply)
{
    px_job *job;
    px_err *err = studio_resumed(req, reply, &job);
    return err || !job ? err : answer(req, reply, job);
}

/* ---- creating ---- */

typedef struct { const char *image_url, *image_id, *image, *transformation_type_id; } create_in;

static const px_field create_fields[] = {
    {"image_url", PX_F_IMAGE, false, 0, 0, NULL, offsetof(create_in, image_url)},
    {"image_id", PX_F_UUID, false, 0, 0, NULL, offsetof(create_in, image_id)},
    {"image", PX_F_IMAGE, false, 0, 0, NULL, offsetof(create_in, image)},
    {"transformation_type_id", PX_F_UUID, true, 0, 0, NULL, offsetof(create_in, transformation_type_id)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

/* Exactly one of the ways to name the image. */
static px_err *image_ref(px_req *req, const create_in *in, px_image_ref *ref)
{
    const px_part *file = studio_file_part(req, "image"), *other = studio_file_part(req, "image_url");
    int given = !!in->image_url + !!in->image_id + !!in->image + !!file + !!other;
    ref->role = "input";
    ref->field = in->image_id ? "image_id" : in->image || file ? "image" : "image_url";
    ref->value = in->image_id ? in->image_id : in->image ? in->image : in->image_url;
    ref->part = file ? file : other;
    if (given > 1)
        return px_error_say(req->pool, PX_E_VALIDATION, "Name the image once, not several times.");
    return given == 1 ? NULL : px_error_field(req->pool, "image_url", "it is required.");
}

static px_err *usable_type(px_req *req, const char *id, px_type **type)
{
    px_err *err = px_type_get(req->app->db, req->pool, id, type);
    if ((err && err->id == PX_E_NOT_FOUND) || (!err && !(*type)->enabled))
        return px_error_field(req->pool, "transformation_type_id", "it is no transformation on offer.");
    return err;
}

/* POST /api/transformations */
px_err *studio_transformation_create_api(px_req *req, px_reply *reply)
{
    px_job_spec spec = {0};
    px_image_ref ref = {0};
    px_job_input input;
    create_in in = {0};
    px_type *type;
    px_err *err = px_validate(req, create_fields, &in);
    if (!err)
        err = image_ref(req, &in, &ref);
    if (!err)
        err = usable_type(req, in.transformation_type_id, &type);
    if (!err)
        err = studio_spec_begin(req, OPERATION, OPERATION, &spec);
    if (err)
        return err;
    ref.retention = spec.retention;
    if ((err = px_resolve_image(req, &ref, &input)) != NULL)
        return err;
    spec.type_id = type->id;
    spec.prompt = type->prompt_template;
    spec.inputs = &input;
    spec.input_count = 1;
    return studio_submit(req, reply, &spec, resume);
}

/* ---- reading ---- */

typedef struct { const char *status; } list_in;

static const px_field list_fields[] = {
    {"status", PX_F_STRING, false, 1, 20, NULL, offsetof(list_in, status)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

/* GET /api/transformations */
px_err *studio_transformation_list_api(px_req *req, px_reply *reply)
{
    px_job_filter filter = {.user_id = req->who->user_id, .operation = OPERATION};
    list_in in = {0};
    px_page page;
    px_job *list;
    int64_t total;
    int count;
    px_err *err = px_validate_query(req, list_fields, &in);
    if (err || (err = px_page_read(req, 10, &page)) != NULL
        || (err = studio_state_filter(req, in.status, &filter.state)) != NULL
        || (err = px_job_list(req->app->db, req->pool, &filter, &page, &list, &count, &total)) != NULL)
        return err;
    px_jw_object(reply->json, NULL);
    px_jw_array(reply->json, "transformations");
    for (int i = 0; !err && i < count; i++)
        err = write_one(req, reply->json, NULL, &list[i]);
    px_jw_end_array(reply->json);
    px_page_write(req, reply->json, &page, total);
    px_jw_end_object(reply->json);
    return err;
}

/* GET /api/transformations/{id} */
px_err *studio_transformation_get_api(px_req *req, px_reply *reply)
{
    px_job *job;
    px_err *err = studio_job_param(req, "id", OPERATION, &job);
    return err ? err : answer(req, reply, job);
}

/* GET /api/transformations/{id}/download: several downloads are fine until its time is over (C-15). */
px_err *studio_transformation_download_api(px_req *req, px_reply *reply)
{
    bool first;
    px_job *job;
    px_err *err = studio_job_param(req, "id", OPERATION, &job);
    if (!err)
        err = studio_result_check(req, job);
    if (!err)
        err = studio_send_object(req, reply, job->result_key, job->result_mime, job->result_image,
                                 studio_download_name(req, job));
    if (!err)
        err = studio_take_once(req, job, &first);
    if (err)
        return err;
    return first ? NULL : px_err_with(px_error(req->pool, PX_E_GONE, NULL, NULL), "reason", "expired");
}

/* ---- changing ---- */

typedef struct { const char *action; } put_in;

static const px_field put_fields[] = {
    {"action", PX_F_ENUM, true, 0, 0, "cancel|retry", offsetof(put_in, action)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

/* PUT /api/transformations/{id} */
px_err *studio_transformation_update_api(px_req *req, px_reply *reply)
{
    put_in in = {0};
    px_job *job;
    px_err *err = px_validate(req, put_fields, &in);
    if (!err)
        err = studio_job_param(req, "id", OPERATION, &job);
    if (!err)
        err = strcmp(in.action, "cancel") == 0 ? studio_cancel(req, &job) : studio_retry(req, &job);
    return err ? err : answer(req, reply, job);
}
