/* PROBE, PREPARE and ENCODE; see vips_work.h. */
#include "vips_work.h"
#include "vips_load.h"
#include "vips_webp.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_MAX_PIXELS (8192u * 8192u)

void px_vips_refuse(px_wire_result *result, pxs_fail_class klass, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(result->reason, sizeof result->reason, fmt, args);
    va_end(args);
    result->status = PX_HELPER_FAILED;
    result->fail_class = klass;
}

/* What libvips complained about, without its line ends. */
static void refuse_vips(px_wire_result *result, pxs_fail_class klass, const char *what)
{
    const char *why = vips_error_buffer();
    size_t len = strcspn(why, "\n");
    px_vips_refuse(result, klass, "%s: %.*s", what, (int)(len < 300 ? len : 300), why);
    vips_error_clear();
}

bool px_vips_init(const char *argv0)
{
    if (VIPS_INIT(argv0))
        return false;
    vips_concurrency_set(1);
    vips_cache_set_max(0);
    vips_block_untrusted_set(TRUE);
    vips_operation_block_set("VipsForeignLoad", TRUE);
    vips_operation_block_set("VipsForeignLoadJpeg", FALSE);
    vips_operation_block_set("VipsForeignLoadPng", FALSE);
    vips_operation_block_set("VipsForeignLoadWebp", FALSE);
    return true;
}

bool px_vips_write(int fd, const void *data, size_t len, px_wire_result *result)
{
    size_t done = 0;
    while (done < len) {
        ssize_t put = pwrite(fd, (const char *)data + done, len - done, (off_t)done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            px_vips_refuse(result, PXS_FAIL_INTERNAL, "writing %zu bytes: %s", len,
                           strerror(errno));
            return false;
        }
        done += (size_t)put;
    }
    if (ftruncate(fd, (off_t)len) != 0) {
        px_vips_refuse(result, PXS_FAIL_INTERNAL, "ftruncate: %s", strerror(errno));
        return false;
    }
    result->bytes = len;
    return true;
}

/* Replaces *image by what the operation made and drops the old one; false when it failed. */
static bool step(VipsImage **image, int failed, VipsImage **next)
{
    if (failed)
        return false;
    g_object_unref(*image);
    *image = *next;
    return true;
}

/* Pixels to 8-bit sRGB with 3 or 4 bands. Embedded profiles are honoured once and then dropped. */
static bool to_srgb(VipsImage **image)
{
    VipsImage *next = NULL;
    bool cmyk = vips_image_get_interpretation(*image) == VIPS_INTERPRETATION_CMYK;
    if (vips_image_get_typeof(*image, VIPS_META_ICC_NAME) || cmyk) {
        /* A broken profile is no reason to refuse a picture: its numbers are taken as sRGB then. */
        if (vips_icc_transform(*image, &next, "srgb", "embedded", TRUE, "input_profile",
                               cmyk ? "cmyk" : "srgb", "intent", VIPS_INTENT_PERCEPTUAL, NULL) == 0)
            step(image, 0, &next);
        else
            vips_error_clear();
    }
    if (vips_image_get_interpretation(*image) == VIPS_INTERPRETATION_sRGB
        && (*image)->BandFmt == VIPS_FORMAT_UCHAR)
        return true;
    return step(image, vips_colourspace(*image, &next, VIPS_INTERPRETATION_sRGB, NULL), &next);
}

/* Resizes so that no side is over max_side. */
static bool shrink_to(VipsImage **image, unsigned max_side)
{
    int longest = VIPS_MAX((*image)->Xsize, (*image)->Ysize);
    VipsImage *next = NULL;
    if (!max_side || longest <= (int)max_side)
        return true;
    double scale = (double)max_side / longest;
    /* Exact sizes: rounding each side by one common factor may miss max_side by a pixel. */
    double xscale = VIPS_MAX(1.0, floor((*image)->Xsize * scale + 0.5)) / (*image)->Xsize;
    double yscale = VIPS_MAX(1.0, floor((*image)->Ysize * scale + 0.5)) / (*image)->Ysize;
    if (!vips_image_hasalpha(*image))
        return step(image, vips_resize(*image, &next, xscale, "vscale", yscale, NULL), &next);
    /* Colours under transparent pixels must not bleed into visible ones. */
    return step(image, vips_premultiply(*image, &next, NULL), &next)
        && step(image, vips_resize(*image, &next, xscale, "vscale", yscale, NULL), &next)
        && step(image, vips_unpremultiply(*image, &next, NULL), &next)
        && step(image, vips_cast_uchar(*image, &next, NULL), &next);
}

static bool orient(VipsImage **image)
{
    VipsImage *next = NULL;
    int o = vips_image_get_orientation(*image);
    if (o <= 1)
        return true;
    /* Turning reads the picture in another order than the decoder makes it. */
    next = vips_image_copy_memory(*image);
    return step(image, next == NULL, &next)
        && step(image, vips_autorot(*image, &next, NULL), &next);
}

/* Takes every piece of metadata off: position, camera, owner, comments, thumbnails, profile.  The
 * savers' own "strip" is not enough: libvips 8.14 writes EXIF and profile into WebP in spite of it.
 */
static bool strip(VipsImage **image)
{
    VipsImage *next = NULL;
    if (!step(image, vips_copy(*image, &next, NULL), &next))
        return false;
    char **fields = vips_image_get_fields(*image);
    for (char **field = fields; *field; field++)
        if (strcmp(*field, VIPS_META_SEQUENTIAL) != 0)
            vips_image_remove(*image, *field);      /* refuses built-in fields such as width */
    g_strfreev(fields);
    return true;
}

static int save(VipsImage *image, px_vips_type type, int quality, void **data, size_t *len)
{
    if (type == PX_VIPS_JPEG)
        return vips_jpegsave_buffer(image, data, len, "Q", quality, "strip", TRUE,
                                    "optimize_coding", TRUE, NULL);
    if (type == PX_VIPS_WEBP) {
        if (vips_webpsave_buffer(image, data, len, "Q", quality, "strip", TRUE, "effort", 4, NULL))
            return -1;
        *len = px_vips_webp_strip(*data, *len);
        return 0;
    }
    return vips_pngsave_buffer(image, data, len, "compression", 6, "strip", TRUE, NULL);
}

static bool flatten(VipsImage **image)
{
    VipsImage *next = NULL;
    VipsArrayDouble *white = vips_array_double_newv(3, 255.0, 255.0, 255.0);
    bool ok = step(image, vips_flatten(*image, &next, "background", white, NULL), &next);
    vips_area_unref(VIPS_AREA(white));
    return ok;
}

/* Opens with the size checked, reduced by the decoder where that is free. */
static VipsImage *open_checked(const px_wire_packet *task, const px_vips_file *file,
                               px_wire_result *result)
{
    unsigned max_pixels = task->head.max_pixels ? task->head.max_pixels : DEFAULT_MAX_PIXELS;
    VipsImage *image = px_vips_open(file, 1);
    if (!image) {
        refuse_vips(result, PXS_FAIL_MALFORMED, "cannot open the image");
        return NULL;
    }
    if ((uint64_t)image->Xsize * (uint64_t)image->Ysize > max_pixels) {
        px_vips_refuse(result, PXS_FAIL_BAD_REQUEST, "%dx%d pixels are over the limit of %u",
                       image->Xsize, image->Ysize, max_pixels);
        g_object_unref(image);
        return NULL;
    }
    int longest = VIPS_MAX(image->Xsize, image->Ysize), target = (int)task->head.max_side;
    if (file->type == PX_VIPS_JPEG && target && longest > target) {
        int shrink = px_vips_jpeg_shrink(longest, target);
        if (shrink > 1) {
            g_object_unref(image);
            image = px_vips_open(file, shrink);
        }
    }
    if (!image)
        refuse_vips(result, PXS_FAIL_MALFORMED, "cannot open the image");
    return image;
}

static void probe(VipsImage *image, px_vips_type type, px_wire_result *result)
{
    double average;
    bool turned = vips_image_get_orientation(image) >= 5;
    /* Every pixel is decoded, as the average needs it; nothing is kept. */
    if (vips_avg(image, &average, NULL)) {
        refuse_vips(result, PXS_FAIL_MALFORMED, "cannot decode the image");
        return;
    }
    result->width = (uint32_t)(turned ? image->Ysize : image->Xsize);
    result->height = (uint32_t)(turned ? image->Xsize : image->Ysize);
    snprintf(result->mime, sizeof result->mime, "%s", px_vips_mime(type));
    result->status = PX_HELPER_OK;
}

/* Decodes, transforms and writes. *image is replaced on the way. */
static void convert(const px_wire_packet *task, VipsImage **image, px_vips_type type, int output,
                    px_wire_result *result)
{
    int quality = task->head.quality ? (int)VIPS_MIN(task->head.quality, 100u) : 85;
    void *data = NULL;
    size_t len = 0;
    /* Two threads let decoding and resizing overlap with encoding; one more would only wait. */
    vips_concurrency_set(2);
    if (!to_srgb(image) || !shrink_to(image, task->head.max_side) || !orient(image)
        || (type == PX_VIPS_JPEG && vips_image_hasalpha(*image) && !flatten(image))
        || !strip(image)
        || save(*image, type, quality, &data, &len)) {
        refuse_vips(result, PXS_FAIL_MALFORMED, "cannot convert the image");
        return;
    }
    if (px_vips_write(output, data, len, result)) {
        result->width = (uint32_t)(*image)->Xsize;
        result->height = (uint32_t)(*image)->Ysize;
        snprintf(result->mime, sizeof result->mime, "%s", px_vips_mime(type));
        result->status = PX_HELPER_OK;
    }
    g_free(data);
}

void px_vips_run(const px_wire_packet *task, int input, int output, px_wire_result *result)
{
    px_vips_file file;
    const char *format = px_wire_get(task, "format");
    if (!px_vips_map(input, &file)) {
        px_vips_refuse(result, PXS_FAIL_MALFORMED, "the image file is empty");
        return;
    }
    px_vips_type type = format ? px_vips_type_named(format) : file.type;
    VipsImage *image = open_checked(task, &file, result);
    if (image && task->head.verb == PX_HELPER_PROBE)
        probe(image, file.type, result);
    else if (image && type == PX_VIPS_NONE)
        px_vips_refuse(result, PXS_FAIL_BAD_REQUEST, "no such image format: %.20s", format);
    else if (image)
        convert(task, &image, type, output, result);
    if (image)
        g_object_unref(image);
    px_vips_unmap(&file);
}

bool px_vips_describe(int fd, px_wire_result *result)
{
    px_vips_file file;
    if (!px_vips_map(fd, &file))
        return false;
    VipsImage *image = px_vips_open(&file, 1);
    if (image) {
        result->width = (uint32_t)image->Xsize;
        result->height = (uint32_t)image->Ysize;
        result->bytes = file.len;
        snprintf(result->mime, sizeof result->mime, "%s", px_vips_mime(file.type));
        g_object_unref(image);
    }
    px_vips_unmap(&file);
    return image != NULL;
}
