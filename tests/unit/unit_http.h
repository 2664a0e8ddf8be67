/* A request without a web server, for the tests of http/. */
#ifndef PX_TESTS_UNIT_HTTP_H
#define PX_TESTS_UNIT_HTTP_H

#include "unit.h"

#include "base/crypto.h"
#include "cache/cache.h"
#include "config/settings.h"
#include "http/http.h"

#include <sys/mman.h>

static UNIT_UNUSED char unit_state_dir[64];

/* The body that a request will read, in pieces of at most `step` bytes. */
typedef struct { const char *data; size_t len, at, step; } unit_body;

static long unit_read_body(px_req *req, char *buf, size_t size, px_err **err)
{
    unit_body *body = req->host;
    size_t n = body->len - body->at;
    (void)err;
    if (n > size) {
        n = size;
    }
    if (body->step > 0 && n > body->step) {
        n = body->step;
    }
    memcpy(buf, body->data + body->at, n);
    body->at += n;
    return (long)n;
}

static UNIT_UNUSED px_settings *unit_settings(const char *const *directives)
{
    px_settings *s = px_settings_make(unit_pool);
    px_buf *faults = px_buf_make(unit_pool, 256);
    const px_setting_row *rows = px_setting_rows();
    for (; directives && directives[0]; directives += 2) {
        for (int i = 0; i < PX_S_COUNT; i++) {
            if (strcmp(rows[i].directive, directives[0]) == 0) {
                ck_assert_ptr_null(px_settings_set(s, rows[i].id, directives[1]));
            }
        }
    }
    px_settings_finish(s, faults); /* fills the defaults; a database is not set, and not needed */
    return s;
}

static UNIT_UNUSED px_app *unit_app(const char *const *directives)
{
    px_app *app = apr_pcalloc(unit_pool, sizeof(*app));
    app->pool = unit_pool;
    app->settings = unit_settings(directives);
    app->role = "unit";
    return app;
}

static UNIT_UNUSED void unit_give_cache(px_app *app)
{
    size_t size = px_cache_shm_size(64, 1024);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    UNIT_OK(px_cache_shm_attach(unit_pool, memory, size, 64, 1024, &app->cache));
}

static UNIT_UNUSED px_req *unit_req(const px_app *app, const char *method, const char *path)
{
    px_req *req = apr_pcalloc(unit_pool, sizeof(*req));
    const char *query = strchr(path, '?');
    req->app = app;
    req->pool = unit_pool;
    req->method = method;
    req->path = query ? apr_pstrmemdup(unit_pool, path, (size_t)(query - path)) : path;
    req->query = query ? query + 1 : NULL;
    req->headers_in = apr_table_make(unit_pool, 8);
    req->notes = apr_table_make(unit_pool, 8);
    req->client_ip = "192.0.2.1";
    req->request_id = "req-1";
    req->host = apr_pcalloc(unit_pool, sizeof(unit_body));
    req->read_body = unit_read_body;
    return req;
}

static UNIT_UNUSED px_req *unit_send(px_req *req, const char *type, const char *data, size_t len)
{
    unit_body *body = req->host;
    body->data = data;
    body->len = len;
    req->content_length = (int64_t)len;
    apr_table_set(req->headers_in, "Content-Type", type);
    return req;
}

static UNIT_UNUSED px_req *unit_send_json(px_req *req, const char *text)
{
    return unit_send(req, "application/json", text, strlen(text));
}

#endif
