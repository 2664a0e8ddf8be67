/* A blocking plugin that does what its prompt says, which is never good: for test_helper. */
#include <pixshift/plugin.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int open_instance(const pxs_value *values, void **out, char *error, size_t error_size)
{
    static int nothing;
    (void)values, (void)error, (void)error_size;
    *out = &nothing;
    return 0;
}

static void close_instance(void *self)
{
    (void)self;
}

static void eat_memory(void)
{
    for (size_t i = 0; i < 4096; i++) {
        volatile char *piece = malloc(1 << 20);
        if (!piece)
            abort();
        piece[0] = 1;           /* address space is what counts */
    }
}

static pxs_step fail(pxs_call *call, uint32_t klass, const char *message)
{
    call->fail.klass = klass;
    call->fail.message = message;
    call->fail.retry_ms = 1500;
    return PXS_FAIL;
}

/* Names what the sandbox let through; "kept" when nothing. */
static const char *try_escape(void)
{
    if (socket(AF_INET, SOCK_STREAM, 0) >= 0)
        return "socket";
    if (open("/tmp/pixshift-escaped", O_CREAT | O_WRONLY, 0600) >= 0)
        return "file written";
    if (open("/etc/passwd", O_RDONLY) >= 0)
        return "file read";
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    if (pid > 0) {
        waitpid(pid, NULL, 0);
        return "fork";
    }
    execl("/bin/true", "true", (char *)NULL);
    return getenv("PATH") ? "environment" : "kept";
}

static pxs_step write_much(pxs_call *call, const char *path)
{
    static char block[1 << 20];
    int fd = open(path, O_WRONLY);
    ssize_t put = 1;
    for (int i = 0; i < 64 && put > 0; i++)
        put = write(fd, block, sizeof block);
    close(fd);
    return put > 0 ? PXS_DONE : fail(call, PXS_FAIL_INTERNAL, "the file limit holds");
}

static pxs_step run(void *self, pxs_call *call, const pxs_ai_request *request,
                    pxs_ai_result *result)
{
    const char *what = request->prompt;
    (void)self;
    if (strcmp(what, "crash") == 0)
        *(volatile int *)0 = 1;
    if (strcmp(what, "memory") == 0)
        eat_memory();
    for (volatile unsigned long i = 0; strcmp(what, "spin") == 0; i++)
        ;
    if (strcmp(what, "sleep") == 0)
        nanosleep(&(struct timespec){ 60, 0 }, NULL);
    if (strcmp(what, "exit") == 0)
        _exit(0);
    if (strcmp(what, "escape") == 0)
        return fail(call, PXS_FAIL_INTERNAL, try_escape());
    if (strcmp(what, "much") == 0)
        return write_much(call, result->output_path);
    if (strcmp(what, "refuse") == 0)
        return fail(call, PXS_FAIL_REFUSED, "not this\nPXS9999: forged");
    if (strcmp(what, "send") == 0)
        return PXS_SEND;
    if (strcmp(what, "wait") == 0 && call->phase++ < 3) {
        call->wait_ms = 1;
        return PXS_WAIT;
    }
    return PXS_DONE;        /* without an image */
}

static const pxs_ai_ops ops = {
    .size = sizeof ops, .caps = PXS_AI_EDIT | PXS_CAP_BLOCKING, .open = open_instance,
    .close = close_instance, .run = run,
};

static const pxs_plugin plugin = {
    .magic = PXS_MAGIC, .abi_major = PXS_ABI_MAJOR, .abi_minor = PXS_ABI_MINOR,
    .size = sizeof plugin, .kind = PXS_KIND_AI, .name = "helper_bad", .version = "1.0",
    .summary = "Misbehaves on request.", .option_size = sizeof(pxs_option), .ops = &ops,
};

PXS_EXPORT const pxs_plugin *pixshift_plugin(void)
{
    return &plugin;
}
