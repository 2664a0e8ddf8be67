/* The route table: a tree of path segments.  A node has static children, one parameter child and
 * one "rest of the path" child, tried in this order; where the more exact branch does not end in a
 * route with the method, the search goes on with the next one. */
#include "http_internal.h"

#include <apr_strings.h>
#include <string.h>

#define MAX_SEGMENTS 32

typedef struct entry { const px_route *route; struct entry *next; } entry;

typedef struct node {
    const char *segment;        /* static nodes */
    size_t len;
    struct node *children;      /* static ones */
    struct node *param;
    struct node *rest;
    struct node *next;          /* sibling */
    entry *routes;              /* that end here */
} node;

struct px_router {
    apr_pool_t *pool;
    node root;
    const px_route **list;
    int count, size;
};

typedef struct { const char *at[MAX_SEGMENTS]; size_t len[MAX_SEGMENTS]; int count; } captures;

typedef struct {
    const char *method;
    const px_route *found;
    captures taken;
    bool any;                   /* the path exists, perhaps with other methods */
    bool get, head;
    const char *methods[16];
    int method_count;
} search;

/* ---- building ---- */

static node *child_static(apr_pool_t *pool, node *at, const char *segment, size_t len)
{
    node *n;
    for (n = at->children; n; n = n->next) {
        if (n->len == len && memcmp(n->segment, segment, len) == 0) {
            return n;
        }
    }
    n = apr_pcalloc(pool, sizeof(*n));
    n->segment = segment;
    n->len = len;
    n->next = at->children;
    at->children = n;
    return n;
}

static node *child_of(apr_pool_t *pool, node *at, const char *segment, size_t len)
{
    node **slot;
    if (segment[0] != '{') {
        return child_static(pool, at, segment, len);
    }
    slot = len > 2 && segment[len - 2] == '*' ? &at->rest : &at->param;
    if (!*slot) {
        *slot = apr_pcalloc(pool, sizeof(**slot));
    }
    return *slot;
}

static const char *check_pattern(apr_pool_t *pool, const px_route *route)
{
    const char *p = route->pattern;
    int segments = 0;
    if (!p || p[0] != '/') {
        return apr_psprintf(pool, "The route pattern '%s' does not begin with '/'.", p ? p : "");
    }
    while (*p == '/') {
        const char *end = strchr(p + 1, '/');
        size_t len = end ? (size_t)(end - p - 1) : strlen(p + 1);
        bool brace = memchr(p + 1, '{', len) || memchr(p + 1, '}', len);
        bool whole = len > 2 && p[1] == '{' && p[len] == '}';
        if (brace && !whole) {
            return apr_psprintf(
                pool, "The route pattern '%s' has a parameter that is not a whole segment.",
                route->pattern);
        }
        if (whole && p[len - 1] == '*' && end) {
            return apr_psprintf(pool, "The route pattern '%s' goes on after '{…*}'.",
                                route->pattern);
        }
        if (++segments > MAX_SEGMENTS) {
            return apr_psprintf(pool, "The route pattern '%s' has too many segments.",
                                route->pattern);
        }
        if (!end) {
            break;
        }
        p = end;
    }
    return route->method && route->method[0] && route->handler
        ? NULL : apr_psprintf(pool, "The route '%s' lacks a method or a handler.", route->pattern);
}

static node *place(px_router *router, const char *pattern)
{
    node *at = &router->root;
    const char *p = pattern;
    while (p && *p == '/') {
        const char *end = strchr(p + 1, '/');
        size_t len = end ? (size_t)(end - p - 1) : strlen(p + 1);
        at = child_of(router->pool, at, p + 1, len);
        p = end;
    }
    return at;
}

static const px_route *taken_by(const node *at, const char *method)
{
    for (const entry *e = at->routes; e; e = e->next) {
        if (strcmp(e->route->method, method) == 0) {
            return e->route;
        }
    }
    return NULL;
}

static void append(px_router *router, const px_route *route)
{
    if (router->count == router->size) {
        int size = router->size ? router->size * 2 : 64;
        const px_route **bigger = apr_palloc(router->pool, sizeof(*bigger) * (size_t)size);
        if (router->count > 0) {
            memcpy(bigger, router->list, sizeof(*bigger) * (size_t)router->count);
        }
        router->list = bigger;
        router->size = size;
    }
    router->list[router->count++] = route;
}

static void insert(px_router *router, node *at, const px_route *route)
{
    entry *e = apr_pcalloc(router->pool, sizeof(*e));
    e->route = route;
    e->next = at->routes;
    at->routes = e;
    append(router, route);
}

static const char *add(px_router *router, const px_route *route)
{
    const char *fault = check_pattern(router->pool, route);
    const px_route *other;
    node *at;
    if (fault) {
        return fault;
    }
    at = place(router, route->pattern);
    other = taken_by(at, route->method);
    if (other) {
        return apr_psprintf(router->pool, "The route %s %s exists twice (also as %s).",
                            route->method, route->pattern, other->pattern);
    }
    insert(router, at, route);
    return NULL;
}

/* C-1: /api/x is also /api/v1/x where nothing of that name is there. The alias keeps the dialect of
 * its route: a dialect belongs to the contract that names the route, not to the prefix. */
static void add_alias(px_router *router, const px_route *route)
{
    px_route *alias;
    node *at;
    if (strncmp(route->pattern, "/api/", 5) != 0 || strncmp(route->pattern, "/api/v1/", 8) == 0 ||
        (route->flags & PX_ROUTE_NO_V1_ALIAS)) {
        return;
    }
    alias = apr_pmemdup(router->pool, route, sizeof(*route));
    alias->pattern = apr_pstrcat(router->pool, "/api/v1/", route->pattern + 5, NULL);
    at = place(router, alias->pattern);
    if (!taken_by(at, alias->method)) {
        insert(router, at, alias);
    }
}

const char *px_router_make(apr_pool_t *pool, const px_route *const *tables, px_router **out)
{
    px_router *router = apr_pcalloc(pool, sizeof(*router));
    router->pool = pool;
    for (int t = 0; tables[t]; t++) {
        for (const px_route *route = tables[t]; route->method; route++) {
            const char *fault = add(router, route);
            if (fault) {
                return fault;
            }
        }
    }
    for (int t = 0; tables[t]; t++) {
        for (const px_route *route = tables[t]; route->method; route++) {
            add_alias(router, route);
        }
    }
    *out = router;
    return NULL;
}

int px_router_list(const px_router *router, const px_route ***list)
{
    *list = router->list;
    return router->count;
}

/* ---- finding ---- */

static void note_method(search *s, const char *method)
{
    for (int i = 0; i < s->method_count; i++) {
        if (strcmp(s->methods[i], method) == 0) {
            return;
        }
    }
    if (s->method_count < (int)(sizeof(s->methods) / sizeof(s->methods[0]))) {
        s->methods[s->method_count++] = method;
    }
}

static bool ends_here(search *s, const node *at, const captures *taken)
{
    const char *method = strcmp(s->method, "HEAD") == 0 ? "GET" : s->method;
    const px_route *route;
    if (!at->routes) {
        return false;
    }
    s->any = true;
    route = taken_by(at, s->method);
    if (!route) {
        route = taken_by(at, method);
    }
    if (route) {
        s->found = route;
        s->taken = *taken;
        return true;
    }
    for (const entry *e = at->routes; e; e = e->next) {
        note_method(s, e->route->method);
    }
    return false;
}

static void capture(captures *taken, const char *at, size_t len)
{
    if (taken->count < MAX_SEGMENTS) {
        taken->at[taken->count] = at;
        taken->len[taken->count++] = len;
    }
}

/* `path` is at a '/' or at the end. An empty segment matches nothing but "{rest*}". */
static bool descend(search *s, const node *at, const char *path, captures *taken, int depth)
{
    const char *end;
    size_t len;
    int kept = taken->count;
    if (*path == '\0') {
        return ends_here(s, at, taken);
    }
    end = strchr(path + 1, '/');
    len = end ? (size_t)(end - path - 1) : strlen(path + 1);
    if (depth < MAX_SEGMENTS && (len > 0 || at->children)) {
        for (const node *n = at->children; n; n = n->next) {
            if (n->len == len && memcmp(n->segment, path + 1, len) == 0 &&
                descend(s, n, path + 1 + len, taken, depth + 1)) {
                return true;
            }
        }
    }
    if (depth < MAX_SEGMENTS && len > 0 && at->param) {
        capture(taken, path + 1, len);
        if (descend(s, at->param, path + 1 + len, taken, depth + 1)) {
            return true;
        }
        taken->count = kept;
    }
    if (at->rest && path[1]) {
        capture(taken, path + 1, strlen(path + 1));
        if (ends_here(s, at->rest, taken)) {
            return true;
        }
        taken->count = kept;
    }
    return false;
}

static void fill_params(px_req *req, const px_route *route, const captures *taken)
{
    int i = 0;
    req->params = apr_table_make(req->pool, 4);
    for (const char *p = strchr(route->pattern, '{'); p && i < taken->count;
         p = strchr(p + 1, '{'), i++) {
        size_t len = strcspn(p + 1, "*}");
        apr_table_setn(req->params, apr_pstrmemdup(req->pool, p + 1, len),
                       apr_pstrmemdup(req->pool, taken->at[i], taken->len[i]));
    }
}

static px_dialect dialect_of_path(const char *path)
{
    if (strncmp(path, "/api/v1/", 8) == 0) {
        return PX_DIALECT_TRAILROOM;
    }
    return strncmp(path, "/v1/", 4) == 0 ? PX_DIALECT_OPENAI : PX_DIALECT_PIXSHIFT;
}

static const char *allow_text(apr_pool_t *pool, const search *s)
{
    const char *text = "";
    for (int i = 0; i < s->method_count; i++) {
        bool get = strcmp(s->methods[i], "GET") == 0;
        text = apr_pstrcat(pool, text, *text ? ", " : "", s->methods[i], get ? ", HEAD" : "", NULL);
    }
    return apr_pstrcat(pool, text, *text ? ", " : "", "OPTIONS", NULL);
}

px_err *px_router_find(const px_router *router, px_req *req, const char **allow)
{
    search s = {0};
    captures taken;
    taken.count = 0;
    *allow = NULL;
    s.method = req->method;
    req->route = NULL;
    req->dialect = dialect_of_path(req->path);
    if (req->path[0] == '/') {
        descend(&s, &router->root, req->path, &taken, 0);
    }
    if (s.found) {
        req->route = s.found;
        req->dialect = s.found->dialect;
        fill_params(req, s.found, &s.taken);
        return NULL;
    }
    if (s.any) {
        *allow = allow_text(req->pool, &s);
        return px_error(req->pool, PX_E_METHOD_NOT_ALLOWED, NULL, NULL);
    }
    return px_error(req->pool, PX_E_NOT_FOUND, NULL, NULL);
}

const char *px_param(px_req *req, const char *name)
{
    const char *value = req->params ? apr_table_get(req->params, name) : NULL;
    return value ? value : "";
}
