/* Not broken: has a secret option. */
#define BROKEN_OPTION { "Key", PXS_OPT_SECRET, 1, NULL, 0, 0, NULL, "Key of the account." }
#include "broken.h"
BROKEN_PLUGIN("b_secret")
