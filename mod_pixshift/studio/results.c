/* The results of jobs on their way to the client: addresses, files, base64. */
#include "studio_api.h"

#include "base/clock.h"
#include "base/log.h"
#include "config/settings.h"
#include "plugin/plugin.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BASE64_MOST (32 * 1024 * 1024)

/* ---- is there anything? ---- */

static px_err *gone(apr_pool_t *pool)
{
    return px_err_with(px_error(pool, PX_E_GONE, NULL, NULL), "reason", "expired");
}

/* An image whose time is over is gone for clients even before the sweeper comes by. */
static bool result_kept(const px_job *job)
{
    return job->result_key && job->result_state && strcmp(job->result_state, "ready") == 0
           && (job->result_delete_after == 0 || px_now() < job->result_delete_after);
}

px_err *studio_result_check(px_req *req, const px_job *job)
{
    if (!px_job_ended(job)) {
        px_err *err = px_error_say(req->pool, PX_E_CONFLICT, "The job is not finished yet.");
        err->retry_after = 1;
        return px_err_with(err, "status", px_job_state_word(req->dialect, job->state));
    }
    if (strcmp(job->state, "succeeded") != 0)
        return px_err_with(px_error_say(req->pool, PX_E_NOT_FOUND, "This job has no result."), "reason",
                           "failed");
    return result_kept(job) ? NULL : gone(req->pool);
}

px_err *studio_take_once(px_req *req, const px_job *job, bool *first)
{
    *first = true;
    /* HEAD delivers nothing: a client that looks first must still get its image. */
    if (strcmp(job->retention, "none") != 0 || strcmp(req->method, "HEAD") == 0)
        return NULL;
    return px_image_take_once(req->app->db, req->pool, job->result_image, first);
}

/* ---- addresses ---- */

static const char *extension(const char *mime)
{
    if (mime && strcmp(mime, "image/png") == 0)
        return "png";
    return mime && strcmp(mime, "image/webp") == 0 ? "webp" : "jpg";
}

const char *studio_download_name(px_req *req, const px_job *job)
{
    return apr_pstrcat(req->pool, job->operation, "-", job->id, ".", extension(job->result_mime), NULL);
}

px_err *studio_result_url(px_req *req, const px_job *job, const char **url)
{
    *url = NULL;
    if (strcmp(job->state, "succeeded") != 0 || strcmp(job->retention, "none") == 0 || !result_kept(job))
        return NULL;
    return px_storage_url(req->app, req->net, req->pool, job->result_key, job->user_id, NULL, url);
}

px_err *studio_input_url(px_req *req, const px_job *job, const char **url)
{
    json_object *list = NULL;
    px_err *err;
    *url = NULL;
    if (job->first_input_key)
        return px_storage_url(req->app, req->net, req->pool, job->first_input_key, job->user_id, NULL, url);
    err = px_json_parse(req->pool, job->inputs, strlen(job->inputs), NULL, &list);
    if (!err && list && json_object_get_type(list) == json_type_array
        && json_object_array_length(list) > 0)
        *url = px_json_str(json_object_array_get_idx(list, 0), "url");
    return err;
}

/* ---- files ---- */

typedef struct { const char *image_id; } sent_image;

/* The reply is out: what fails here can only be logged; the image then lives its whole time. */
static void mark_downloaded(px_req *req, void *baton)
{
    const sent_image *sent = baton;
    px_err *err = px_image_downloaded(req->app->db, req->pool, sent->image_id,
                                      px_set_int(req->app->settings, PX_S_DELETE_AFTER_DOWNLOAD));
    if (err)
        px_log(PX_LOG_WARN, "PXS6081", "the download of image %s could not be noted: %s", sent->image_id,
               err->cause ? err->cause : err->text);
}

px_err *studio_send_object(px_req *req, px_reply *reply, const char *key, const char *mime,
                           const char *image_id, const char *download)
{
    const char *path;
    uint64_t len;
    bool temporary = false;
    px_err *err = px_storage_get_file(req->app, req->net, req->pool, key, &path, &len, &temporary);
    if (err)
        return err->id == PX_E_NOT_FOUND ? gone(req->pool) : err;
    reply->mode = PX_REPLY_FILE;
    reply->file = path;
    reply->unlink_file = temporary;
    reply->content_type = mime;
    /* Whatever a browser makes of the bytes, it must not run in our origin. */
    apr_table_setn(reply->headers, "Content-Security-Policy", "default-src 'none'; sandbox");
    apr_table_setn(reply->headers, "Cache-Control", "private, no-store");
    apr_table_setn(reply->headers, "Cross-Origin-Resource-Policy", "cross-origin");
    if (download)
        apr_table_setn(reply->headers, "Content-Disposition",
                       apr_psprintf(req->pool, "attachment; filename=\"%s\"", download));
    if (image_id) {
        sent_image *sent = apr_pcalloc(req->pool, sizeof(*sent));
        sent->image_id = image_id;
        reply->on_sent = mark_downloaded;
        reply->on_sent_baton = sent;
    }
    return NULL;
}

/* ---- base64 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Three bytes make four letters; `len` < 3 only at the end. */
static void encode_group(const unsigned char *in, size_t len, char out[4])
{
    unsigned bits = (unsigned)in[0] << 16 | (len > 1 ? (unsigned)in[1] << 8 : 0) | (len > 2 ? in[2] : 0u);
    out[0] = alphabet[bits >> 18];
    out[1] = alphabet[bits >> 12 & 63];
    out[2] = len > 1 ? alphabet[bits >> 6 & 63] : '=';
    out[3] = len > 2 ? alphabet[bits & 63] : '=';
}

static long read_full(int fd, unsigned char *to, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = read(fd, to + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (long)done;
}

/* Where the text goes. */
typedef struct { px_buf *buf; int fd; } text_sink;

static bool put_text(const text_sink *sink, const char *text, size_t len)
{
    if (sink->buf) {
        px_buf_add(sink->buf, text, len);
        return true;
    }
    while (len > 0) {
        ssize_t put = write(sink->fd, text, len);
        if (put < 0 && errno != EINTR)
            return false;
        text += put > 0 ? put : 0;
        len -= put > 0 ? (size_t)put : 0;
    }
    return true;
}

/* Piece by piece, so that the file itself is never in memory. */
static bool encode_file(int fd, const text_sink *sink)
{
    unsigned char piece[3 * 4096];
    char text[4 * 4096];
    long got;
    while ((got = read_full(fd, piece, sizeof piece)) > 0) {
        size_t groups = ((size_t)got + 2) / 3;
        for (size_t i = 0; i < groups; i++)
            encode_group(piece + 3 * i, (size_t)got - 3 * i < 3 ? (size_t)got - 3 * i : 3, text + 4 * i);
        if (!put_text(sink, text, groups * 4))
            return false;
    }
    return got == 0;
}

/* The job's result from the storage into the sink. */
static px_err *encode_result(px_req *req, const px_job *job, const text_sink *sink)
{
    const char *path;
    uint64_t len;
    bool temporary = false, good;
    int fd, why;
    px_err *err = px_storage_get_file(req->app, req->net, req->pool, job->result_key, &path, &len,
                                      &temporary);
    if (err)
        return err->id == PX_E_NOT_FOUND ? gone(req->pool) : err;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    good = fd >= 0 && (len > BASE64_MOST || encode_file(fd, sink));
    why = errno;
    if (fd >= 0)
        close(fd);
    if (temporary)
        (void)unlink(path);
    if (!good)
        return px_error(req->pool, PX_E_UNAVAILABLE, "PXS6082", "%s cannot be read: %s", path, strerror(why));
    if (len > BASE64_MOST)
        return px_err_with_number(px_error_say(req->pool, PX_E_CONFLICT, "The image is too large for this "
                                               "form; download it instead."),
                                  "limit_bytes", BASE64_MOST);
    return NULL;
}

/* Read first and taken then: a storage that is away must not cost the client its image. *text NULL:
 * somebody else has taken it. */
static px_err *take_base64(px_req *req, const px_job *job, const char **text)
{
    text_sink sink = {px_buf_make(req->pool, 65536), -1};
    bool first = false;
    px_err *err = encode_result(req, job, &sink);
    if (!err)
        err = studio_take_once(req, job, &first);
    *text = first ? sink.buf->data : NULL;
    return err && err->id == PX_E_GONE ? NULL : err;
}

px_err *studio_send_base64(px_req *req, px_reply *reply, const char *key, const px_job *job)
{
    const char *head = apr_pstrcat(req->pool, "{\"", px_field_name(req, key), "\":\"", NULL);
    text_sink sink = {NULL, -1};
    const char *path;
    px_err *err = px_spool_create(req, &path, &sink.fd);
    if (err)
        return err;
    if (!put_text(&sink, head, strlen(head)))
        err = px_error(req->pool, PX_E_UNAVAILABLE, "PXS6083", "%s cannot be written", path);
    if (!err)
        err = encode_result(req, job, &sink);
    if (!err && !put_text(&sink, "\"}", 2))
        err = px_error(req->pool, PX_E_UNAVAILABLE, "PXS6083", "%s cannot be written", path);
    close(sink.fd);
    if (err)
        return err;
    reply->mode = PX_REPLY_FILE;
    reply->file = path;
    reply->unlink_file = true;
    reply->content_type = "application/json";
    return NULL;
}

px_err *studio_write_result(px_req *req, px_jw *w, const char *url_key, const px_job *job)
{
    const char *url, *text = NULL;
    px_err *err = studio_result_url(req, job, &url);
    if (err)
        return err;
    px_jw_str(w, url_key, url);
    if (url || strcmp(job->state, "succeeded") != 0)
        return NULL;
    if (strcmp(job->retention, "none") == 0 && result_kept(job)
        && (err = take_base64(req, job, &text)) != NULL)
        return err;
    if (text)
        px_jw_str(w, "image_base64", text);
    else
        px_jw_bool(w, "image_expired", true);
    return NULL;
}

void studio_write_end(px_jw *w, const px_job *job)
{
    if (px_job_fault(job)) {
        px_jw_str(w, "error_code", job->error_code);
        px_jw_str(w, "error_message", px_job_fault(job));
    }
}

int64_t studio_credits(const px_job *job)
{
    return px_job_ended(job) ? job->credits_used : job->cost;
}

const char *studio_job_option(px_req *req, const px_job *job, const char *name)
{
    json_object *params = NULL;
    if (!job->params || px_json_parse(req->pool, job->params, strlen(job->params), NULL, &params))
        return NULL;
    return px_json_str(params, name);
}
