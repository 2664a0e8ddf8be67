/* Where the subject of a picture is: plain image statistics, no recognition of anything. */
#include "image_ops.h"

#include <math.h>
#include <string.h>

#define SMALL 320       /* pixels of the longer side on which the search runs */

static picture *small_copy(work *w, const picture *from)
{
    int longest = from->w > from->h ? from->w : from->h;
    float scale = longest > SMALL ? (float)SMALL / (float)longest : 1;
    int width = (int)fmaxf(1, rintf((float)from->w * scale));
    int height = (int)fmaxf(1, rintf((float)from->h * scale));
    return picture_resize(w, from, width, height);
}

/* ---- attention ---- */

/* Where the eye goes: the middle of what is detailed and unlike the average colour, seen from the
 * centre.  `spread` is the mean distance from there. */
static void attention(work *w, const picture *small, float *x, float *y, float *spread)
{
    plane *fine = luma(w, small), *coarse = luma(w, small);
    size_t count = (size_t)small->w * (size_t)small->h;
    float mean[3] = { 0, 0, 0 }, sum = 0;
    plane_gauss(w, coarse, 5);
    for (size_t i = 0; i < count * 3; i++)
        mean[i % 3] += small->px[i] / (float)count;
    for (size_t i = 0; i < count; i++) {
        float odd = 0;
        for (int k = 0; k < 3; k++)
            odd += fabsf(small->px[i * 3 + k] - mean[k]);
        float cx = ((float)(i % (size_t)small->w) + 0.5f) / (float)small->w - 0.5f;
        float cy = ((float)(i / (size_t)small->w) + 0.5f) / (float)small->h - 0.45f;
        fine->v[i] = (fabsf(fine->v[i] - coarse->v[i]) * 3 + 0.25f * odd)
            * expf(-(cx * cx + cy * cy) * 7);
    }
    plane_gauss(w, fine, 6);
    *x = *y = *spread = 0;
    for (size_t i = 0; i < count; i++) {
        float weight = fine->v[i] * fine->v[i];
        *x += weight * (float)(i % (size_t)small->w);
        *y += weight * (float)(i / (size_t)small->w);
        sum += weight;
    }
    *x /= sum + 1e-9f;
    *y /= sum + 1e-9f;
    for (size_t i = 0; i < count; i++) {
        float weight = fine->v[i] * fine->v[i] / (sum + 1e-9f);
        *spread += weight * hypotf((float)(i % (size_t)small->w) - *x,
                                   (float)(i / (size_t)small->w) - *y);
    }
}

/* ---- skin ---- */

/* The classic box in YCbCr, with enough light to trust the colour. */
static bool is_skin(const float *rgb)
{
    float y = luma_of(rgb), cb = (rgb[2] - y) * 0.564f, cr = (rgb[0] - y) * 0.713f;
    return y > 0.25f && cb > -0.17f && cb < -0.015f && cr > 0.03f && cr < 0.16f
        && rgb[0] > rgb[1] && rgb[1] > rgb[2] * 0.9f;
}

typedef struct {
    int x0, y0, x1, y1, area;
} blob;

/* Marks the connected shape at `start` as seen and measures it. */
static blob flood(unsigned char *mark, int width, int height, int start, int *stack)
{
    blob b = { width, height, 0, 0, 0 };
    int top = 0;
    stack[top++] = start;
    mark[start] = 0;
    while (top) {
        int at = stack[--top], x = at % width, y = at / width;
        const int next[] = { x > 0 ? at - 1 : -1, x + 1 < width ? at + 1 : -1,
                             y > 0 ? at - width : -1, y + 1 < height ? at + width : -1 };
        b.x0 = x < b.x0 ? x : b.x0;
        b.x1 = x > b.x1 ? x : b.x1;
        b.y0 = y < b.y0 ? y : b.y0;
        b.y1 = y > b.y1 ? y : b.y1;
        b.area++;
        for (int k = 0; k < 4; k++)
            if (next[k] >= 0 && mark[next[k]]) {
                mark[next[k]] = 0;
                stack[top++] = next[k];
            }
    }
    return b;
}

/* How much a shape is like a face: filled, not too long, not everything, rather high and central.
 */
static float face_score(const blob *b, int width, int height)
{
    float bw = (float)(b->x1 - b->x0 + 1), bh = (float)(b->y1 - b->y0 + 1);
    float fill = (float)b->area / (bw * bh), aspect = bh / bw;
    float share = (float)b->area / (float)(width * height);
    float cx = ((float)(b->x0 + b->x1) / 2 / (float)width - 0.5f) * 2;
    float top = (float)b->y0 / (float)height;
    /* A small one is believed only where heads are. */
    if (share < (top < 0.35f ? 0.005f : 0.015f) || share > 0.4f || fill < 0.5f
        || aspect < 0.85f || aspect > 2.8f || fabsf(cx) > 0.75f || top > 0.7f)
        return 0;
    return sqrtf(share) * fill * (1.1f - cx * cx) * (1.2f - top);
}

spot find_face(work *w, const picture *from)
{
    picture *small = small_copy(w, from);
    plane *skin = plane_new(w, small->w, small->h);
    size_t count = (size_t)small->w * (size_t)small->h;
    unsigned char *mark = take_memory(w, count);
    int *stack = take_memory(w, count * sizeof *stack);
    float up = (float)from->w / (float)small->w, best = 0;
    spot s = { 0, 0, 0, 0, false };
    for (size_t i = 0; i < count; i++)
        skin->v[i] = is_skin(small->px + i * 3);
    plane_box(w, skin, 2);
    for (size_t i = 0; i < count; i++)
        mark[i] = skin->v[i] > 0.55f;
    for (size_t i = 0; i < count; i++) {
        if (!mark[i])
            continue;
        blob b = flood(mark, small->w, small->h, (int)i, stack);
        float score = face_score(&b, small->w, small->h);
        if (score <= best)
            continue;
        best = score;
        float bw = (float)(b.x1 - b.x0 + 1), bh = fminf((float)(b.y1 - b.y0 + 1), bw * 1.35f);
        s = (spot){ ((float)b.x0 + bw / 2) * up, ((float)b.y0 + bh / 2) * up, bw * up, bh * up,
                    true };
    }
    if (!s.found) {
        float spread;
        attention(w, small, &s.x, &s.y, &spread);
        s.x *= up;
        s.y *= up;
        s.w = s.h = spread * up * 1.4f;
    }
    return s;
}

/* ---- subject mask ---- */

#define BINS 12         /* per colour channel */

static int bin_of(const float *rgb)
{
    int b[3];
    for (int k = 0; k < 3; k++) {
        b[k] = (int)(clamp01(rgb[k]) * BINS);
        b[k] = b[k] >= BINS ? BINS - 1 : b[k];
    }
    return (b[0] * BINS + b[1]) * BINS + b[2];
}

/* Where a subject would be before looking at colours: an ellipse around the spot, widening
 * downwards, because people and things stand on the lower edge. */
static void prior(plane *p, const spot *s, float size)
{
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++) {
            float dy = ((float)y - s->y) / size, dx = ((float)x - s->x) / size;
            float spread = dy > 0 ? 1 + 0.55f * fminf(dy, 2) : 1;
            float d = dx * dx / (spread * spread) + (dy > 0 ? dy * dy * 0.16f : dy * dy);
            p->v[(size_t)y * (size_t)p->w + (size_t)x] = expf(-d * 1.1f);
        }
}

/* One round: colours of likely subject against colours of likely background, then the odds of each
 * pixel, mixed with where it lies. */
static void colour_odds(work *w, const picture *small, const plane *where, plane *mask)
{
    float *fore = take_memory(w, BINS * BINS * BINS * sizeof *fore);
    float *back = take_memory(w, BINS * BINS * BINS * sizeof *back);
    size_t count = (size_t)small->w * (size_t)small->h;
    float fore_sum = 0, back_sum = 0;
    for (size_t i = 0; i < count; i++) {
        int b = bin_of(small->px + i * 3);
        fore[b] += mask->v[i];
        back[b] += 1 - mask->v[i];
        fore_sum += mask->v[i];
        back_sum += 1 - mask->v[i];
    }
    for (size_t i = 0; i < count; i++) {
        int b = bin_of(small->px + i * 3);
        float f = (fore[b] + 1) / (fore_sum + 50), g = (back[b] + 1) / (back_sum + 50);
        float place = clamp01(where->v[i] * 1.15f);
        float odds = sqrtf(f / g) * (place + 0.02f) / (1.06f - place);
        mask->v[i] = odds / (1 + odds);
    }
    plane_gauss(w, mask, 1.2f);
}

static float sample(const plane *p, float x, float y)
{
    int x0 = (int)fmaxf(0, floorf(x)), y0 = (int)fmaxf(0, floorf(y));
    x0 = x0 >= p->w ? p->w - 1 : x0;
    y0 = y0 >= p->h ? p->h - 1 : y0;
    int x1 = x0 + 1 < p->w ? x0 + 1 : x0, y1 = y0 + 1 < p->h ? y0 + 1 : y0;
    const float *a = p->v + (size_t)y0 * (size_t)p->w, *b = p->v + (size_t)y1 * (size_t)p->w;
    float tx = clamp01(x - (float)x0), ty = clamp01(y - (float)y0);
    return mixf(mixf(a[x0], a[x1], tx), mixf(b[x0], b[x1], tx), ty);
}

plane *find_subject(work *w, const picture *from)
{
    picture *small = small_copy(w, from);
    spot s = find_face(w, from);
    float down = (float)small->w / (float)from->w;
    float shorter = (float)(small->w < small->h ? small->w : small->h);
    spot in_small = { s.x * down, s.y * down, s.w * down, s.h * down, s.found };
    plane *where = plane_new(w, small->w, small->h), *mask = plane_new(w, small->w, small->h);
    prior(where, &in_small, fmaxf(in_small.w, shorter * (s.found ? 0.2f : 0.4f)));
    memcpy(mask->v, where->v, (size_t)small->w * (size_t)small->h * sizeof(float));
    for (int round = 0; round < 3; round++)
        colour_odds(w, small, where, mask);
    mask = guided(w, luma(w, small), mask, (int)(shorter / 22) + 2, 1e-3f);
    plane *large = plane_new(w, from->w, from->h);
    for (int y = 0; y < from->h; y++)
        for (int x = 0; x < from->w; x++)
            large->v[(size_t)y * (size_t)from->w + (size_t)x] =
                sample(mask, ((float)x + 0.5f) * down - 0.5f, ((float)y + 0.5f) * down - 0.5f);
    large = guided(w, luma(w, from), large, (int)(2 / down) + 2, 2e-4f);
    for (size_t i = 0; i < (size_t)from->w * (size_t)from->h; i++)
        large->v[i] = smooth(0.30f, 0.68f, large->v[i]);
    return large;
}
