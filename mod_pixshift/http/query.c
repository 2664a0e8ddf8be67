/* The query string and cookies. */
#include "http_internal.h"

#include "base/buf.h"

#include <apr_strings.h>
#include <string.h>

#define MAX_PAIRS 100

static px_err *malformed(px_req *req)
{
    return px_error_say(req->pool, PX_E_VALIDATION, "The query string is malformed.");
}

px_err *px_query_parse(px_req *req, px_pair **out)
{
    const char *p = req->query;
    px_pair **tail = out;
    int count = 0;
    *out = NULL;
    while (p && *p) {
        size_t len = strcspn(p, "&");
        size_t name_len = strcspn(p, "=&");
        if (len > 0) {
            px_pair *pair = apr_pcalloc(req->pool, sizeof(*pair));
            bool has_value = name_len < len;
            pair->name = px_url_decode(req->pool, p, name_len, true);
            pair->value = has_value
                              ? px_url_decode(req->pool, p + name_len + 1, len - name_len - 1, true)
                              : "";
            if (!pair->name || !pair->value || ++count > MAX_PAIRS) {
                return malformed(req);
            }
            *tail = pair;
            tail = &pair->next;
        }
        p += len + (p[len] == '&');
    }
    return NULL;
}

const char *px_query(px_req *req, const char *name)
{
    px_pair *pairs;
    if (px_query_parse(req, &pairs)) {
        return NULL;
    }
    for (; pairs; pairs = pairs->next) {
        if (strcmp(pairs->name, name) == 0) {
            return pairs->value;
        }
    }
    return NULL;
}

const char *px_cookie(px_req *req, const char *name)
{
    const char *p = apr_table_get(req->headers_in, "Cookie");
    size_t name_len = strlen(name);
    while (p && *p) {
        size_t len;
        p += strspn(p, "; \t");
        len = strcspn(p, ";");
        if (len > name_len && p[name_len] == '=' && strncmp(p, name, name_len) == 0) {
            const char *value = p + name_len + 1;
            len -= name_len + 1;
            while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t')) {
                len--;
            }
            if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
                value++;
                len -= 2;
            }
            return apr_pstrmemdup(req->pool, value, len);
        }
        p += len;
    }
    return NULL;
}
