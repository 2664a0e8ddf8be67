/* Cross-origin calls: only origins of PixShiftCORSOrigins, without cookies (they would be refused
 * by the anti-forgery guard anyway), with tokens and keys in headers. */
#include "http_internal.h"

#include <apr_strings.h>
#include <string.h>

#define ALLOW_HEADERS "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, " \
    "X-API-Key, X-CSRF-Token, X-Request-Id"
#define EXPOSE_HEADERS "ETag, Idempotent-Replayed, Link, Location, RateLimit, RateLimit-Policy, " \
    "Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id"

static const char *configured(px_req *req)
{
    return req->app && req->app->settings ? px_set_str(req->app->settings, PX_S_CORS_ORIGINS)
                                          : NULL;
}

/* The value for Access-Control-Allow-Origin, NULL when this origin may not. */
static const char *allowed_origin(px_req *req)
{
    const char *origin = apr_table_get(req->headers_in, "Origin");
    const char *list = configured(req);
    size_t len = origin ? strlen(origin) : 0;
    if (len == 0) {
        return NULL;
    }
    while (list && *list) {
        size_t n;
        list += strspn(list, " \t,");
        n = strcspn(list, " \t,");
        if (n == 1 && *list == '*') {
            return "*";
        }
        if (n == len && strncasecmp(list, origin, n) == 0) {
            return origin;
        }
        list += n;
    }
    return NULL;
}

void px_cors_headers(px_req *req, apr_table_t *headers)
{
    const char *origin;
    if (!configured(req)) {
        return;
    }
    apr_table_mergen(headers, "Vary", "Origin");
    origin = allowed_origin(req);
    if (origin) {
        apr_table_setn(headers, "Access-Control-Allow-Origin", origin);
        apr_table_setn(headers, "Access-Control-Expose-Headers", EXPOSE_HEADERS);
    }
}

bool px_cors_preflight(px_req *req, px_reply *reply)
{
    if (strcmp(req->method, "OPTIONS") != 0 || !apr_table_get(req->headers_in, "Origin") ||
        !apr_table_get(req->headers_in, "Access-Control-Request-Method")) {
        return false;
    }
    reply->status = 204;
    if (allowed_origin(req)) {
        apr_table_setn(reply->headers, "Access-Control-Allow-Methods",
                       "GET, HEAD, POST, PUT, PATCH, DELETE");
        apr_table_setn(reply->headers, "Access-Control-Allow-Headers", ALLOW_HEADERS);
        apr_table_setn(reply->headers, "Access-Control-Max-Age", "600");
    }
    return true;
}

const char *px_http_own_origin(px_req *req)
{
    const char *base = req->app && req->app->settings
                           ? px_set_str(req->app->settings, PX_S_BASE_URL)
                           : NULL;
    const char *host = base ? strstr(base, "://") : NULL;
    if (!host) {
        return NULL;
    }
    host += 3;
    return apr_pstrmemdup(req->pool, base, (size_t)(host - base) + strcspn(host, "/?#"));
}
