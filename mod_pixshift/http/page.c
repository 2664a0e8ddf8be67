/* Pagination: ?page&limit in, the dialect's form out. */
#include "http_internal.h"

#include <string.h>

#define DEFAULT_LIMIT 10
#define MAX_LIMIT 100
#define MAX_PAGE 1000000

static px_err *read_number(px_req *req, const px_pair *pairs, const char *name, int64_t max,
                           int64_t *out)
{
    bool seen = false;
    for (; pairs; pairs = pairs->next) {
        long long value;
        if (strcmp(pairs->name, name) != 0) {
            continue;
        }
        if (seen) {
            return px_error_field(req->pool, name, "it is given twice.");
        }
        if (!px_parse_int(pairs->value, 1, max, &value)) {
            return px_error_field(req->pool, name, "it must be a number from 1 to %lld.",
                                  (long long)max);
        }
        *out = value;
        seen = true;
    }
    return NULL;
}

px_err *px_page_read(px_req *req, int64_t fallback_limit, px_page *page)
{
    px_pair *pairs;
    px_err *err = px_query_parse(req, &pairs);
    page->page = 1;
    page->limit = fallback_limit > 0 ? fallback_limit : DEFAULT_LIMIT;
    page->offset = 0;
    if (err || (err = read_number(req, pairs, "page", MAX_PAGE, &page->page)) != NULL ||
        (err = read_number(req, pairs, "limit", MAX_LIMIT, &page->limit)) != NULL) {
        return err;
    }
    page->offset = (page->page - 1) * page->limit;
    return NULL;
}

void px_page_write(px_req *req, px_jw *w, const px_page *page, int64_t total)
{
    bool nested = req->dialect == PX_DIALECT_PIXSHIFT;
    if (nested) {
        px_jw_object(w, "pagination");
        px_jw_int(w, "page", page->page);
        px_jw_int(w, "limit", page->limit);
        px_jw_int(w, "total", total);
        px_jw_end_object(w);
    } else {
        px_jw_int(w, "total", total);
        px_jw_int(w, "page", page->page);
        px_jw_int(w, "limit", page->limit);
    }
}
