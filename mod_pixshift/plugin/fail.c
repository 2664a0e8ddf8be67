/* What a failure class means: for the chain of providers, for the user, for the log. */
#include "plugin_internal.h"

static const struct {
    const char *name;
    bool fallback, retry;
    px_err_id error;
} classes[] = {
    [0] = { "unknown", true, false, PX_E_PROVIDER },
    [PXS_FAIL_BAD_REQUEST] = { "bad_request", false, false, PX_E_PROVIDER },
    [PXS_FAIL_REFUSED] = { "refused", false, false, PX_E_CONTENT_REFUSED },
    [PXS_FAIL_AUTH] = { "auth", true, false, PX_E_PROVIDER },
    [PXS_FAIL_QUOTA] = { "quota", true, false, PX_E_PROVIDER },
    [PXS_FAIL_RATE] = { "rate", true, true, PX_E_PROVIDER },
    [PXS_FAIL_UNAVAILABLE] = { "unavailable", true, true, PX_E_PROVIDER },
    /* Nobody knows whether the vendor works on it: not the same vendor again, but another one may
     * serve the user, at our cost at worst. */
    [PXS_FAIL_TIMEOUT] = { "timeout", true, false, PX_E_PROVIDER_TIMEOUT },
    [PXS_FAIL_MALFORMED] = { "malformed", true, false, PX_E_PROVIDER },
    [PXS_FAIL_UNSUPPORTED] = { "unsupported", true, false, PX_E_NO_PROVIDER },
    [PXS_FAIL_NOT_FOUND] = { "not_found", true, false, PX_E_NOT_FOUND },
    [PXS_FAIL_INTERNAL] = { "internal", true, false, PX_E_PROVIDER },
};

static unsigned index_of(pxs_fail_class klass)
{
    return (unsigned)klass < sizeof classes / sizeof *classes ? (unsigned)klass : 0;
}

bool px_fail_allows_fallback(pxs_fail_class klass)
{
    return classes[index_of(klass)].fallback;
}

bool px_fail_allows_retry(pxs_fail_class klass)
{
    return classes[index_of(klass)].retry;
}

const char *px_fail_name(pxs_fail_class klass)
{
    return classes[index_of(klass)].name;
}

px_err *px_fail_error(apr_pool_t *pool, const pxs_fail *fail, const char *provider)
{
    pxs_fail_class klass = (pxs_fail_class)fail->klass;
    px_err *err = px_error(pool, classes[index_of(klass)].error, "PXS3101", "%s failed (%s): %s",
                           provider, px_fail_name(klass),
                           fail->message ? fail->message : "no message");

    if (fail->retry_ms > 0) {
        int64_t seconds = (fail->retry_ms + 999) / 1000;
        err->retry_after = seconds < 3600 ? (int)seconds : 3600;
    }
    return err;
}
