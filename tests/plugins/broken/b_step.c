/* Returns a step that does not exist. */
#define BROKEN_RUN odd_run
#include "broken.h"
static pxs_step odd_run(void *instance, pxs_call *call, const pxs_ai_request *request,
                        pxs_ai_result *result)
{
    (void)instance;
    (void)call;
    (void)request;
    (void)result;
    return (pxs_step)17;
}
BROKEN_PLUGIN("b_step")
