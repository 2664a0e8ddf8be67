/* pixshift-worker: runs the job engine in a process of its own.
 *
 *   pixshift-worker                 settings with resolved secrets from file descriptor 3 (httpd's child)
 *   pixshift-worker --config FILE   settings as `pixshiftctl config export` prints them
 *
 * SIGTERM drains: no new jobs, those in flight get eight seconds, then they are handed back. SIGINT hands
 * back at once. Log lines go to standard error, which httpd connects to its error log. */
#include "account/account.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/app.h"
#include "config/settings.h"
#include "credit/credit.h"
#include "db/db.h"
#include "net/net.h"
#include "plugin/plugin.h"
#include "studio/job.h"
#include "worker_shm.h"

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTINGS_FD 3
#define SETTINGS_MAX (4 * 1024 * 1024)
#define DRAIN_USEC (8 * 1000000LL)
#define TURN_MS 1000
#define HOUR_USEC (3600 * 1000000LL)

static volatile sig_atomic_t drain_asked, stop_asked;

static void on_signal(int number)
{
    if (number == SIGTERM)
        drain_asked = 1;
    else
        stop_asked = 1;
}

static void catch_signals(void)
{
    struct sigaction act;
    memset(&act, 0, sizeof act);
    act.sa_handler = on_signal;
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    act.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);      /* the parent may have blocked some */
}

/* One line per message: "[time] [pixshift:level] [pid N] PXS1234: text". */
static void log_line(void *baton, px_log_level level, const char *line)
{
    static const char *const names[] = {"error", "warn", "notice", "info", "debug"};
    apr_pool_t *pool;
    (void)baton;
    if (apr_pool_create(&pool, NULL) != APR_SUCCESS)
        return;
    fprintf(stderr, "[%s] [pixshift:%s] [pid %d] worker: %s\n", px_time_iso(pool, px_now()),
            names[level], (int)getpid(), line);
    apr_pool_destroy(pool);
}

static px_err *read_all(apr_pool_t *pool, int fd, const char **text, size_t *len)
{
    char *data = apr_palloc(pool, SETTINGS_MAX + 1);
    size_t have = 0;
    while (have < SETTINGS_MAX) {
        ssize_t got = read(fd, data + have, SETTINGS_MAX - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return px_error(pool, PX_E_INTERNAL, "PXS6201", "the settings cannot be read: %s",
                            strerror(errno));
        if (got == 0)
            break;
        have += (size_t)got;
    }
    data[have] = '\0';
    *text = data;
    *len = have;
    return NULL;
}

static px_err *load_settings(apr_pool_t *pool, const char *file, px_settings **out)
{
    int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : SETTINGS_FD;
    if (fd < 0)
        return px_error(pool, PX_E_INTERNAL, "PXS6201", "%s cannot be opened: %s", file,
                        strerror(errno));
    const char *text = NULL;
    size_t len = 0;
    px_err *err = read_all(pool, fd, &text, &len);
    close(fd);
    if (!err)
        err = px_settings_from_json(pool, text, len, out);
    return err ? err : px_settings_resolve_secrets(*out);
}

static px_err *open_app(apr_pool_t *pool, const px_settings *settings, px_app *app)
{
    memset(app, 0, sizeof *app);
    app->pool = pool;
    app->settings = settings;
    app->role = "worker";
    px_db_config db = {.conninfo = px_set_str(settings, PX_S_DATABASE),
                       .password = px_set_str(settings, PX_S_DATABASE_PASSWORD),
                       .max_connections = (int)px_set_int(settings, PX_S_DATABASE_POOL),
                       .app_name = "pixshift-worker"};
    px_err *err = px_db_open(pool, &db, &app->db);
    if (err)
        return err;
    app->cache = px_worker_shared_cache(pool);
    px_net_config net = {.spool_dir = apr_pstrcat(pool, px_set_str(settings, PX_S_STATE_DIR), "/spool", NULL),
                         .ca_file = px_set_str(settings, PX_S_TLS_CA),
                         .egress_allow = px_set_str(settings, PX_S_EGRESS_ALLOW),
                         .user_agent = "PixShift"};
    err = px_net_open(pool, &net, &app->net);
    if (err)
        return err;
    return px_registry_open(pool, settings, 1u << PXS_KIND_AI | 1u << PXS_KIND_STORAGE |
                            1u << PXS_KIND_MESSAGE, &app->plugins);
}

/* What is not the engine's: hourly, sessions that nothing of can be valid any more. */
static void housekeep(const px_app *app, int64_t *next)
{
    int64_t now = px_now(), removed;
    if (now < *next)
        return;
    *next = now + HOUR_USEC;
    apr_pool_t *pool;
    if (apr_pool_create(&pool, app->pool) != APR_SUCCESS)
        return;
    px_err *err = px_account_purge(app, pool, &removed);
    if (err)
        px_log(PX_LOG_WARN, "PXS7017", "old sessions could not be removed: %s",
               err->cause ? err->cause : err->text);
    apr_pool_destroy(pool);
}

/* Until a signal; then until all work is done or the time is up. */
static void run(px_engine *engine, const px_app *app)
{
    int64_t drain_end = 0, housekeeping_at = 0;
    while (!stop_asked) {
        housekeep(app, &housekeeping_at);
        px_err *err = px_engine_turn(engine, TURN_MS);
        if (err) {
            px_log(PX_LOG_ERROR, "PXS6202", "a turn of the engine failed: %s",
                   err->cause ? err->cause : err->text);
            usleep(200000);     /* the database may be away: no busy loop */
        }
        if (drain_asked && drain_end == 0) {
            px_engine_drain(engine);
            drain_end = px_monotonic() + DRAIN_USEC;
            px_log(PX_LOG_INFO, "PXS6203", "draining");
        }
        if (drain_end && (px_engine_idle(engine) || px_monotonic() > drain_end))
            break;
    }
    if (!px_engine_idle(engine))
        px_engine_hand_back(engine);
}

static void complain(const px_err *err)
{
    px_log(PX_LOG_ERROR, err->log_id ? err->log_id : "PXS6204", "%s",
           err->cause ? err->cause : err->text);
}

int main(int argc, char **argv)
{
    apr_initialize();
    apr_pool_t *pool;
    apr_pool_create(&pool, NULL);
    px_log_set_sink(log_line, NULL);
    px_log_set_level(PX_LOG_INFO);
    prctl(PR_SET_DUMPABLE, 0);          /* resolved secrets are in memory: no core, no ptrace by others */

    const char *file = NULL;
    if (argc == 3 && strcmp(argv[1], "--config") == 0) {
        file = argv[2];
    } else if (argc != 1) {
        fputs("usage: pixshift-worker [--config FILE]\n", stderr);
        return 2;
    }
    catch_signals();
    px_settings *settings;
    px_app app;
    px_engine *engine;
    px_err *err = load_settings(pool, file, &settings);
    if (!err)
        err = open_app(pool, settings, &app);
    if (!err)
        err = px_engine_open(pool, &app, &engine);
    if (err) {
        complain(err);
        return 1;
    }
    err = px_credit_apply_settings(app.db, pool, settings);
    if (err)
        px_log(PX_LOG_WARN, "PXS6207", "the credit profile could not be written: %s",
               err->cause ? err->cause : err->text);
    px_log(PX_LOG_INFO, "PXS6205", "running");
    run(engine, &app);
    px_engine_close(engine);
    px_log(PX_LOG_INFO, "PXS6206", "stopped");
    apr_pool_destroy(pool);
    return 0;
}
