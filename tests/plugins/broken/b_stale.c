/* Keeps an option's text in a static variable beyond the instance that it belongs to. */
#define BROKEN_OPEN stale_open
#define BROKEN_RUN stale_run
#include "broken.h"
static const char *name;
static int stale_open(const pxs_value *values, void **instance, char *error, size_t error_size)
{
    if (!name) {
        name = values[0].text;
    }
    return good_open(values, instance, error, error_size);
}
static pxs_step stale_run(void *instance, pxs_call *call, const pxs_ai_request *request,
                          pxs_ai_result *result)
{
    call->log(call, 4, name);
    return good_run(instance, call, request, result);
}
BROKEN_PLUGIN("b_stale")
