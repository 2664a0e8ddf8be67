/* Opening hostile images; see vips_load.h. */
#include "vips_load.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static px_vips_type sniff(const unsigned char *data, size_t len)
{
    if (len >= 3 && memcmp(data, "\xff\xd8\xff", 3) == 0)
        return PX_VIPS_JPEG;
    if (len >= 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0)
        return PX_VIPS_PNG;
    if (len >= 16 && memcmp(data, "RIFF", 4) == 0 && memcmp(data + 8, "WEBP", 4) == 0)
        return PX_VIPS_WEBP;
    return PX_VIPS_NONE;
}

bool px_vips_map(int fd, px_vips_file *file)
{
    struct stat st;
    memset(file, 0, sizeof *file);
    if (fstat(fd, &st) != 0 || st.st_size <= 0)
        return false;
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return false;
    file->data = data;
    file->len = (size_t)st.st_size;
    file->type = sniff(data, file->len);
    return true;
}

void px_vips_unmap(px_vips_file *file)
{
    if (file->data)
        munmap(file->data, file->len);
    file->data = NULL;
}

const char *px_vips_mime(px_vips_type type)
{
    switch (type) {
    case PX_VIPS_JPEG: return "image/jpeg";
    case PX_VIPS_PNG: return "image/png";
    case PX_VIPS_WEBP: return "image/webp";
    case PX_VIPS_NONE: break;
    }
    return "";
}

px_vips_type px_vips_type_named(const char *format)
{
    if (strcmp(format, "jpg") == 0 || strcmp(format, "jpeg") == 0)
        return PX_VIPS_JPEG;
    if (strcmp(format, "png") == 0)
        return PX_VIPS_PNG;
    return strcmp(format, "webp") == 0 ? PX_VIPS_WEBP : PX_VIPS_NONE;
}

VipsImage *px_vips_open(const px_vips_file *file, int shrink)
{
    VipsImage *image = NULL;
    int failed = -1;
    switch (file->type) {
    case PX_VIPS_JPEG:
        failed = vips_jpegload_buffer(file->data, file->len, &image, "shrink", shrink, "access",
                                      VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR, NULL);
        break;
    case PX_VIPS_PNG:
        failed = vips_pngload_buffer(file->data, file->len, &image, "access",
                                     VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR, NULL);
        break;
    case PX_VIPS_WEBP:
        failed = vips_webpload_buffer(file->data, file->len, &image, "access",
                                      VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR, NULL);
        break;
    case PX_VIPS_NONE:
        vips_error("pixshift", "not a JPEG, PNG or WebP image");
        break;
    }
    return failed ? NULL : image;
}

int px_vips_jpeg_shrink(int from, int to)
{
    /* vips_thumbnail leaves a factor of 2 to the resampler and so decodes four times the pixels in
     * the common case of a factor just under 4.  1.3 keeps Lanczos working at every scale. */
    int shrink = 8;
    while (shrink > 1 && (double)from / shrink < 1.3 * to)
        shrink /= 2;
    return shrink;
}
