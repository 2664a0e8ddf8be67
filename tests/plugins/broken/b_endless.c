/* Asks for one exchange after the other. */
#define BROKEN_RUN endless_run
#include "broken.h"
static pxs_step endless_run(void *instance, pxs_call *call, const pxs_ai_request *request,
                            pxs_ai_result *result)
{
    call->reply = NULL;
    return good_run(instance, call, request, result);
}
BROKEN_PLUGIN("b_endless")
