/* Memory, decoding and encoding of pictures; see picture.h. */
#include "image_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool fail(work *w, pxs_fail_class klass, const char *message)
{
    w->call->fail.klass = klass;
    w->call->fail.message = message;
    return false;
}

const char *param(const work *w, const char *name, const char *fallback)
{
    for (uint32_t i = 0; i < w->request->param_count; i++) {
        const pxs_param *p = &w->request->params[i];
        if (strcmp(p->name, name) == 0 && p->value && p->value[0])
            return p->value;
    }
    return fallback;
}

long param_number(const work *w, const char *name, long min, long max, long fallback)
{
    const char *text = param(w, name, "");
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text || *end || n < min || n > max)
        return fallback;
    return n;
}

void *take_memory(work *w, size_t size)
{
    if (w->block_count == w->block_size) {
        w->block_size = w->block_size ? w->block_size * 2 : 64;
        w->blocks = realloc(w->blocks, w->block_size * sizeof *w->blocks);
        if (!w->blocks)
            abort();
    }
    void *block = calloc(1, size ? size : 1);
    if (!block)
        abort();
    return w->blocks[w->block_count++] = block;
}

void drop_memory(work *w, size_t mark)
{
    while (w->block_count > mark)
        free(w->blocks[--w->block_count]);
    w->room = NULL;         /* it may have been among them */
    w->room_len = 0;
    if (!mark) {
        free(w->blocks);
        w->blocks = NULL;
        w->block_size = 0;
    }
}

picture *picture_new(work *w, int width, int height)
{
    picture *p = take_memory(w, sizeof *p);
    p->w = width;
    p->h = height;
    p->px = take_memory(w, (size_t)width * (size_t)height * 3 * sizeof *p->px);
    return p;
}

picture *picture_copy(work *w, const picture *from)
{
    picture *p = picture_new(w, from->w, from->h);
    memcpy(p->px, from->px, (size_t)p->w * (size_t)p->h * 3 * sizeof *p->px);
    return p;
}

plane *plane_new(work *w, int width, int height)
{
    plane *p = take_memory(w, sizeof *p);
    p->w = width;
    p->h = height;
    p->v = take_memory(w, (size_t)width * (size_t)height * sizeof *p->v);
    return p;
}

/* ---- in ---- */

/* 8-bit sRGB, oriented, no longer than max_side, in memory. NULL = broken image. */
static unsigned char *decode(const char *path, int max_side, int *width, int *height, int *bands)
{
    VipsImage *a = vips_image_new_from_file(path, "fail_on", VIPS_FAIL_ON_ERROR, NULL);
    VipsImage *b = NULL, *c = NULL, *d = NULL;
    unsigned char *bytes = NULL;
    size_t size;
    if (a && !vips_autorot(a, &b, NULL)
        && !vips_colourspace(b, &c, VIPS_INTERPRETATION_sRGB, NULL)) {
        double scale = (double)max_side / VIPS_MAX(c->Xsize, c->Ysize);
        int failed = scale < 1 ? vips_resize(c, &d, scale, NULL) : vips_copy(c, &d, NULL);
        if (!failed && d->BandFmt == VIPS_FORMAT_UCHAR && d->Bands >= 3) {
            bytes = vips_image_write_to_memory(d, &size);
            *width = d->Xsize;
            *height = d->Ysize;
            *bands = d->Bands;
        }
    }
    VIPS_UNREF(d);
    VIPS_UNREF(c);
    VIPS_UNREF(b);
    VIPS_UNREF(a);
    return bytes;
}

picture *picture_load(work *w, const pxs_image *image, int max_side, plane **alpha)
{
    int width, height, bands;
    unsigned char *bytes = decode(image->path, max_side, &width, &height, &bands);
    if (!bytes) {
        fail(w, PXS_FAIL_MALFORMED, "an input image cannot be decoded");
        return NULL;
    }
    picture *p = picture_new(w, width, height);
    plane *opacity = alpha && bands > 3 ? plane_new(w, width, height) : NULL;
    for (size_t i = 0; i < (size_t)width * (size_t)height; i++) {
        const unsigned char *from = bytes + i * (size_t)bands;
        float a = bands > 3 && !opacity ? from[3] / 255.0f : 1;
        for (int k = 0; k < 3; k++)     /* transparency that nobody asked for shows white paper */
            p->px[i * 3 + k] = from[k] / 255.0f * a + 1 - a;
        if (opacity)
            opacity->v[i] = from[3] / 255.0f;
    }
    if (alpha)
        *alpha = opacity;
    g_free(bytes);
    return p;
}

/* ---- out ---- */

static bool write_file(work *w, const char *path, const void *data, size_t len)
{
    int fd = path ? open(path, O_WRONLY | O_TRUNC | O_CLOEXEC) : -1;
    size_t done = 0;
    if (fd < 0)
        return fail(w, PXS_FAIL_INTERNAL, "the output file cannot be opened");
    while (done < len) {
        ssize_t put = write(fd, (const char *)data + done, len - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            break;
        done += (size_t)put;
    }
    close(fd);
    return done == len || fail(w, PXS_FAIL_INTERNAL, "the output file cannot be written");
}

bool image_save(work *w, VipsImage *image)
{
    const char *format = param(w, "format", "png");
    void *data = NULL;
    size_t len = 0;
    int failed;
    /* A PNG of many millions of pixels takes seconds and passes the helper's file limit. */
    bool large = (int64_t)image->Xsize * image->Ysize > 6000000;
    if (strcmp(format, "webp") == 0) {
        w->result->mime = "image/webp";
        failed = vips_webpsave_buffer(image, &data, &len, "Q", w->quality, "effort", 2, "strip",
                                      TRUE, NULL);
    } else if (strcmp(format, "png") == 0 && !large) {
        w->result->mime = "image/png";
        failed = vips_pngsave_buffer(image, &data, &len, "compression", 3, "strip", TRUE, NULL);
    } else {
        w->result->mime = "image/jpeg";
        failed = vips_jpegsave_buffer(image, &data, &len, "Q", w->quality, "strip", TRUE, NULL);
    }
    if (failed)
        return fail(w, PXS_FAIL_INTERNAL, "the result cannot be encoded");
    bool ok = write_file(w, w->result->output_path, data, len);
    g_free(data);
    return ok;
}

/* Bytes of a picture with a little noise, so that gradients do not show bands. */
static unsigned char *to_bytes(work *w, const picture *from)
{
    size_t count = (size_t)from->w * (size_t)from->h * 3;
    unsigned char *bytes = take_memory(w, count);
    for (size_t i = 0; i < count; i++) {
        float x = clamp01(from->px[i]) * 255.0f;
        float dither = x > 1 && x < 254 ? noise((int)(i % 65521), (int)(i / 65521), 77) - 0.5f : 0;
        bytes[i] = (unsigned char)(x + 0.5f + dither * 0.6f);
    }
    return bytes;
}

bool picture_save(work *w, const picture *from)
{
    unsigned char *bytes = to_bytes(w, from);
    VipsImage *raw = vips_image_new_from_memory(bytes, (size_t)from->w * (size_t)from->h * 3,
                                                from->w, from->h, 3, VIPS_FORMAT_UCHAR);
    VipsImage *image = NULL;
    if (!raw || vips_copy(raw, &image, "interpretation", VIPS_INTERPRETATION_sRGB, NULL))
        return fail(w, PXS_FAIL_INTERNAL, "the result cannot be encoded");
    bool ok = image_save(w, image);
    g_object_unref(image);
    g_object_unref(raw);
    return ok;
}

picture *picture_resize(work *w, const picture *from, int width, int height)
{
    picture *to = picture_new(w, width, height);
    VipsImage *raw = vips_image_new_from_memory(from->px, (size_t)from->w * (size_t)from->h * 12,
                                                from->w, from->h, 3, VIPS_FORMAT_FLOAT);
    VipsImage *image = NULL;
    size_t size;
    if (raw && !vips_resize(raw, &image, (double)width / from->w, "vscale",
                            (double)height / from->h, NULL)
        && image->Xsize == width && image->Ysize == height) {
        void *data = vips_image_write_to_memory(image, &size);
        memcpy(to->px, data, VIPS_MIN(size, (size_t)width * (size_t)height * 12));
        g_free(data);
    }
    VIPS_UNREF(image);
    VIPS_UNREF(raw);
    return to;
}
