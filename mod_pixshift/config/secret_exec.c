/* fork and exec without a shell: the command's words go to the program as they stand. */
#include "secret_exec.h"
#include "base/clock.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_USEC 5000000
#define WORDS_MAX 32

static int split(apr_pool_t *pool, const char *command, char *words[WORDS_MAX + 1])
{
    char *state = NULL;
    int count = 0;
    for (char *word = apr_strtok(apr_pstrdup(pool, command), " ", &state);
         word && count < WORDS_MAX; word = apr_strtok(NULL, " ", &state)) {
        words[count++] = word;
    }
    words[count] = NULL;
    return count;
}

/* Only async-signal-safe calls: the parent may have threads in tests. */
static void run_child(int out, char *const words[])
{
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char *environment[] = {path, NULL};
    sigset_t none;
    int null = open("/dev/null", O_RDONLY);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0) {
        _exit(127);
    }
    close_range(3, ~0u, 0);
    execve(words[0], words, environment);
    _exit(127);
}

/* Reads until the end, the limit or the deadline; NULL or a sentence. */
static const char *collect(int fd, char *data, size_t limit, size_t *len)
{
    int64_t end = px_monotonic() + DEADLINE_USEC;
    *len = 0;
    for (;;) {
        struct pollfd wait = {fd, POLLIN, 0};
        int64_t left = (end - px_monotonic()) / 1000;
        ssize_t got;
        if (left <= 0) {
            return "the program did not end within 5 s";
        }
        if (poll(&wait, 1, (int)left) < 0 && errno != EINTR) {
            return strerror(errno);
        }
        if (!wait.revents) {
            continue;
        }
        got = read(fd, data + *len, limit + 1 - *len);
        if (got == 0) {
            return NULL;
        }
        if (got < 0 && errno != EINTR) {
            return strerror(errno);
        }
        *len += got > 0 ? (size_t)got : 0;
        if (*len > limit) {
            return "the program wrote too much";
        }
    }
}

/* Waits for the exit after the pipe closed; a program that lingers is killed. */
static const char *reap(apr_pool_t *pool, pid_t pid, bool kill_now)
{
    int status = 0;
    for (int i = 0; !kill_now && i < 100; i++) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        if (got == pid) {
            return WIFEXITED(status) && WEXITSTATUS(status) == 0
                       ? NULL : apr_psprintf(pool, "the program failed (status 0x%x)",
                                             (unsigned)status);
        }
        poll(NULL, 0, 10);
    }
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        continue;
    }
    return "the program did not end";
}

const char *px_secret_exec(apr_pool_t *pool, const char *command, size_t limit,
                           const char **output, size_t *len)
{
    char *words[WORDS_MAX + 1];
    char *data = apr_palloc(pool, limit + 1);
    const char *fault;
    const char *ended;
    int ends[2];
    pid_t pid;
    if (split(pool, command, words) == 0) {
        return "there is no program";
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return strerror(errno);
    }
    pid = fork();
    if (pid == 0) {
        run_child(ends[1], words);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return "the program could not be started";
    }
    fault = collect(ends[0], data, limit, len);
    close(ends[0]);
    ended = reap(pool, pid, fault != NULL);
    *output = data;
    return fault ? fault : ended;
}
