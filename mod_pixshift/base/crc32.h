/* CRC-32 (IEEE 802.3, as in PNG, gzip and zip).  Pure; any thread. */
#ifndef PX_BASE_CRC32_H
#define PX_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Continues from `crc` (0 at the start) over the bytes. */
uint32_t px_crc32(uint32_t crc, const void *data, size_t len);

#endif
