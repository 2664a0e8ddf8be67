/* An ops table that ends before the required operations. */
#define BROKEN_OPS_SIZE (sizeof(pxs_ai_ops) - 2 * sizeof(void *))
#include "broken.h"
BROKEN_PLUGIN("b_short")
