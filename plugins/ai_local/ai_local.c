/* ai_local: pictures made on the spot by plain image processing.  It is no AI, needs no network and
 * costs nothing: for trying the product, for tests, and as the last provider of a fallback chain.
 * See docs/plugins/ai_local.md. */
#include "image_ops.h"

#include <stdio.h>
#include <stdlib.h>

enum { OPT_MAX_SIDE, OPT_QUALITY, OPT_COUNT };

static const pxs_option options[OPT_COUNT] = {
    [OPT_MAX_SIDE] = { "MaxSide", PXS_OPT_INTEGER, 0, "1600", 256, 2048, NULL,
                       "Longest side in pixels of edited, composed and generated images." },
    [OPT_QUALITY] = { "DefaultQuality", PXS_OPT_INTEGER, 0, "90", 1, 100, NULL,
                      "Quality of JPEG and WebP results." },
};

typedef struct {
    int max_side;
    int quality;
} instance;

static int open_instance(const pxs_value *values, void **out, char *error, size_t error_size)
{
    instance *self = calloc(1, sizeof *self);
    if (!self) {
        snprintf(error, error_size, "out of memory");
        return 1;
    }
    self->max_side = values[OPT_MAX_SIDE].is_set ? (int)values[OPT_MAX_SIDE].number : 1600;
    self->quality = values[OPT_QUALITY].is_set ? (int)values[OPT_QUALITY].number : 90;
    *out = self;
    return 0;
}

static void close_instance(void *self)
{
    free(self);
}

static bool dispatch(work *w)
{
    switch (w->request->operation) {
    case PXS_AI_EDIT: return run_edit(w);
    case PXS_AI_COMPOSE: return run_compose(w);
    case PXS_AI_GENERATE: return run_generate(w);
    case PXS_AI_ENHANCE: return run_enhance(w);
    default: return fail(w, PXS_FAIL_UNSUPPORTED, "ai_local cannot do this operation");
    }
}

static pxs_step run(void *self, pxs_call *call, const pxs_ai_request *request,
                    pxs_ai_result *result)
{
    const instance *in = self;
    work w = { .call = call, .request = request, .result = result, .max_side = in->max_side,
               .quality = in->quality };
    if (VIPS_INIT("ai_local")) {
        fail(&w, PXS_FAIL_INTERNAL, "libvips does not start");
        return PXS_FAIL;
    }
    w.quality = (int)param_number(&w, "quality", 1, 100, w.quality);
    bool ok = dispatch(&w);
    drop_memory(&w, 0);
    if (!ok) {
        vips_error_clear();
        return PXS_FAIL;
    }
    result->model = "pixshift-local-1";
    result->cost_micro_usd = 0;
    return PXS_DONE;
}

static int64_t price(void *self, const pxs_ai_request *request)
{
    (void)self, (void)request;
    return 0;
}

static const pxs_ai_ops ops = {
    .size = sizeof ops,
    .caps = PXS_AI_EDIT | PXS_AI_COMPOSE | PXS_AI_GENERATE | PXS_AI_ENHANCE | PXS_AI_TWO_IMAGES
        | PXS_CAP_BLOCKING,
    .open = open_instance,
    .close = close_instance,
    .run = run,
    .price = price,
};

static const pxs_plugin plugin = {
    .magic = PXS_MAGIC,
    .abi_major = PXS_ABI_MAJOR,
    .abi_minor = PXS_ABI_MINOR,
    .size = sizeof plugin,
    .kind = PXS_KIND_AI,
    .name = "ai_local",
    .version = "1.0",
    .summary = "Image processing on this machine: filters, collage, posters, upscaling. No AI.",
    .option_size = sizeof(pxs_option),
    .option_count = OPT_COUNT,
    .options = options,
    .ops = &ops,
};

PXS_EXPORT const pxs_plugin *pixshift_plugin(void)
{
    return &plugin;
}
