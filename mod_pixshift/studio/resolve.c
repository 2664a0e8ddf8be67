/* Image references, see resolve.h. */
#include "resolve.h"

#include "base/id.h"
#include "config/settings.h"
#include "plugin/plugin.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

#define FILES_PATH "/api/files/"
#define URL_MOST 2048
/* Shorter text is a mistyped id or URL, not a picture. */
#define BASE64_LEAST 64

/* ---- what is it? ---- */

static bool is_base64(const char *text)
{
    size_t len = strlen(text);
    size_t body = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    return len >= BASE64_LEAST && body + strspn(text + body, "=") == len && len - body <= 2;
}

/* Behind the public address, or NULL: "https://host/x" is no address of "https://host" + "evil". */
static const char *own_path(const char *base_url, const char *value)
{
    size_t len = base_url ? strlen(base_url) : 0;
    while (len > 0 && base_url[len - 1] == '/')
        len--;
    if (value[0] == '/')
        return value;
    return len > 0 && strncmp(value, base_url, len) == 0 && value[len] == '/' ? value + len : NULL;
}

px_ref_kind px_ref_classify(const char *base_url, const char *value, const char **rest)
{
    const char *path = own_path(base_url, value);
    const char *mark;
    *rest = value;
    if (path && strncmp(path, FILES_PATH, strlen(FILES_PATH)) == 0) {
        *rest = path + strlen(FILES_PATH);
        return PX_REF_OWN_URL;
    }
    if (px_uuid_valid(value))
        return PX_REF_ID;
    if (strncasecmp(value, "data:", 5) == 0) {
        mark = strchr(value, ',');
        if (!mark || mark - value < 7 || strncasecmp(mark - 7, ";base64", 7) != 0)
            return PX_REF_BAD;
        *rest = mark + 1;
        return PX_REF_DATA;
    }
    /* Base64 may begin with a slash, as that of every JPEG does. */
    if (is_base64(value))
        return PX_REF_BASE64;
    if (path)
        return PX_REF_BAD;
    return strstr(value, "://") ? PX_REF_REMOTE : PX_REF_BAD;
}

/* ---- each kind ---- */

static px_err *refuse(px_req *req, const px_image_ref *ref, const char *reason)
{
    return px_error_field(req->pool, ref->field, "%s", reason);
}

static px_err *not_yours(px_req *req, const px_image_ref *ref)
{
    return refuse(req, ref, "it is no image of yours, or its address has expired.");
}

static void use_image(px_job_input *out, const px_image *image)
{
    out->image = image->id;
    out->key = image->key;
}

static px_err *own_image(px_req *req, const px_image_ref *ref, px_err *err, const px_image *image,
                         px_job_input *out)
{
    if (err)
        return err->id == PX_E_NOT_FOUND ? not_yours(req, ref) : err;
    if (strcmp(image->user_id, req->who->user_id) != 0)
        return not_yours(req, ref);
    use_image(out, image);
    return NULL;
}

static px_err *by_id(px_req *req, const px_image_ref *ref, px_job_input *out)
{
    px_image *image = NULL;
    px_err *err = px_image_get(req->app->db, req->pool, ref->value, req->who->user_id, &image);
    return own_image(req, ref, err, image, out);
}

/* The signature says that we made the URL, and for whom. */
static px_err *by_own_url(px_req *req, const px_image_ref *ref, const char *rest, px_job_input *out)
{
    size_t len = strcspn(rest, "?#");
    const char *key = px_url_decode(req->pool, rest, len, false);
    const char *query = rest[len] == '?' ? rest + len + 1 : "";
    const char *user = NULL;
    px_image *image = NULL;
    px_err *err;
    if (!key)
        return not_yours(req, ref);
    err = px_storage_url_verify(req->app, req->pool, key, query, &user);
    if (err)
        return err->id == PX_E_AUTH_FORBIDDEN ? not_yours(req, ref) : err;
    if (strcmp(user, req->who->user_id) != 0)
        return not_yours(req, ref);
    err = px_image_by_key(req->app->db, req->pool, key, &image);
    return own_image(req, ref, err, image, out);
}

/* Where the storage signs URLs itself, ours look like anybody's: the caller's own folder inside tells. */
static px_err *by_storage_url(px_req *req, const px_image_ref *ref, px_job_input *out)
{
    const char *folder = apr_pstrcat(req->pool, "uploads/", req->who->user_id, "/", NULL);
    const char *key = strstr(ref->value, folder);
    px_image *image = NULL;
    px_err *err;
    if (!key)
        return NULL;
    key = apr_pstrmemdup(req->pool, key, strcspn(key, "?#"));
    err = px_image_by_key(req->app->db, req->pool, key, &image);
    if (err)
        return err->id == PX_E_NOT_FOUND ? NULL : err;
    return own_image(req, ref, NULL, image, out);
}

static px_err *by_remote_url(px_req *req, const px_image_ref *ref, px_job_input *out)
{
    const char *fault;
    px_err *err = by_storage_url(req, ref, out);
    if (err || out->image)
        return err;
    if (strlen(ref->value) > URL_MOST)
        return refuse(req, ref, "the URL is too long.");
    fault = req->net ? px_net_url_fault_for(req->net, ref->value, true)
                     : px_net_url_fault(ref->value, true);
    if (fault)
        return refuse(req, ref, fault);
    out->url = ref->value;
    return NULL;
}

static px_err *by_text(px_req *req, const px_image_ref *ref, const char *base64, px_job_input *out)
{
    int64_t most = px_set_int(req->app->settings, PX_S_MAX_UPLOAD);
    size_t len = strlen(base64), size = 0;
    unsigned char *data;
    px_image *image;
    px_err *err;
    if ((int64_t)(len / 4 * 3) > most + 2)
        return px_err_with_number(px_error(req->pool, PX_E_FILE_TOO_LARGE, NULL, NULL), "limit_bytes", most);
    data = px_b64_decode(req->pool, base64, len, &size);
    if (!data || size == 0)
        return refuse(req, ref, "its base64 text is malformed.");
    err = px_intake_bytes(req, data, size, ref->retention, &image);
    if (!err)
        use_image(out, image);
    out->sent = !err;
    return err;
}

static px_err *by_part(px_req *req, const px_image_ref *ref, px_job_input *out)
{
    px_image *image;
    px_err *err = px_intake_file(req, ref->part->file, ref->part->file_len, ref->part->sha256,
                                 ref->retention, &image);
    if (!err)
        use_image(out, image);
    out->sent = !err;
    return err;
}

px_err *px_resolve_image(px_req *req, const px_image_ref *ref, px_job_input *out)
{
    const char *rest;
    memset(out, 0, sizeof(*out));
    out->role = ref->role;
    if (ref->part && ref->part->file)
        return by_part(req, ref, out);
    if (!ref->value)
        return refuse(req, ref, "it is required.");
    switch (px_ref_classify(px_set_str(req->app->settings, PX_S_BASE_URL), ref->value, &rest)) {
    case PX_REF_OWN_URL: return by_own_url(req, ref, rest, out);
    case PX_REF_ID: return by_id(req, ref, out);
    case PX_REF_DATA:
    case PX_REF_BASE64: return by_text(req, ref, rest, out);
    case PX_REF_REMOTE: return by_remote_url(req, ref, out);
    case PX_REF_BAD: break;
    }
    return refuse(req, ref, "it must be an uploaded image's URL or id, an https URL, base64 or a file.");
}
