/* The header block of a part: Content-Disposition with name and filename, Content-Type; everything
 * that two readers could understand differently is refused. */
#include "multipart_internal.h"

#include "base/buf.h"

#include <apr_strings.h>
#include <string.h>

typedef struct { const char *disposition, *type, *encoding; } known;

static bool token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static px_err *remember(px_req *req, const char **slot, const char *value)
{
    if (*slot) {
        return px_mp_fault(req, "a header of a part is given twice.");
    }
    *slot = value;
    return NULL;
}

/* One line without its end. */
static px_err *read_line(px_req *req, char *line, known *k)
{
    size_t name_len = 0;
    char *value;
    while (token_char(line[name_len])) {
        name_len++;
    }
    if (name_len == 0 || line[name_len] != ':') {
        return px_mp_fault(req, "a header of a part is not of the form 'name: value'.");
    }
    value = line + name_len + 1;
    value += strspn(value, " \t");
    line[name_len] = '\0';
    if (strcasecmp(line, "Content-Disposition") == 0) {
        return remember(req, &k->disposition, value);
    }
    if (strcasecmp(line, "Content-Type") == 0) {
        return remember(req, &k->type, value);
    }
    if (strcasecmp(line, "Content-Transfer-Encoding") == 0) {
        return remember(req, &k->encoding, value);
    }
    return NULL;
}

/* Control characters, bare CR and LF included, have no business in a part's headers. */
static bool clean(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < ' ' && c != '\t') || c == 127) {
            return false;
        }
    }
    return px_utf8_valid(text, len);
}

static px_err *read_lines(px_req *req, char *head, size_t len, known *k)
{
    char *p = head;
    char *end = head + len;
    while (p < end) {
        char *eol = memmem(p, (size_t)(end - p), "\r\n", 2);
        char *line;
        px_err *err;
        if (!eol) {
            eol = end;
        }
        if (!clean(p, (size_t)(eol - p))) {
            return px_mp_fault(req, "a header of a part has characters that are not allowed.");
        }
        line = apr_pstrmemdup(req->pool, p, (size_t)(eol - p));
        if ((err = read_line(req, line, k)) != NULL) {
            return err;
        }
        p = eol + 2;
    }
    return NULL;
}

/* A token or a quoted string. In quotes a backslash escapes only a quote or a backslash: old
 * browsers send whole Windows paths. NULL = malformed; *p moves behind it. */
static const char *read_value(apr_pool_t *pool, const char **p)
{
    const char *from = *p;
    char *out, *w;
    if (*from != '"') {
        size_t len = strcspn(from, "; \t");
        *p = from + len;
        return len ? apr_pstrmemdup(pool, from, len) : NULL;
    }
    w = out = apr_palloc(pool, strlen(from) + 1);
    for (from++; *from && *from != '"'; from++) {
        if (*from == '\\' && (from[1] == '"' || from[1] == '\\')) {
            from++;
        }
        *w++ = *from;
    }
    *w = '\0';
    *p = from + 1;
    return *from == '"' ? out : NULL;
}

/* The last component, whatever the sender's separators: the name is only shown, never opened. */
static const char *base_name(const char *name)
{
    for (const char *p = name; *p; p++) {
        if (*p == '/' || *p == '\\') {
            name = p + 1;
        }
    }
    return name;
}

static px_err *read_parameters(px_req *req, const char *p, px_part *part)
{
    while (*p) {
        const char *name, *value, **slot = NULL;
        size_t len = 0;
        if (*p != ';') {
            return px_mp_fault(req, "a Content-Disposition cannot be read.");
        }
        p += strspn(p, "; \t");
        name = p;
        while (token_char(p[len])) {
            len++;
        }
        p += len;
        if (len == 0 && !*p) {
            break;
        }
        if (len == 0 || *p++ != '=' || (value = read_value(req->pool, &p)) == NULL) {
            return px_mp_fault(req, "a Content-Disposition cannot be read.");
        }
        if (len == 4 && strncasecmp(name, "name", 4) == 0) {
            slot = &part->name;
        } else if (len == 8 && strncasecmp(name, "filename", 8) == 0) {
            slot = &part->filename;
        }                       /* filename* must not be used in forms (RFC 7578 §4.2) */
        if (slot && *slot) {
            return px_mp_fault(req, "a Content-Disposition has a parameter twice.");
        }
        if (slot) {
            *slot = value;
        }
        p += strspn(p, " \t");
    }
    return NULL;
}

static px_err *read_disposition(px_req *req, const char *text, px_part *part)
{
    size_t len = strcspn(text, "; \t");
    px_err *err;
    if (len != 9 || strncasecmp(text, "form-data", 9) != 0) {
        return px_mp_fault(req, "a part is not form-data.");
    }
    text += len;
    err = read_parameters(req, text + strspn(text, " \t"), part);
    if (err) {
        return err;
    }
    if (!part->name || !*part->name) {
        return px_mp_fault(req, "a part has no name.");
    }
    if (part->filename) {
        part->filename = base_name(part->filename);
    }
    if (strlen(part->name) > PX_MP_NAME_MAX ||
        (part->filename && strlen(part->filename) > PX_MP_NAME_MAX)) {
        return px_mp_fault(req, "the name of a part is too long.");
    }
    return NULL;
}

px_err *px_mp_head(px_req *req, char *head, size_t len, px_part **out)
{
    px_part *part = apr_pcalloc(req->pool, sizeof(*part));
    known k = {NULL, NULL, NULL};
    px_err *err;
    if (len >= 2 && memcmp(head, "\r\n", 2) == 0) {
        head += 2;              /* the line end of the boundary */
        len -= 2;
    }
    err = read_lines(req, head, len, &k);
    if (err) {
        return err;
    }
    if (!k.disposition) {
        return px_mp_fault(req, "a part has no Content-Disposition.");
    }
    if (k.encoding && strcasecmp(k.encoding, "binary") != 0 &&
        strcasecmp(k.encoding, "8bit") != 0 && strcasecmp(k.encoding, "7bit") != 0) {
        return px_mp_fault(req, "a part has a transfer encoding.");
    }
    if (k.type && strncasecmp(k.type, "multipart/", 10) == 0) {
        return px_mp_fault(req, "a part is itself multipart.");
    }
    part->content_type = k.type;
    *out = part;
    return read_disposition(req, k.disposition, part);
}
