/* The structural image scan; sides from one pixel, so that small pictures get deep. */
#include "base/crc32.h"
#include "image/scan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void scan(const uint8_t *data, size_t size)
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
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* No mutation hits a checksum, so the checksums of a copy are made right. */
static void repair_png(uint8_t *png, size_t size)
{
    size_t at = 8;
    while (at < size && size - at >= 12 && be32(png + at) <= size - at - 12) {
        size_t len = be32(png + at);
        uint32_t crc = px_crc32(0, png + at + 4, len + 4);
        for (int i = 0; i < 4; i++) {
            png[at + 8 + len + i] = (uint8_t)(crc >> (24 - 8 * i));
        }
        at += 12 + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scan(data, size);
    if (size > 8 && memcmp(data, "\x89PNG", 4) == 0) {
        uint8_t *copy = malloc(size);
        if (copy) {
            memcpy(copy, data, size);
            repair_png(copy, size);
            scan(copy, size);
        }
        free(copy);
    }
    return 0;
}
