/* Where the settings come from: httpd's own reading of its configuration, or exported JSON. */
#include "ctl.h"

#include "base/buf.h"
#include "db/db.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX (4 * 1024 * 1024)

typedef struct { px_buf *out, *err; int status; } program_result;

/* ---- httpd -t -D DUMP_PIXSHIFT ---- */

/* False at the end of the stream. */
static bool take(int fd, px_buf *buf)
{
    char piece[16384];
    ssize_t got = read(fd, piece, sizeof piece);

    if (got > 0 && buf->len + (size_t)got <= OUTPUT_MAX) {
        px_buf_add(buf, piece, (size_t)got);
    }
    return got > 0 || (got < 0 && errno == EINTR);
}

static void drain_pipes(int out, int err, program_result *result)
{
    struct pollfd fds[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};

    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            return;
        }
        if (fds[0].revents && !take(out, result->out)) {
            fds[0].fd = -1;
        }
        if (fds[1].revents && !take(err, result->err)) {
            fds[1].fd = -1;
        }
    }
}

static px_err *run_program(apr_pool_t *pool, char *const argv[], program_result *result)
{
    int out[2], err[2];
    pid_t pid;

    result->out = px_buf_make(pool, 8192);
    result->err = px_buf_make(pool, 1024);
    if (pipe2(out, O_CLOEXEC) != 0) {
        return px_error(pool, PX_E_INTERNAL, "PXS7200", "pipe: %s", strerror(errno));
    }
    if (pipe2(err, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
        return px_error(pool, PX_E_INTERNAL, "PXS7201", "fork: %s", strerror(errno));
    }
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        execvp(argv[0], argv);
        fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    close(out[1]);
    close(err[1]);
    drain_pipes(out[0], err[0], result);
    close(out[0]);
    close(err[0]);
    while (waitpid(pid, &result->status, 0) < 0 && errno == EINTR) {
    }
    return NULL;
}

/* Debian calls it apache2, most others httpd. */
static const char *httpd_program(ctl *c)
{
    static const char *const usual[] = {"/usr/sbin/apache2", "/usr/sbin/httpd",
                                        "/usr/local/sbin/httpd",
                                        "/usr/local/apache2/bin/httpd"};

    if (c->option[CTL_O_HTTPD]) {
        return c->option[CTL_O_HTTPD];
    }
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        if (access(usual[i], X_OK) == 0) {
            return usual[i];
        }
    }
    return "httpd";
}

static px_err *from_httpd(ctl *c, const char *conf)
{
    char *absolute = realpath(conf, NULL);
    const char *program = httpd_program(c);
    program_result result = {0};
    const char *json;
    px_err *err;

    if (!absolute) {
        return px_error_say(c->pool, PX_E_VALIDATION, "%s: %s", conf, strerror(errno));
    }
    char *const argv[] = {apr_pstrdup(c->pool, program), "-t", "-D", "DUMP_PIXSHIFT", "-f",
                          apr_pstrdup(c->pool, absolute), NULL};
    free(absolute);
    if ((err = run_program(c->pool, argv, &result)) != NULL) {
        return err;
    }
    if (!WIFEXITED(result.status) || WEXITSTATUS(result.status) != 0) {
        fwrite(result.err->data, 1, result.err->len, stderr);
        /* "Config variable ${APACHE_RUN_DIR} is not defined" */
        return px_error_say(c->pool, PX_E_VALIDATION, "%s does not accept %s%s", program, conf,
                            strstr(result.err->data, "${")
                                ? "; for the variables of Debian's /etc/apache2/envvars use "
                                  "--httpd apache2ctl"
                                : "");
    }
    json = strchr(result.out->data, '{');
    if (!json) {
        return px_error_say(c->pool, PX_E_VALIDATION,
                            "%s does not load mod_pixshift: there is no LoadModule "
                            "pixshift_module in it",
                            conf);
    }
    return px_settings_from_json(c->pool, json, strcspn(json, "\n"), &c->settings);
}

static px_err *from_json(ctl *c, const char *path)
{
    const char *text;
    px_err *err = ctl_read_file(c->pool, path, &text);

    return err ? err : px_settings_from_json(c->pool, text, strlen(text), &c->settings);
}

px_err *ctl_load_settings(ctl *c)
{
    const char *exported = c->option[CTL_O_SETTINGS];
    px_err *err;

    if (!c->option[CTL_O_CONF] && !exported) {
        exported = getenv("PIXSHIFT_CONFIG");
    }
    if (!c->option[CTL_O_CONF] && !exported) {
        return px_error_say(c->pool, PX_E_VALIDATION,
                            "which configuration? Give -f with httpd's configuration file, or -c "
                            "(or the environment variable PIXSHIFT_CONFIG) with exported settings");
    }
    err = c->option[CTL_O_CONF] ? from_httpd(c, c->option[CTL_O_CONF]) : from_json(c, exported);
    c->app.settings = c->settings;
    return err;
}

/* Exported settings carry references; a value that stood in the configuration itself is not
 * exported, and hashing passwords with a wrong key would be worse than stopping. */
px_err *ctl_resolve_secrets(ctl *c)
{
    const px_setting *secret = &c->settings->value[PX_S_SECRET];

    if (secret->text && strcmp(secret->text, "inline:hidden") == 0) {
        return px_error_say(c->pool, PX_E_VALIDATION,
                            "PixShiftSecret is written into the configuration, which is not "
                            "handed on: use PixShiftSecret file:/path");
    }
    return px_settings_resolve_secrets(c->settings);
}

px_err *ctl_open_db(ctl *c, bool checked)
{
    px_db_config config = {.max_connections = 2, .app_name = "pixshiftctl",
                           .skip_schema_check = !checked};

    config.conninfo = c->option[CTL_O_DATABASE];
    if (!config.conninfo && c->settings) {
        config.conninfo = px_set_str(c->settings, PX_S_DATABASE);
        config.password = px_set_str(c->settings, PX_S_DATABASE_PASSWORD);
    }
    if (!config.conninfo) {
        return px_error_say(c->pool, PX_E_VALIDATION,
                            "which database? Give --database, or a configuration with "
                            "PixShiftDatabase");
    }
    return px_db_open(c->pool, &config, &c->app.db);
}
