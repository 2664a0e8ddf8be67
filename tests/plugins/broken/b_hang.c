/* Never gives its descriptor. */
#include <pixshift/plugin.h>
#include <unistd.h>
const pxs_plugin *pixshift_plugin(void)
{
    for (;;) {
        pause();
    }
}
