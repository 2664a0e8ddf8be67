/* Turning a px_helper_task into a packet, for helper.c. */
#ifndef PX_IMAGE_HELPER_PACK_H
#define PX_IMAGE_HELPER_PACK_H

#include "helper_wire.h"

/* False when the texts do not fit or the task is incomplete. The id is left to the caller. */
bool px_helper_pack(const px_helper_task *task, px_wire_packet *packet);

#endif
