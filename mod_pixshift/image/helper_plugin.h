/* The plugin verb: one operation of a blocking ai plugin, in a child of the helper program. */
#ifndef PX_IMAGE_HELPER_PLUGIN_H
#define PX_IMAGE_HELPER_PLUGIN_H

#include "helper_wire.h"

/* Loads the plugin named in the task, runs its operation over the files `inputs` and has the image
 * written to `output`.  Fills `result`. */
void px_helper_plugin_run(const px_wire_packet *task, const int *inputs, int output,
                          px_wire_result *result);

#endif
