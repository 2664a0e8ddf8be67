/* A golden crown, drawn by arithmetic: for each sample of a pixel, is it inside, and how does the
 * metal shine there?  Coordinates: u across (-1…1), v up (0 = lower rim, 1 = highest tip). */
#include "image_ops.h"

#include <math.h>

#define SAMPLES 3           /* per pixel and direction, against stair-steps */
#define BAND    0.27f       /* height of the ring below the tips */

static const float tip_u[] = { -0.98f, -0.5f, 0, 0.5f, 0.98f };
static const float tip_v[] = { 0.74f, 0.82f, 0.92f, 0.82f, 0.74f };

/* Height of the upper edge at u: straight flanks between tips and valleys, slightly hollow. */
static float upper_edge(float u)
{
    const float valley = 0.40f;
    for (int i = 0; i + 1 < 5; i++) {
        if (u < tip_u[i] || u > tip_u[i + 1])
            continue;
        float middle = (tip_u[i] + tip_u[i + 1]) / 2;
        bool left = u < middle;
        float t = left ? (u - tip_u[i]) / (middle - tip_u[i])
                       : (tip_u[i + 1] - u) / (tip_u[i + 1] - middle);
        return mixf(left ? tip_v[i] : tip_v[i + 1], valley, powf(t, 0.72f));
    }
    return -1;
}

typedef struct {
    float r, g, b, a;
} paint;

static paint metal(float u, float light)
{
    /* Dark bronze over gold to near white, by brightness. */
    static const float stops[4][3] = { { 0.25f, 0.12f, 0.02f }, { 0.72f, 0.47f, 0.08f },
                                       { 0.98f, 0.79f, 0.26f }, { 1.0f, 0.97f, 0.78f } };
    float turn = 0.62f + 0.30f * cosf((u + 0.35f) * 2.1f) + 0.22f * expf(-powf((u + 0.42f) * 7, 2))
        + 0.10f * expf(-powf((u - 0.55f) * 9, 2));
    float t = clamp01(turn * light) * 3;
    int i = t >= 3 ? 2 : (int)t;
    float f = t - (float)i;
    return (paint){ mixf(stops[i][0], stops[i + 1][0], f), mixf(stops[i][1], stops[i + 1][1], f),
                    mixf(stops[i][2], stops[i + 1][2], f), 1 };
}

static bool jewel(float u, float v, paint *out)
{
    static const float hues[3][3] = { { 0.78f, 0.04f, 0.12f }, { 0.06f, 0.22f, 0.72f },
                                      { 0.02f, 0.52f, 0.26f } };
    static const int order[] = { 1, 2, 0, 2, 1 };
    for (int i = 0; i < 5; i++) {
        float cu = tip_u[i] * 0.80f, size = i == 2 ? 0.105f : 0.075f;
        float du = (u - cu) / size, dv = (v - BAND / 2) / (size * 0.95f);
        float d = du * du + dv * dv;
        if (d > 1)
            continue;
        if (d > 0.68f) {
            *out = metal(u, 0.55f);         /* the setting */
            return true;
        }
        const float *c = hues[order[i]];
        float shade = 0.75f + 0.45f * (dv * 0.5f - du * 0.35f);
        float spark = smooth(0.12f, 0.02f, (du + 0.3f) * (du + 0.3f) + (dv - 0.35f) * (dv - 0.35f));
        *out = (paint){ clamp01(c[0] * shade + spark), clamp01(c[1] * shade + spark),
                        clamp01(c[2] * shade + spark), 1 };
        return true;
    }
    return false;
}

static bool ball(float u, float v, paint *out)
{
    for (int i = 0; i < 5; i++) {
        float r = i == 2 ? 0.085f : 0.066f;
        float du = (u - tip_u[i]) / r, dv = (v - tip_v[i] - 0.03f) / r;
        float d = du * du + dv * dv;
        if (d > 1)
            continue;
        float light = 0.55f + 0.55f * sqrtf(1 - d) + 0.35f * (dv * 0.6f - du * 0.5f);
        *out = metal(-0.1f, light * 1.05f);
        return true;
    }
    return false;
}

/* Colour of one sample; a = 0 outside. */
static paint crown_at(float u, float v)
{
    paint out = { 0, 0, 0, 0 };
    u /= 0.93f + 0.10f * v;                 /* wider at the tips */
    v -= 0.13f * (u * u - 0.5f);            /* a ring seen from a little below */
    if (ball(u, v, &out))
        return out;
    if (fabsf(u) > 1 || v < 0)
        return out;
    if (v <= BAND) {
        if (jewel(u, v, &out))
            return out;
        float rim = fminf(v, BAND - v);
        float light = rim < 0.035f ? 1.12f - rim * 8 : 0.80f + 0.5f * (v - BAND / 2);
        return metal(u, light);
    }
    float edge = upper_edge(u);
    if (v > edge)
        return out;
    float bevel = smooth(0, 0.06f, edge - v);
    float light = mixf(1.28f, 0.90f - 0.28f * smooth(0.3f, 0, v - BAND), bevel);
    return metal(u, light);
}

/* The soft shadow that the crown throws on what carries it. */
static void shade(picture *p, float cx, float base, float half)
{
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++) {
            float du = ((float)x - cx) / (half * 1.02f);
            float dv = ((float)y - base - half * 0.10f * (1 - du * du)) / (half * 0.22f);
            float d = du * du * du * du + dv * dv;
            float *px = p->px + ((size_t)y * (size_t)p->w + (size_t)x) * 3;
            if (d < 4)
                for (int k = 0; k < 3; k++)
                    px[k] *= 1 - 0.5f * expf(-d * 1.6f);
        }
}

static void draw_at(picture *p, float cx, float base, float half, float tilt)
{
    float co = cosf(tilt), si = sinf(tilt);
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++) {
            float rx = ((float)x - cx) / half, ry = (base - (float)y) / half;
            if (rx * rx + ry * ry > 3.2f)
                continue;
            paint sum = { 0, 0, 0, 0 };
            for (int s = 0; s < SAMPLES * SAMPLES; s++) {
                float fx = ((float)x - cx + ((float)(s % SAMPLES) + 0.5f) / SAMPLES) / half;
                float fy = (base - (float)y - ((float)(s / SAMPLES) + 0.5f) / SAMPLES) / half;
                paint c = crown_at(fx * co + fy * si, fy * co - fx * si);
                sum.r += c.r * c.a, sum.g += c.g * c.a, sum.b += c.b * c.a, sum.a += c.a;
            }
            if (sum.a <= 0)
                continue;
            float *px = p->px + ((size_t)y * (size_t)p->w + (size_t)x) * 3;
            float a = sum.a / (SAMPLES * SAMPLES);
            px[0] = mixf(px[0], sum.r / sum.a, a);
            px[1] = mixf(px[1], sum.g / sum.a, a);
            px[2] = mixf(px[2], sum.b / sum.a, a);
        }
}

/* The highest row of the subject near column x: where a crown finds something to sit on. */
static float top_of_subject(work *w, const picture *p, const spot *s)
{
    plane *mask = find_subject(w, p);
    int from = (int)fmaxf(0, s->x - s->w * 0.25f);
    int to = (int)fminf((float)p->w, s->x + s->w * 0.25f);
    for (int y = 0; y < p->h; y++) {
        float sum = 0;
        for (int x = from; x < to; x++)
            sum += mask->v[(size_t)y * (size_t)p->w + (size_t)x];
        if (sum > (float)(to - from) * 0.5f)
            return (float)y;
    }
    return s->y - s->h * 0.5f;
}

void draw_crown(work *w, picture *p)
{
    spot s = find_face(w, p);
    float top = s.found ? s.y - s.h * 0.5f : top_of_subject(w, p, &s);
    float half = fminf(s.w * 0.56f, (float)p->w * 0.42f);
    float base = top + (s.found ? s.h * 0.10f : half * 0.25f);
    if (base < half) {
        /* Too little room above the head: pulled down to the forehead, then made smaller. */
        float lowest = top + s.h * 0.24f;
        base = fminf(half, fmaxf(lowest, (float)p->h * 0.08f));
        half = fminf(half, base);
    }
    float cx = fminf(fmaxf(s.x, half * 1.05f), (float)p->w - half * 1.05f);
    shade(p, cx, base, half);
    draw_at(p, cx, base, half, -0.05f);
}
