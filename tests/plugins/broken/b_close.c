/* Does not stand close(NULL). */
#define BROKEN_CLOSE crash_close
#include "broken.h"
static void crash_close(void *instance)
{
    *(volatile char *)instance = 0;
    free(instance);
}
BROKEN_PLUGIN("b_close")
