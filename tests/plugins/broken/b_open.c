/* Crashes when it is opened. */
#define BROKEN_OPEN crash_open
#include "broken.h"
static int crash_open(const pxs_value *values, void **instance, char *error, size_t error_size)
{
    (void)instance;
    (void)error;
    (void)error_size;
    return *(const volatile int *)((uintptr_t)values[0].is_set * 8);
}
BROKEN_PLUGIN("b_open")
