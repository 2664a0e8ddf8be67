/* The blocking driver: the same engine, run on this thread until one exchange is over. */
#include "net_internal.h"

typedef struct {
    const pxs_reply *reply;
} waiting_call;

static void on_done(void *baton, const pxs_reply *reply)
{
    ((waiting_call *)baton)->reply = reply;
}

/* Other transfers of this net make progress meanwhile; their callbacks may run here. */
px_err *px_net_call(px_net *net, apr_pool_t *pool, const pxs_exchange *exchange,
                    const px_net_options *options, const pxs_reply **reply)
{
    waiting_call call = { NULL };
    px_transfer *transfer = NULL;
    px_err *err = px_transfer_start(net, pool, exchange, options, on_done, &call, &transfer);

    if (!err && transfer->state == PX_T_READY) {    /* a file, or refused: no round of the loop */
        px_transfer_hand_over(transfer);
    }
    while (!err && !call.reply) {
        err = px_net_perform(net, NULL, 0, 1000);
        if (err) {
            px_net_cancel(net, transfer);
        }
    }
    *reply = call.reply;
    return err;
}

bool px_net_reply_temporary(const pxs_reply *reply)
{
    return ((const px_reply_box *)(const void *)reply)->temporary;
}
