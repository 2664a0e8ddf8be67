/* PixShiftWorker embedded: the worker is a child of the httpd parent, started in post_config,
 * watched as an "other child", told to drain when the configuration goes away (REFERENCE §3).
 *
 * It gets its settings with the resolved secrets in a sealed memory file as descriptor 3, the
 * shared segment as descriptor 4, the error log as standard error; its arguments and its
 * environment hold nothing secret. */
#include "host.h"
#include "base/clock.h"

#include <ap_mpm.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <errno.h>
#include <fcntl.h>
#include <mpm_common.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

APLOG_USE_MODULE(pixshift);

#define SETTINGS_FD 3
#define SHARED_FD 4
/* A worker that lived shorter than this counts as a failed start; longer ones, and the first
 * failure, are replaced at once: its jobs wait for the successor. */
#define HEALTHY_USEC 2000000
#define PAUSE_MAX_MS 30000

typedef struct {
    apr_pool_t *pool;                   /* configuration pool */
    server_rec *server;
    px_host *host;
    const char *program;
    const char *json;                   /* settings with secrets */
    apr_proc_t proc;
    int64_t started_at;                 /* px_monotonic */
    int failures;                       /* short lives in a row */
} worker;

/* ---- in the forked child --------------------------------------------------------------------- */

/* What a worker may need from httpd's environment. Everything else stays behind: secrets with env:
 * references are there. */
static char **environment(apr_pool_t *pool)
{
    static const char *const names[] = {
        "PATH", "TZ", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD", "ASAN_OPTIONS",
        "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS", "PIXSHIFT_TEST_CLOCK",
        "PIXSHIFT_FAILPOINT", "PIXSHIFT_FAILPOINT_DIR"};
    size_t count = sizeof(names) / sizeof(names[0]);
    char **list = apr_pcalloc(pool, (count + 1) * sizeof(char *));
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        const char *value = getenv(names[i]);
        if (value) {
            list[used++] = apr_pstrcat(pool, names[i], "=", value, NULL);
        }
    }
    return list;
}

/* A memory file that nobody can change any more; -1 on failure. */
static int settings_file(const char *json)
{
    size_t len = strlen(json);
    int fd = memfd_create("pixshift-settings", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    size_t done = 0;
    while (fd >= 0 && done < len) {
        ssize_t put = write(fd, json + done, len - done);
        if (put < 0 && errno != EINTR) {
            return -1;
        }
        done += put > 0 ? (size_t)put : 0;
    }
    if (fd < 0 || lseek(fd, 0, SEEK_SET) != 0
        || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
        return -1;
    }
    return fd;
}

static void reset_signals(void)
{
    sigset_t none;
    for (int number = 1; number < NSIG; number++) {
        signal(number, SIG_DFL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Descriptors 0, 3 and 4 as promised, 1 and 2 to the error log, nothing else. */
static bool arrange_descriptors(const worker *w)
{
    int null = open("/dev/null", O_RDONLY);
    int settings = fcntl(settings_file(w->json), F_DUPFD, 10);
    int shared = fcntl(w->host->shm_fd, F_DUPFD, 10);
    if (null < 0 || settings < 0 || shared < 0 || dup2(null, 0) < 0 || dup2(2, 1) < 0
        || dup2(settings, SETTINGS_FD) < 0 || dup2(shared, SHARED_FD) < 0) {
        return false;
    }
    return close_range(SHARED_FD + 1, ~0u, 0) == 0;
}

static void die(server_rec *s, const char *what)
{
    ap_log_error(APLOG_MARK, APLOG_CRIT, errno, s, "PXS5140: the worker was not started: %s", what);
    _exit(1);
}

/* The parent's death must not leave a worker behind. Changing the user id clears the signal, so
 * it is set twice; a parent that died before is noticed by getppid. */
static void tie_to_parent(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(0);
    }
}

static void become_worker(worker *w, pid_t parent, int pause_ms)
{
    char *argv[] = {apr_pstrdup(w->pool, w->program), NULL};
    char **envp = environment(w->pool);
    reset_signals();
    tie_to_parent(parent);
    if (pause_ms > 0) {
        usleep((useconds_t)pause_ms * 1000);    /* a crash loop must not eat the machine */
    }
    if (ap_run_drop_privileges(w->pool, w->server) != 0) {
        die(w->server, "privileges could not be dropped");
    }
    tie_to_parent(parent);
    if (chdir("/") != 0 || !arrange_descriptors(w)) {
        die(w->server, "its descriptors could not be arranged");
    }
    execve(w->program, argv, envp);
    /* The error log is standard error by now. */
    die(w->server, w->program);
}

/* ---- in the parent --------------------------------------------------------------------------- */

static int pause_for(int failures)
{
    int pause = 250;
    if (failures < 2) {
        return 0;
    }
    while (--failures > 1 && pause < PAUSE_MAX_MS) {
        pause *= 2;
    }
    return pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
}

static void maintain(int reason, void *baton, int status);

static void spawn(worker *w)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        become_worker(w, parent, pause_for(w->failures));
    }
    if (pid < 0) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, errno, w->server,
                     "PXS5141: the worker could not be forked");
        return;
    }
    w->proc.pid = pid;
    w->started_at = px_monotonic();
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, w->server, "PXS5142: worker started as process %d",
                 (int)pid);
    apr_proc_other_child_register(&w->proc, maintain, w, NULL, w->pool);
}

static bool stopping(void)
{
    int state = AP_MPMQ_STOPPING;
    return ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS && state == AP_MPMQ_STOPPING;
}

static void restart(worker *w, int status)
{
    /* Unregistering calls us again with UNREGISTER: a number that is free by now must not get the
     * signal. */
    pid_t dead = w->proc.pid;
    bool short_life = px_monotonic() - w->started_at < HEALTHY_USEC;
    w->proc.pid = 0;
    apr_proc_other_child_unregister(w);
    if (stopping()) {
        return;
    }
    w->failures = short_life ? w->failures + 1 : 0;
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, w->server,
                 "PXS5143: worker process %d ended (status 0x%x); a new one starts after %d ms",
                 (int)dead, (unsigned)status, pause_for(w->failures));
    spawn(w);
}

static void maintain(int reason, void *baton, int status)
{
    worker *w = baton;
    switch (reason) {
    case APR_OC_REASON_DEATH:
    case APR_OC_REASON_LOST:
        restart(w, status);
        break;
    case APR_OC_REASON_RESTART:
        apr_proc_other_child_unregister(w);
        break;
    case APR_OC_REASON_UNREGISTER:
        if (w->proc.pid > 0) {
            kill(w->proc.pid, SIGTERM);     /* drain */
        }
        break;
    default:
        break;
    }
}

void px_worker_start(apr_pool_t *pconf, server_rec *s, px_host *host)
{
    const char *mode = px_set_str(host->settings, PX_S_WORKER);
    worker *w;
    if (strcmp(mode, "embedded") != 0) {
        return;
    }
    w = apr_pcalloc(pconf, sizeof(*w));
    w->pool = pconf;
    w->server = s;
    w->host = host;
    w->program = px_set_str(host->settings, PX_S_WORKER_PROGRAM);
    w->json = px_settings_to_json(pconf, host->settings, true);
    if (access(w->program, X_OK) != 0) {
        ap_log_error(APLOG_MARK, APLOG_CRIT | APLOG_STARTUP, errno, s,
                     "PXS5144: PixShiftWorkerProgram %s cannot be executed", w->program);
    }
    spawn(w);
}
