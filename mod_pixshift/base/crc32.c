/* CRC-32, eight bytes a step: the scan of an upload checks megabytes on a request thread. */
#include "crc32.h"

#define POLYNOMIAL 0xedb88320u

static uint32_t table[8][256];

/* At load time, so that use needs no lock. */
static void __attribute__((constructor)) fill_table(void)
{
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t c = n;
        for (int bit = 0; bit < 8; bit++) {
            c = c >> 1 ^ (POLYNOMIAL & (0u - (c & 1)));
        }
        table[0][n] = c;
    }
    for (int k = 1; k < 8; k++) {
        for (int n = 0; n < 256; n++) {
            uint32_t c = table[k - 1][n];
            table[k][n] = c >> 8 ^ table[0][c & 255];
        }
    }
}

uint32_t px_crc32(uint32_t crc, const void *data, size_t len)
{
    const unsigned char *p = data;
    crc = ~crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16
                              | (uint32_t)p[3] << 24);
        crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255]
            ^ table[4][low >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]]
            ^ table[0][p[7]];
    }
    for (; len > 0; p++, len--) {
        crc = crc >> 8 ^ table[0][(crc ^ *p) & 255];
    }
    return ~crc;
}
