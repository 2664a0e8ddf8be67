/* Loses memory at each open. */
#define BROKEN_CLOSE forgetful_close
#include "broken.h"
static void forgetful_close(void *instance)
{
    (void)instance;
}
BROKEN_PLUGIN("b_leak")
