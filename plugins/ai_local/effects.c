/* EDIT: filters chosen by the words of the prompt; each is a few passes over the picture. */
#include "image_ops.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

typedef void effect(work *w, picture *p);

static int shorter(const picture *p)
{
    return p->w < p->h ? p->w : p->h;
}

/* Darkens towards the corners by up to `strength`. */
static void vignette(picture *p, float strength)
{
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++) {
            float dx = ((float)x + 0.5f) / (float)p->w - 0.5f;
            float dy = ((float)y + 0.5f) / (float)p->h - 0.5f;
            float f = 1 - strength * smooth(0.18f, 0.62f, dx * dx + dy * dy + 0.08f);
            float *px = p->px + ((size_t)y * (size_t)p->w + (size_t)x) * 3;
            for (int k = 0; k < 3; k++)
                px[k] *= f;
        }
}

/* Film grain, strongest in the middle tones. */
static void grain(picture *p, float strength)
{
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++) {
            float *px = p->px + ((size_t)y * (size_t)p->w + (size_t)x) * 3;
            float l = luma_of(px);
            float n = (noise(x, y, 1) + noise(x / 2, y / 2, 2) - 1) * strength * 4 * l * (1 - l);
            for (int k = 0; k < 3; k++)
                px[k] = clamp01(px[k] + n);
        }
}

/* Adds what a Gaussian of sigma takes away: sharpness with a small sigma, depth with a large one.
 */
static void unsharp(work *w, picture *p, float sigma, float amount)
{
    plane *blurred = luma(w, p);
    plane_gauss(w, blurred, sigma);
    for (size_t i = 0; i < (size_t)p->w * (size_t)p->h; i++) {
        float add = amount * (luma_of(p->px + i * 3) - blurred->v[i]);
        for (int k = 0; k < 3; k++)
            p->px[i * 3 + k] = clamp01(p->px[i * 3 + k] + add);
    }
}

/* Edge-preserving smoothing (Kuwahara): each pixel becomes the mean of its calmest quadrant. */
static void kuwahara(work *w, picture *p, int radius)
{
    picture *mean = picture_copy(w, p);
    plane *var = luma(w, p), *lum = luma(w, p);
    size_t count = (size_t)p->w * (size_t)p->h;
    int half = radius / 2 > 0 ? radius / 2 : 1;
    for (size_t i = 0; i < count; i++)
        var->v[i] *= var->v[i];
    /* Two small boxes make a round brush, one large one a square. */
    for (int pass = 0; pass < 2; pass++) {
        plane_box(w, var, (half + 1) / 2);
        plane_box(w, lum, (half + 1) / 2);
        picture_box(w, mean, (half + 1) / 2);
    }
    for (size_t i = 0; i < count; i++)
        var->v[i] -= lum->v[i] * lum->v[i];
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++) {
            float sum[3] = { 0, 0, 0 }, total = 0;
            for (int q = 0; q < 8; q++) {
                static const signed char dx[] = { -1, 0, 1, 1, 1, 0, -1, -1 };
                static const signed char dy[] = { -1, -1, -1, 0, 1, 1, 1, 0 };
                int qx = x + dx[q] * half, qy = y + dy[q] * half;
                qx = qx < 0 ? 0 : qx >= p->w ? p->w - 1 : qx;
                qy = qy < 0 ? 0 : qy >= p->h ? p->h - 1 : qy;
                size_t at = (size_t)qy * (size_t)p->w + (size_t)qx;
                /* Calm sectors weigh more, steeply: no hard seams between neighbours. */
                float v = fmaxf(0, var->v[at]) * 255 + 0.02f, weight = 1 / (v * v * sqrtf(v));
                total += weight;
                for (int k = 0; k < 3; k++)
                    sum[k] += weight * mean->px[at * 3 + k];
            }
            for (int k = 0; k < 3; k++)
                p->px[((size_t)y * (size_t)p->w + (size_t)x) * 3 + k] = sum[k] / total;
        }
}

/* Difference of Gaussians: 0 on lines, 1 elsewhere (XDoG of Winnemöller, shortened). */
static plane *ink_lines(work *w, const picture *p, float sigma, float sharpness)
{
    plane *fine = luma(w, p), *coarse = luma(w, p);
    plane_gauss(w, fine, sigma);
    plane_gauss(w, coarse, sigma * 1.6f);
    for (size_t i = 0; i < (size_t)p->w * (size_t)p->h; i++) {
        float d = fine->v[i] - 0.985f * coarse->v[i];
        fine->v[i] = d > 0 ? 1 : clamp01(1 + tanhf(sharpness * d));
    }
    plane_gauss(w, fine, 0.6f);
    return fine;
}

/* ---- the effects ---- */

static void sepia(work *w, picture *p)
{
    static const float dark[] = { 0.13f, 0.075f, 0.04f }, mid[] = { 0.62f, 0.47f, 0.31f },
                       light[] = { 1.0f, 0.95f, 0.84f };
    unsharp(w, p, (float)shorter(p) / 40, 0.25f);
    for (size_t i = 0; i < (size_t)p->w * (size_t)p->h; i++) {
        float t = contrast(luma_of(p->px + i * 3), 0.35f);
        for (int k = 0; k < 3; k++)
            p->px[i * 3 + k] = t < 0.5f ? mixf(dark[k], mid[k], t * 2)
                                        : mixf(mid[k], light[k], t * 2 - 1);
    }
    grain(p, 0.05f);
    vignette(p, 0.45f);
}

static void noir(work *w, picture *p)
{
    unsharp(w, p, (float)shorter(p) / 30, 0.45f);
    for (size_t i = 0; i < (size_t)p->w * (size_t)p->h; i++) {
        float *px = p->px + i * 3;
        /* The mix of a film behind an orange filter: bright skin, dark skies. */
        float t = powf(0.46f * px[0] + 0.42f * px[1] + 0.12f * px[2], 0.85f);
        t = contrast(contrast(t, 0.6f), 0.3f);
        px[0] = px[1] = px[2] = t;
    }
    grain(p, 0.07f);
    vignette(p, 0.35f);
}

/* Pencil strokes: parallel lines at an angle that appear where the tone is darker than `depth`. */
static float hatch(int x, int y, float tone, float depth, float angle, float pitch, unsigned seed)
{
    float along = cosf(angle) * (float)x + sinf(angle) * (float)y;
    float across = -sinf(angle) * (float)x + cosf(angle) * (float)y;
    float wobble = cloud(along, across * 3, pitch * 14, seed) * pitch * 2.5f;
    float line = 0.5f + 0.5f * sinf((across + wobble) * 6.2832f / pitch);
    float press = smooth(depth, depth - 0.35f, tone)
        * (0.45f + 0.55f * cloud(along, across, pitch * 5, seed + 9));
    return 1 - press * 0.55f * smooth(0.25f, 0.85f, line);
}

static void sketch(work *w, picture *p)
{
    plane *tone = luma(w, p), *inverse = luma(w, p);
    size_t count = (size_t)p->w * (size_t)p->h;
    float pitch = fmaxf(3.2f, (float)shorter(p) / 190);
    for (size_t i = 0; i < count; i++) {
        tone->v[i] = 0.16f + 0.84f * tone->v[i];    /* graphite is never black */
        inverse->v[i] = 1 - tone->v[i];
    }
    plane_gauss(w, inverse, fmaxf(2, (float)shorter(p) / 110));
    plane *lines = ink_lines(w, p, fmaxf(0.8f, (float)shorter(p) / 700), 22);
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++) {
            size_t i = (size_t)y * (size_t)p->w + (size_t)x;
            float dodge = fminf(1, tone->v[i] / fmaxf(0.02f, 1 - inverse->v[i]));
            float v = powf(dodge, 2.4f) * mixf(0.42f, 1, lines->v[i]);
            v *= mixf(0.62f, 1, smooth(0.1f, 0.6f, tone->v[i]));
            v *= hatch(x, y, tone->v[i], 0.52f, 0.85f, pitch, 3);
            v *= hatch(x, y, tone->v[i], 0.28f, -0.6f, pitch, 5);
            float paper = 0.955f + 0.045f * noise(x, y, 4) * cloud((float)x, (float)y, 6, 8);
            float graphite = mixf(0.17f, 1, clamp01(v)) * paper;
            p->px[i * 3] = graphite;
            p->px[i * 3 + 1] = graphite * 0.99f;
            p->px[i * 3 + 2] = graphite * 0.965f;
        }
}

static void poster(work *w, picture *p)
{
    const float levels = 7;
    plane *lines = ink_lines(w, p, fmaxf(1, (float)shorter(p) / 420), 30);
    int radius = shorter(p) / 130 + 2;
    kuwahara(w, p, radius);
    kuwahara(w, p, radius);
    for (size_t i = 0; i < (size_t)p->w * (size_t)p->h; i++) {
        float *px = p->px + i * 3;
        saturate(px, 1.55f);
        float l = fmaxf(0.004f, luma_of(px)), scaled = contrast(powf(l, 0.85f), 0.3f) * levels;
        float floor_l = floorf(scaled), edge = smooth(0.35f, 0.65f, scaled - floor_l);
        float target = mixf((floor_l + edge + 0.25f) / (levels + 0.3f), l, 0.25f);
        for (int k = 0; k < 3; k++)
            px[k] = clamp01(px[k] * target / l) * mixf(0.06f, 1, lines->v[i]);
    }
}

static void vivid(work *w, picture *p)
{
    unsharp(w, p, (float)shorter(p) / 25, 0.3f);
    unsharp(w, p, (float)shorter(p) / 500 + 0.7f, 0.5f);
    for (size_t i = 0; i < (size_t)p->w * (size_t)p->h; i++) {
        float *px = p->px + i * 3;
        float top = fmaxf(px[0], fmaxf(px[1], px[2])), low = fminf(px[0], fminf(px[1], px[2]));
        /* Vibrance: what is colourful already gains least. */
        saturate(px, 1.75f - 0.55f * (top - low));
        for (int k = 0; k < 3; k++)
            px[k] = contrast(px[k], 0.38f);
    }
}

static void background_blur(work *w, picture *p)
{
    plane *mask = find_subject(w, p);
    picture *far = picture_copy(w, p);
    size_t count = (size_t)p->w * (size_t)p->h;
    float sigma = fmaxf(4, (float)shorter(p) / 38);
    /* The subject's colours must not shine into the background: blur only what is background. */
    plane *weight = plane_new(w, p->w, p->h);
    for (size_t i = 0; i < count; i++) {
        weight->v[i] = 1.002f - mask->v[i];
        for (int k = 0; k < 3; k++)         /* highlights count more, as through a lens */
            far->px[i * 3 + k] = powf(p->px[i * 3 + k], 1.8f) * weight->v[i];
    }
    picture_gauss(w, far, sigma);
    plane_gauss(w, weight, sigma);
    for (size_t i = 0; i < count; i++)
        for (int k = 0; k < 3; k++) {
            float *at = &p->px[i * 3 + k];
            float soft = powf(clamp01(far->px[i * 3 + k] / fmaxf(weight->v[i], 1e-4f)), 1 / 1.8f);
            *at = mixf(soft, *at, mask->v[i]);
        }
}

static void watercolor(work *w, picture *p)
{
    picture *wash = picture_copy(w, p);
    int r = shorter(p) / 190 + 2;
    for (int pass = 0; pass < 3; pass++)
        kuwahara(w, wash, r);
    picture_gauss(w, wash, 0.8f);
    plane *lines = ink_lines(w, wash, fmaxf(1.2f, (float)shorter(p) / 260), 9);
    float cell = (float)shorter(p);
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++) {
            size_t i = (size_t)y * (size_t)p->w + (size_t)x;
            float fx = (float)x, fy = (float)y, *px = wash->px + i * 3;
            saturate(px, 1.35f);
            /* Pigment settles in pools and in the grain of the paper; paint is lighter than light.
             */
            float pool = 0.82f + 0.36f * cloud(fx, fy, cell / 7, 21);
            float tooth = 0.93f + 0.14f * cloud(fx, fy, cell / 120 + 2, 31);
            float in = fminf(fminf(fx, (float)p->w - fx), fminf(fy, (float)p->h - fy)) / cell;
            in += 0.05f * (cloud(fx, fy, cell / 9, 41) - 0.5f);
            float edge = smooth(0.015f, 0.055f, in);
            for (int k = 0; k < 3; k++) {
                static const float paper[] = { 0.985f, 0.975f, 0.95f };
                float pigment = (1 - powf(px[k], 0.82f)) * pool * tooth;
                float ink = paper[k] * (1 - pigment) * mixf(0.68f, 1, lines->v[i]);
                p->px[i * 3 + k] = mixf(paper[k] * (0.97f + 0.03f * tooth), ink, edge);
            }
        }
}

static void oil(work *w, picture *p)
{
    int r = shorter(p) / 170 + 2;
    kuwahara(w, p, r);
    kuwahara(w, p, r);
    /* Light from the upper left on the ridges of the paint. */
    plane *relief = luma(w, p);
    for (int y = 0; y < p->h; y++)
        for (int x = 0; x < p->w; x++) {
            size_t i = (size_t)y * (size_t)p->w + (size_t)x;
            size_t j = (size_t)(y > 1 ? y - 2 : y) * (size_t)p->w + (size_t)(x > 1 ? x - 2 : x);
            float bristle = cloud((float)x + (float)y * 0.6f, (float)y * 0.25f, 9, 51) - 0.5f;
            float light = (relief->v[i] - relief->v[j]) * 0.3f + bristle * 0.07f;
            saturate(p->px + i * 3, 1.3f);
            for (int k = 0; k < 3; k++)
                p->px[i * 3 + k] = clamp01(contrast(p->px[i * 3 + k], 0.25f) + light);
        }
}

static void tint(picture *p, const float shadows[3], const float lights[3], float amount)
{
    for (size_t i = 0; i < (size_t)p->w * (size_t)p->h; i++) {
        float *px = p->px + i * 3, t = luma_of(px);
        for (int k = 0; k < 3; k++)
            px[k] = clamp01(contrast(px[k], 0.25f) + amount * mixf(shadows[k], lights[k], t));
    }
}

static void warm(work *w, picture *p)
{
    static const float shadows[] = { 0.10f, -0.02f, 0.02f }, lights[] = { 0.22f, 0.08f, -0.22f };
    (void)w;
    tint(p, shadows, lights, 0.8f);
    vignette(p, 0.25f);
}

static void cold(work *w, picture *p)
{
    static const float shadows[] = { -0.08f, 0, 0.14f }, lights[] = { -0.12f, 0.03f, 0.14f };
    (void)w;
    tint(p, shadows, lights, 0.8f);
}

/* Without a word that we know: more depth, clearer colours, shadows opened, nothing loud. */
static void enhance(work *w, picture *p)
{
    plane *around = luma(w, p);
    plane_gauss(w, around, (float)shorter(p) / 12);
    for (size_t i = 0; i < (size_t)p->w * (size_t)p->h; i++) {
        float lift = 1 + 0.45f * (1 - smooth(0.05f, 0.5f, around->v[i]));
        for (int k = 0; k < 3; k++)
            p->px[i * 3 + k] = clamp01(p->px[i * 3 + k] * lift);
        saturate(p->px + i * 3, 1.18f);
    }
    unsharp(w, p, (float)shorter(p) / 30, 0.28f);
    unsharp(w, p, (float)shorter(p) / 600 + 0.7f, 0.45f);
    static const float shadows[] = { -0.02f, 0.01f, 0.05f }, lights[] = { 0.05f, 0.02f, -0.05f };
    tint(p, shadows, lights, 0.7f);
    vignette(p, 0.18f);
}

/* ---- choosing ---- */

#define EFFECTS_MAX 3       /* of one prompt: what fits into the helper's CPU limit at MaxSide */

static const struct {
    const char *words;      /* separated by '|'; matched at the beginning of a word */
    effect *run;
    bool style;             /* of the styles only the first that matches is used */
} effects[] = {
    { "blur|bokeh|depth of field|portrait mode", background_blur, false },
    { "watercolo|aquarel|gouache", watercolor, true },
    { "pencil|sketch|drawing|charcoal|line art", sketch, true },
    { "poster|comic|cartoon|pop art|anime|illustration|graphic novel", poster, true },
    { "oil|impasto|van gogh|paint", oil, true },
    { "vivid|vibrant|colorful|colourful|saturated|hdr", vivid, false },
    { "sepia|vintage|antique|old photo|retro|nostalgi", sepia, false },
    { "black and white|black-and-white|noir|monochrom|grayscale|greyscale", noir, false },
    { "warm|sunset|golden hour|autumn", warm, false },
    { "cold|winter|moonlight|icy", cold, false },
    { "crown|king|queen|royal|prince", draw_crown, false },
};

/* True when one of the words begins a word of the prompt, whatever its case. */
static bool mentions(const char *prompt, const char *words)
{
    while (*words) {
        size_t len = strcspn(words, "|");
        for (const char *at = prompt; *at; at++)
            if ((at == prompt || !isalpha((unsigned char)at[-1]))
                && strncasecmp(at, words, len) == 0)
                return true;
        words += len + (words[len] == '|');
    }
    return false;
}

bool run_edit(work *w)
{
    const char *prompt = w->request->prompt ? w->request->prompt : "";
    unsigned used = 0;
    bool styled = false;
    if (w->request->image_count < 1)
        return fail(w, PXS_FAIL_BAD_REQUEST, "edit needs an image");
    picture *p = picture_load(w, &w->request->images[0], w->max_side, NULL);
    if (!p)
        return false;
    for (size_t i = 0; i < sizeof effects / sizeof *effects && used < EFFECTS_MAX; i++)
        if (!(styled && effects[i].style) && mentions(prompt, effects[i].words)) {
            size_t mark = w->block_count;
            effects[i].run(w, p);
            drop_memory(w, mark);
            used++;
            styled = styled || effects[i].style;
        }
    if (!used)
        enhance(w, p);
    return picture_save(w, p);
}
