/* Cleaning the WebP files that libvips writes. */
#ifndef PX_IMAGE_VIPS_WEBP_H
#define PX_IMAGE_VIPS_WEBP_H

#include <stddef.h>

/* Removes EXIF, XMP and profile chunks in place, and the extended header where nothing is left that
 * needs it; returns the new length. libvips 8.14 adds an EXIF block of its own to every WebP,
 * whatever "strip" says. Anything but a still WebP is left as it is. */
size_t px_vips_webp_strip(unsigned char *data, size_t len);

#endif
