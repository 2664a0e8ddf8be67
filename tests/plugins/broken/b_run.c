/* Crashes when it gets a reply that it does not expect. */
#define BROKEN_RUN crash_run
#include "broken.h"
static pxs_step crash_run(void *instance, pxs_call *call, const pxs_ai_request *request,
                          pxs_ai_result *result)
{
    if (call->reply && call->reply->status == 200) {
        const char *found = strstr(call->reply->body, "\"image\":");
        result->text = strchr(found + 8, '"');      /* found is NULL without the member */
        return result->text[0] == '"' ? PXS_DONE : PXS_FAIL;
    }
    return good_run(instance, call, request, result);
}
BROKEN_PLUGIN("b_run")
