/* From a later minor version: descriptor, option rows and ops table have more than ABI 1.0 knows.
 * This one must be taken. */
#include "broken.h"

typedef struct {
    pxs_option known;
    const char *unit;
} longer_option;

typedef struct {
    pxs_ai_ops known;
    int (*warm_up)(void *instance);
} longer_ops;

typedef struct {
    pxs_plugin known;
    const char *homepage;
} longer_plugin;

static const longer_option options[] = {
    { { "Name", PXS_OPT_STRING, 0, "x", 0, 0, NULL, "Any text." }, "letters" },
    { { "Quality", PXS_OPT_INTEGER, 0, "90", 1, 100, NULL, "Quality in percent." }, "percent" },
};

static const longer_ops ops = {
    { .size = sizeof ops, .caps = PXS_AI_GENERATE | 1u << 20, .open = good_open,
      .close = good_close, .run = good_run },
    NULL,
};

static const longer_plugin plugin = {
    { .magic = PXS_MAGIC, .abi_major = PXS_ABI_MAJOR, .abi_minor = PXS_ABI_MINOR + 7,
      .size = sizeof plugin, .kind = PXS_KIND_AI, .name = "b_longer", .version = "9",
      .summary = "A plugin from the future.", .option_size = sizeof(longer_option),
      .option_count = 2, .options = &options[0].known, .ops = &ops },
    "https://example.com/",
};

const pxs_plugin *pixshift_plugin(void)
{
    return broken_options[0].name ? &plugin.known : NULL;
}
