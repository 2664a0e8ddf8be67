/* The route tables of all slices, and the first path segments that the module claims. */
#include "host.h"
#include "account/account.h"
#include "credit/credit_api.h"
#include "admin/audit.h"
#include "studio/job.h"

#include <apr_strings.h>

static const px_route *const tables[] = {px_http_routes, px_account_routes, px_credit_routes,
                                         px_tier_routes, px_studio_routes, px_admin_routes, NULL};

/* "/api/jobs/{id}" -> "/api"; a pattern that begins with a parameter claims nothing. */
static void claim(apr_pool_t *pool, apr_table_t *prefixes, const char *pattern)
{
    size_t len = 1 + strcspn(pattern + 1, "/");
    if (pattern[0] == '/' && !memchr(pattern, '{', len)) {
        apr_table_setn(prefixes, apr_pstrmemdup(pool, pattern, len), "");
    }
}

const char *px_routes_make(apr_pool_t *pool, px_host *host)
{
    const px_route **list;
    const char *fault = px_router_make(pool, tables, &host->router);
    int count;
    if (fault) {
        return fault;
    }
    host->prefixes = apr_table_make(pool, 8);
    count = px_router_list(host->router, &list);
    for (int i = 0; i < count; i++) {
        claim(pool, host->prefixes, list[i]->pattern);
    }
    return NULL;
}
