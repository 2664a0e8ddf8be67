/* Who may: credential, anti-forgery token of cookie sessions, scope and role. */
#include "http_internal.h"

#include "base/crypto.h"

#include <apr_strings.h>
#include <string.h>

static px_authenticate_fn *authenticate;

void px_http_set_authenticator(px_authenticate_fn *fn)
{
    authenticate = fn;
}

static px_forget_fn *forget;

void px_http_set_forget(px_forget_fn *fn)
{
    forget = fn;
}

void px_http_forget(px_req *req, const char *user_id)
{
    if (forget) {
        forget(req->app, req->pool, user_id);
    }
}

static void note(px_req *req, const char *name, const char *value)
{
    if (req->notes && value) {
        apr_table_setn(req->notes, name, value);
    }
}

/* A route that takes no credential at all does not look for one: a stale cookie must not keep
 * anybody from signing in, nor a database outage from /healthz. */
px_err *px_guard_credential(px_req *req)
{
    unsigned creds = req->route->creds;
    px_err *err;
    if (creds == PX_CRED_NONE || creds == 0) {
        return NULL;
    }
    if (!authenticate) {
        return px_error(req->pool, PX_E_INTERNAL, "PXS4010", "no authenticator was installed");
    }
    err = authenticate(req, &req->who);
    if (err) {
        req->who = NULL;
        return err;
    }
    if (!req->who) {
        return creds & PX_CRED_NONE ? NULL : px_error(req->pool, PX_E_AUTH_REQUIRED, NULL, NULL);
    }
    if (!(req->who->credential & creds)) {
        req->who = NULL;
        return px_error_say(req->pool, PX_E_AUTH_FORBIDDEN,
                            "This kind of credential is not accepted here.");
    }
    note(req, "pixshift-user", req->who->user_id);
    note(req, "pixshift-key", req->who->key_id);
    return NULL;
}

static bool is_safe(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
           strcmp(method, "OPTIONS") == 0;
}

/* Origin is compared with PixShiftBaseURL and with the address that the browser itself used: a
 * forged page cannot choose the Host header of a request that carries our cookie. */
static bool same_origin(px_req *req)
{
    const char *origin = apr_table_get(req->headers_in, "Origin");
    const char *site = apr_table_get(req->headers_in, "Sec-Fetch-Site");
    const char *host = apr_table_get(req->headers_in, "Host");
    const char *own = px_http_own_origin(req);
    if (site && strcmp(site, "same-origin") != 0) {
        return false;
    }
    if (!origin || (own && strcasecmp(origin, own) == 0)) {
        return true;
    }
    return host && strcasecmp(origin, apr_pstrcat(req->pool, req->https ? "https://" : "http://",
                                                  host, NULL)) == 0;
}

px_err *px_guard_csrf(px_req *req)
{
    const char *sent, *want;
    if (!req->who || req->who->credential != PX_CRED_COOKIE || is_safe(req->method)) {
        return NULL;
    }
    sent = apr_table_get(req->headers_in, "X-CSRF-Token");
    want = req->who->csrf;
    if (!sent || !want || !*want || !px_equal_ct(sent, strlen(sent), want, strlen(want))) {
        return px_error(req->pool, PX_E_CSRF, NULL, NULL);
    }
    if (!same_origin(req)) {
        return px_error_say(req->pool, PX_E_CSRF, "The request comes from another site.");
    }
    return NULL;
}

static const char *scope_name(unsigned scope)
{
    switch (scope) {
    case PX_SCOPE_JOBS_WRITE: return "jobs:write";
    case PX_SCOPE_JOBS_READ: return "jobs:read";
    case PX_SCOPE_CREDITS_READ: return "credits:read";
    case PX_SCOPE_CHAT: return "chat";
    default: return "account";
    }
}

px_err *px_guard_scope(px_req *req)
{
    const px_route *route = req->route;
    if (route->flags & PX_ROUTE_ADMIN) {
        if (!req->who) {
            return px_error(req->pool, PX_E_AUTH_REQUIRED, NULL, NULL);
        }
        if (req->who->role != PX_ROLE_ADMIN) {
            return px_error(req->pool, PX_E_AUTH_FORBIDDEN, NULL, NULL);
        }
    }
    /* Interactive credentials have all scopes. */
    if (req->who && req->who->credential == PX_CRED_KEY && route->scope &&
        (req->who->scopes & route->scope) != route->scope) {
        return px_err_with(px_error_say(req->pool, PX_E_AUTH_FORBIDDEN,
                                        "This API key lacks the scope '%s'.",
                                        scope_name(route->scope)),
                           "scope", scope_name(route->scope));
    }
    return NULL;
}

const char *px_public_url(px_req *req, const char *path)
{
    const char *base = px_set_str(req->app->settings, PX_S_BASE_URL);
    size_t len = base ? strlen(base) : 0;
    while (len > 0 && base[len - 1] == '/') {
        len--;
    }
    return apr_pstrcat(req->pool, len > 0 ? apr_pstrmemdup(req->pool, base, len) : "", path, NULL);
}
