/* The image helper's part of a job: preparing inputs, blocking providers, checking results.  Jobs queue
 * here, those nearest to their end first; the helper gets no more than it can run, so that the row of a
 * try is written when the try really begins. */
#include "engine_internal.h"

#include "base/failpoint.h"
#include "base/log.h"
#include "cache/cache.h"
#include <apr_strings.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREPARE_MAX_SIDE 4096
/* Large pictures take long: libvips at 8x needs seconds of CPU per megapixel. */
#define LARGE_CPU_S 30
#define LARGE_WALL_MS 60000

px_err *px_engine_helper_open(px_engine *engine)
{
    const px_settings *s = engine->app->settings;
    px_helper_config config = {
        .program = px_set_str(s, PX_S_HELPER_PROGRAM),
        .max_tasks = (unsigned)px_set_int(s, PX_S_HELPERS),
        .memory = (uint64_t)px_set_int(s, PX_S_HELPER_MEMORY),
        .cpu_s = (unsigned)(px_set_int(s, PX_S_HELPER_CPU) / 1000),
        .wall_ms = (unsigned)px_set_int(s, PX_S_HELPER_WALL)};
    return px_helper_start(engine->pool, &config, &engine->helper);
}

void px_work_queue_task(px_work *work, px_task_kind kind)
{
    work->task = kind;
    work->in_queue = true;
    px_queue_push(&work->engine->tasks[kind], work);
}

/* ---- results ---- */

static bool large(const px_work *work)
{
    const char *scale = px_json_str(work->params, "scale");
    return strcmp(work->job.operation, "enhancement") == 0
           && ((scale && scale[0] == '8') || px_json_int(work->params, "scale", 2) == 8);
}

static void close_now(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void prepared(px_work *work, const px_helper_result *result)
{
    px_work_input *input = &work->inputs[work->input_at];
    pxs_image *image = &work->images[work->input_at];
    if (result->status == PX_HELPER_LOST) {
        px_work_again(work, px_work_backoff(0));
        return;
    }
    if (result->status != PX_HELPER_OK) {
        px_log(PX_LOG_INFO, "PXS6030", "job %s: an input cannot be decoded: %s", work->job.id,
               result->reason);
        px_work_fail(work, PX_E_INVALID_FILE, NULL);
        return;
    }
    close_now(&input->fd);
    image->role = input->role;
    image->mime = apr_pstrdup(work->pool, result->mime);
    image->path = apr_psprintf(work->pool, "/proc/self/fd/%d", input->prepared);
    image->len = result->bytes;
    image->width = result->width;
    image->height = result->height;
    work->input_at++;
    px_work_prepare(work);
}

static void ran(px_work *work, const px_helper_result *result)
{
    if (px_failpoint("cm07_reply")) {
        px_work_tried(work, PXS_FAIL_MALFORMED, "fail-point cm07_reply", 0);
        return;
    }
    if (result->status == PX_HELPER_LOST) {
        px_work_tried(work, PXS_FAIL_UNAVAILABLE, result->reason, 0);
        return;
    }
    if (result->status != PX_HELPER_OK) {
        px_work_tried(work, result->fail_class ? (pxs_fail_class)result->fail_class : PXS_FAIL_INTERNAL,
                      result->reason, result->retry_ms);
        return;
    }
    work->model = apr_pstrdup(work->pool, result->model);
    work->cost = result->cost_micro_usd;
    work->mime = apr_pstrdup(work->pool, result->mime);
    px_work_check(work);
}

static void checked(px_work *work, const px_helper_result *result)
{
    struct stat st;
    if (result->status == PX_HELPER_LOST) {
        px_work_queue_task(work, PX_TASK_CHECK);        /* the picture is still here */
        return;
    }
    if (result->status != PX_HELPER_OK) {
        px_work_tried(work, PXS_FAIL_MALFORMED,
                      apr_psprintf(work->pool, "no decodable image: %s", result->reason), 0);
        return;
    }
    work->width = result->width;
    work->height = result->height;
    if (result->mime[0]) {
        work->mime = apr_pstrdup(work->pool, result->mime);
    }
    if (work->final < 0) {
        work->final = work->output;                     /* probed, and good as it is */
        work->output = -1;
    }
    work->bytes = fstat(work->final, &st) == 0 ? (uint64_t)st.st_size : 0;
    px_work_store(work);
}

static void helper_done(void *baton, const px_helper_result *result)
{
    px_work *work = baton;
    work->in_helper = false;
    if (result->status == PX_HELPER_CRASHED || result->status == PX_HELPER_TIMEOUT) {
        px_count(work->engine->app->cache, PX_C_HELPER_CRASHES, 1);
    }
    if (work->released) {
        px_queue_push(&work->engine->to_free, work);
    } else if (!px_work_over(work)) {
        static void (*const next[PX_TASK_KINDS])(px_work *, const px_helper_result *) = {
            [PX_TASK_CHECK] = checked, [PX_TASK_RUN] = ran, [PX_TASK_PREPARE] = prepared};
        next[work->task](work, result);
    }
}

/* ---- submitting ---- */

static px_err *prepare_task(px_work *work, px_helper_task *task)
{
    px_work_input *input = &work->inputs[work->input_at];
    task->verb = PX_HELPER_PREPARE;
    task->inputs[0] = input->fd;
    task->input_count = 1;
    task->max_side = PREPARE_MAX_SIDE;
    close_now(&input->prepared);
    return px_work_file(work, &input->prepared);
}

static px_err *run_task(px_work *work, px_helper_task *task)
{
    px_instance *provider = px_work_provider(work);
    int count;
    task->verb = PX_HELPER_PLUGIN;
    for (int i = 0; i < work->input_count; i++) {
        task->inputs[i] = work->inputs[i].prepared;
    }
    task->input_count = (unsigned)work->input_count;
    task->plugin = px_instance_path(provider);
    task->values = px_instance_values(provider, &count);
    task->value_count = (unsigned)count;
    task->request = &work->request;
    if (large(work)) {
        task->cpu_s = LARGE_CPU_S;
        task->wall_ms = LARGE_WALL_MS;
    }
    close_now(&work->output);
    return px_work_file(work, &work->output);
}

/* What ran here was made by our own plugin from our own pixels: looking at it is enough. What a vendor
 * sent is encoded anew, so that no byte of it is ever served. */
static px_err *check_task(px_work *work, px_helper_task *task)
{
    task->inputs[0] = work->output;
    task->input_count = 1;
    close_now(&work->final);            /* of a provider that failed before this one */
    if (px_instance_blocking(px_work_provider(work))) {
        task->verb = PX_HELPER_PROBE;
        return NULL;
    }
    task->verb = PX_HELPER_ENCODE;
    task->format = px_json_str(work->params, "format");
    if (task->format && strcmp(task->format, "jpg") != 0 && strcmp(task->format, "png") != 0
        && strcmp(task->format, "webp") != 0) {
        task->format = NULL;
    }
    return px_work_file(work, &work->final);
}

static void submit(px_engine *engine, px_work *work)
{
    static px_err *(*const make[PX_TASK_KINDS])(px_work *, px_helper_task *) = {
        [PX_TASK_CHECK] = check_task, [PX_TASK_RUN] = run_task, [PX_TASK_PREPARE] = prepare_task};
    px_helper_task task = {.output = -1};
    px_err *err;
    if (work->task == PX_TASK_RUN && !px_work_try_begins(work)) {
        return;
    }
    err = make[work->task](work, &task);
    if (!err) {
        task.output = work->task == PX_TASK_RUN ? work->output
                    : work->task == PX_TASK_PREPARE ? work->inputs[work->input_at].prepared : work->final;
        work->in_helper = true;
        err = px_helper_submit(engine->turn_pool, engine->helper, &task, helper_done, work);
    }
    if (err) {
        work->in_helper = false;
        px_log(PX_LOG_ERROR, err->log_id ? err->log_id : "PXS6031", "%s", err->cause);
        px_work_again(work, px_work_backoff(0));
        return;
    }
    if (work->task == PX_TASK_RUN && px_failpoint("cm06_provider_called")) {
        px_log(PX_LOG_INFO, "PXS6032", "fail-point cm06_provider_called has no error to make");
    }
}

/* One task more than there are children, so that none of them waits for our loop. */
void px_engine_pump(px_engine *engine)
{
    while (px_helper_pending(engine->helper) <= (unsigned)engine->helper_slots) {
        px_work *work = NULL;
        for (int kind = 0; kind < PX_TASK_KINDS && !work; kind++) {
            work = px_queue_pop(&engine->tasks[kind]);
        }
        if (!work) {
            return;
        }
        work->in_queue = false;
        submit(engine, work);
    }
}

/* ---- stages ---- */

void px_work_prepare(px_work *work)
{
    if (work->input_at < work->input_count) {
        px_work_queue_task(work, PX_TASK_PREPARE);
        return;
    }
    px_work_run(work);
}

void px_work_check(px_work *work)
{
    px_work_queue_task(work, PX_TASK_CHECK);
}
