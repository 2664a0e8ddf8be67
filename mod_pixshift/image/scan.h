/* The structural scan: our own look at an upload before any decoder sees it.
 *
 * Reads JPEG, PNG and WebP from memory (bytes or a mapping) and decides from their structure alone:
 * every chunk and segment inside the file, one header, sane numbers, one still picture, nothing
 * behind it.  No allocation, no decoding, no recursion, linear time (about a millisecond per
 * megabyte at worst), any thread.  What passes may still be broken inside its compressed data: the
 * decoding helper finds that.  Rules and their reasons: docs/internals/image-scan.md. */
#ifndef PX_IMAGE_SCAN_H
#define PX_IMAGE_SCAN_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { PX_IMAGE_UNKNOWN, PX_IMAGE_JPEG, PX_IMAGE_PNG, PX_IMAGE_WEBP } px_image_format;

/* A member that is 0 means its default. */
typedef struct {
    uint32_t min_side;          /* pixels; 100 */
    uint32_t max_side;          /* pixels; 5000 */
    uint64_t max_pixels;        /* 25 000 000 */
    size_t max_bytes;           /* 10 MiB */
} px_scan_limits;

typedef struct {
    px_image_format format;
    uint32_t width;             /* as stored: the EXIF orientation is not applied */
    uint32_t height;
    uint8_t bits;               /* per sample: 1, 2, 4, 8, 16 */
    uint8_t channels;           /* 1..4, alpha included; a palette counts as 3 (4 with tRNS) */
    uint32_t frames;            /* always 1 for what is accepted */
    bool has_alpha;
    const char *mime;           /* "image/png"; static */
    const char *extension;      /* "png"; static */
    /* Filled when refused, else NULL: */
    const char *reason;         /* machine word such as "truncated"; static */
    const char *sentence;       /* for a person; static */
} px_scan_result;

/* True when the bytes are one acceptable picture. *result is always filled as far as was read. */
bool px_scan(const void *bytes, size_t len, const px_scan_limits *limits, px_scan_result *result);

/* The same as an error: FILE_TOO_LARGE, INVALID_DIMENSIONS or INVALID_FILE, with details {reason}
 * and, where they were read, {width, height}. `limits` NULL = defaults. */
px_err *px_image_scan(apr_pool_t *pool, const void *bytes, size_t len,
                      const px_scan_limits *limits, px_scan_result *result);

/* Takes the text chunks (tEXt, zTXt, iTXt) out of a PNG that px_scan accepted, in place, and
 * returns the new length: decoders expand compressed text although nobody reads it.  Other formats
 * stay. */
size_t px_scan_drop_text(void *bytes, size_t len);

/* The limits with their defaults filled in. */
px_scan_limits px_scan_limits_filled(const px_scan_limits *limits);

#endif
