/* Reads a fixed header of the reply without looking at its length. */
#define BROKEN_RUN overread_run
#include "broken.h"
static pxs_step overread_run(void *instance, pxs_call *call, const pxs_ai_request *request,
                             pxs_ai_result *result)
{
    char header[64];
    if (call->reply && call->reply->status == 200) {
        memcpy(header, call->reply->body, sizeof header);
        result->input_tokens = header[63];
    }
    return good_run(instance, call, request, result);
}
BROKEN_PLUGIN("b_overread")
