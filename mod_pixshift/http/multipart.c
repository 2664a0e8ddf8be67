/* Streaming multipart/form-data (RFC 7578): the scanner.
 *
 * A window of 128 KiB moves over the body.  What is surely data (all but a possible beginning of a
 * delimiter at the window's end) is handed on and forgotten, so memory does not depend on the
 * file's size.  The window starts with a CRLF of its own: then the first boundary is a delimiter
 * like all others. */
#include "multipart_internal.h"

#include <apr_strings.h>
#include <string.h>

#define WINDOW 131072
#define PADDING_MAX 64          /* white space that may follow a boundary */

typedef struct {
    px_req *req;
    char *window;
    size_t at, end;             /* unread bytes */
    char delimiter[PX_MP_BOUNDARY_MAX + 8];
    size_t delimiter_len;
    uint64_t total, most;       /* bytes of the body */
    bool eof;
} scanner;

px_err *px_mp_fault(px_req *req, const char *text)
{
    return px_error_say(req->pool, PX_E_VALIDATION, "The multipart body is malformed: %s", text);
}

/* ---- the boundary parameter ---- */

static bool boundary_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("'()+_,-./:=? ", c) != NULL);
}

static const char *checked_boundary(apr_pool_t *pool, const char *text, size_t len)
{
    if (len == 0 || len > PX_MP_BOUNDARY_MAX || text[len - 1] == ' ') {
        return NULL;
    }
    for (size_t i = 0; i < len; i++) {
        if (!boundary_char(text[i])) {
            return NULL;
        }
    }
    return apr_pstrmemdup(pool, text, len);
}

const char *px_multipart_boundary(apr_pool_t *pool, const char *content_type)
{
    const char *p = content_type + strcspn(content_type, ";");
    const char *found = NULL;
    while (*p == ';') {
        const char *name, *value;
        size_t name_len, value_len;
        bool quoted;
        p += strspn(p, "; \t");
        name = p;
        name_len = strcspn(p, "=;");
        p += name_len;
        if (*p != '=') {
            continue;
        }
        quoted = *++p == '"';
        value = p += quoted;
        value_len = strcspn(p, quoted ? "\"" : "; \t");
        p += value_len;
        if (quoted && *p++ != '"') {
            return NULL;
        }
        if (name_len == 8 && strncasecmp(name, "boundary", 8) == 0) {
            if (found) {
                return NULL;
            }
            found = checked_boundary(pool, value, value_len);
            if (!found) {
                return NULL;
            }
        }
        p += strspn(p, " \t");
    }
    return *p ? NULL : found;
}

/* ---- the window ---- */

/* Gets more bytes behind those unread: half a window, so that a host that hands out small pieces
 * does not make small writes. Sets eof when nothing came. */
static px_err *fill(scanner *s)
{
    px_err *err = NULL;
    size_t before;
    long got;
    if (s->at > 0) {
        memmove(s->window, s->window + s->at, s->end - s->at);
        s->end -= s->at;
        s->at = 0;
    }
    before = s->end;
    do {
        got = s->req->read_body(s->req, s->window + s->end, WINDOW - s->end, &err);
        if (got < 0) {
            return err ? err : px_error(s->req->pool, PX_E_VALIDATION, NULL, NULL);
        }
        s->end += (size_t)got;
        s->total += (uint64_t)got;
    } while (got > 0 && s->end < WINDOW / 2);
    s->eof = s->end == before;
    if (s->total > s->most) {
        return px_err_with_number(px_error(s->req->pool, PX_E_FILE_TOO_LARGE, NULL, NULL),
                                  "limit_bytes", (long long)s->most);
    }
    return NULL;
}

static px_err *fill_or_fail(scanner *s)
{
    px_err *err = fill(s);
    return !err && s->eof ? px_mp_fault(s->req, "it ends before its last boundary.") : err;
}

static size_t unread(const scanner *s)
{
    return s->end - s->at;
}

/* Moves behind the next delimiter; what is before it goes to `sink` (NULL: it is dropped). */
static px_err *pass_delimiter(scanner *s, px_mp_sink *sink)
{
    for (;;) {
        char *from = s->window + s->at;
        char *hit = unread(s) ? memmem(from, unread(s), s->delimiter, s->delimiter_len) : NULL;
        size_t keep = s->delimiter_len - 1;
        size_t n = hit ? (size_t)(hit - from) : unread(s) > keep ? unread(s) - keep : 0;
        px_err *err = sink && n > 0 ? px_mp_sink_data(sink, from, n) : NULL;
        s->at += n + (hit ? s->delimiter_len : 0);
        if (err || hit) {
            return err;
        }
        if ((err = fill_or_fail(s)) != NULL) {
            return err;
        }
    }
}

/* Behind a delimiter: "--" ends the form; else white space and CRLF lead to a part. */
static px_err *after_delimiter(scanner *s, bool *last)
{
    size_t n = 0;
    px_err *err;
    for (;;) {
        const char *p = s->window + s->at;
        if (n == 0 && unread(s) >= 2 && p[0] == '-' && p[1] == '-') {
            s->at += 2;
            *last = true;
            return NULL;
        }
        while (n < unread(s) && (p[n] == ' ' || p[n] == '\t')) {
            n++;
        }
        if (n > PADDING_MAX) {
            break;
        }
        if (unread(s) >= n + 2) {
            if (p[n] != '\r' || p[n + 1] != '\n') {
                break;
            }
            s->at += n;         /* the CRLF stays: a part without headers begins with it */
            *last = false;
            return NULL;
        }
        if ((err = fill_or_fail(s)) != NULL) {
            return err;
        }
    }
    return px_mp_fault(s->req, "a boundary is not followed by a line end.");
}

/* The header block up to its empty line. */
static px_err *read_head(scanner *s, px_part **part)
{
    for (;;) {
        char *from = s->window + s->at;
        size_t look = unread(s) < PX_MP_HEAD_MAX + 4 ? unread(s) : PX_MP_HEAD_MAX + 4;
        char *end = look >= 4 ? memmem(from, look, "\r\n\r\n", 4) : NULL;
        px_err *err;
        if (end) {
            s->at += (size_t)(end - from) + 4;
            return px_mp_head(s->req, from, (size_t)(end - from), part);
        }
        if (look == PX_MP_HEAD_MAX + 4) {
            return px_mp_fault(s->req, "the headers of a part are too long.");
        }
        if ((err = fill_or_fail(s)) != NULL) {
            return err;
        }
    }
}

/* Behind the last boundary only an epilogue may come; it is read to the end, within the limit. */
static px_err *drain(scanner *s)
{
    px_err *err = NULL;
    while (!err && !s->eof) {
        s->at = s->end = 0;
        err = fill(s);
    }
    return err;
}

static px_err *scan(scanner *s, px_mp_sink *sink)
{
    bool last = false;
    px_err *err = pass_delimiter(s, NULL);
    while (!err && (err = after_delimiter(s, &last)) == NULL && !last) {
        px_part *part;
        if ((err = read_head(s, &part)) != NULL || (err = px_mp_sink_begin(sink, part)) != NULL ||
            (err = pass_delimiter(s, sink)) != NULL || (err = px_mp_sink_end(sink)) != NULL) {
            return err;
        }
    }
    return err ? err : drain(s);
}

px_err *px_multipart_read(px_req *req, uint64_t file_limit, int max_files, px_form **out)
{
    const char *type = apr_table_get(req->headers_in, "Content-Type");
    const char *boundary = type ? px_multipart_boundary(req->pool, type) : NULL;
    scanner s = {.req = req, .most = file_limit * (uint64_t)max_files + PX_MP_FIELD_MAX};
    px_mp_sink sink;
    px_err *err;
    if (!boundary) {
        return px_error_say(req->pool, PX_E_VALIDATION, "The Content-Type has no usable boundary.");
    }
    err = px_mp_sink_make(req, file_limit, max_files, &sink);
    if (err) {
        return err;
    }
    s.delimiter_len = (size_t)apr_snprintf(s.delimiter, sizeof(s.delimiter), "\r\n--%s", boundary);
    s.window = apr_palloc(req->pool, WINDOW);
    memcpy(s.window, "\r\n", 2);
    s.end = 2;
    err = scan(&s, &sink);
    if (!err) {
        req->body_digest = px_mp_sink_digest(&sink);
        *out = sink.form;
    }
    px_mp_sink_close(&sink);
    return err;
}

px_part *px_form_find(const px_form *form, const char *name)
{
    px_part *part = form ? form->parts : NULL;
    while (part && strcmp(part->name, name) != 0) {
        part = part->next;
    }
    return part;
}
