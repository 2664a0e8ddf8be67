/* Lines for mod_status: the shared counters, and this child's streams. */
#include "host.h"
#include "cache/cache.h"
#include "hub.h"

#include <apr_optional_hooks.h>
#include <mod_status.h>

static void short_report(request_rec *r, px_cache *cache)
{
    for (int i = 0; i < PX_C_COUNT; i++) {
        /* without "pixshift_" */
        ap_rprintf(r, "PixShift-%s: %" APR_INT64_T_FMT "\n", px_counter_name((px_counter)i) + 9,
                   (apr_int64_t)px_counter_value(cache, (px_counter)i));
    }
}

static void long_report(request_rec *r, px_cache *cache)
{
    ap_rputs("<hr />\n<h2>PixShift</h2>\n<dl>\n", r);
    for (int i = 0; i < PX_C_COUNT; i++) {
        ap_rprintf(r, "<dt>%s: %" APR_INT64_T_FMT "</dt>\n", px_counter_help((px_counter)i),
                   (apr_int64_t)px_counter_value(cache, (px_counter)i));
    }
    ap_rprintf(r, "<dt>Streams of the answering child: %d</dt>\n</dl>\n", px_hub_open_streams());
}

static int on_status(request_rec *r, int flags)
{
    px_host *host = px_host_get();
    if (!host || !host->app) {
        return DECLINED;
    }
    if (flags & AP_STATUS_SHORT) {
        short_report(r, host->app->cache);
    } else {
        long_report(r, host->app->cache);
    }
    return OK;
}

void px_status_register(void)
{
    APR_OPTIONAL_HOOK(ap, status_hook, on_status, NULL, NULL, APR_HOOK_MIDDLE);
}
