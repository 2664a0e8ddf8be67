/* Work with code that may crash or hang, in a forked child whose only way back is a pipe. */
#include "plugin_internal.h"
#include "base/clock.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX (4u * 1024 * 1024)

void px_child_write(int fd, const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            _exit(3);
        }
        at += n;
        len -= (size_t)n;
    }
}

/* The parent's handlers (httpd's, a sanitizer's) would run on the parent's behalf: defaults
 * only. */
static void become_child(pid_t parent)
{
    static const int signals[] = {
        SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGTERM, SIGINT, SIGHUP, SIGUSR1,
        SIGUSR2, SIGCHLD, SIGALRM, SIGPIPE
    };
    struct rlimit none = { 0, 0 };
    sigset_t empty;
    int null = open("/dev/null", O_RDWR);

    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        signal(signals[i], SIG_DFL);
    }
    sigemptyset(&empty);
    sigprocmask(SIG_SETMASK, &empty, NULL);
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(3);
    }
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        if (!getenv("PIXSHIFT_PLUGIN_STDERR")) {
            dup2(null, STDERR_FILENO);
        }
    }
}

/* false when the time is over before the child closed the pipe. */
static bool collect(int fd, px_buf *out, int limit_ms)
{
    int64_t until = px_monotonic() + (int64_t)limit_ms * 1000;
    char buffer[8192];

    for (;;) {
        struct pollfd p = { fd, POLLIN, 0 };
        int64_t left = (until - px_monotonic()) / 1000;
        ssize_t n;
        if (left <= 0 || out->len > OUTPUT_MAX) {
            return false;
        }
        if (poll(&p, 1, (int)left) <= 0) {
            continue;
        }
        n = read(fd, buffer, sizeof buffer);
        if (n == 0) {
            return true;
        }
        if (n > 0) {
            px_buf_add(out, buffer, (size_t)n);
        } else if (errno != EINTR) {
            return true;
        }
    }
}

static const char *verdict(apr_pool_t *pool, int status)
{
    if (WIFSIGNALED(status)) {
        return apr_psprintf(pool, "it crashed (signal %d, %s)", WTERMSIG(status),
                            strsignal(WTERMSIG(status)));
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        return apr_psprintf(pool, "it ended the process with status %d", WEXITSTATUS(status));
    }
    return NULL;
}

px_buf *px_child_run(apr_pool_t *pool, int limit_ms, px_child_work *work, void *baton,
                     const char **fault)
{
    px_buf *out = px_buf_make(pool, 1024);
    pid_t parent = getpid();
    int status = 0;
    int fds[2];
    pid_t pid;
    bool ended;

    *fault = NULL;
    if (pipe2(fds, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
        *fault = apr_psprintf(pool, "no child process can be made: %s", strerror(errno));
        return out;
    }
    if (pid == 0) {
        close(fds[0]);
        become_child(parent);
        work(baton, fds[1]);
        _exit(0);
    }
    close(fds[1]);
    ended = collect(fds[0], out, limit_ms);
    close(fds[0]);
    if (!ended) {
        kill(pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    *fault = ended ? verdict(pool, status)
                   : apr_psprintf(pool, "it hung: no answer within %d ms", limit_ms);
    return out;
}
