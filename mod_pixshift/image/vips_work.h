/* Image work with libvips, in a child of the helper program and nowhere else: whatever the bytes do
 * to the decoders happens to a process that is thrown away. */
#ifndef PX_IMAGE_VIPS_WORK_H
#define PX_IMAGE_VIPS_WORK_H

#include "helper_wire.h"

/* Once in the parent: libvips without cache, with one thread per pipeline and with no loader but
 * JPEG, PNG and WebP. */
bool px_vips_init(const char *argv0);
/* PROBE, PREPARE and ENCODE. Fills `result`; its status is OK or FAILED. */
void px_vips_run(const px_wire_packet *task, int input, int output, px_wire_result *result);
/* Reads the header of the image in a file into width, height, mime and bytes; false = no image. */
bool px_vips_describe(int fd, px_wire_result *result);
/* Sets FAILED, the class and the reason. */
void px_vips_refuse(px_wire_result *result, pxs_fail_class klass, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Writes all bytes at the beginning of the file and cuts it there. */
bool px_vips_write(int fd, const void *data, size_t len, px_wire_result *result);

#endif
