/* pixshift-helper: the program in which pixels are decoded and blocking plugins run.
 *
 * It is started by px_helper_start() with its socket as descriptor 3.  The parent loads libvips
 * once, takes the network away and then only forks: a child per task, which limits itself, works,
 * reports through a pipe of its own and ends.  The parent never touches an image.  It ends when the
 * socket does. */
#include "helper_jail.h"
#include "helper_plugin.h"
#include "helper_wire.h"
#include "vips_work.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SOCK       3        /* the socket, by agreement with the client */
#define TASKS_MAX  64
#define FD_RESULT  3        /* in a child */
#define FD_FIRST   4        /* first of the task's files in a child */

typedef struct {
    pid_t pid;              /* 0 = free slot */
    uint64_t id;
    int result_fd;          /* the child's report */
    int stderr_fd;          /* what libraries printed before they gave up */
    int64_t deadline;       /* monotonic milliseconds */
    unsigned wall_ms, cpu_s;
    bool timed_out;
    bool reported;          /* the client has the result; only the process is left */
} slot;

static slot slots[TASKS_MAX];
static px_jail_limits limits = { 768ull << 20, 32ull << 20, 5 };
static unsigned wall_ms_default = 10000;
static px_wire_packet packet;       /* too large for the stack */

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void close_if(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void report(const px_wire_result *result)
{
    if (px_wire_send(SOCK, result, sizeof *result, NULL, 0) != 0)
        exit(0);            /* the client is gone; children die with us */
}

static void report_failure(uint64_t id, px_helper_status status, const char *reason)
{
    px_wire_result result = { .magic = PX_WIRE_MAGIC, .kind = PX_WIRE_RESULT, .id = id,
                              .status = status, .fail_class = PXS_FAIL_INTERNAL,
                              .cost_micro_usd = -1 };
    snprintf(result.reason, sizeof result.reason, "%s", reason);
    report(&result);
}

/* ---- the child ---- */

/* Gives the task's files the numbers FD_FIRST, FD_FIRST+1, … and closes everything else. */
static void arrange_fds(int result_fd, int stderr_fd, int *fds, unsigned count)
{
    /* First out of the way of the numbers wanted, then into place. */
    int base = FD_FIRST + (int)count, null = open("/dev/null", O_RDWR | O_CLOEXEC);
    result_fd = fcntl(result_fd, F_DUPFD, base);
    stderr_fd = fcntl(stderr_fd, F_DUPFD, base);
    null = fcntl(null, F_DUPFD, base);
    for (unsigned i = 0; i < count; i++)
        fds[i] = fcntl(fds[i], F_DUPFD, base);
    dup2(null, 0);
    dup2(null, 1);
    dup2(stderr_fd, 2);
    dup2(result_fd, FD_RESULT);
    for (unsigned i = 0; i < count; i++) {
        dup2(fds[i], FD_FIRST + (int)i);
        fds[i] = FD_FIRST + (int)i;
    }
    syscall(SYS_close_range, (unsigned)base, ~0u, 0);
}

static void reset_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGXFSZ, SIG_IGN);       /* write() says EFBIG instead */
    signal(SIGPIPE, SIG_IGN);
}

static void run_child(const px_wire_packet *task, pid_t parent, int result_fd, int stderr_fd,
                      int *fds, unsigned count)
{
    px_wire_result result = { .magic = PX_WIRE_MAGIC, .kind = PX_WIRE_RESULT, .id = task->head.id,
                              .cost_micro_usd = -1 };
    bool plugin = task->head.verb == PX_HELPER_PLUGIN;
    px_jail_limits mine = limits;
    if (task->head.cpu_s)
        mine.cpu_s = task->head.cpu_s;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    arrange_fds(result_fd, stderr_fd, fds, count);
    reset_signals();
    int output = task->head.has_output ? fds[count - 1] : -1;
    if (!px_jail_enter(&mine, plugin, px_wire_get(task, "plugin"), fds, count))
        px_vips_refuse(&result, PXS_FAIL_INTERNAL, "the limits could not be set");
    else if (output >= 0 && ftruncate(output, 0) != 0)
        px_vips_refuse(&result, PXS_FAIL_INTERNAL, "the output cannot be written");
    else if (plugin)
        px_helper_plugin_run(task, fds, output, &result);
    else
        px_vips_run(task, fds[0], output, &result);
    /* At most PIPE_BUF bytes: written wholly or not at all. */
    ssize_t put = write(FD_RESULT, &result, sizeof result);
    _exit(put == (ssize_t)sizeof result ? 0 : 1);
}

/* ---- starting a task ---- */

static slot *free_slot(void)
{
    for (unsigned i = 0; i < TASKS_MAX; i++)
        if (!slots[i].pid)
            return &slots[i];
    return NULL;
}

static const char *task_fault(const px_wire_task *head, unsigned fd_count)
{
    bool plugin = head->verb == PX_HELPER_PLUGIN;
    if (head->verb < PX_HELPER_PROBE || head->verb > PX_HELPER_PLUGIN)
        return "no such verb";
    if (fd_count != head->input_count + (head->has_output ? 1 : 0))
        return "files are missing";
    if (!plugin && head->input_count != 1)
        return "exactly one input is needed";
    if (head->verb != PX_HELPER_PROBE && !head->has_output)
        return "an output is needed";
    return NULL;
}

static bool fork_task(slot *s, int *fds, unsigned fd_count)
{
    int out[2] = { -1, -1 }, err[2] = { -1, -1 };
    pid_t parent = getpid();
    /* Reports are read after the child's end only, so the parent's ends need not block. */
    if (pipe2(out, O_CLOEXEC | O_NONBLOCK) != 0 || pipe2(err, O_CLOEXEC | O_NONBLOCK) != 0
        || (s->pid = fork()) < 0) {
        s->pid = 0;
        close_if(out[0]), close_if(out[1]), close_if(err[0]), close_if(err[1]);
        return false;
    }
    if (s->pid == 0)
        run_child(&packet, parent, out[1], err[1], fds, fd_count);
    close(out[1]);
    close(err[1]);
    s->result_fd = out[0];
    s->stderr_fd = err[0];
    return true;
}

static void start_task(int *fds, unsigned fd_count)
{
    const px_wire_task *head = &packet.head;
    const char *fault = task_fault(head, fd_count);
    slot *s = free_slot();
    if (fault || !s) {
        report_failure(head->id, fault ? PX_HELPER_FAILED : PX_HELPER_LOST,
                       fault ? fault : "too many tasks at once");
    } else if (!fork_task(s, fds, fd_count)) {
        report_failure(head->id, PX_HELPER_LOST, "fork failed");
    } else {
        s->id = head->id;
        s->wall_ms = head->wall_ms ? head->wall_ms : wall_ms_default;
        s->cpu_s = head->cpu_s ? head->cpu_s : limits.cpu_s;
        s->deadline = now_ms() + s->wall_ms;
        s->timed_out = s->reported = false;
    }
    for (unsigned i = 0; i < fd_count; i++)
        close(fds[i]);
}

/* ---- ending a task ---- */

/* The last thing that the child printed, on one line, appended to the reason. */
static void add_stderr(const slot *s, px_wire_result *result)
{
    char text[200];
    ssize_t got = read(s->stderr_fd, text, sizeof text - 1);
    size_t used = strlen(result->reason);
    if (got <= 0)
        return;
    text[got] = '\0';
    snprintf(result->reason + used, sizeof result->reason - used, ": %s", text);
    px_wire_result_tame(result);
}

static void judge_death(const slot *s, int status, px_wire_result *result)
{
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    *result = (px_wire_result){ .magic = PX_WIRE_MAGIC, .kind = PX_WIRE_RESULT, .id = s->id,
                                .status = PX_HELPER_CRASHED, .fail_class = PXS_FAIL_INTERNAL,
                                .cost_micro_usd = -1 };
    if (s->timed_out || sig == SIGXCPU) {
        result->status = PX_HELPER_TIMEOUT;
        result->fail_class = PXS_FAIL_TIMEOUT;
        if (s->timed_out)
            snprintf(result->reason, sizeof result->reason, "killed after %u ms", s->wall_ms);
        else
            snprintf(result->reason, sizeof result->reason, "killed after %u s of CPU time",
                     s->cpu_s);
    } else if (sig) {
        snprintf(result->reason, sizeof result->reason, "crashed by signal %d (%s)", sig,
                 strsignal(sig));
    } else {
        snprintf(result->reason, sizeof result->reason, "ended without a result (exit status %d)",
                 WEXITSTATUS(status));
    }
    add_stderr(s, result);
}

/* Passes the child's report on as soon as it is there. The child has nothing left to do then:
 * killing it is quicker than its orderly end, and stops one that reported nonsense or just closed
 * its pipe. What ended without a sound report is judged when it is collected. */
static void take_report(slot *s)
{
    px_wire_result result;
    ssize_t got = read(s->result_fd, &result, sizeof result);
    kill(s->pid, SIGKILL);
    if (got != (ssize_t)sizeof result || result.magic != PX_WIRE_MAGIC
        || result.status > PX_HELPER_FAILED)
        return;
    /* A child speaks for its own task only. */
    result.id = s->id;
    result.kind = PX_WIRE_RESULT;
    s->reported = true;
    report(&result);
}

static void end_task(slot *s, int status)
{
    px_wire_result result;
    if (!s->reported && !s->timed_out)
        take_report(s);     /* it may have come together with the end */
    if (!s->reported) {
        judge_death(s, status, &result);
        report(&result);
    }
    close(s->result_fd);
    close(s->stderr_fd);
    s->pid = 0;
}

static void reap(int signals)
{
    struct signalfd_siginfo info;
    int status;
    while (read(signals, &info, sizeof info) > 0)
        ;
    for (unsigned i = 0; i < TASKS_MAX; i++)
        if (slots[i].pid && waitpid(slots[i].pid, &status, WNOHANG) == slots[i].pid)
            end_task(&slots[i], status);
}

/* Kills what is over its time; returns the milliseconds until the next deadline, -1 = none. */
static int watch_deadlines(void)
{
    int64_t now = now_ms(), next = -1;
    for (unsigned i = 0; i < TASKS_MAX; i++) {
        slot *s = &slots[i];
        if (!s->pid || s->timed_out || s->reported)
            continue;
        if (now >= s->deadline) {
            s->timed_out = true;
            kill(s->pid, SIGKILL);
        } else if (next < 0 || s->deadline - now < next) {
            next = s->deadline - now;
        }
    }
    return next > 60000 ? 60000 : (int)next;
}

/* ---- start and loop ---- */

static bool read_packets(void)
{
    int fds[PX_WIRE_FDS];
    unsigned fd_count;
    ssize_t got = px_wire_receive(SOCK, &packet, sizeof packet, fds, PX_WIRE_FDS, &fd_count);
    if (got == 0)
        return false;
    if (got < 0)
        return errno == EAGAIN;
    if (px_wire_task_valid(&packet, (size_t)got)) {
        start_task(fds, fd_count);
    } else {
        for (unsigned i = 0; i < fd_count; i++)
            close(fds[i]);
        fprintf(stderr, "PXS1520: the image helper got a packet that it cannot read\n");
    }
    return true;
}

static int loop(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    for (;;) {
        struct pollfd polled[2 + TASKS_MAX] = { { .fd = SOCK, .events = POLLIN },
                                                { .fd = signals, .events = POLLIN } };
        for (unsigned i = 0; i < TASKS_MAX; i++) {
            bool wanted = slots[i].pid && !slots[i].reported;
            polled[2 + i] = (struct pollfd){ .fd = wanted ? slots[i].result_fd : -1,
                                             .events = POLLIN };
        }
        if (poll(polled, 2 + TASKS_MAX, watch_deadlines()) < 0 && errno != EINTR)
            return 1;
        for (unsigned i = 0; i < TASKS_MAX; i++)
            if (polled[2 + i].revents)
                take_report(&slots[i]);
        if (polled[1].revents)
            reap(signals);
        if (polled[0].revents && !read_packets())
            return 0;
    }
}

static bool parse_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        char *end = NULL;
        unsigned long long n = value ? strtoull(value + 1, &end, 10) : 0;
        if (!value || !n || *end)
            return false;
        *value = '\0';
        if (strcmp(argv[i], "--memory") == 0)
            limits.memory = n;
        else if (strcmp(argv[i], "--file-size") == 0)
            limits.file_size = n;
        else if (strcmp(argv[i], "--cpu") == 0)
            limits.cpu_s = (unsigned)n;
        else if (strcmp(argv[i], "--wall") == 0)
            wall_ms_default = (unsigned)n;
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    px_wire_result hello = { .magic = PX_WIRE_MAGIC, .kind = PX_WIRE_HELLO };
    if (!parse_options(argc, argv) || fcntl(SOCK, F_GETFD) < 0) {
        fprintf(stderr, "pixshift-helper is started by pixshift-worker, not by hand.\n");
        return 2;
    }
    fcntl(SOCK, F_SETFD, FD_CLOEXEC);
    clearenv();
    setenv("MALLOC_ARENA_MAX", "2", 1);
    mallopt(M_ARENA_MAX, 2);        /* each arena reserves 64 MiB of a child's address space */
    unsigned can = px_jail_prepare();
    if (!px_vips_init(argv[0])) {
        fprintf(stderr, "PXS1521: the image helper cannot start libvips\n");
        return 1;
    }
    snprintf(hello.reason, sizeof hello.reason, "%s%s%s",
             can & PX_JAIL_NET ? "net-namespace " : "", can & PX_JAIL_SECCOMP ? "seccomp " : "",
             can & PX_JAIL_LANDLOCK ? "landlock" : "");
    report(&hello);
    return loop();
}
