/* Cleaning the WebP files that libvips writes; see vips_webp.h.
 * The container: https://developers.google.com/speed/webp/docs/riff_container */
#include "vips_webp.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define HEADER    12        /* "RIFF", size, "WEBP" */
#define FLAG_ANIM  0x02
#define FLAG_META  0x2c     /* profile, EXIF, XMP */

static uint32_t get_le32(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put_le32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

static bool is_metadata(const unsigned char *chunk)
{
    return memcmp(chunk, "EXIF", 4) == 0 || memcmp(chunk, "XMP ", 4) == 0
        || memcmp(chunk, "ICCP", 4) == 0;
}

size_t px_vips_webp_strip(unsigned char *data, size_t len)
{
    size_t from = HEADER, to = HEADER;
    if (len < HEADER + 18 || memcmp(data + HEADER, "VP8X", 4) != 0
        || (data[HEADER + 8] & FLAG_ANIM))
        return len;
    data[HEADER + 8] &= (unsigned char)~FLAG_META;
    while (len - from >= 8) {
        size_t size = 8 + (size_t)get_le32(data + from + 4);
        size += size & 1;
        if (size > len - from)
            break;
        bool extended = memcmp(data + from, "VP8X", 4) == 0;
        if (!is_metadata(data + from) && !(extended && data[from + 8] == 0)) {
            memmove(data + to, data + from, size);
            to += size;
        }
        from += size;
    }
    put_le32(data + 4, (uint32_t)(to - 8));
    return to;
}
