/* Pictures of ai_local: interleaved RGB as floats, 0..1, gamma-encoded sRGB, and single planes of
 * the same kind.  Memory comes from take_memory() and is given back by drop_memory().  One thread.
 */
#ifndef AI_LOCAL_PICTURE_H
#define AI_LOCAL_PICTURE_H

#include <pixshift/plugin.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct {
    int w, h;
    float *px;          /* w * h * 3 */
} picture;

typedef struct {
    int w, h;
    float *v;           /* w * h */
} plane;

/* One operation under way. */
typedef struct {
    pxs_call *call;
    const pxs_ai_request *request;
    pxs_ai_result *result;
    int max_side;       /* pixels of a result's longer side */
    int quality;        /* 1..100 */
    float *room;        /* scratch that the box filters share */
    size_t room_len;
    void **blocks;      /* what take_memory() gave */
    size_t block_count, block_size;
} work;

/* Zeroed memory; never NULL (the process aborts, which the host reports as a crash). */
void *take_memory(work *w, size_t size);
/* Frees everything taken since block_count was `mark`; 0 = everything. */
void drop_memory(work *w, size_t mark);

/* Sets the failure and returns false. */
bool fail(work *w, pxs_fail_class klass, const char *message);
/* Value of a request's parameter, `fallback` when absent or empty. */
const char *param(const work *w, const char *name, const char *fallback);
long param_number(const work *w, const char *name, long min, long max, long fallback);

picture *picture_new(work *w, int width, int height);
picture *picture_copy(work *w, const picture *from);
plane *plane_new(work *w, int width, int height);

/* Decodes a file, at most max_side pixels long. `alpha` receives the transparency, NULL when there
 * is none or nobody asks. NULL after fail(). */
picture *picture_load(work *w, const pxs_image *image, int max_side, plane **alpha);
/* Encodes into result->output_path: PNG, or JPEG/WebP when the parameter "format" asks. */
bool picture_save(work *w, const picture *from);
picture *picture_resize(work *w, const picture *from, int width, int height);

/* ---- arithmetic ---- */

float clamp01(float x);
float mixf(float a, float b, float t);
float smooth(float edge0, float edge1, float x);    /* 0 below edge0, 1 above edge1 */
/* Repeatable noise in 0..1 for a place; `seed` tells layers apart. */
float noise(int x, int y, unsigned seed);
/* The same, interpolated over cells of `cell` pixels, four octaves: clouds, paper, water. */
float cloud(float x, float y, float cell, unsigned seed);
float luma_of(const float *rgb);
/* Moves colours away from (amount > 1) or towards grey. */
void saturate(float *rgb, float amount);
void hsl_to_rgb(float h, float s, float l, float *rgb);     /* h in turns */
/* An S-curve around the middle; 0 = none, 1 = strong. */
float contrast(float x, float amount);

plane *luma(work *w, const picture *from);
/* Box and Gaussian means in place; edges are repeated. */
void plane_box(work *w, plane *p, int radius);
void plane_gauss(work *w, plane *p, float sigma);
void picture_gauss(work *w, picture *p, float sigma);
void picture_box(work *w, picture *p, int radius);
/* Smooths `p` but keeps the edges of `guide`. */
plane *guided(work *w, const plane *guide, const plane *p, int radius, float eps);

#endif
