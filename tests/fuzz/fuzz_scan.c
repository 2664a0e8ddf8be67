/* The structural image scan; sides from one pixel, so that small pictures get deep. */
#include "image/scan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    px_scan_limits limits = {.min_side = 1};
    px_scan_result r;
    bool ok = px_scan(data, size, &limits, &r);
    if (ok != (r.reason == NULL) || ok != (r.sentence == NULL)) {
        abort();
    }
    if (ok && (!r.mime || !r.extension || r.width < 1 || r.height < 1 || r.width > 5000
               || r.height > 5000 || r.channels < 1 || r.channels > 4 || r.frames != 1)) {
        abort();
    }
    return 0;
}
