/* The httpd host: what its files share.  Nothing outside apache/ includes this.
 *
 * Life: directives fill `pending` settings (configuration pool); configtest checks them;
 * post_config makes the px_host in the parent (secrets resolved, routes, shared memory); each
 * child inherits it by fork and makes its px_app in child_init.  All statics of the module are
 * lost at a graceful restart; only the shared memory stays, found again through
 * s->process->pool. */
#ifndef PX_APACHE_HOST_H
#define PX_APACHE_HOST_H

#include "cache/cache.h"
#include "config/app.h"
#include "config/settings.h"
#include "http/http.h"

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>

extern module AP_MODULE_DECLARE_DATA pixshift_module;

typedef struct {
    int engine;                     /* PixShift On | Off of this server; -1 = not said */
    const char *conf_file;
    int conf_line;
} px_server_conf;

typedef struct px_host {
    px_settings *settings;
    px_router *router;
    apr_table_t *prefixes;          /* first path segments that have routes: "/api" */
    void *shm;                      /* shared segment and its size */
    size_t shm_size;
    int shm_fd;                     /* its memory file, inherited by the worker; -1 = none */
    px_app *app;                    /* in a child; NULL in the parent */
    bool async;                     /* the MPM lets requests be suspended */
} px_host;

/* The one of this process; NULL before post_config and when PixShift is off everywhere. */
px_host *px_host_get(void);

/* directives.c */
extern const command_rec px_directives[];
void *px_server_conf_make(apr_pool_t *pool, server_rec *s);
void *px_server_conf_merge(apr_pool_t *pool, void *base, void *over);
bool px_host_on(const server_rec *s);
/* Settings being read, and faults found in them that have a place of their own. */
px_settings *px_pending_settings(void);
px_buf *px_pending_faults(void);
int px_directives_reset(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp);

/* configtest.c */
int px_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
void px_test_config(apr_pool_t *pconf, server_rec *s);

/* secrets.c: the secrets of plugin sections. */
/* Faults such as an unset variable; runs no program, reads no file. */
void px_secrets_check(apr_pool_t *pool, px_settings *settings, px_buf *faults);
/* Scalars and plugin options, as root, in the parent. */
px_err *px_secrets_resolve(apr_pool_t *pool, px_settings *settings);

/* process.c */
int px_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
void px_child_init(apr_pool_t *pchild, server_rec *s);
/* A px_net with this configuration. */
px_err *px_net_for(apr_pool_t *pool, const px_settings *settings, struct px_net **net);
/* This thread's px_net, made at first use, ended with the thread. `pool` is for the error. */
px_err *px_thread_net(apr_pool_t *pool, const px_host *host, struct px_net **net);

/* shm.c: the shared segment, kept over graceful restarts. NULL or a sentence. */
const char *px_shm_get(server_rec *s, px_host *host);

/* log.c */
void px_log_install(server_rec *s);
/* The request that this thread serves, for the error log's columns; NULL = none. */
void px_log_request(request_rec *r);

/* folders.c: makes PixShiftStateDir and its spool folder for the service's user. NULL or a
 * sentence. */
const char *px_folders_make(apr_pool_t *pool, const px_settings *settings);

/* routes.c */
const char *px_routes_make(apr_pool_t *pool, px_host *host);

/* request.c */
int px_strip_headers(request_rec *r);
int px_translate(request_rec *r);
int px_map_to_storage(request_rec *r);
int px_handle(request_rec *r);
/* A px_req made from a request_rec; lives in r->pool. */
px_err *px_req_make(request_rec *r, px_host *host, px_req **out);
/* Copies the px_req's notes into r->notes for %{…}n. */
void px_req_notes(px_req *req);
static inline request_rec *px_req_rec(const px_req *req)
{
    return (request_rec *)req->host;
}

/* request_id.c */
const char *px_request_id(request_rec *r);

/* worker_spawn.c */
void px_worker_start(apr_pool_t *pconf, server_rec *s, px_host *host);

/* authz.c, status.c */
void px_authz_register(apr_pool_t *pool);
void px_status_register(void);

#endif
