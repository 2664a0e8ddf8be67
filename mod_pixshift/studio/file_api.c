/* Stored objects under addresses that we signed. The signature is the credential: browsers fetch images
 * without headers. */
#include "studio_api.h"

#include "base/clock.h"
#include "plugin/plugin.h"

#include <string.h>

static px_err *gone(px_req *req)
{
    return px_err_with(px_error(req->pool, PX_E_GONE, NULL, NULL), "reason", "expired");
}

/* GET /api/files/{key*} */
px_err *studio_file_get_api(px_req *req, px_reply *reply)
{
    const char *key = px_param(req, "key");
    const char *user;
    px_image *image;
    px_err *err = px_storage_url_verify(req->app, req->pool, key, req->query, &user);
    if (err)
        return err;
    if ((err = px_image_by_key(req->app->db, req->pool, key, &image)) != NULL)
        return err->id == PX_E_NOT_FOUND ? gone(req) : err;
    if (image->delete_after && px_now() >= image->delete_after)
        return gone(req);
    return studio_send_object(req, reply, image->key, image->mime,
                              strcmp(image->kind, "result") == 0 ? image->id : NULL,
                              px_storage_url_name(req->pool, req->query));
}
