/* ENHANCE: 2x, 4x or 8x upscaling with the treatment that the mode asks for. */
#include "image_ops.h"

#include <string.h>

#define PIXELS_MAX (8192.0 * 8192.0)

/* ---- steps: each replaces *image; false when libvips refuses ---- */

static bool take(VipsImage **image, int failed, VipsImage **next)
{
    if (failed)
        return false;
    g_object_unref(*image);
    *image = *next;
    return true;
}

static bool sharpen(VipsImage **image, double sigma, double amount)
{
    VipsImage *next = NULL;
    /* Flat areas stay flat (x1), edges gain, halos are bounded (y2, y3). */
    return take(image, vips_sharpen(*image, &next, "sigma", sigma, "x1", 1.0, "y2", 8.0, "y3", 12.0,
                                    "m1", 0.0, "m2", amount, NULL), &next);
}

static bool denoise(VipsImage **image, int size)
{
    VipsImage *next = NULL;
    return take(image, vips_median(*image, &next, size, NULL), &next);
}

/* More colour by scaling the chroma of LCh. */
static bool chroma(VipsImage **image, double lightness, double colour)
{
    VipsImage *next = NULL;
    const double scale[] = { lightness, colour, 1 }, offset[] = { 0, 0, 0 };
    return take(image, vips_colourspace(*image, &next, VIPS_INTERPRETATION_LCH, NULL), &next)
        && take(image, vips_linear(*image, &next, scale, offset, 3, NULL), &next)
        && take(image, vips_copy(*image, &next, "interpretation", VIPS_INTERPRETATION_LCH, NULL),
                &next)
        && take(image, vips_colourspace(*image, &next, VIPS_INTERPRETATION_sRGB, NULL), &next);
}

static bool upscale(VipsImage **image, double scale, VipsKernel kernel)
{
    VipsImage *next = NULL;
    return take(image, vips_resize(*image, &next, scale, "kernel", kernel, NULL), &next);
}

/* What a mode does: noise is taken out before it is enlarged, sharpness is given after. */
typedef struct {
    const char *name;
    int median;             /* window of the noise filter; 0 = none */
    double before;          /* sharpening before enlarging, 0 = none */
    double after;
    double lightness, colour;
} treatment;

static const treatment treatments[] = {
    { "standard", 0, 0, 2.2, 1, 1 },
    { "enhanced", 0, 1.5, 3.5, 1.01, 1.10 },
    { "gentle", 3, 0, 1.0, 1, 1 },
    { "portrait", 3, 0, 1.6, 1.02, 1.04 },
    { "product", 0, 2.0, 4.0, 1.03, 1.06 },
};

static const treatment *find_treatment(const char *mode)
{
    for (size_t i = 0; i < sizeof treatments / sizeof *treatments; i++)
        if (strcmp(treatments[i].name, mode) == 0)
            return &treatments[i];
    return NULL;
}

/* Filters cost per pixel and their work is coarser than the last doubling: at 8x they run at 4x and
 * the rest is interpolated linearly, which looks the same and takes a third of the time. */
static bool treat(VipsImage **image, const treatment *t, double scale)
{
    double first = scale > 4 ? scale / 2 : scale, sigma = 0.5 + 0.25 * first;
    return (!t->median || denoise(image, t->median))
        && (t->before <= 0 || sharpen(image, 0.7, t->before))
        && (t->colour <= 1 || chroma(image, t->lightness, t->colour))
        && upscale(image, first, VIPS_KERNEL_LANCZOS3)
        && sharpen(image, sigma, t->after)
        && (first >= scale || upscale(image, scale / first, VIPS_KERNEL_LINEAR));
}

static VipsImage *open_upright(work *w)
{
    VipsImage *image = vips_image_new_from_file(w->request->images[0].path, "fail_on",
                                                VIPS_FAIL_ON_ERROR, NULL);
    VipsImage *next = NULL;
    if (image && take(&image, vips_autorot(image, &next, NULL), &next)
        && take(&image, vips_colourspace(image, &next, VIPS_INTERPRETATION_sRGB, NULL), &next)
        && (!vips_image_hasalpha(image)
            || take(&image, vips_flatten(image, &next, NULL), &next)))
        return image;
    VIPS_UNREF(image);
    fail(w, PXS_FAIL_MALFORMED, "the input image cannot be decoded");
    return NULL;
}

bool run_enhance(work *w)
{
    long scale = param_number(w, "scale", 1, 8, 2);
    const treatment *how = find_treatment(param(w, "mode", "standard"));
    if (w->request->image_count < 1)
        return fail(w, PXS_FAIL_BAD_REQUEST, "enhance needs an image");
    if (scale != 1 && scale != 2 && scale != 4 && scale != 8)
        return fail(w, PXS_FAIL_BAD_REQUEST, "the scale must be 1, 2, 4 or 8");
    if (!how)
        return fail(w, PXS_FAIL_BAD_REQUEST, "there is no such mode");
    VipsImage *image = open_upright(w);
    if (!image)
        return false;
    bool ok;
    if ((double)image->Xsize * image->Ysize * (double)(scale * scale) > PIXELS_MAX)
        ok = fail(w, PXS_FAIL_BAD_REQUEST, "the enlarged image would be too large");
    else if (!treat(&image, how, (double)scale))
        ok = fail(w, PXS_FAIL_MALFORMED, "the input image cannot be decoded");
    else
        ok = image_save(w, image);
    g_object_unref(image);
    return ok;
}
