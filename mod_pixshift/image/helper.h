/* The image helper, client side: pixels are decoded, and blocking plugins run, in pixshift-helper,
 * a program of disposable processes with hard limits; this is how the worker talks to it.
 *
 * One px_helper is one helper program: a parent ("zygote") that loads libvips once and forks a
 * child for every task.  Tasks beyond `max_tasks` wait in a queue here.  Everything happens in the
 * calling thread: poll px_helper_fd() for reading, at most px_helper_timeout_ms() long, then call
 * px_helper_process(), which runs the callbacks.  A dead or stuck helper program is started again
 * and the tasks in flight are run once more, at most; so is a task whose child crashed.
 *
 * Memory: a px_helper lives until px_helper_stop() (or the pool's end); tasks and results are freed
 * by themselves.  File descriptors given to px_helper_submit() are duplicated: the caller closes
 * his. One thread per px_helper. */
#ifndef PX_IMAGE_HELPER_H
#define PX_IMAGE_HELPER_H

#include "base/error.h"
#include <pixshift/plugin.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct px_helper px_helper;

#define PX_HELPER_INPUTS 8      /* most input files of one task */

/* Zero members mean the default. */
typedef struct {
    const char *program;        /* default: pixshift-helper in the libexec folder */
    unsigned max_tasks;         /* children at once; 2 */
    unsigned max_queue;         /* tasks waiting here; 1000 */
    uint64_t memory;            /* bytes of address space of a child; 768 MiB */
    uint64_t file_size;         /* bytes that a child may write to one file; 32 MiB */
    unsigned cpu_s;             /* seconds of CPU time of a child; 5 */
    unsigned wall_ms;           /* milliseconds until a child is killed; 10 000 */
} px_helper_config;

typedef enum {
    PX_HELPER_PROBE = 1,        /* decode wholly, write nothing: is it an image, and how large? */
    PX_HELPER_PREPARE = 2,      /* decode, orient, to sRGB, strip, limit the size: for providers */
    PX_HELPER_ENCODE = 3,       /* the same for what a provider sent, in the form asked for */
    PX_HELPER_PLUGIN = 4        /* run one operation of a PXS_CAP_BLOCKING plugin */
} px_helper_verb;

typedef struct {
    px_helper_verb verb;
    int inputs[PX_HELPER_INPUTS];   /* files or memfds, readable; read from offset 0 */
    unsigned input_count;
    int output;                 /* emptied, then written; unused by PROBE */
    /* PREPARE and ENCODE */
    const char *format;         /* "jpg", "png", "webp"; NULL = as the input */
    unsigned quality;           /* 1..100 (jpg, webp); 0 = 85 */
    unsigned max_side;          /* pixels; larger images are shrunk; 0 = no limit */
    unsigned max_pixels;        /* refuse larger inputs before decoding; 0 = 8192 x 8192 */
    /* PLUGIN. Input i is request->images[i]; the paths in it are replaced. */
    const char *plugin;         /* absolute path of the .so */
    const pxs_value *values;    /* in the order of the plugin's option table */
    unsigned value_count;
    const pxs_ai_request *request;
    unsigned wall_ms;           /* 0 = the configuration's */
    unsigned cpu_s;             /* 0 = the configuration's */
} px_helper_task;

typedef enum {
    PX_HELPER_OK = 0,
    PX_HELPER_FAILED = 1,       /* an orderly no: the image is broken, the plugin refused */
    PX_HELPER_CRASHED = 2,      /* the child died: by a signal or at its memory limit */
    PX_HELPER_TIMEOUT = 3,      /* killed at the CPU or wall-clock limit */
    PX_HELPER_LOST = 4          /* the helper program itself could not run the task */
} px_helper_status;

/* Valid during the callback. Sizes and texts come from a process that met hostile data: they are
 * bounded and well-formed, but check an image with PROBE or ENCODE before believing its content. */
typedef struct {
    px_helper_status status;
    uint32_t fail_class;        /* pxs_fail_class when not OK, else 0 */
    int64_t retry_ms;           /* wish of a plugin that failed */
    const char *reason;         /* one sentence for the log when not OK, else "" */
    uint32_t width, height;     /* of the image written (PROBE: of the input, as it is seen) */
    const char *mime;           /* "image/jpeg", "image/png", "image/webp"; "" when there is none */
    uint64_t bytes;             /* written to the output */
    const char *model;          /* PLUGIN: who did the work; "" when not told */
    int64_t cost_micro_usd;     /* PLUGIN: -1 = unknown */
} px_helper_result;

typedef void px_helper_done(void *baton, const px_helper_result *result);

/* Starts the program. An error says what could not be started. */
px_err *px_helper_start(apr_pool_t *pool, const px_helper_config *config, px_helper **out);
/* To poll for reading; -1 while the program is down. It changes when the program is restarted: ask
 * before every poll. */
int px_helper_fd(const px_helper *h);
/* Longest wait before px_helper_process() must be called; -1 = none. */
int px_helper_timeout_ms(const px_helper *h);
/* Queues a task. The strings are copied. `done` is called once, from px_helper_process() or
 * px_helper_stop(), never from here. UNAVAILABLE when the queue is full; INTERNAL for a task that
 * makes no sense. */
px_err *px_helper_submit(apr_pool_t *pool, px_helper *h, const px_helper_task *task,
                         px_helper_done *done, void *baton);
/* Reads results, runs callbacks, starts waiting tasks, restarts a dead program. Never blocks. */
void px_helper_process(px_helper *h);
/* Tasks queued or running. */
unsigned px_helper_pending(const px_helper *h);
/* What the program could enforce: "net-namespace seccomp landlock", "" before it reported. */
const char *px_helper_sandbox(const px_helper *h);
/* Process id of the program, 0 while it is down. */
int px_helper_pid(const px_helper *h);
/* Stops the program; what is pending ends as LOST. The px_helper is gone afterwards. */
void px_helper_stop(px_helper *h);

/* Submits one task and waits for it (tools and tests). *result and its strings live in the pool. */
px_err *px_helper_run_sync(apr_pool_t *pool, px_helper *h, const px_helper_task *task,
                           px_helper_result *result);
/* An anonymous file in memory, close-on-exec; `data` may be NULL for an empty one to write into. A
 * filled one is sealed: nobody can change it under a decoder. */
px_err *px_helper_memfd(apr_pool_t *pool, const void *data, size_t len, int *fd);
/* The whole content of a file, from offset 0, NUL behind it. Refuses more than `limit` bytes. */
px_err *px_helper_read_all(apr_pool_t *pool, int fd, size_t limit, char **data, size_t *len);

#endif
