/* COMPOSE: garments laid on a person.  The garment is cut from its uniform background, scaled to
 * the body that the face suggests, lit like the photograph and blended with a feathered edge. */
#include "image_ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GARMENT_SIDE 1024

typedef struct {
    picture *p;
    plane *alpha;
    int x0, y0, x1, y1;     /* box of what is not transparent */
} garment;

typedef struct {
    float x, y, w, h;       /* where the garment's box goes, pixels of the person's picture */
} place;

/* ---- cutting ---- */

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The background's colour: the median of the border, channel by channel. */
static void border_colour(work *w, const picture *p, float out[3])
{
    int count = 2 * (p->w + p->h);
    float *values = take_memory(w, (size_t)count * sizeof *values);
    for (int k = 0; k < 3; k++) {
        int n = 0;
        for (int x = 0; x < p->w; x++) {
            values[n++] = p->px[x * 3 + k];
            values[n++] = p->px[((size_t)(p->h - 1) * (size_t)p->w + (size_t)x) * 3 + k];
        }
        for (int y = 0; y < p->h; y++) {
            values[n++] = p->px[(size_t)y * (size_t)p->w * 3 + k];
            values[n++] = p->px[((size_t)y * (size_t)p->w + (size_t)p->w - 1) * 3 + k];
        }
        qsort(values, (size_t)n, sizeof *values, by_value);
        out[k] = values[n / 2];
    }
}

static float distance(const float *rgb, const float *colour)
{
    float d = 0;
    for (int k = 0; k < 3; k++)
        d += (rgb[k] - colour[k]) * (rgb[k] - colour[k]);
    return sqrtf(d);
}

/* Background is what is like its colour and reaches the border: white buttons stay. */
static plane *cut_out(work *w, const picture *p)
{
    float colour[3];
    size_t count = (size_t)p->w * (size_t)p->h, top = 0;
    plane *alpha = plane_new(w, p->w, p->h);
    int *stack = take_memory(w, (count + 1) * sizeof *stack);
    border_colour(w, p, colour);
    for (size_t i = 0; i < count; i++)
        alpha->v[i] = 1;
    for (size_t i = 0; i < count; i++) {
        size_t x = i % (size_t)p->w, y = i / (size_t)p->w;
        bool border = !x || !y || x + 1 == (size_t)p->w || y + 1 == (size_t)p->h;
        if (!border || alpha->v[i] <= 0 || distance(p->px + i * 3, colour) > 0.16f)
            continue;
        alpha->v[i] = 0;
        stack[top++] = (int)i;
        while (top) {
            int at = stack[--top], ax = at % p->w, ay = at / p->w;
            const int next[] = { ax > 0 ? at - 1 : -1, ax + 1 < p->w ? at + 1 : -1,
                                 ay > 0 ? at - p->w : -1, ay + 1 < p->h ? at + p->w : -1 };
            for (int k = 0; k < 4; k++)
                if (next[k] >= 0 && alpha->v[next[k]] > 0
                    && distance(p->px + (size_t)next[k] * 3, colour) < 0.16f) {
                    alpha->v[next[k]] = 0;
                    stack[top++] = next[k];
                }
        }
    }
    return alpha;
}

/* Pulls the edge inwards by a pixel and softens it, so that no fringe of background shows. */
static void feather(work *w, plane *alpha)
{
    float sigma = fmaxf(1.0f, (float)(alpha->w < alpha->h ? alpha->w : alpha->h) / 350);
    plane_gauss(w, alpha, sigma);
    for (size_t i = 0; i < (size_t)alpha->w * (size_t)alpha->h; i++)
        alpha->v[i] = smooth(0.42f, 0.95f, alpha->v[i]);
}

static bool measure(garment *g)
{
    g->x0 = g->p->w, g->y0 = g->p->h, g->x1 = g->y1 = -1;
    for (int y = 0; y < g->p->h; y++)
        for (int x = 0; x < g->p->w; x++)
            if (g->alpha->v[(size_t)y * (size_t)g->p->w + (size_t)x] > 0.5f) {
                g->x0 = x < g->x0 ? x : g->x0;
                g->x1 = x > g->x1 ? x : g->x1;
                g->y0 = y < g->y0 ? y : g->y0;
                g->y1 = y > g->y1 ? y : g->y1;
            }
    return g->x1 - g->x0 > 4 && g->y1 - g->y0 > 4;
}

static bool load_garment(work *w, const pxs_image *image, garment *g)
{
    g->p = picture_load(w, image, GARMENT_SIDE, &g->alpha);
    if (!g->p)
        return false;
    if (!g->alpha)
        g->alpha = cut_out(w, g->p);
    feather(w, g->alpha);
    return measure(g) || fail(w, PXS_FAIL_BAD_REQUEST, "a garment image shows no garment");
}

/* ---- placing ---- */

/* Body measures from the face: shoulders are about 2.6 faces wide, a head is 1.35 faces high, the
 * torso 2.6 heads long.  Without a face, a person who fills the picture is assumed. */
static place place_for(const picture *person, const spot *face, const garment *g, bool top)
{
    float gw = (float)(g->x1 - g->x0 + 1), gh = (float)(g->y1 - g->y0 + 1), ratio = gh / gw;
    float width = (float)person->w, height = (float)person->h;
    place at;
    if (face->found && face->h < height * 0.6f) {
        float chin = face->y + face->h * 0.5f;
        at.w = face->w * (top ? 3.5f : 2.2f);
        at.y = top ? chin + face->h * 0.06f : chin + face->h * 2.5f;
    } else {
        at.w = width * (top ? 0.56f : 0.40f);
        at.y = height * (top ? 0.24f : 0.54f);
    }
    /* Legs that start below the picture would not be seen at all. */
    if (at.y > height * (top ? 0.75f : 0.62f))
        at.y = height * (top ? 0.75f : 0.62f);
    if (at.w > width * 0.98f)
        at.w = width * 0.98f;
    at.h = at.w * ratio;
    at.x = (face->found ? face->x : width / 2) - at.w / 2;
    return at;
}

/* ---- blending ---- */

static void sample(const garment *g, float x, float y, float rgb[3], float *alpha)
{
    int x0 = (int)floorf(x), y0 = (int)floorf(y);
    float tx = x - (float)x0, ty = y - (float)y0;
    *alpha = rgb[0] = rgb[1] = rgb[2] = 0;
    for (int k = 0; k < 4; k++) {
        int px = x0 + (k & 1), py = y0 + (k >> 1);
        if (px < 0 || py < 0 || px >= g->p->w || py >= g->p->h)
            continue;
        size_t at = (size_t)py * (size_t)g->p->w + (size_t)px;
        float weight = ((k & 1) ? tx : 1 - tx) * ((k >> 1) ? ty : 1 - ty) * g->alpha->v[at];
        *alpha += weight;
        for (int c = 0; c < 3; c++)
            rgb[c] += weight * g->p->px[at * 3 + c];
    }
    for (int c = 0; c < 3 && *alpha > 0; c++)
        rgb[c] /= *alpha;
}

/* The garment where it lies, as a picture and a mask of the person's size. */
static void project(const garment *g, const place *at, picture *cloth, plane *mask)
{
    float gw = (float)(g->x1 - g->x0 + 1), gh = (float)(g->y1 - g->y0 + 1);
    for (int y = 0; y < cloth->h; y++)
        for (int x = 0; x < cloth->w; x++) {
            size_t i = (size_t)y * (size_t)cloth->w + (size_t)x;
            float u = ((float)x - at->x) / at->w, v = ((float)y - at->y) / at->h;
            mask->v[i] = 0;
            if (u < 0 || u > 1 || v < 0 || v > 1)
                continue;
            /* A body is round: the cloth's edge is seen at an angle. */
            float bend = u - 0.5f;
            u = 0.5f + bend * (1 + 0.10f * (bend * bend * 4 - 1) * -1);
            sample(g, (float)g->x0 + clamp01(u) * (gw - 1), (float)g->y0 + v * (gh - 1),
                   cloth->px + i * 3, &mask->v[i]);
        }
}

/* Lays a garment on the person: shadow first, then cloth lit by the light of the photograph. */
static void wear(work *w, picture *person, const garment *g, const place *at)
{
    picture *cloth = picture_new(w, person->w, person->h);
    plane *mask = plane_new(w, person->w, person->h), *light = luma(w, person);
    plane *shadow = plane_new(w, person->w, person->h);
    size_t count = (size_t)person->w * (size_t)person->h;
    float mean = 0, total = 0;
    project(g, at, cloth, mask);
    memcpy(shadow->v, mask->v, count * sizeof(float));
    plane_gauss(w, shadow, at->w / 28);
    plane_gauss(w, light, at->w / 16);
    for (size_t i = 0; i < count; i++) {
        mean += light->v[i] * mask->v[i];
        total += mask->v[i];
    }
    mean = total > 0 ? mean / total : 0.5f;
    for (size_t i = 0; i < count; i++) {
        size_t x = i % (size_t)person->w;
        float u = clamp01(((float)x - at->x) / at->w) * 2 - 1;
        float lit = 1 + 0.42f * (light->v[i] - mean) / fmaxf(mean, 0.15f);
        lit = fminf(fmaxf(lit, 0.72f), 1.2f) * (1 - 0.20f * u * u);
        float dark = 1 - 0.42f * shadow->v[i] * (1 - mask->v[i]);
        for (int k = 0; k < 3; k++) {
            float *px = &person->px[i * 3 + k];
            *px = mixf(*px * dark, clamp01(cloth->px[i * 3 + k] * lit), mask->v[i]);
        }
    }
}

/* ---- the operation ---- */

static const pxs_image *find_role(const work *w, const char *role)
{
    for (uint32_t i = 0; i < w->request->image_count; i++)
        if (w->request->images[i].role && strcmp(w->request->images[i].role, role) == 0)
            return &w->request->images[i];
    return NULL;
}

bool run_compose(work *w)
{
    const pxs_image *body = find_role(w, "person");
    const pxs_image *parts[] = { find_role(w, "bottom"), find_role(w, "top") };
    if (!body || (!parts[0] && !parts[1]))
        return fail(w, PXS_FAIL_BAD_REQUEST, "compose needs a person and a top or bottom");
    picture *person = picture_load(w, body, w->max_side, NULL);
    if (!person)
        return false;
    spot face = find_face(w, person);
    for (int i = 0; i < 2; i++) {       /* the top hangs over the bottom */
        size_t mark = w->block_count;
        garment g;
        if (!parts[i])
            continue;
        if (!load_garment(w, parts[i], &g))
            return false;
        place at = place_for(person, &face, &g, i == 1);
        wear(w, person, &g, &at);
        drop_memory(w, mark);
    }
    return picture_save(w, person);
}
