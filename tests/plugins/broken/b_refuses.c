/* Does not open and does not say why. */
#define BROKEN_OPEN silent_open
#include "broken.h"
static int silent_open(const pxs_value *values, void **instance, char *error, size_t error_size)
{
    (void)values;
    (void)instance;
    (void)error;
    (void)error_size;
    return -1;
}
BROKEN_PLUGIN("b_refuses")
