/* pixshiftctl doctor: folders, storage and the helper program, tried in a child process that
 * runs as the service does. As root everything would seem to work, and what root creates the
 * service could not remove. */
#include "doctor.h"

#include "base/id.h"
#include "image/helper.h"
#include "net/net.h"
#include "plugin/plugin.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MAX 2048

/* NULL and *answer, or a sentence that says what is wrong. */
typedef const char *check_fn(ctl *c, const char **answer);

/* ---- in a child, as the service's account ---- */

/* The account is who owns the state folder: httpd gives it to its User at start. */
static const char *become_service(const char *state_dir)
{
    struct stat st;

    if (geteuid() != 0 || stat(state_dir, &st) != 0 || st.st_uid == 0) {
        return NULL;
    }
    if (setgroups(0, NULL) != 0 || setgid(st.st_gid) != 0 || setuid(st.st_uid) != 0) {
        return "cannot become the owner of PixShiftStateDir";
    }
    return NULL;
}

static _Noreturn void answer_and_end(int fd, char mark, const char *text)
{
    size_t len = strlen(text);

    if (len > ANSWER_MAX) {
        len = ANSWER_MAX;
    }
    if (write(fd, &mark, 1) != 1 || write(fd, text, len) != (ssize_t)len) {
        _exit(1);
    }
    _exit(0);
}

static size_t read_answer(int fd, char *answer, size_t size)
{
    size_t len = 0;
    ssize_t got;

    while (len < size
           && ((got = read(fd, answer + len, size - len)) > 0 || (got < 0 && errno == EINTR))) {
        len += got > 0 ? (size_t)got : 0;
    }
    answer[len] = '\0';
    return len;
}

/* The check's sentence; *fine tells which kind it is. */
static const char *as_service(ctl *c, check_fn *check, bool *fine)
{
    char answer[ANSWER_MAX + 2];
    int fds[2];
    pid_t pid;

    *fine = false;
    fflush(stdout);
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return "no pipe";
    }
    if ((pid = fork()) < 0) {
        close(fds[0]);
        close(fds[1]);
        return "no process";
    }
    if (pid == 0) {
        const char *said = "";
        const char *fault = become_service(px_set_str(c->settings, PX_S_STATE_DIR));
        fault = fault ? fault : check(c, &said);
        answer_and_end(fds[1], fault ? 'F' : 'O', fault ? fault : said);
    }
    close(fds[1]);
    answer[read_answer(fds[0], answer, sizeof answer - 1)] = '\0';
    close(fds[0]);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    *fine = answer[0] == 'O';
    return answer[0] ? apr_pstrdup(c->pool, answer + 1) : "the check ended without an answer";
}

static const char *why(const px_err *err)
{
    return err->cause ? err->cause : err->text;
}

/* ---- the state folder ---- */

static const char *account_name(apr_pool_t *pool)
{
    struct passwd entry, *found = NULL;
    char buffer[4096];

    return getpwuid_r(geteuid(), &entry, buffer, sizeof buffer, &found) == 0 && found
               ? apr_pstrdup(pool, found->pw_name) : apr_psprintf(pool, "uid %ld", (long)geteuid());
}

static const char *try_state_folder(ctl *c, const char **answer)
{
    const char *dir = px_set_str(c->settings, PX_S_STATE_DIR);
    char *name = apr_pstrcat(c->pool, dir, "/.doctor.XXXXXX", NULL);
    int fd = mkstemp(name);

    if (fd < 0) {
        return apr_psprintf(c->pool, "%s: %s", dir, strerror(errno));
    }
    close(fd);
    unlink(name);
    *answer = apr_psprintf(c->pool, "%s is writable by %s", dir, account_name(c->pool));
    return NULL;
}

void doctor_state_folder(doctor *d)
{
    bool fine;
    const char *said = as_service(d->c, try_state_folder, &fine);

    if (fine) {
        doctor_ok(d, "state folder", "%s", said);
    } else {
        doctor_fault(d, "state folder", "make the folder, owned by the User of httpd, mode 0700",
                     "%s", said);
    }
}

/* ---- storage ---- */

static const char *put_get_delete(ctl *c, px_net *net, const char *path, const char *text)
{
    const char *key = apr_pstrcat(c->pool, "uploads/doctor/", px_uuid7(c->pool), ".txt", NULL);
    const char *got, *back = NULL;
    bool temporary = false;
    uint64_t len;
    px_err *err = px_storage_put_file(&c->app, net, c->pool, key, "text/plain", path, strlen(text));

    if (err) {
        return apr_psprintf(c->pool, "put: %s", why(err));
    }
    err = px_storage_get_file(&c->app, net, c->pool, key, &got, &len, &temporary);
    if (!err) {
        err = ctl_read_file(c->pool, got, &back);
    }
    if (temporary) {
        unlink(got);
    }
    if (err || strcmp(back, text) != 0) {
        (void)px_storage_delete(&c->app, net, c->pool, key);
        return err ? apr_psprintf(c->pool, "get: %s", why(err))
            : "what came back is not what was put";
    }
    err = px_storage_delete(&c->app, net, c->pool, key);
    return err ? apr_psprintf(c->pool, "delete: %s", why(err)) : NULL;
}

static const char *try_storage(ctl *c, const char **answer)
{
    const char *state = px_set_str(c->settings, PX_S_STATE_DIR);
    px_net_config config = {.spool_dir = state, .ca_file = px_set_str(c->settings, PX_S_TLS_CA),
                            .egress_allow = px_set_str(c->settings, PX_S_EGRESS_ALLOW),
                            .user_agent = "PixShift"};
    char *path = apr_pstrcat(c->pool, state, "/.doctor.XXXXXX", NULL);
    const char *text = "a test of pixshiftctl doctor", *fault;
    px_net *net;
    px_err *err = px_registry_open(c->pool, c->settings, 1u << PXS_KIND_STORAGE, &c->app.plugins);
    int fd;

    if (err || (err = px_net_open(c->pool, &config, &net)) != NULL) {
        return why(err);
    }
    fd = mkstemp(path);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        return apr_psprintf(c->pool, "%s: %s", path, strerror(errno));
    }
    close(fd);
    fault = put_get_delete(c, net, path, text);
    unlink(path);
    *answer = apr_psprintf(c->pool, "%s: put, read back and deleted a file",
                           px_set_str(c->settings, PX_S_STORAGE));
    return fault;
}

void doctor_storage(doctor *d)
{
    bool fine;
    const char *said;

    if (!px_set_str(d->c->settings, PX_S_STORAGE)) {
        doctor_fault(d, "storage", "PixShiftStorage names the plugin section that stores images",
                     "PixShiftStorage is not set");
        return;
    }
    said = as_service(d->c, try_storage, &fine);
    if (fine) {
        doctor_ok(d, "storage", "%s", said);
    } else {
        doctor_fault(d, "storage",
                     "look at the options of the storage section, and who owns its folder", "%s",
                     said);
    }
}

/* ---- the helper program ---- */

/* A grey pixel: 1x1, 8 bits. */
static const unsigned char tiny_png[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52,
    0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x3a, 0x7e, 0x9b,
    0x55, 0x00, 0x00, 0x00, 0x0a, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x68, 0x00, 0x00, 0x00,
    0x82, 0x00, 0x81, 0x77, 0xcd, 0x72, 0xb6, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae,
    0x42, 0x60, 0x82,
};

static const char *try_helper(ctl *c, const char **answer)
{
    px_helper_config config = {.program = px_set_str(c->settings, PX_S_HELPER_PROGRAM),
                               .memory = (uint64_t)px_set_int(c->settings, PX_S_HELPER_MEMORY)};
    px_helper_task task = {.verb = PX_HELPER_PROBE, .input_count = 1, .output = -1};
    px_helper_result result = {0};
    px_helper *helper;
    px_err *err = px_helper_memfd(c->pool, tiny_png, sizeof tiny_png, &task.inputs[0]);

    if (err || (err = px_helper_start(c->pool, &config, &helper)) != NULL) {
        return why(err);
    }
    err = px_helper_run_sync(c->pool, helper, &task, &result);
    if (!err && result.status == PX_HELPER_OK) {
        const char *sandbox = px_helper_sandbox(helper);
        *answer = apr_psprintf(c->pool, "decodes an image; sandbox: %s",
                               *sandbox ? sandbox : "limits only");
    }
    px_helper_stop(helper);
    if (err) {
        return why(err);
    }
    return result.status == PX_HELPER_OK ? NULL : apr_pstrcat(c->pool, "it did not decode a PNG: ",
                                                              result.reason, NULL);
}

void doctor_helper(doctor *d)
{
    bool fine;
    const char *said = as_service(d->c, try_helper, &fine);

    if (fine) {
        doctor_ok(d, "image helper", "%s", said);
    } else {
        doctor_fault(d, "image helper",
                     "PixShiftHelperProgram must name pixshift-helper, executable for all", "%s",
                     said);
    }
}
