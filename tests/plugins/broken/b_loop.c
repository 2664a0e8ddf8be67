/* Hangs in the operation. */
#define BROKEN_RUN loop_run
#include "broken.h"
static pxs_step loop_run(void *instance, pxs_call *call, const pxs_ai_request *request,
                         pxs_ai_result *result)
{
    volatile int forever = call->reply != NULL;
    while (forever) {
    }
    return good_run(instance, call, request, result);
}
BROKEN_PLUGIN("b_loop")
