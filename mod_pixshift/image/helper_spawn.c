/* Starting and ending the helper program; see helper_spawn.h. */
#include "helper_spawn.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_SOCK 3

/* All that the program's environment holds; it clears even that. Symbols are bound once in the
 * parent instead of in every child, and picture buffers come in huge pages: a child lives for a
 * tenth of a second and would spend a tenth of it in page faults. Other C libraries ignore both. */
static const char *const environment[] = {
    "LD_BIND_NOW=1",
    "GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.top_pad=33554432"
    ":glibc.malloc.mmap_threshold=33554432",
    NULL,
};

/* Between fork and exec: system calls only. Reports errno of a failed exec through `status_fd`. */
static _Noreturn void exec_program(const char *const *argv, int sock, int status_fd)
{
    sigset_t none;
    /* Out of the way first: either may have a number that is wanted. */
    sock = fcntl(sock, F_DUPFD_CLOEXEC, CHILD_SOCK + 2);
    status_fd = fcntl(status_fd, F_DUPFD_CLOEXEC, CHILD_SOCK + 2);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, 0);
    dup2(null, 1);
    dup2(sock, CHILD_SOCK);
    dup2(status_fd, CHILD_SOCK + 1);
    fcntl(CHILD_SOCK + 1, F_SETFD, FD_CLOEXEC);
    syscall(SYS_close_range, CHILD_SOCK + 2u, ~0u, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int sig = 1; sig < 32; sig++)
        signal(sig, SIG_DFL);
    execve(argv[0], (char *const *)argv, (char *const *)environment);
    int error = errno;
    ssize_t put = write(CHILD_SOCK + 1, &error, sizeof error);
    _exit(put == (ssize_t)sizeof error ? 127 : 126);
}

static const char *const *make_argv(apr_pool_t *pool, const px_helper_config *config)
{
    const char **argv = apr_pcalloc(pool, 6 * sizeof *argv);
    argv[0] = config->program;
    argv[1] = apr_psprintf(pool, "--memory=%" APR_UINT64_T_FMT, (apr_uint64_t)config->memory);
    argv[2] = apr_psprintf(pool, "--file-size=%" APR_UINT64_T_FMT,
                           (apr_uint64_t)config->file_size);
    argv[3] = apr_psprintf(pool, "--cpu=%u", config->cpu_s);
    argv[4] = apr_psprintf(pool, "--wall=%u", config->wall_ms);
    return argv;
}

static void close_pair(const int pair[2])
{
    if (pair[0] >= 0)
        close(pair[0]);
    if (pair[1] >= 0)
        close(pair[1]);
}

/* errno of the exec, 0 when it went well: the status pipe then just closes. */
static int exec_error(int status_fd)
{
    int error = 0;
    ssize_t got;
    do
        got = read(status_fd, &error, sizeof error);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof error ? error : 0;
}

px_err *px_helper_spawn(apr_pool_t *pool, const px_helper_config *config, px_helper_proc *proc)
{
    int socks[2] = { -1, -1 }, status[2] = { -1, -1 }, error = 0;
    apr_pool_t *scratch;
    apr_pool_create(&scratch, pool);
    const char *const *argv = make_argv(scratch, config);
    pid_t pid = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) != 0
        || pipe2(status, O_CLOEXEC) != 0 || (pid = fork()) < 0)
        error = errno;
    if (pid == 0)
        exec_program(argv, socks[1], status[1]);
    apr_pool_destroy(scratch);
    if (pid > 0) {
        close(status[1]);
        status[1] = -1;
        error = exec_error(status[0]);
        if (error)
            waitpid(pid, NULL, 0);
    }
    if (error) {
        close_pair(socks);
        close_pair(status);
        return px_error(pool, PX_E_UNAVAILABLE, "PXS1509", "%s: %s", config->program,
                        strerror(error));
    }
    close(status[0]);
    close(socks[1]);
    fcntl(socks[0], F_SETFL, O_NONBLOCK);
    proc->pid = pid;
    proc->sock = socks[0];
    return NULL;
}

void px_helper_reap(px_helper_proc *proc)
{
    if (proc->sock >= 0)
        close(proc->sock);
    proc->sock = -1;
    if (proc->pid > 0) {
        kill(proc->pid, SIGKILL);
        while (waitpid(proc->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    proc->pid = 0;
}
