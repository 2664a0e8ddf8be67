/* Processes: post_config in the parent, child_init in each child. */
#include "host.h"
#include "account/account.h"
#include "account/user.h"
#include "base/log.h"
#include "cache/cache.h"
#include "credit/credit.h"
#include "db/db.h"
#include "hub.h"
#include "net/net.h"
#include "plugin/plugin.h"

#include <ap_mpm.h>
#include <apr_allocator.h>
#include <apr_strings.h>
#include <pthread.h>

APLOG_USE_MODULE(pixshift);

static px_host *the_host;
static __thread px_net *thread_net;
static pthread_key_t thread_key;     /* the pool of thread_net */

px_host *px_host_get(void)
{
    return the_host;
}

static int refuse(server_rec *s, const char *log_id, const char *what)
{
    ap_log_error(APLOG_MARK, APLOG_CRIT | APLOG_STARTUP, 0, s, "%s: %s", log_id, what);
    return HTTP_INTERNAL_SERVER_ERROR;
}

/* Laid out by one process, before children and worker attach to it. */
static const char *share(apr_pool_t *pool, const px_host *host)
{
    px_cache *cache;
    px_err *err = px_cache_shm_attach(pool, host->shm, host->shm_size, PX_SHM_ENTRIES,
                                      PX_SHM_RATE_SLOTS, &cache);
    return err ? (err->cause ? err->cause : err->text) : NULL;
}

int px_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    px_settings *settings = px_pending_settings();
    px_host *host;
    px_err *err;
    const char *fault;
    int async = 0;
    (void)plog;
    the_host = NULL;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG
        || ap_state_query(AP_SQ_RUN_MODE) != AP_SQ_RM_NORMAL
        || !px_set_on(settings, PX_S_ENGINE)) {
        return OK;
    }
    host = apr_pcalloc(pconf, sizeof(*host));
    host->settings = settings;
    px_log_install(s);
    if ((err = px_secrets_resolve(ptemp, settings)) != NULL) {
        return refuse(s, err->log_id ? err->log_id : "PXS5102",
                      err->cause ? err->cause : err->text);
    }
    if ((fault = px_routes_make(pconf, host)) != NULL) {
        return refuse(s, "PXS5103", fault);
    }
    if ((fault = px_shm_get(s, host)) != NULL || (fault = share(ptemp, host)) != NULL) {
        return refuse(s, "PXS5104", fault);
    }
    if ((fault = px_folders_make(ptemp, settings)) != NULL) {
        return refuse(s, "PXS5106", fault);
    }
    ap_mpm_query(AP_MPMQ_IS_ASYNC, &async);
    host->async = async != 0;
    the_host = host;
    px_http_set_authenticator(px_account_authenticate);
    px_http_set_forget(px_user_forget);
    px_worker_start(pconf, s, host);
    return OK;
}

/* ---- children -------------------------------------------------------------------------------- */

static void db_config(const px_settings *settings, int connections, px_db_config *config)
{
    memset(config, 0, sizeof(*config));
    config->conninfo = px_set_str(settings, PX_S_DATABASE);
    config->password = px_set_str(settings, PX_S_DATABASE_PASSWORD);
    config->max_connections = connections;
    config->app_name = "pixshift-httpd";
}

static px_err *open_app(apr_pool_t *pool, px_host *host, int connections, px_app **out)
{
    px_app *app = apr_pcalloc(pool, sizeof(*app));
    px_db_config config;
    px_err *err;
    app->pool = pool;
    app->settings = host->settings;
    app->role = "httpd";
    db_config(host->settings, connections, &config);
    if ((err = px_db_open(pool, &config, &app->db)) != NULL
        || (err = px_cache_shm_attach(pool, host->shm, host->shm_size, PX_SHM_ENTRIES,
                                      PX_SHM_RATE_SLOTS, &app->cache)) != NULL
        || (err = px_registry_open(pool, host->settings,
                                   1u << PXS_KIND_STORAGE | 1u << PXS_KIND_IDENTITY,
                                   &app->plugins)) != NULL) {
        return err;
    }
    *out = app;
    return NULL;
}

/* The hub's own view: everything shared but the connections, so that a burst of requests cannot
 * make the streams wait. */
static px_err *open_hub_app(apr_pool_t *pool, px_host *host, px_app **out)
{
    px_app *app = apr_pmemdup(pool, host->app, sizeof(*app));
    px_db_config config;
    px_err *err;
    db_config(host->settings, 2, &config);
    config.app_name = "pixshift-httpd-streams";
    if ((err = px_db_open(pool, &config, &app->db)) != NULL) {
        return err;
    }
    *out = app;
    return NULL;
}

px_err *px_net_for(apr_pool_t *pool, const px_settings *settings, px_net **net)
{
    px_net_config config = {0};
    config.spool_dir = apr_pstrcat(pool, px_set_str(settings, PX_S_STATE_DIR), "/spool", NULL);
    config.ca_file = px_set_str(settings, PX_S_TLS_CA);
    config.egress_allow = px_set_str(settings, PX_S_EGRESS_ALLOW);
    config.user_agent = "PixShift";
    config.max_transfers = 8;
    return px_net_open(pool, &config, net);
}

/* Ends a thread's engine with the thread: mod_http2 starts and ends workers as load asks for them, and
 * an engine has descriptors. */
static void thread_ends(void *pool)
{
    apr_pool_destroy(pool);
}

/* With an allocator of its own: threads end at any time, and pools under a common parent would
 * meet in it. */
static apr_pool_t *thread_pool(void)
{
    apr_allocator_t *allocator;
    apr_pool_t *pool;
    if (apr_allocator_create(&allocator) != APR_SUCCESS) {
        return NULL;
    }
    if (apr_pool_create_unmanaged_ex(&pool, NULL, allocator) != APR_SUCCESS) {
        apr_allocator_destroy(allocator);
        return NULL;
    }
    apr_allocator_owner_set(allocator, pool);
    return pool;
}

px_err *px_thread_net(apr_pool_t *pool, const px_host *host, px_net **net)
{
    if (!thread_net) {
        apr_pool_t *own = thread_pool();
        px_err *failed = own ? px_net_for(own, host->settings, &thread_net) : NULL;
        px_err *err = NULL;
        if (!own || failed || pthread_setspecific(thread_key, own) != 0) {
            err = px_error(pool, PX_E_UNAVAILABLE, "PXS5108", "a thread has no network engine: %s",
                           failed && failed->cause ? failed->cause : "out of memory");
            thread_net = NULL;
        }
        if (err && own) {
            apr_pool_destroy(own);
        }
        if (err) {
            return err;
        }
    }
    *net = thread_net;
    return NULL;
}

/* The free credits that the configuration promises; a database that is away gets them from the next
 * child or worker that starts. */
static void apply_profile(apr_pool_t *pchild, px_host *host)
{
    apr_pool_t *pool;
    px_err *err;
    apr_pool_create(&pool, pchild);
    err = px_credit_apply_settings(host->app->db, pool, host->settings);
    if (err) {
        px_log(PX_LOG_WARN, "PXS5107", "the credit profile could not be written: %s",
               err->cause ? err->cause : err->text);
    }
    apr_pool_destroy(pool);
}

void px_child_init(apr_pool_t *pchild, server_rec *s)
{
    px_app *hub_app;
    px_err *err;
    if (!the_host) {
        return;
    }
    px_log_install(s);
    if (pthread_key_create(&thread_key, thread_ends) != 0) {
        px_log(PX_LOG_ERROR, "PXS5105", "this child cannot serve: no key for its threads");
        the_host->app = NULL;
        return;
    }
    if ((err = open_app(pchild, the_host, (int)px_set_int(the_host->settings, PX_S_DATABASE_POOL),
                        &the_host->app)) == NULL
        && (err = open_hub_app(pchild, the_host, &hub_app)) == NULL) {
        err = px_hub_start(pchild, the_host, hub_app);
    }
    if (err) {
        /* The child stays: it answers 503, and the log says why. */
        px_log(PX_LOG_ERROR, err->log_id ? err->log_id : "PXS5105", "this child cannot serve: %s",
               err->cause ? err->cause : err->text);
        the_host->app = NULL;
        return;
    }
    apply_profile(pchild, the_host);
}
