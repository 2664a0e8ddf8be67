/* GENERATE: a poster.  The prompt's hash gives the palette and the composition, its words the
 * scene, and the prompt itself is the title. */
#include "image_ops.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct {
    unsigned seed;
    bool night, sea, city, forest;
    float sky_top[3], sky_low[3], glow[3], land[3];
    float sun_x, sun_y, sun_r;      /* shares of width, height, shorter side */
    float horizon;                  /* share of the height */
} scene;

/* ---- the plan ---- */

static unsigned hash(const char *text)
{
    unsigned h = 2166136261u;
    for (; *text; text++)
        h = (h ^ (unsigned)tolower((unsigned char)*text)) * 16777619u;
    return h;
}

/* A number in 0..1 that belongs to the prompt. */
static float pick(const scene *s, unsigned which)
{
    return noise((int)which, 17, s->seed);
}

static bool has_word(const char *prompt, const char *const *words)
{
    for (; *words; words++)
        if (strcasestr(prompt, *words))
            return true;
    return false;
}

/* Hues of upper sky, lower sky, light and land that go together. */
static const float palettes[][4] = {
    { 0.62f, 0.98f, 0.10f, 0.58f },     /* dusk: blue, rose, cream */
    { 0.55f, 0.09f, 0.13f, 0.50f },     /* teal and orange */
    { 0.72f, 0.93f, 0.05f, 0.70f },     /* violet, pink, peach */
    { 0.50f, 0.46f, 0.15f, 0.45f },     /* mint morning */
    { 0.02f, 0.08f, 0.14f, 0.96f },     /* red desert */
    { 0.58f, 0.11f, 0.14f, 0.63f },     /* dawn: blue, apricot */
};

static void plan_palette(scene *s)
{
    unsigned count = sizeof palettes / sizeof *palettes;
    const float *hues = palettes[(unsigned)(pick(s, 1) * (float)count) % count];
    if (s->sea)
        hues = palettes[pick(s, 1) < 0.5f ? 1 : 5];
    float shift = 0.03f * (pick(s, 2) - 0.5f);
    hsl_to_rgb((s->night ? 0.62f : hues[0]) + shift, 0.55f, s->night ? 0.11f : 0.38f,
               s->sky_top);
    hsl_to_rgb(hues[1] + shift, s->night ? 0.35f : 0.72f, s->night ? 0.34f : 0.72f, s->sky_low);
    hsl_to_rgb(s->night ? 0.13f : hues[2], 0.85f, s->night ? 0.90f : 0.88f, s->glow);
    hsl_to_rgb(s->forest ? 0.40f : hues[3], 0.42f, s->night ? 0.06f : 0.14f, s->land);
}

static scene plan(const char *prompt)
{
    static const char *const night[] = { "night", "star", "moon", "space", "galaxy", "dark", "neon",
                                         NULL };
    static const char *const sea[] = { "sea", "ocean", "beach", "lake", "water", "ship", "boat",
                                       "island", NULL };
    static const char *const city[] = { "city", "skyline", "tower", "street", "urban", "building",
                                        NULL };
    static const char *const forest[] = { "forest", "tree", "wood", "jungle", "garden", NULL };
    scene s = { .seed = hash(prompt) };
    s.night = has_word(prompt, night);
    s.sea = has_word(prompt, sea);
    s.city = has_word(prompt, city);
    s.forest = has_word(prompt, forest);
    s.sun_x = 0.25f + 0.5f * pick(&s, 3);
    s.sun_y = 0.26f + 0.16f * pick(&s, 4);
    s.sun_r = 0.10f + 0.07f * pick(&s, 5);
    s.horizon = 0.60f + 0.06f * pick(&s, 6);
    plan_palette(&s);
    return s;
}

/* ---- sky ---- */

static void blend(float *px, const float *colour, float amount)
{
    for (int k = 0; k < 3; k++)
        px[k] = mixf(px[k], colour[k], amount);
}

static void draw_sky(const scene *s, picture *p)
{
    float size = (float)(p->w < p->h ? p->w : p->h);
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++) {
            float *px = p->px + ((size_t)y * (size_t)p->w + (size_t)x) * 3;
            float v = (float)y / ((float)p->h * s->horizon);
            float dx = ((float)x - s->sun_x * (float)p->w) / size;
            float dy = ((float)y - s->sun_y * (float)p->h) / size;
            float d = sqrtf(dx * dx + dy * dy), disc = s->sun_r;
            for (int k = 0; k < 3; k++)
                px[k] = mixf(s->sky_top[k], s->sky_low[k], smooth(0, 1.05f, v));
            float veil = cloud((float)x * 0.45f, (float)y * 1.7f, size / 3, s->seed % 997);
            blend(px, s->glow, 0.42f * smooth(0.48f, 0.85f, veil) * smooth(0.05f, 0.6f, v));
            blend(px, s->glow, 0.62f * expf(-d * d / (disc * disc * 5)));
            blend(px, s->glow, smooth(disc + 1.5f / size, disc - 1.5f / size, d));
        }
}

static void draw_stars(const scene *s, picture *p)
{
    float size = (float)(p->w < p->h ? p->w : p->h);
    static const float white[] = { 1, 1, 0.96f };
    for (unsigned i = 0; i < 260; i++) {
        float cx = noise((int)i, 1, s->seed) * (float)p->w;
        float cy = powf(noise((int)i, 2, s->seed), 1.4f) * (float)p->h * s->horizon;
        float mx = cx - s->sun_x * (float)p->w, my = cy - s->sun_y * (float)p->h;
        if (hypotf(mx, my) < s->sun_r * size * 1.4f)
            continue;
        float r = size * (0.0009f + 0.0024f * powf(noise((int)i, 3, s->seed), 6)) + 0.5f;
        for (int y = (int)(cy - 4 * r); y <= (int)(cy + 4 * r); y++)
            for (int x = (int)(cx - 4 * r); x <= (int)(cx + 4 * r); x++) {
                if (x < 0 || y < 0 || x >= p->w || y >= p->h)
                    continue;
                float dx = ((float)x - cx) / r, dy = ((float)y - cy) / r;
                blend(p->px + ((size_t)y * (size_t)p->w + (size_t)x) * 3, white,
                      0.9f * expf(-(dx * dx + dy * dy)));
            }
    }
}

/* ---- land ---- */

/* Height of a ridge above its foot at x (0..1), in shares of the picture's height. */
static float ridge(const scene *s, float x, unsigned layer, float rough)
{
    float sum = 0, weight = 1, freq = 1.6f + 0.7f * (float)layer;
    for (unsigned octave = 0; octave < 6; octave++) {
        float n = cloud(x * freq * 100 + (float)layer * 991, 5, 100, s->seed % 9973 + octave * 13);
        sum += weight * (1 - fabsf(2 * n - 1) * rough);
        weight *= 0.46f;
        freq *= 2.1f;
    }
    return sum * 0.16f;
}

/* Roofs: blocks of different height with a few antennas. */
static float roofs(const scene *s, float x, unsigned layer)
{
    float columns = 16 + 9 * (float)layer;
    int cell = (int)floorf(x * columns);
    float inside = x * columns - (float)cell, n = noise(cell, (int)layer, s->seed);
    float antenna = n > 0.72f && fabsf(inside - 0.5f) < 0.035f ? 0.05f : 0;
    float gap = inside < 0.04f ? -0.06f : 0;
    return 0.08f + 0.26f * n * n + antenna + gap;
}

/* Fir trees side by side: narrow triangles of different height. */
static float firs(const scene *s, float x, unsigned layer)
{
    float columns = 26 + 10 * (float)layer, best = 0;
    for (int k = -1; k <= 1; k++) {
        int cell = (int)floorf(x * columns) + k;
        float n = noise(cell, (int)layer + 40, s->seed);
        float centre = ((float)cell + 0.3f + 0.4f * n) / columns;
        float d = fabsf(x - centre) * columns;
        float jag = 0.05f * fabsf(sinf(d * 22));
        float h = (0.10f + 0.14f * n) * (1 - d * 1.15f - jag);
        best = h > best ? h : best;
    }
    return best + 0.02f;
}

static float outline(const scene *s, float x, unsigned layer)
{
    if (s->city && layer > 0)
        return roofs(s, x, layer);
    if (s->forest && layer > 0)
        return firs(s, x, layer);
    return ridge(s, x, layer, 1.0f);
}

/* Windows of a building, lit or not, by cells of the layer's own grid. */
static bool lit_window(const scene *s, int x, int y, const picture *p, unsigned layer)
{
    float cell = (float)p->h / 95;
    int cx = (int)((float)x / cell), cy = (int)((float)y / cell);
    float fx = (float)x / cell - (float)cx, fy = (float)y / cell - (float)cy;
    return fx > 0.3f && fx < 0.75f && fy > 0.25f && fy < 0.8f
        && noise(cx, cy, s->seed + layer) > 0.72f;
}

static void draw_land(const scene *s, picture *p)
{
    const unsigned layers = 4;
    for (unsigned layer = 0; layer < layers; layer++) {
        float near = (float)(layer + 1) / (float)layers;
        float foot = (s->horizon + 0.02f + 0.28f * near * near) * (float)p->h, colour[3];
        if (s->sea && layer > 0)
            break;
        for (int k = 0; k < 3; k++)     /* distance is the colour of the air */
            colour[k] = mixf(s->sky_low[k] * 0.92f, s->land[k], powf(near, 0.75f));
        for (int x = 0; x < p->w; x++) {
            float height = outline(s, (float)x / (float)p->w, layer) * (float)p->h;
            height *= 1.15f - 0.35f * near;
            float top = foot - height;
            for (int y = top < 0 ? 0 : (int)top; y < p->h; y++) {
                float *px = p->px + ((size_t)y * (size_t)p->w + (size_t)x) * 3;
                float mist = smooth(top, top + 0.24f * (float)p->h, (float)y);
                float c[3] = { colour[0], colour[1], colour[2] };
                if (s->city && layer > 0 && (float)y > top + 6
                    && (float)y < top + 0.30f * (float)p->h && lit_window(s, x, y, p, layer))
                    blend(c, s->glow, 0.55f * near);
                blend(c, s->sky_low, 0.30f * mist * (1 - near));
                blend(px, c, clamp01((float)y - top));
            }
        }
    }
}

/* The mirror of the sky, broken by waves that grow towards the viewer. */
static void draw_sea(work *w, const scene *s, picture *p)
{
    picture *sky = picture_copy(w, p);
    int level = (int)((s->horizon + 0.05f) * (float)p->h);
    for (int y = level; y < p->h; y++) {
        float depth = (float)(y - level) / (float)(p->h - level);
        for (int x = 0; x < p->w; x++) {
            float cell = 6 + 50 * depth * (float)p->h / 900;
            float wave = cloud((float)x * 0.35f, (float)y * 2.2f, cell, s->seed % 31) - 0.5f;
            float ripple = wave * 90 * depth * (float)p->h / 900;
            int sy = level - (int)((float)(y - level) * 1.05f + ripple);
            int sx = x + (int)(wave * 70 * depth * (float)p->w / 900);
            sy = sy < 0 ? 0 : sy > level ? level : sy;
            sx = sx < 0 ? 0 : sx >= p->w ? p->w - 1 : sx;
            const float *from = sky->px + ((size_t)sy * (size_t)p->w + (size_t)sx) * 3;
            float *px = p->px + ((size_t)y * (size_t)p->w + (size_t)x) * 3;
            float crest = smooth(0.13f, 0.24f, wave) * 0.28f;
            for (int k = 0; k < 3; k++)
                px[k] = mixf(mixf(from[k] * 0.86f, s->land[k], 0.20f + 0.45f * depth), s->glow[k],
                             crest);
        }
    }
}

/* ---- title ---- */

/* The prompt as a title: markup characters are taken out, long ones are cut at a word. */
static char *make_title(work *w, const char *prompt)
{
    const size_t longest = 72;
    char *text = take_memory(w, longest + 8), *to = text;
    for (const char *from = prompt; *from && (size_t)(to - text) < longest; from++)
        if (!strchr("<>&\r\n\t", *from))
            *to++ = *from;
    /* Never a broken UTF-8 character at the end. */
    if ((size_t)(to - text) >= longest) {
        while (to > text && to[-1] != ' ')
            to--;
        if (to == text)
            to += snprintf(text, longest, "PixShift");
        else
            to += snprintf(to - 1, 8, "\xe2\x80\xa6") - 1;
    }
    *to = '\0';
    if (text[0] >= 'a' && text[0] <= 'z')
        text[0] = (char)toupper((unsigned char)text[0]);
    return text;
}

/* The title as a mask with the size it came out at; NULL when pango has no font. */
static unsigned char *render_text(const char *text, int width, int height, int *tw, int *th)
{
    VipsImage *image = NULL, *flat = NULL;
    unsigned char *bytes = NULL;
    size_t size;
    if (text[0]
        && vips_text(&image, text, "font", "DejaVu Serif Bold, Serif Bold", "width", width,
                     "height", height, "align", VIPS_ALIGN_CENTRE, NULL) == 0
        && vips_cast_uchar(image, &flat, NULL) == 0 && flat->Bands == 1) {
        bytes = vips_image_write_to_memory(flat, &size);
        *tw = flat->Xsize;
        *th = flat->Ysize;
    } else {
        vips_error_clear();
    }
    VIPS_UNREF(flat);
    VIPS_UNREF(image);
    return bytes;
}

static void draw_title(work *w, const scene *s, picture *p, const char *prompt)
{
    static const float paper[] = { 0.98f, 0.96f, 0.91f };
    int tw = 0, th = 0, margin = (p->w < p->h ? p->w : p->h) / 14;
    unsigned char *mask = render_text(make_title(w, prompt), p->w - 3 * margin, p->h / 8, &tw, &th);
    if (!mask)
        return;
    int left = (p->w - tw) / 2, top = p->h - 2 * margin - th;
    plane *shadow = plane_new(w, p->w, p->h);
    for (int y = 0; y < th; y++)
        for (int x = 0; x < tw; x++)
            if (left + x >= 0 && top + y >= 0 && left + x < p->w && top + y < p->h)
                shadow->v[(size_t)(top + y) * (size_t)p->w + (size_t)(left + x)] =
                    mask[(size_t)y * (size_t)tw + (size_t)x] / 255.0f;
    plane *ink = plane_new(w, p->w, p->h);
    memcpy(ink->v, shadow->v, (size_t)p->w * (size_t)p->h * sizeof(float));
    plane_gauss(w, shadow, (float)margin / 6);
    for (size_t i = 0; i < (size_t)p->w * (size_t)p->h; i++) {
        blend(p->px + i * 3, s->land, clamp01(shadow->v[i] * 1.4f) * 0.75f);
        blend(p->px + i * 3, paper, ink->v[i]);
    }
    g_free(mask);
}

/* A paper border with a thin line, and the paper's grain. */
static void draw_frame(const scene *s, picture *p)
{
    static const float paper[] = { 0.97f, 0.955f, 0.92f };
    float size = (float)(p->w < p->h ? p->w : p->h), border = size / 28;
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++) {
            float *px = p->px + ((size_t)y * (size_t)p->w + (size_t)x) * 3;
            float in = fminf(fminf((float)x, (float)(p->w - 1 - x)),
                             fminf((float)y, (float)(p->h - 1 - y)));
            float n = (noise(x, y, s->seed) - 0.5f) * 0.035f;
            for (int k = 0; k < 3; k++)
                px[k] = clamp01(px[k] + n);
            blend(px, paper, 1 - smooth(border - 1, border + 1, in));
            float line = fabsf(in - border * 1.5f) - size / 900;
            blend(px, paper, 0.75f * smooth(1, 0, line));
        }
}

bool run_generate(work *w)
{
    const char *prompt = w->request->prompt ? w->request->prompt : "";
    int width = (int)param_number(w, "width", 64, w->max_side, 1024);
    int height = (int)param_number(w, "height", 64, w->max_side, 1024);
    if (!*prompt)
        return fail(w, PXS_FAIL_BAD_REQUEST, "generate needs a prompt");
    scene s = plan(prompt);
    picture *p = picture_new(w, width, height);
    draw_sky(&s, p);
    if (s.night)
        draw_stars(&s, p);
    draw_land(&s, p);
    if (s.sea)
        draw_sea(w, &s, p);
    draw_title(w, &s, p, prompt);
    draw_frame(&s, p);
    return picture_save(w, p);
}
