/* TRF-1: taking an image in for later use. */
#include "studio_api.h"

#include "config/settings.h"
#include "plugin/plugin.h"

#include <stddef.h>

typedef struct { const char *image, *file; } upload_in;

static const px_field upload_fields[] = {
    {"image", PX_F_IMAGE, false, 0, 0, NULL, offsetof(upload_in, image)},
    {"file", PX_F_IMAGE, false, 0, 0, NULL, offsetof(upload_in, file)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

static const px_part *file_part(const px_req *req)
{
    const px_part *part = req->form ? px_form_find(req->form, "image") : NULL;
    if (!part && req->form)
        part = px_form_find(req->form, "file");
    return part && part->file ? part : NULL;
}

/* POST /api/transformations/upload */
px_err *studio_upload_create_api(px_req *req, px_reply *reply)
{
    const char *retention = px_settings_retention(req->app->settings, "transformation");
    upload_in in = {0};
    const px_part *part;
    const char *url;
    px_image *image;
    px_err *err = px_validate(req, upload_fields, &in);
    if (err)
        return err;
    if (!(part = file_part(req)))
        return px_error_field(req->pool, "image", "a file is required.");
    err = px_intake_file(req, part->file, part->file_len, part->sha256,
                         retention ? retention : "ephemeral", &image);
    if (!err)
        err = px_storage_url(req->app, req->net, req->pool, image->key, image->user_id, NULL, &url);
    if (err)
        return err;
    px_jw_object(reply->json, NULL);
    px_reply_success(req, reply);
    px_jw_str(reply->json, "image_url", url);
    px_jw_str(reply->json, "image_id", image->id);
    px_jw_end_object(reply->json);
    return NULL;
}
