/* A shared object without the entry point. */
#include <pixshift/plugin.h>
PXS_EXPORT const pxs_plugin *pixshift_module(void);
const pxs_plugin *pixshift_module(void)
{
    return 0;
}
