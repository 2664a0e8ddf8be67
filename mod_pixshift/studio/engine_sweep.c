/* Retention: objects whose time is over, and rows that nobody needs any more. */
#include "engine_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "credit/credit.h"
#include <apr_strings.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SWEEP_MAX 64            /* deletions at once */
/* A storage that refuses deletions is not asked for hundreds of them a second. */
#define FAILED_USEC 10000000LL
#define MINUTE 60000000LL
#define HOUR (60 * MINUTE)

/* One deletion; also the record of a finished one until it is written down. */
typedef struct px_sweep {
    struct px_sweep *next;
    px_engine *engine;
    apr_pool_t *pool;
    const char *id;
    pxs_storage_request request;
    pxs_storage_result result;
    px_op *op;
    bool over, deleted;
} px_sweep;

static void was_deleted(void *baton, px_op *op, pxs_step step)
{
    px_sweep *sweep = baton;
    sweep->over = true;
    sweep->deleted = step == PXS_DONE
                     || (step == PXS_FAIL && px_op_fail(op)->klass == PXS_FAIL_NOT_FOUND);
    sweep->engine->sweeping--;
    if (!sweep->deleted) {
        px_log(PX_LOG_WARN, "PXS6060", "object %s cannot be deleted: %s", sweep->request.key,
               step == PXS_FAIL && px_op_fail(op)->message ? px_op_fail(op)->message : "no reason given");
    }
}

static bool under_way(const px_engine *engine, const char *id)
{
    const px_sweep *sweep = engine->sweeps;
    while (sweep && strcmp(sweep->id, id) != 0) {
        sweep = sweep->next;
    }
    return sweep != NULL;
}

static void start(px_engine *engine, const char *id, const char *key)
{
    apr_pool_t *pool;
    px_sweep *sweep;
    px_op_events events = {.finished = was_deleted};
    px_err *err;
    apr_pool_create(&pool, engine->pool);
    sweep = apr_pcalloc(pool, sizeof(*sweep));
    sweep->engine = engine;
    sweep->pool = pool;
    sweep->id = apr_pstrdup(pool, id);
    sweep->request.size = sizeof(sweep->request);
    sweep->request.key = apr_pstrdup(pool, key);
    sweep->request.range_first = sweep->request.range_last = -1;
    sweep->next = engine->sweeps;
    engine->sweeps = sweep;
    engine->sweeping++;
    events.baton = sweep;
    err = px_engine_storage(engine, pool, PX_STORE_DELETE, &sweep->request, &sweep->result, &events,
                            &sweep->op);
    if (err && !sweep->over) {
        px_log(PX_LOG_WARN, err->log_id ? err->log_id : "PXS6060", "%s", err->cause);
        sweep->over = true;
        engine->sweeping--;
    }
}

/* Rows follow their objects. *failed: deletions that must be tried again. */
static px_err *record(px_engine *engine, int *failed)
{
    const char *ids[SWEEP_MAX];
    int count = 0;
    px_err *err = NULL;
    for (const px_sweep *s = engine->sweeps; s && count < SWEEP_MAX; s = s->next) {
        if (s->over && s->deleted) {
            ids[count++] = s->id;
        }
    }
    if (count > 0) {
        err = px_engine_store_deleted(engine->db, engine->turn_pool, ids, count);
    }
    if (err) {
        return err;
    }
    for (px_sweep **at = &engine->sweeps; *at;) {
        px_sweep *sweep = *at;
        if (sweep->over) {
            *at = sweep->next;
            *failed += !sweep->deleted;
            apr_pool_destroy(sweep->pool);
        } else {
            at = &sweep->next;
        }
    }
    return NULL;
}

px_err *px_engine_sweep(px_engine *engine)
{
    const char **ids, **keys;
    int count = 0, failed = 0, room;
    px_err *err = record(engine, &failed);
    room = SWEEP_MAX - engine->sweeping;
    if (err || room <= 0) {
        return err;
    }
    err = px_engine_store_due_images(engine->db, engine->turn_pool, room, &ids, &keys, &count);
    for (int i = 0; !err && i < count; i++) {
        if (!under_way(engine, ids[i])) {
            start(engine, ids[i], keys[i]);
        }
    }
    if (failed > 0) {
        engine->sweep_at = px_monotonic() + FAILED_USEC;
    } else if (count == room) {
        engine->sweep_at = px_monotonic() + 100000;     /* there is more */
    }
    return err;
}

/* Replies that a killed worker was receiving; the files of a living one are younger. */
static void sweep_replies(const px_engine *engine)
{
    static const char prefix[] = "px-reply-";
    DIR *dir = opendir(engine->spool);
    time_t old = time(NULL) - HOUR / 1000000;
    struct dirent *entry;
    struct stat st;
    if (!dir) {
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, prefix, sizeof(prefix) - 1) == 0
            && fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0
            && S_ISREG(st.st_mode) && st.st_mtime < old) {
            unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    closedir(dir);
}

/* Repeating a chore that failed can wait for its next turn. */
static void chore_failed(const char *what, const px_err *err)
{
    px_log(PX_LOG_WARN, err->log_id ? err->log_id : "PXS6061", "%s: %s", what,
           err->cause ? err->cause : err->text);
}

px_err *px_engine_housekeeping(px_engine *engine)
{
    int64_t now = px_now(), count;
    px_err *err = NULL;
    if (now >= engine->minute_at) {
        engine->minute_at = now + MINUTE;
        err = px_credit_expire(engine->db, engine->turn_pool, 1000, &count);
        if (err) {
            chore_failed("credits past their time", err);
        }
    }
    if (!err && now >= engine->hour_at) {
        engine->hour_at = now + HOUR;
        err = px_idempotency_purge(engine->app, engine->turn_pool, &count);
        if (!err) {
            err = px_engine_store_purge(engine->db, engine->turn_pool, &count);
        }
        if (err) {
            chore_failed("rows past their time", err);
        }
        px_spool_sweep(engine->app, engine->turn_pool);
        sweep_replies(engine);
    }
    return NULL;
}
