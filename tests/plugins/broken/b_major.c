/* Built for a later ABI. */
#define BROKEN_MAJOR 2
#include "broken.h"
BROKEN_PLUGIN("b_major")
