/* The required operation is not there. */
#define BROKEN_RUN NULL
#include "broken.h"
BROKEN_PLUGIN("b_missing")
