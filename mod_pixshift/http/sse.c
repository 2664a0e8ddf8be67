/* Server-sent events (WHATWG HTML §9.2). */
#include "http_internal.h"

#include <string.h>

/* Line ends inside a value would begin a new field. */
static void put_line(px_buf *out, const char *field, const char *value)
{
    px_buf_puts(out, field);
    px_buf_add(out, value, strcspn(value, "\r\n"));
    px_buf_puts(out, "\n");
}

void px_sse_event(px_buf *out, const char *id, const char *event, const char *data)
{
    const char *p = data ? data : "";
    if (id) {
        put_line(out, "id: ", id);
    }
    if (event) {
        put_line(out, "event: ", event);
    }
    for (;;) {
        size_t len = strcspn(p, "\r\n");
        put_line(out, "data: ", p);
        p += len;
        if (!*p) {
            break;
        }
        p += p[0] == '\r' && p[1] == '\n' ? 2 : 1;
    }
    px_buf_puts(out, "\n");
}

const char *px_sse_last_id(px_req *req)
{
    const char *id = apr_table_get(req->headers_in, "Last-Event-ID");
    return id ? id : px_query(req, "last_event_id");
}
