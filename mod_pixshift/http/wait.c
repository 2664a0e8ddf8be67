/* How long a client will wait: Prefer: wait=n (RFC 7240) or ?wait=n, in seconds. */
#include "http_internal.h"

#include <apr_strings.h>
#include <string.h>

static int64_t capped(px_req *req, const char *text)
{
    int64_t most = px_set_int(req->app->settings, PX_S_WAIT_MAX);
    long long seconds;
    if (!px_parse_int(text, 0, 86400, &seconds)) {
        return -1;
    }
    return seconds * 1000 < most ? seconds * 1000 : most;
}

/* The first `wait` in a list such as `respond-async, wait="10"; foo=bar`. */
static const char *preference(px_req *req, const char *p)
{
    while (*p) {
        size_t len;
        const char *value;
        p += strspn(p, " \t,;");
        len = strcspn(p, ",;");
        if (strncasecmp(p, "wait", 4) == 0) {
            value = p + 4 + strspn(p + 4, " \t");
            if (*value == '=') {
                value += 1 + strspn(value + 1, " \t\"");
                return apr_pstrmemdup(req->pool, value, strspn(value, "0123456789"));
            }
        }
        p += len;
    }
    return NULL;
}

int64_t px_wait_asked(px_req *req)
{
    const char *prefer = apr_table_get(req->headers_in, "Prefer");
    const char *text = px_query(req, "wait");
    if (!text && prefer) {
        text = preference(req, prefer);
    }
    return text ? capped(req, text) : -1;
}
