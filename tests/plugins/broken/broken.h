/* A small ai plugin that works, in which each test plugin breaks one thing by defining a macro
 * before it includes this file. */
#ifndef PX_TESTS_BROKEN_H
#define PX_TESTS_BROKEN_H

#include <pixshift/plugin.h>

#include <stdlib.h>
#include <string.h>

#ifndef BROKEN_MAGIC
#define BROKEN_MAGIC PXS_MAGIC
#endif
#ifndef BROKEN_MAJOR
#define BROKEN_MAJOR PXS_ABI_MAJOR
#endif
#ifndef BROKEN_OPS_SIZE
#define BROKEN_OPS_SIZE sizeof(pxs_ai_ops)
#endif
#ifndef BROKEN_RUN
#define BROKEN_RUN good_run
#endif
#ifndef BROKEN_OPEN
#define BROKEN_OPEN good_open
#endif
#ifndef BROKEN_CLOSE
#define BROKEN_CLOSE good_close
#endif
#ifndef BROKEN_OPTION
#define BROKEN_OPTION { "Quality", PXS_OPT_INTEGER, 0, "90", 1, 100, NULL, "Quality in percent." }
#endif

__attribute__((unused)) static int good_open(const pxs_value *values, void **instance, char *error,
                                             size_t error_size)
{
    (void)values;
    (void)error;
    (void)error_size;
    *instance = calloc(1, 16);
    return 0;
}

__attribute__((unused)) static void good_close(void *instance)
{
    free(instance);
}

__attribute__((unused)) static pxs_step good_run(void *instance, pxs_call *call,
                                                 const pxs_ai_request *request,
                                                 pxs_ai_result *result)
{
    (void)instance;
    (void)request;
    if (!call->reply) {
        call->exchange.method = "GET";
        call->exchange.url = "https://vendor.invalid/";
        return PXS_SEND;
    }
    if (call->reply->status != 200 || call->reply->body_len == 0) {
        call->fail.klass = PXS_FAIL_UNAVAILABLE;
        return PXS_FAIL;
    }
    result->image.data = call->reply->body;
    result->image.len = call->reply->body_len;
    return PXS_DONE;
}

static int BROKEN_OPEN(const pxs_value *values, void **instance, char *error, size_t error_size);
static void BROKEN_CLOSE(void *instance);

static const pxs_option broken_options[] = {
    { "Name", PXS_OPT_STRING, 0, "x", 0, 0, NULL, "Any text." },
    BROKEN_OPTION,
};

#define BROKEN_PLUGIN(plugin_name)                                                        \
    static const pxs_ai_ops broken_ops = {                                                \
        .size = BROKEN_OPS_SIZE, .caps = PXS_AI_GENERATE, .open = BROKEN_OPEN,            \
        .close = BROKEN_CLOSE, .run = BROKEN_RUN,                                         \
    };                                                                                    \
    static const pxs_plugin broken_plugin = {                                             \
        .magic = BROKEN_MAGIC, .abi_major = BROKEN_MAJOR, .abi_minor = PXS_ABI_MINOR,     \
        .size = sizeof(pxs_plugin), .kind = PXS_KIND_AI, .name = plugin_name,             \
        .version = "1", .summary = "A test plugin.", .option_size = sizeof(pxs_option),   \
        .option_count = 2, .options = broken_options, .ops = &broken_ops,                 \
    };                                                                                    \
    const pxs_plugin *pixshift_plugin(void)                                               \
    {                                                                                     \
        return &broken_plugin;                                                            \
    }

#endif
