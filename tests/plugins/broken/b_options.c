/* An enum without choices in the option table. */
#define BROKEN_OPTION { "Mode", PXS_OPT_ENUM, 0, NULL, 0, 0, NULL, "How it works." }
#include "broken.h"
BROKEN_PLUGIN("b_options")
