/* Nothing is broken here: the base that the others spoil passes the kit. */
#include "broken.h"
BROKEN_PLUGIN("b_good")
