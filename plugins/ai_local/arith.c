/* Arithmetic on pictures and planes; see picture.h. */
#include "picture.h"

#include <math.h>
#include <string.h>

float clamp01(float x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

float mixf(float a, float b, float t)
{
    return a + (b - a) * t;
}

float smooth(float edge0, float edge1, float x)
{
    float t = clamp01((x - edge0) / (edge1 - edge0));
    return t * t * (3 - 2 * t);
}

float noise(int x, int y, unsigned seed)
{
    unsigned n = (unsigned)x * 374761393u + (unsigned)y * 668265263u + seed * 2246822519u;
    n = (n ^ (n >> 13)) * 1274126177u;
    n ^= n >> 16;
    return (float)(n & 0xffffff) / 16777215.0f;
}

static float lattice(float x, float y, unsigned seed)
{
    float fx = floorf(x), fy = floorf(y);
    int ix = (int)fx, iy = (int)fy;
    float tx = smooth(0, 1, x - fx), ty = smooth(0, 1, y - fy);
    float top = mixf(noise(ix, iy, seed), noise(ix + 1, iy, seed), tx);
    float bottom = mixf(noise(ix, iy + 1, seed), noise(ix + 1, iy + 1, seed), tx);
    return mixf(top, bottom, ty);
}

float cloud(float x, float y, float cell, unsigned seed)
{
    float sum = 0, weight = 0.5f;
    for (unsigned octave = 0; octave < 4; octave++) {
        sum += weight * lattice(x / cell, y / cell, seed + octave);
        cell /= 2;
        weight /= 2;
    }
    return sum / 0.9375f;
}

float luma_of(const float *rgb)
{
    return 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
}

void saturate(float *rgb, float amount)
{
    float grey = luma_of(rgb);
    for (int k = 0; k < 3; k++)
        rgb[k] = clamp01(mixf(grey, rgb[k], amount));
}

void hsl_to_rgb(float h, float s, float l, float *rgb)
{
    float a = s * (l < 0.5f ? l : 1 - l);
    for (int k = 0; k < 3; k++) {
        static const int phase[] = { 0, 8, 4 };
        float t = fmodf((float)phase[k] + (h - floorf(h)) * 12, 12);
        float ramp = fminf(fminf(t - 3, 9 - t), 1);
        rgb[k] = l - a * fmaxf(ramp, -1);
    }
}

float contrast(float x, float amount)
{
    x = clamp01(x);
    return mixf(x, x * x * (3 - 2 * x), amount);
}

plane *luma(work *w, const picture *from)
{
    plane *p = plane_new(w, from->w, from->h);
    for (size_t i = 0; i < (size_t)p->w * (size_t)p->h; i++)
        p->v[i] = luma_of(from->px + i * 3);
    return p;
}

/* Mean over 2*radius+1 values of a line of `n` values, `step` floats apart, by a running sum. */
static void box_line(float *line, size_t n, size_t step, int radius, float *copy)
{
    double sum = 0;
    long last = (long)n - 1;
    float scale = 1.0f / (float)(2 * radius + 1);
    for (size_t i = 0; i < n; i++)
        copy[i] = line[i * step];
    for (long i = -radius; i <= radius; i++)
        sum += copy[i < 0 ? 0 : i > last ? last : i];
    for (long i = 0; i <= last; i++) {
        line[(size_t)i * step] = (float)sum * scale;
        long out = i - radius, in = i + radius + 1;
        sum += copy[in > last ? last : in] - copy[out < 0 ? 0 : out];
    }
}

/* Vertical means walk row by row, because columns of a large picture miss the cache at each step.
 */
static void box_columns(float *v, size_t width, long height, int radius, float *sums, float *copy)
{
    float scale = 1.0f / (float)(2 * radius + 1);
    long last = height - 1;
    memcpy(copy, v, width * (size_t)height * sizeof *v);
    memset(sums, 0, width * sizeof *sums);
    for (long y = -radius; y <= radius; y++) {
        const float *row = copy + (size_t)(y < 0 ? 0 : y > last ? last : y) * width;
        for (size_t x = 0; x < width; x++)
            sums[x] += row[x];
    }
    for (long y = 0; y <= last; y++) {
        long out = y - radius, in = y + radius + 1;
        const float *plus = copy + (size_t)(in > last ? last : in) * width;
        const float *minus = copy + (size_t)(out < 0 ? 0 : out) * width;
        float *to = v + (size_t)y * width;
        for (size_t x = 0; x < width; x++) {
            to[x] = sums[x] * scale;
            sums[x] += plus[x] - minus[x];
        }
    }
}

/* Scratch for one filter run: a line, the sums of a row, a copy of the whole. */
static float *make_room(work *w, size_t row, size_t height)
{
    size_t need = row * (height + 2);
    if (w->room_len < need) {
        w->room = take_memory(w, need * sizeof *w->room);
        w->room_len = need;
    }
    return w->room;
}

static void box(work *w, float *v, int width, int height, int bands, int radius)
{
    size_t row = (size_t)width * (size_t)bands;
    if (radius < 1)
        return;
    float *line = make_room(w, row, (size_t)height), *sums = line + row, *copy = sums + row;
    for (int y = 0; y < height; y++)
        for (int k = 0; k < bands; k++)
            box_line(v + (size_t)y * row + (size_t)k, (size_t)width, (size_t)bands, radius, line);
    box_columns(v, row, height, radius, sums, copy);
}

/* Three boxes are a Gaussian for every eye; radius from the sum of their variances. */
static int gauss_radius(float sigma)
{
    return (int)(sqrtf(4 * sigma * sigma + 1) / 2 + 0.2f);
}

void plane_box(work *w, plane *p, int radius)
{
    box(w, p->v, p->w, p->h, 1, radius);
}

void picture_box(work *w, picture *p, int radius)
{
    box(w, p->px, p->w, p->h, 3, radius);
}

void plane_gauss(work *w, plane *p, float sigma)
{
    for (int i = 0; i < 3; i++)
        box(w, p->v, p->w, p->h, 1, gauss_radius(sigma));
}

void picture_gauss(work *w, picture *p, float sigma)
{
    for (int i = 0; i < 3; i++)
        box(w, p->px, p->w, p->h, 3, gauss_radius(sigma));
}

/* He, Sun, Tang: Guided Image Filtering (2010). */
plane *guided(work *w, const plane *guide, const plane *p, int radius, float eps)
{
    plane *mean_g = plane_new(w, p->w, p->h), *mean_p = plane_new(w, p->w, p->h);
    plane *a = plane_new(w, p->w, p->h), *b = plane_new(w, p->w, p->h);
    size_t count = (size_t)p->w * (size_t)p->h;
    memcpy(mean_g->v, guide->v, count * sizeof(float));
    memcpy(mean_p->v, p->v, count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        a->v[i] = guide->v[i] * p->v[i];
        b->v[i] = guide->v[i] * guide->v[i];
    }
    plane_box(w, mean_g, radius);
    plane_box(w, mean_p, radius);
    plane_box(w, a, radius);
    plane_box(w, b, radius);
    for (size_t i = 0; i < count; i++) {
        float variance = b->v[i] - mean_g->v[i] * mean_g->v[i];
        a->v[i] = (a->v[i] - mean_g->v[i] * mean_p->v[i]) / (variance + eps);
        b->v[i] = mean_p->v[i] - a->v[i] * mean_g->v[i];
    }
    plane_box(w, a, radius);
    plane_box(w, b, radius);
    for (size_t i = 0; i < count; i++)
        a->v[i] = a->v[i] * guide->v[i] + b->v[i];
    return a;
}
