/* Crashes as soon as it is loaded. */
#include "broken.h"
BROKEN_PLUGIN("b_constructor")
__attribute__((constructor)) static void crash(void)
{
    abort();
}
