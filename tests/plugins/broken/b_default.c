/* A default that its own option would refuse. */
#define BROKEN_OPTION { "Quality", PXS_OPT_INTEGER, 0, "900", 1, 100, NULL, "Quality in percent." }
#include "broken.h"
BROKEN_PLUGIN("b_default")
