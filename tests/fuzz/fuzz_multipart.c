/* Multipart bodies.  First line of the input: the Content-Type.  The body is read twice, whole and
 * in small pieces; both readings must end alike, and what is accepted must keep to the limits. */
#include "config/settings.h"
#include "http/http.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_LIMIT 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct { const uint8_t *data; size_t len, at, step; } source;

static long read_source(px_req *req, char *buf, size_t size, px_err **err)
{
    source *s = req->host;
    size_t n = s->len - s->at;
    (void)err;
    n = n > size ? size : n;
    n = s->step && n > s->step ? s->step : n;
    memcpy(buf, s->data + s->at, n);
    s->at += n;
    return (long)n;
}

static void check(const px_form *form)
{
    int parts = 0, files = 0;
    for (const px_part *p = form->parts; p; p = p->next) {
        struct stat st;
        parts++;
        if (!p->name || !*p->name || strlen(p->name) > 255 || !p->sha256 ||
            strlen(p->sha256) != 64) {
            abort();
        }
        if (!p->file && (!p->value || p->len > 65536 || p->value[p->len] != '\0')) {
            abort();
        }
        if (p->file && (stat(p->file, &st) != 0 || (uint64_t)st.st_size != p->file_len ||
                        p->file_len > FILE_LIMIT)) {
            abort();
        }
        files += p->file != NULL;
    }
    if (parts != form->count || parts > 20 || files > 2) {
        abort();
    }
}

/* The digest, or the error's id. */
static const char *read_form(apr_pool_t *pool, const px_app *app, const char *type, source s)
{
    px_req *req = apr_pcalloc(pool, sizeof(*req));
    px_form *form = NULL;
    px_err *err;
    req->app = app;
    req->pool = pool;
    req->headers_in = apr_table_make(pool, 2);
    req->host = &s;
    req->read_body = read_source;
    req->content_length = -1;
    apr_table_set(req->headers_in, "Content-Type", type);
    err = px_multipart_read(req, FILE_LIMIT, 2, &form);
    if (err) {
        if (err->id != PX_E_VALIDATION && err->id != PX_E_FILE_TOO_LARGE) {
            abort();
        }
        return apr_psprintf(pool, "error %d", err->id == PX_E_VALIDATION);
    }
    check(form);
    return req->body_digest;
}

static char state_dir[64];

static void remove_state_dir(void)
{
    char spool[96];
    snprintf(spool, sizeof(spool), "%s/spool", state_dir);
    rmdir(spool);
    rmdir(state_dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    static px_app app;
    const uint8_t *line = memchr(data, '\n', size);
    size_t head = line ? (size_t)(line - data) : 0;
    apr_pool_t *pool;
    const char *type, *whole, *pieces;
    source s;
    if (!root) {
        snprintf(state_dir, sizeof(state_dir), "/tmp/pixshift-fuzz-multipart.XXXXXX");
        apr_initialize();
        apr_pool_create(&root, NULL);
        app.pool = root;
        app.settings = px_settings_make(root);
        if (!mkdtemp(state_dir) ||
            px_settings_set((px_settings *)app.settings, PX_S_STATE_DIR, state_dir) ||
            atexit(remove_state_dir) != 0) {
            abort();
        }
    }
    if (!line || head > 500) {
        return 0;
    }
    apr_pool_create(&pool, root);
    type = apr_pstrmemdup(pool, (const char *)data, head);
    s = (source){line + 1, size - head - 1, 0, 0};
    whole = read_form(pool, &app, type, s);
    s.step = 1 + size % 13;
    pieces = read_form(pool, &app, type, s);
    /* Which of two faults is met first may depend on how much was read at once. */
    if (strcmp(whole, pieces) != 0 && (strlen(whole) == 64 || strlen(pieces) == 64)) {
        abort();
    }
    apr_pool_destroy(pool);
    return 0;
}
