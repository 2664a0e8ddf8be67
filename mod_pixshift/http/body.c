/* The request body: refused by its announced size before a byte is read, then by its type, then by
 * what really arrives; parsed; and digested, for Idempotency-Key.
 *
 * Limits: JSON of ordinary routes PixShiftMaxJSON.  Routes with images (PX_ROUTE_IMAGES): at most
 * three images (one with PX_ROUTE_ONE_FILE) of PixShiftMaxUpload each, 4/3 of that as base64 in
 * JSON, plus 64 KiB for everything else. */
#include "http_internal.h"

#include "base/id.h"

#include <apr_strings.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define IMAGES_PER_REQUEST 3
#define SLACK 65536
#define FIRST_READ 8192

typedef struct { char *data; size_t len, size; } raw_body;

static int images_of(const px_req *req)
{
    return req->route->flags & PX_ROUTE_ONE_FILE ? 1 : IMAGES_PER_REQUEST;
}

static uint64_t limit_of(px_req *req, bool multipart)
{
    uint64_t image = (uint64_t)px_set_int(req->app->settings, PX_S_MAX_UPLOAD);
    if (!(req->route->flags & PX_ROUTE_IMAGES)) {
        return (uint64_t)px_set_int(req->app->settings, PX_S_MAX_JSON);
    }
    return (multipart ? image : (image + 2) / 3 * 4) * (uint64_t)images_of(req) + SLACK;
}

static px_err *too_large(px_req *req, uint64_t limit)
{
    px_err_id id = req->route->flags & PX_ROUTE_IMAGES ? PX_E_FILE_TOO_LARGE : PX_E_BODY_TOO_LARGE;
    return px_err_with_number(px_error(req->pool, id, NULL, NULL), "limit_bytes", (long long)limit);
}

/* The media type alone, in lower case. */
static const char *media_type(px_req *req)
{
    const char *type = apr_table_get(req->headers_in, "Content-Type");
    char *copy;
    if (!type) {
        return "";
    }
    copy = apr_pstrmemdup(req->pool, type, strcspn(type, "; \t"));
    for (char *p = copy; *p; p++) {
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    }
    return copy;
}

static bool is_json(const char *type)
{
    size_t len = strlen(type);
    return strcmp(type, "application/json") == 0 ||
           (len > 17 && strncmp(type, "application/", 12) == 0 &&
            strcmp(type + len - 5, "+json") == 0);
}

static px_err *unsupported(px_req *req)
{
    static const char *const wanted[] = {"", "application/json", "multipart/form-data",
                                         "application/json or multipart/form-data"};
    return px_error_say(req->pool, PX_E_UNSUPPORTED_MEDIA, "Send this request's body as %s.",
                        wanted[req->route->body]);
}

static void free_raw(raw_body *raw)
{
    free(raw->data);
    raw->data = NULL;
}

static bool make_room(raw_body *raw, uint64_t most)
{
    size_t size = raw->size ? raw->size * 2 : FIRST_READ;
    char *bigger;
    if (raw->len + 1 < raw->size) {
        return true;
    }
    if (size > most) {
        size = (size_t)most;
    }
    bigger = realloc(raw->data, size);
    if (bigger) {
        raw->data = bigger;
        raw->size = size;
    }
    return bigger != NULL;
}

/* The whole body into memory of its own: a pool would keep every size it grew through. */
static px_err *read_raw(px_req *req, uint64_t limit, raw_body *raw)
{
    px_err *err = NULL;
    long got;
    if (req->content_length >= 0) {
        raw->data = malloc((size_t)req->content_length + 2);
        raw->size = raw->data ? (size_t)req->content_length + 2 : 0;
    }
    do {
        if (!make_room(raw, limit + 2)) {
            return px_error(req->pool, PX_E_UNAVAILABLE, "PXS4020", "no memory for a body");
        }
        got = req->read_body(req, raw->data + raw->len, raw->size - raw->len - 1, &err);
        if (got < 0) {
            return err ? err : px_error(req->pool, PX_E_VALIDATION, NULL, NULL);
        }
        raw->len += (size_t)got;
        if (raw->len > limit) {
            return too_large(req, limit);
        }
    } while (got > 0);
    raw->data[raw->len] = '\0';
    return NULL;
}

static const char *digest_of(apr_pool_t *pool, const void *data, size_t len)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int md_len = 0;
    if (EVP_Digest(data, len, md, &md_len, EVP_sha256(), NULL) != 1) {
        return "";
    }
    return px_hex(pool, md, md_len);
}

static px_err *read_json(px_req *req, uint64_t limit)
{
    raw_body raw = {NULL, 0, 0};
    px_err *err = read_raw(req, limit, &raw);
    if (!err) {
        req->body_digest = digest_of(req->pool, raw.data, raw.len);
        if (raw.len > 0) {
            err = px_json_parse(req->pool, raw.data, raw.len, NULL, &req->json);
        }
    }
    if (!err && req->json && json_object_get_type(req->json) != json_type_object) {
        err = px_error_say(req->pool, PX_E_VALIDATION, "The body must be a JSON object.");
    }
    free_raw(&raw);
    return err;
}

static px_err *read_form(px_req *req)
{
    uint64_t image = (uint64_t)px_set_int(req->app->settings, PX_S_MAX_UPLOAD);
    return px_multipart_read(req, image, images_of(req), &req->form);
}

px_err *px_http_body_read(px_req *req)
{
    px_body_kind kind = req->route->body;
    const char *type = media_type(req);
    bool multipart = kind != PX_BODY_JSON && strcmp(type, "multipart/form-data") == 0;
    bool empty = req->content_length == 0 || (req->content_length < 0 &&
                                              !apr_table_get(req->headers_in, "Transfer-Encoding"));
    uint64_t limit;
    if (kind == PX_BODY_NONE) {
        return NULL;            /* whatever came is discarded by the host */
    }
    if (empty && !*type) {
        req->body_digest = digest_of(req->pool, "", 0);
        return NULL;            /* validation names the first field that is missing */
    }
    limit = limit_of(req, multipart);
    if (req->content_length >= 0 && (uint64_t)req->content_length > limit) {
        return too_large(req, limit);
    }
    if (multipart) {
        return read_form(req);
    }
    if (kind == PX_BODY_MULTIPART || !is_json(type)) {
        return unsupported(req);
    }
    return read_json(req, limit);
}
