/* The client of the helper program: queue, sending, results, restart; see helper.h. */
#include "helper.h"
#include "helper_pack.h"
#include "helper_spawn.h"
#include "helper_wire.h"
#include "base/clock.h"
#include "base/log.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ATTEMPTS_MAX   2            /* runs of one task when its process or the program dies */
#define STUCK_GRACE_US 5000000      /* over a task's own wall clock: the program itself hangs */
#define RESTART_US     1000000      /* between two starts of a program that keeps dying */

/* A task, from submit to callback. On the C heap: tasks are many and outlive each other freely. */
typedef struct task {
    struct task *next;
    uint64_t id;
    unsigned attempts;
    int64_t deadline;               /* px_monotonic(); 0 while it waits in the queue */
    int fds[PX_WIRE_FDS];
    unsigned fd_count;
    px_helper_done *done;
    void *baton;
    unsigned wall_ms;
    size_t packet_len;
    unsigned char packet[];         /* a px_wire_packet without the unused end of its text */
} task;

typedef struct {
    task *first, **last;
    unsigned count;
} task_list;

struct px_helper {
    apr_pool_t *pool;
    px_helper_config config;
    px_helper_proc proc;
    int64_t started;                /* px_monotonic() of the last start */
    int64_t restart_at;             /* when to start again; 0 = it runs */
    bool said_hello;
    uint64_t next_id;
    task_list waiting, running;
    char sandbox[64];
};

/* ---- lists ---- */

static void append(task_list *list, task *t)
{
    t->next = NULL;
    *list->last = t;
    list->last = &t->next;
    list->count++;
}

static void prepend(task_list *list, task *t)
{
    t->next = list->first;
    list->first = t;
    if (list->last == &list->first)
        list->last = &t->next;
    list->count++;
}

/* Takes the task with this id out; id 0 = the first. */
static task *take(task_list *list, uint64_t id)
{
    for (task **at = &list->first; *at; at = &(*at)->next) {
        task *t = *at;
        if (id && t->id != id)
            continue;
        *at = t->next;
        if (list->last == &t->next)
            list->last = at;
        list->count--;
        return t;
    }
    return NULL;
}

/* ---- the end of a task ---- */

static void free_task(task *t)
{
    for (unsigned i = 0; i < t->fd_count; i++)
        close(t->fds[i]);
    free(t);
}

static void log_bad_end(const px_helper_result *result)
{
    if (result->status == PX_HELPER_CRASHED)
        px_log(PX_LOG_WARN, "PXS1502", "an image task crashed its process: %s", result->reason);
    else if (result->status == PX_HELPER_TIMEOUT)
        px_log(PX_LOG_WARN, "PXS1503", "an image task was stopped: %s", result->reason);
    else if (result->status == PX_HELPER_LOST)
        px_log(PX_LOG_WARN, "PXS1504", "an image task could not be run: %s", result->reason);
}

static void finish(task *t, const px_wire_result *wire)
{
    px_helper_result result = {
        .status = (px_helper_status)wire->status, .fail_class = wire->fail_class,
        .retry_ms = wire->retry_ms, .reason = wire->reason, .width = wire->width,
        .height = wire->height, .mime = wire->mime, .bytes = wire->bytes, .model = wire->model,
        .cost_micro_usd = wire->cost_micro_usd,
    };
    if (result.status == PX_HELPER_OK)
        result.fail_class = 0;
    log_bad_end(&result);
    t->done(t->baton, &result);
    free_task(t);
}

static void finish_lost(task *t, const char *reason)
{
    px_wire_result wire = { .status = PX_HELPER_LOST, .fail_class = PXS_FAIL_UNAVAILABLE,
                            .cost_micro_usd = -1 };
    snprintf(wire.reason, sizeof wire.reason, "%s", reason);
    finish(t, &wire);
}

/* ---- start and restart ---- */

static px_err *start_program(px_helper *h)
{
    h->started = px_monotonic();
    h->restart_at = 0;
    h->said_hello = false;
    return px_helper_spawn(h->pool, &h->config, &h->proc);
}

/* The program is gone or must go: tasks in flight run once more at most, the program is started
 * again (at once the first time, then with a pause). */
static void program_died(px_helper *h, const char *why)
{
    task_list lost = { NULL, &lost.first, 0 };
    task *t;
    int64_t now = px_monotonic();
    px_log(PX_LOG_ERROR, "PXS1500", "the image helper %d %s; starting another", (int)h->proc.pid,
           why);
    px_helper_reap(&h->proc);
    h->restart_at = now - h->started < RESTART_US ? now + RESTART_US : now;
    while ((t = take(&h->running, 0)) != NULL)
        append(&lost, t);
    task_list again = { NULL, &again.first, 0 };
    while ((t = take(&lost, 0)) != NULL) {
        if (t->attempts < ATTEMPTS_MAX)
            append(&again, t);
        else
            finish_lost(t, "the image helper died");
    }
    /* In front of the queue, in their order. */
    if (again.first) {
        *again.last = h->waiting.first;
        if (!h->waiting.first)
            h->waiting.last = again.last;
        h->waiting.first = again.first;
        h->waiting.count += again.count;
    }
}

static void restart_if_due(px_helper *h)
{
    task *t;
    if (!h->restart_at || px_monotonic() < h->restart_at)
        return;
    px_err *err = start_program(h);
    if (!err)
        return;
    px_log(PX_LOG_ERROR, "PXS1501", "the image helper does not start: %s", err->cause);
    h->restart_at = px_monotonic() + RESTART_US;
    task_list lost = h->waiting;
    if (lost.last == &h->waiting.first)
        lost.last = &lost.first;
    h->waiting = (task_list){ NULL, &h->waiting.first, 0 };
    while ((t = take(&lost, 0)) != NULL)
        finish_lost(t, "the image helper does not start");
}

/* ---- sending ---- */

static void send_waiting(px_helper *h)
{
    while (!h->restart_at && h->waiting.first && h->running.count < h->config.max_tasks) {
        task *t = take(&h->waiting, 0);
        if (px_wire_send(h->proc.sock, t->packet, t->packet_len, t->fds, t->fd_count) == 0) {
            t->attempts++;
            t->deadline = px_monotonic() + (int64_t)t->wall_ms * 1000 + STUCK_GRACE_US;
            append(&h->running, t);
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == EPIPE
            || errno == ECONNRESET) {
            /* Full, or dead: then the next read tells. */
            prepend(&h->waiting, t);
            return;
        }
        finish_lost(t, strerror(errno));
    }
}

/* ---- receiving ---- */

static void take_hello(px_helper *h, const px_wire_result *wire)
{
    h->said_hello = true;
    snprintf(h->sandbox, sizeof h->sandbox, "%.60s", wire->reason);
    px_log(PX_LOG_INFO, "PXS1505", "the image helper %d is ready; enforced beside its limits: %s",
           (int)h->proc.pid, h->sandbox[0] ? h->sandbox : "nothing");
}

/* One packet; false when there is none to read. */
static bool receive_one(px_helper *h)
{
    px_wire_result wire;
    unsigned fd_count;
    ssize_t got = px_wire_receive(h->proc.sock, &wire, sizeof wire, NULL, 0, &fd_count);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (got <= 0) {
        program_died(h, "died");
        return false;
    }
    if (got != (ssize_t)sizeof wire || wire.magic != PX_WIRE_MAGIC) {
        program_died(h, "sent a packet that makes no sense");
        return false;
    }
    px_wire_result_tame(&wire);
    if (wire.kind == PX_WIRE_HELLO) {
        take_hello(h, &wire);
        return true;
    }
    task *t = take(&h->running, wire.id);
    /* Most crashes come from the picture and come again; some are races inside the libraries
     * (libvips' pull request 4137: its thread pool before 8.15.4), seen once in thousands of tasks,
     * and those are no fault of the user's. */
    if (t && wire.status == PX_HELPER_CRASHED && t->attempts < ATTEMPTS_MAX) {
        px_log(PX_LOG_INFO, "PXS1515", "an image task is run again: %s", wire.reason);
        prepend(&h->waiting, t);
    } else if (t) {
        finish(t, &wire);
    }
    return true;
}

static void check_stuck(px_helper *h)
{
    int64_t now = px_monotonic();
    for (task *t = h->running.first; t; t = t->next)
        if (now >= t->deadline) {
            program_died(h, "hangs");
            return;
        }
}

/* ---- submitting ---- */

/* A task with everything but its files; NULL when the request does not fit into a packet. */
static task *make_task(px_helper *h, const px_helper_task *wanted)
{
    px_wire_packet *packet = malloc(sizeof *packet);
    task *t = NULL;
    if (!packet)
        abort();
    if (px_helper_pack(wanted, packet)) {
        size_t len = offsetof(px_wire_packet, text) + packet->head.text_len;
        t = calloc(1, sizeof *t + len);
        if (!t)
            abort();
        t->id = packet->head.id = ++h->next_id;
        t->wall_ms = wanted->wall_ms ? wanted->wall_ms : h->config.wall_ms;
        t->packet_len = len;
        memcpy(t->packet, packet, len);
    }
    free(packet);
    return t;
}

static bool add_fd(task *t, int fd)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return false;
    t->fds[t->fd_count++] = own;
    return true;
}

px_err *px_helper_submit(apr_pool_t *pool, px_helper *h, const px_helper_task *wanted,
                         px_helper_done *done, void *baton)
{
    if (h->waiting.count >= h->config.max_queue)
        return px_error(pool, PX_E_UNAVAILABLE, "PXS1506", "%u image tasks wait already",
                        h->waiting.count);
    task *t = make_task(h, wanted);
    if (!t)
        return px_error(pool, PX_E_INTERNAL, "PXS1507", "an image task is too long or incomplete");
    bool ok = true;
    for (unsigned i = 0; ok && i < wanted->input_count; i++)
        ok = add_fd(t, wanted->inputs[i]);
    if (ok && wanted->verb != PX_HELPER_PROBE)
        ok = add_fd(t, wanted->output);
    if (!ok) {
        int error = errno;
        free_task(t);
        return px_error(pool, PX_E_INTERNAL, "PXS1510", "a file of an image task: %s",
                        strerror(error));
    }
    t->done = done;
    t->baton = baton;
    append(&h->waiting, t);
    send_waiting(h);
    return NULL;
}

/* ---- entry points ---- */

int px_helper_fd(const px_helper *h)
{
    return h->proc.sock;
}

int px_helper_pid(const px_helper *h)
{
    return (int)h->proc.pid;
}

unsigned px_helper_pending(const px_helper *h)
{
    return h->waiting.count + h->running.count;
}

const char *px_helper_sandbox(const px_helper *h)
{
    return h->sandbox;
}

int px_helper_timeout_ms(const px_helper *h)
{
    int64_t next = h->restart_at, now = px_monotonic();
    for (const task *t = h->running.first; t; t = t->next)
        if (!next || t->deadline < next)
            next = t->deadline;
    if (!next)
        return -1;
    return next <= now ? 0 : (int)((next - now) / 1000 + 1);
}

void px_helper_process(px_helper *h)
{
    while (!h->restart_at && receive_one(h))
        ;
    if (!h->restart_at)
        check_stuck(h);
    restart_if_due(h);
    send_waiting(h);
}

static apr_status_t stop_with_pool(void *baton)
{
    px_helper *h = baton;
    task *t;
    px_helper_reap(&h->proc);
    while ((t = take(&h->running, 0)) != NULL || (t = take(&h->waiting, 0)) != NULL)
        finish_lost(t, "the image helper was stopped");
    return APR_SUCCESS;
}

void px_helper_stop(px_helper *h)
{
    apr_pool_destroy(h->pool);
}

static void set_defaults(apr_pool_t *pool, px_helper_config *config)
{
    if (!config->program)
        config->program = PX_LIBEXECDIR "/pixshift-helper";
    config->program = apr_pstrdup(pool, config->program);
    if (!config->max_tasks)
        config->max_tasks = 2;
    if (!config->max_queue)
        config->max_queue = 1000;
    if (!config->memory)
        config->memory = 768ull << 20;
    if (!config->file_size)
        config->file_size = 32ull << 20;
    if (!config->cpu_s)
        config->cpu_s = 5;
    if (!config->wall_ms)
        config->wall_ms = 10000;
}

px_err *px_helper_start(apr_pool_t *pool, const px_helper_config *config, px_helper **out)
{
    apr_pool_t *own;
    apr_pool_create(&own, pool);
    px_helper *h = apr_pcalloc(own, sizeof *h);
    h->pool = own;
    h->proc.sock = -1;
    if (config)
        h->config = *config;
    set_defaults(own, &h->config);
    h->waiting.last = &h->waiting.first;
    h->running.last = &h->running.first;
    apr_pool_cleanup_register(own, h, stop_with_pool, apr_pool_cleanup_null);
    px_err *err = px_helper_spawn(pool, &h->config, &h->proc);
    if (err) {
        apr_pool_destroy(own);
        return err;
    }
    h->started = px_monotonic();
    *out = h;
    return NULL;
}
