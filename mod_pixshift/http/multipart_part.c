/* Where the bytes of a part go: fields to memory, files to spool files, both through SHA-256. */
#include "multipart_internal.h"

#include "base/buf.h"
#include "base/id.h"

#include <apr_strings.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static px_err *broken(px_req *req, const char *what)
{
    return px_error(req->pool, PX_E_UNAVAILABLE, "PXS4031", "an upload cannot be kept: %s: %s",
                    what, strerror(errno));
}

static px_err *no_digest(px_req *req)
{
    return px_error(req->pool, PX_E_INTERNAL, "PXS4021", "SHA-256 does not work");
}

px_err *px_mp_sink_make(px_req *req, uint64_t file_limit, int max_files, px_mp_sink *sink)
{
    memset(sink, 0, sizeof(*sink));
    sink->req = req;
    sink->file_limit = file_limit;
    sink->max_files = max_files;
    sink->fd = -1;
    sink->form = apr_pcalloc(req->pool, sizeof(*sink->form));
    sink->tail = &sink->form->parts;
    sink->md = EVP_MD_CTX_new();
    return sink->md ? NULL
                    : px_error(req->pool, PX_E_UNAVAILABLE, "PXS4022", "no memory for a digest");
}

px_err *px_mp_sink_begin(px_mp_sink *sink, px_part *part)
{
    px_req *req = sink->req;
    if (++sink->parts > PX_MP_PARTS_MAX) {
        return px_mp_fault(req, "it has too many parts.");
    }
    if (EVP_DigestInit_ex(sink->md, EVP_sha256(), NULL) != 1) {
        return no_digest(req);
    }
    sink->part = part;
    if (!part->filename) {
        sink->field = px_buf_make(req->pool, 256);
        return NULL;
    }
    if (++sink->files > sink->max_files) {
        return px_error_say(req->pool, PX_E_VALIDATION, "At most %d file%s may be sent here.",
                            sink->max_files, sink->max_files == 1 ? "" : "s");
    }
    return px_spool_create(req, &part->file, &sink->fd);
}

static px_err *write_all(px_mp_sink *sink, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(sink->fd, data, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return broken(sink->req, "write");
        }
        data += n;
        len -= (size_t)n;
    }
    return NULL;
}

static px_err *file_data(px_mp_sink *sink, const char *data, size_t len)
{
    sink->part->file_len += len;
    if (sink->part->file_len > sink->file_limit) {
        return px_err_with_number(px_error(sink->req->pool, PX_E_FILE_TOO_LARGE, NULL, NULL),
                                  "limit_bytes", (long long)sink->file_limit);
    }
    return write_all(sink, data, len);
}

static px_err *field_data(px_mp_sink *sink, const char *data, size_t len)
{
    sink->fields_len += len;
    if (sink->field->len + len > PX_MP_FIELD_MAX || sink->fields_len > PX_MP_FIELDS_MAX) {
        return px_error_say(sink->req->pool, PX_E_VALIDATION, "A form field is too long.");
    }
    px_buf_add(sink->field, data, len);
    return NULL;
}

px_err *px_mp_sink_data(px_mp_sink *sink, const char *data, size_t len)
{
    if (EVP_DigestUpdate(sink->md, data, len) != 1) {
        return no_digest(sink->req);
    }
    return sink->part->filename ? file_data(sink, data, len) : field_data(sink, data, len);
}

static px_err *end_file(px_mp_sink *sink)
{
    int rc = close(sink->fd);
    sink->fd = -1;
    return rc == 0 ? NULL : broken(sink->req, "close");
}

px_err *px_mp_sink_end(px_mp_sink *sink)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int md_len = 0;
    px_part *part = sink->part;
    px_err *err = NULL;
    if (EVP_DigestFinal_ex(sink->md, md, &md_len) != 1) {
        return no_digest(sink->req);
    }
    part->sha256 = px_hex(sink->req->pool, md, md_len);
    if (part->filename) {
        err = end_file(sink);
    } else {
        part->value = sink->field->data;
        part->len = sink->field->len;
    }
    sink->part = NULL;
    /* A file input that was left empty sends a part without name and bytes: the same as none. */
    if (err || (part->filename && !*part->filename && part->file_len == 0)) {
        return err;
    }
    *sink->tail = part;
    sink->tail = &part->next;
    sink->form->count++;
    return NULL;
}

const char *px_mp_sink_digest(px_mp_sink *sink)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int md_len = 0;
    bool good = EVP_DigestInit_ex(sink->md, EVP_sha256(), NULL) == 1;
    for (const px_part *p = sink->form->parts; p && good; p = p->next) {
        const char *line = apr_psprintf(sink->req->pool, "%s\n%s\n%s\n%s\n", p->name,
                                        p->filename ? p->filename : "-",
                                        p->content_type ? p->content_type : "-", p->sha256);
        good = EVP_DigestUpdate(sink->md, line, strlen(line)) == 1;
    }
    good = good && EVP_DigestFinal_ex(sink->md, md, &md_len) == 1;
    return good ? px_hex(sink->req->pool, md, md_len) : NULL;
}

void px_mp_sink_close(px_mp_sink *sink)
{
    if (sink->fd >= 0) {
        close(sink->fd);
        sink->fd = -1;
    }
    EVP_MD_CTX_free(sink->md);
    sink->md = NULL;
}
