/* Running a blocking plugin; see helper_plugin.h.  Memory is never freed: the process ends with the
 * task. */
#include "helper_plugin.h"
#include "vips_work.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef const pxs_plugin *entry_point(void);

#define STEPS_MAX 1000      /* WAITs of a plugin that should not need any */

static void *must_alloc(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size ? size : 1);
    if (!memory)
        abort();            /* reported as a crash at the memory limit */
    return memory;
}

static void *call_alloc(pxs_call *call, size_t size)
{
    (void)call;
    return must_alloc(1, size);
}

static void call_log(pxs_call *call, int level, const char *message)
{
    (void)call;
    if (level <= 1)
        fprintf(stderr, "%.300s\n", message ? message : "");
}

static void call_emit(pxs_call *call, const char *text, size_t len)
{
    (void)call, (void)text, (void)len;
}

/* ---- loading ---- */

static const char *descriptor_fault(const pxs_plugin *plugin)
{
    const pxs_ai_ops *ops = plugin ? plugin->ops : NULL;
    if (!plugin || plugin->magic != PXS_MAGIC)
        return "it has no valid descriptor";
    if (plugin->abi_major != PXS_ABI_MAJOR)
        return "it was made for another ABI";
    if (plugin->size < sizeof *plugin)
        return "its descriptor is too short";
    if (plugin->kind != PXS_KIND_AI)
        return "it is no ai plugin";
    if (!ops || ops->size < offsetof(pxs_ai_ops, price) || !ops->run)
        return "its table of operations is too short";
    if (!(ops->caps & PXS_CAP_BLOCKING))
        return "it does not declare PXS_CAP_BLOCKING";
    return NULL;
}

static const pxs_plugin *load(const px_wire_packet *task, px_wire_result *result)
{
    const char *path = px_wire_get(task, "plugin");
    void *handle = path && path[0] == '/' ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!handle) {
        px_vips_refuse(result, PXS_FAIL_INTERNAL, "cannot load the plugin: %s",
                       path ? dlerror() : "no path");
        return NULL;
    }
    entry_point *entry = (entry_point *)dlsym(handle, "pixshift_plugin");
    const pxs_plugin *plugin = entry ? entry() : NULL;
    const char *fault = descriptor_fault(plugin);
    if (!fault && plugin->option_count != task->head.value_count)
        fault = "its option table is not the one that the host knows";
    if (fault) {
        px_vips_refuse(result, PXS_FAIL_INTERNAL, "cannot use the plugin: %s", fault);
        return NULL;
    }
    return plugin;
}

/* ---- the call's arguments, from the packet ---- */

static int64_t number(const px_wire_packet *task, const char *stem, unsigned n, const char *field)
{
    const char *text = px_wire_get_n(task, stem, n, field);
    return text ? strtoll(text, NULL, 10) : 0;
}

static pxs_value *make_values(const px_wire_packet *task)
{
    pxs_value *values = must_alloc(task->head.value_count, sizeof *values);
    for (unsigned i = 0; i < task->head.value_count; i++) {
        values[i].is_set = number(task, "opt", i, ".set") != 0;
        values[i].number = number(task, "opt", i, ".number");
        values[i].text = px_wire_get_n(task, "opt", i, ".text");
    }
    return values;
}

static const char *fd_path(int fd)
{
    char *path = must_alloc(1, 32);
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    return path;
}

static pxs_image *make_images(const px_wire_packet *task, const int *inputs)
{
    unsigned count = task->head.input_count;
    pxs_image *images = must_alloc(count, sizeof *images);
    for (unsigned i = 0; i < count; i++) {
        struct stat st;
        const char *role = px_wire_get_n(task, "img", i, ".role");
        images[i].role = role ? role : "input";
        images[i].mime = px_wire_get_n(task, "img", i, ".mime");
        images[i].path = fd_path(inputs[i]);
        images[i].len = fstat(inputs[i], &st) == 0 ? (uint64_t)st.st_size : 0;
        images[i].width = (uint32_t)number(task, "img", i, ".width");
        images[i].height = (uint32_t)number(task, "img", i, ".height");
    }
    return images;
}

static pxs_param *make_params(const px_wire_packet *task)
{
    pxs_param *params = must_alloc(task->head.param_count, sizeof *params);
    for (unsigned i = 0; i < task->head.param_count; i++) {
        params[i].name = px_wire_get_n(task, "par", i, ".name");
        params[i].value = px_wire_get_n(task, "par", i, ".value");
    }
    return params;
}

/* ---- the result ---- */

/* Copies what the plugin left elsewhere than in output_path; false when it left nothing usable. */
static bool take_image(const pxs_ai_result *from, int output, px_wire_result *result)
{
    if (from->image.data && from->image.len)
        return px_vips_write(output, from->image.data, from->image.len, result);
    if (!px_vips_describe(output, result)) {
        px_vips_refuse(result, PXS_FAIL_MALFORMED, "the plugin wrote no image");
        return false;
    }
    return true;
}

static void take_result(pxs_step last, const pxs_call *call, const pxs_ai_result *from, int output,
                        px_wire_result *result)
{
    if (last == PXS_FAIL) {
        uint32_t klass = call->fail.klass ? call->fail.klass : PXS_FAIL_INTERNAL;
        result->retry_ms = call->fail.retry_ms;
        px_vips_refuse(result, klass, "%s", call->fail.message ? call->fail.message : "failed");
        return;
    }
    if (last != PXS_DONE) {
        px_vips_refuse(result, PXS_FAIL_INTERNAL, "a blocking plugin asked for an exchange");
        return;
    }
    if (!take_image(from, output, result) || !px_vips_describe(output, result)) {
        if (result->status == PX_HELPER_OK)
            px_vips_refuse(result, PXS_FAIL_MALFORMED, "the plugin made no readable image");
        return;
    }
    result->status = PX_HELPER_OK;
    result->cost_micro_usd = from->cost_micro_usd;
    snprintf(result->model, sizeof result->model, "%s", from->model ? from->model : "");
}

static pxs_step run_steps(const pxs_ai_ops *ops, void *instance, pxs_call *call,
                          const pxs_ai_request *request, pxs_ai_result *result)
{
    pxs_step last = PXS_WAIT;
    for (int i = 0; i < STEPS_MAX && last == PXS_WAIT; i++) {
        memset(&call->exchange, 0, sizeof call->exchange);
        last = ops->run(instance, call, request, result);
        if (last == PXS_WAIT) {
            struct timespec pause = { call->wait_ms / 1000,
                                      (long)(call->wait_ms % 1000) * 1000000 };
            nanosleep(&pause, NULL);
        }
    }
    return last;
}

void px_helper_plugin_run(const px_wire_packet *task, const int *inputs, int output,
                          px_wire_result *result)
{
    const pxs_plugin *plugin = load(task, result);
    char error[200] = "";
    void *instance = NULL;
    struct timespec now;
    if (!plugin)
        return;
    const pxs_ai_ops *ops = plugin->ops;
    if (ops->open && ops->open(make_values(task), &instance, error, sizeof error) != 0) {
        px_vips_refuse(result, PXS_FAIL_INTERNAL, "the plugin does not open: %.200s", error);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    pxs_ai_request request = {
        .size = sizeof request, .operation = task->head.operation,
        .request_id = px_wire_get(task, "request_id"), .prompt = px_wire_get(task, "prompt"),
        .images = make_images(task, inputs), .image_count = task->head.input_count,
        .params = make_params(task), .param_count = task->head.param_count,
        .user_tag = px_wire_get(task, "user_tag"),
    };
    pxs_call call = { .size = sizeof call, .alloc = call_alloc, .log = call_log, .emit = call_emit,
                      .now_usec = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 };
    pxs_ai_result made = { .size = sizeof made, .cost_micro_usd = -1,
                           .output_path = fd_path(output) };
    pxs_step last = run_steps(ops, instance, &call, &request, &made);
    take_result(last, &call, &made, output, result);
    if (ops->close)
        ops->close(instance);
}
