/* Opening hostile images: only JPEG, PNG and WebP, by their first bytes, with strict decoding. */
#ifndef PX_IMAGE_VIPS_LOAD_H
#define PX_IMAGE_VIPS_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <vips/vips.h>

typedef enum { PX_VIPS_NONE, PX_VIPS_JPEG, PX_VIPS_PNG, PX_VIPS_WEBP } px_vips_type;

/* A whole file, mapped. */
typedef struct {
    void *data;
    size_t len;
    px_vips_type type;
} px_vips_file;

/* Maps the file; false when it is empty or cannot be mapped. `type` is NONE for other formats. */
bool px_vips_map(int fd, px_vips_file *file);
void px_vips_unmap(px_vips_file *file);
const char *px_vips_mime(px_vips_type type);
px_vips_type px_vips_type_named(const char *format);   /* "jpg", "jpeg", "png", "webp" */

/* Opens for one pass from top to bottom; decoding errors fail the pass. `shrink` is 1, 2, 4 or 8:
 * the JPEG decoder's own reduction, exactly 1 for other types. NULL with vips' error buffer set. */
VipsImage *px_vips_open(const px_vips_file *file, int shrink);
/* The largest decoder reduction that still leaves the resampler something to do, so that quality
 * does not suffer: `from` pixels must end as `to`. */
int px_vips_jpeg_shrink(int from, int to);

#endif
