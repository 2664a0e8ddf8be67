/* The conformance kit behind `pixshiftctl plugin check FILE [CASES]`.  Whatever runs plugin code
 * runs in a forked child with a time limit; its lines come back through a pipe, and a child that
 * crashes or hangs becomes a sentence that says what it was doing. */
#include "conform.h"

#include <apr_strings.h>
#include <dirent.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROUNDS 300

int px_conform_limit_ms = 20000;

typedef struct {
    apr_pool_t *pool;
    const char *path;
    const px_plugin_info *info;
    const char *case_path;          /* NULL = the built-in case */
    int fd;
    const px_ops_head *ops;
    px_case *c;
} check;

/* ---- the child's side: lines "S what I do now", "F fault", "P passed" ---- */

static void tell(const check *k, char kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void tell(const check *k, char kind, const char *fmt, ...)
{
    va_list args;
    char *text;

    va_start(args, fmt);
    text = apr_pvsprintf(k->pool, fmt, args);
    va_end(args);
    for (char *at = text; *at; at++) {
        *at = *at == '\n' ? ' ' : *at;
    }
    text = apr_psprintf(k->pool, "%c%s\n", kind, text);
    px_child_write(k->fd, text, strlen(text));
}

static bool prepare(check *k)
{
    px_plugin *plugin;
    const char *fault;

    tell(k, 'S', "loading");
    fault = px_plugin_load(k->pool, k->path, false, &plugin);
    if (!fault) {
        k->ops = plugin->descriptor->ops;
        fault = k->case_path ? px_case_load(k->pool, k->info, k->case_path, &k->c)
                             : px_case_make(k->pool, k->info, &k->c);
    }
    if (fault) {
        tell(k, 'F', "%s", fault);
    }
    return fault == NULL;
}

typedef struct {
    void *instance;
    void *pages;
    size_t size;
} opened;

static bool open_one(check *k, opened *o)
{
    pxs_value *values;
    char error[512] = "";
    const char *fault = px_case_values(k->pool, k->info, k->c, &values, &o->pages, &o->size);

    o->instance = NULL;
    if (fault) {
        tell(k, 'F', "%s", fault);
        return false;
    }
    if (k->ops->open(values, &o->instance, error, sizeof error) == 0) {
        return true;
    }
    error[sizeof error - 1] = '\0';
    if (error[0]) {
        tell(k, 'F', "open refuses these options: %s", error);
    } else {
        tell(k, 'F', "open fails without a sentence");
    }
    return false;
}

/* The values end with the instance: whoever kept a pointer into them will be seen. */
static void close_one(check *k, opened *o)
{
    k->ops->close(o->instance);
    munmap(o->pages, o->size);
}

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    while (dir && readdir(dir)) {
        count++;
    }
    if (dir) {
        closedir(dir);
    }
    return count;
}

static bool check_leaks(check *k)
{
    int fds = count_fds();
    size_t before = mallinfo2().uordblks;
    apr_pool_t *outer = k->pool;
    apr_pool_t *pool;
    size_t grown;
    opened o;

    apr_pool_create(&pool, outer);
    for (int i = 0; i < ROUNDS; i++) {
        if (i == 1) {
            before = mallinfo2().uordblks;  /* the first round may fill caches */
        }
        apr_pool_clear(pool);
        k->pool = pool;
        if (!open_one(k, &o)) {
            k->pool = outer;
            return false;
        }
        close_one(k, &o);
    }
    k->pool = outer;
    grown = mallinfo2().uordblks;
    grown = grown > before ? grown - before : 0;
    if (grown / (ROUNDS - 1) >= 16) {
        tell(k, 'F', "it leaks memory: about %" APR_SIZE_T_FMT " bytes per open and close",
             grown / (ROUNDS - 1));
        return false;
    }
    if (count_fds() - fds > ROUNDS / 10) {
        tell(k, 'F', "it leaks file descriptors: %d after %d rounds of open and close",
             count_fds() - fds, ROUNDS);
        return false;
    }
    return true;
}

static void check_lifecycle(void *baton, int fd)
{
    check *k = baton;
    opened first;
    opened second;

    k->fd = fd;
    if (!prepare(k)) {
        return;
    }
    tell(k, 'S', "opening an instance");
    if (!open_one(k, &first)) {
        return;
    }
    tell(k, 'S', "opening a second instance beside the first");
    if (!open_one(k, &second)) {
        return;
    }
    tell(k, 'S', "closing the first of two instances");
    close_one(k, &first);
    tell(k, 'S', "running the second instance after the first was closed (does it keep pointers to "
         "option values or statics of a closed instance?)");
    (void)px_case_play(k->pool, k->c, k->ops, second.instance, NULL);
    tell(k, 'S', "closing the second instance");
    close_one(k, &second);
    tell(k, 'S', "closing NULL");
    k->ops->close(NULL);
    tell(k, 'S', "opening and closing %d times", ROUNDS);
    if (check_leaks(k)) {
        tell(k, 'P', "open and close");
    }
}

/* ---- spoilt replies ---- */

static bool play(check *k, void *instance, const px_mutation *m)
{
    apr_pool_t *pool;
    const char *fault;

    tell(k, 'S', "reply %d %s", m->exchange + 1, m->what);
    apr_pool_create(&pool, k->pool);
    fault = px_case_play(pool, k->c, k->ops, instance, m);
    if (fault) {
        tell(k, 'F', "reply %d %s: %s", m->exchange + 1, m->what, fault);
    }
    apr_pool_destroy(pool);
    return fault == NULL;
}

static bool play_truncated(check *k, void *instance, int exchange)
{
    size_t len = px_case_reply_len(k->pool, k->c, exchange);
    const size_t cuts[] = { 0, 1, 2, len / 4, len / 2, len * 3 / 4, len > 2 ? len - 2 : 0,
                            len > 1 ? len - 1 : 0 };
    bool fine = true;

    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        px_mutation m = { .exchange = exchange, .body_len = cuts[i] };
        m.what = apr_psprintf(k->pool, "cut to %" APR_SIZE_T_FMT " of %" APR_SIZE_T_FMT " bytes",
                              cuts[i], len);
        if (cuts[i] < len || len == 0) {
            fine = play(k, instance, &m) && fine;
        }
    }
    return fine;
}

static bool play_rubbish(check *k, void *instance, int exchange)
{
    char *deep = apr_palloc(k->pool, 20000);
    char *bytes = apr_palloc(k->pool, 5000);
    uint32_t x = 2463534242u;
    bool fine = true;

    memset(deep, '[', 20000);
    for (int i = 0; i < 5000; i++) {        /* xorshift: the same rubbish each time */
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes[i] = (char)x;
    }
    const px_mutation list[] = {
        { exchange, "replaced by an empty object", 200, 0, "{}", 2 },
        { exchange, "replaced by null", 200, 0, "null", 4 },
        { exchange, "replaced by an empty array", 200, 0, "[]", 2 },
        { exchange, "replaced by HTML", 200, 0, "<html><body>502</body></html>", 29 },
        { exchange, "replaced by 5000 random bytes", 200, 0, bytes, 5000 },
        { exchange, "replaced by 20000 open brackets", 200, 0, deep, 20000 },
        { exchange, "replaced by wrong types", 200, 0,
          "{\"data\":7,\"id\":[],\"error\":\"x\",\"output\":{},\"status\":null,\"choices\":{}}",
          66 },
        { exchange, "with status 204", 204, 0, "", 0 },
        { exchange, "with status 301", 301, 0, "", 0 },
        { exchange, "with status 400", 400, 0, "{\"error\":{\"message\":\"bad\"}}", 27 },
        { exchange, "with status 401", 401, 0, "", 0 },
        { exchange, "with status 429", 429, 0, "slow down", 9 },
        { exchange, "with status 500", 500, 0, "", 0 },
        { exchange, "with status 999", 999, 0, "?", 1 },
        { exchange, "timed out", -1, PXS_FAIL_TIMEOUT, "", 0 },
        { exchange, "never came", -1, PXS_FAIL_UNAVAILABLE, "", 0 },
        { exchange, "was malformed", -1, PXS_FAIL_MALFORMED, "", 0 },
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        fine = play(k, instance, &list[i]) && fine;
    }
    return fine;
}

static void check_case(void *baton, int fd)
{
    check *k = baton;
    const char *fault;
    opened o;
    int exchanges;
    bool fine = true;

    k->fd = fd;
    if (!prepare(k) || !open_one(k, &o)) {
        return;
    }
    tell(k, 'S', "running the operation");
    fault = px_case_play(k->pool, k->c, k->ops, o.instance, NULL);
    if (fault) {
        tell(k, 'F', "%s", fault);
        return;
    }
    exchanges = k->c->recorded ? k->c->exchange_count : 1;
    for (int i = 0; i < exchanges; i++) {
        fine = play_truncated(k, o.instance, i) && fine;
        fine = play_rubbish(k, o.instance, i) && fine;
    }
    tell(k, 'S', "closing the instance");
    close_one(k, &o);
    if (fine) {
        tell(k, 'P', "%s", k->c->name);
    }
}

/* ---- the parent's side ---- */

/* Turns a child's lines into report lines; true when it said that it passed. */
static bool collect(apr_pool_t *pool, const char *subject, px_buf *lines, const char *fault,
                    px_buf *report)
{
    const char *doing = "starting";
    char *state = NULL;
    bool passed = false;
    bool failed = false;

    for (char *line = apr_strtok(lines->data, "\n", &state); line;
         line = apr_strtok(NULL, "\n", &state)) {
        if (line[0] == 'S') {
            doing = apr_pstrdup(pool, line + 1);
        } else if (line[0] == 'F') {
            px_buf_printf(report, "FAIL %s: %s\n", subject, line + 1);
            failed = true;
        } else if (line[0] == 'P') {
            passed = true;
        }
    }
    if (fault) {
        px_buf_printf(report, "FAIL %s: %s while %s\n", subject, fault, doing);
    } else if (passed && !failed) {
        px_buf_printf(report, "ok   %s\n", subject);
    } else if (!failed) {
        px_buf_printf(report, "FAIL %s: it ended the process while %s\n", subject, doing);
    }
    return passed && !failed && !fault;
}

static bool run_child(apr_pool_t *pool, check *k, const char *subject, px_child_work *work,
                      px_buf *report)
{
    const char *fault;
    px_buf *lines = px_child_run(pool, px_conform_limit_ms, work, k, &fault);

    return collect(pool, subject, lines, fault, report);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static apr_array_header_t *case_files(apr_pool_t *pool, const char *folder)
{
    apr_array_header_t *files = apr_array_make(pool, 16, sizeof(const char *));
    DIR *dir = folder ? opendir(folder) : NULL;
    const struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name);
        if (len > 5 && strcmp(entry->d_name + len - 5, ".json") == 0) {
            const char *path = apr_pstrcat(pool, folder, "/", entry->d_name, NULL);
            APR_ARRAY_PUSH(files, const char *) = path;
        }
    }
    if (dir) {
        closedir(dir);
    }
    qsort(files->elts, (size_t)files->nelts, sizeof(const char *), by_name);
    return files;
}

static bool check_cases(apr_pool_t *pool, check *k, apr_array_header_t *files, px_buf *report)
{
    bool fine = true;

    if (files->nelts == 0) {
        k->case_path = NULL;
        return run_child(pool, k, "built-in case", check_case, report);
    }
    for (int i = 0; i < files->nelts; i++) {
        const char *path = APR_ARRAY_IDX(files, i, const char *);
        k->case_path = path;
        fine = run_child(pool, k, strrchr(path, '/') + 1, check_case, report) && fine;
    }
    return fine;
}

bool px_plugin_conformance(apr_pool_t *pool, const char *path, const char *cases_dir,
                           px_buf *report)
{
    apr_array_header_t *files = case_files(pool, cases_dir);
    px_plugin_info *info;
    const char *fault = px_plugin_describe(pool, path, false, &info);
    check k = { .pool = pool, .path = path };
    bool fine;

    if (fault) {
        px_buf_printf(report, "FAIL descriptor: %s\n", fault);
        return false;
    }
    if (cases_dir && files->nelts == 0) {
        px_buf_printf(report, "FAIL cases: there is no .json file in %s\n", cases_dir);
        return false;
    }
    px_buf_printf(report, "ok   descriptor: %s %s, kind %s, %d options\n", info->name,
                  info->version,
                  px_kind_find(info->kind)->name, info->option_count);
    if (info->kind == PXS_KIND_AI && (info->caps & PXS_CAP_BLOCKING)) {
        px_buf_printf(report, "ok   a blocking plugin: its work runs in the image helper only\n");
    }
    k.info = info;
    k.case_path = files->nelts ? APR_ARRAY_IDX(files, 0, const char *) : NULL;
    fine = run_child(pool, &k, "open and close", check_lifecycle, report);
    return check_cases(pool, &k, files, report) && fine;
}
