/* Host side of plugins: loading and checking, options, the registry of configured instances,
 * provider selection, and driving an operation through its exchanges.
 *
 * describe: reads a plugin's descriptor in a forked child and copies it out, so that configtest
 * in the httpd parent neither keeps a vendor library loaded nor dies with a broken plugin. open:
 * loads it for real (worker, helper, or httpd children for storage).  Refusals are sentences.
 * The registry is made per process after fork and is read-only afterwards; calls run on the
 * thread that owns the px_net given to them. */
#ifndef PX_PLUGIN_PLUGIN_H
#define PX_PLUGIN_PLUGIN_H

#include "base/error.h"
#include "base/buf.h"
#include "config/app.h"
#include "config/settings.h"
#include "net/net.h"
#include <pixshift/plugin.h>

/* ---- files ---- */
typedef struct {
    pxs_kind kind;
    const char *name, *version, *summary;
    uint32_t caps;
    int option_count;
    const pxs_option *options;      /* copies in the pool */
} px_plugin_info;

/* NULL + *info, or a sentence that names the fault (file missing, not a shared object, symbol
 * missing, bad magic, other ABI major, table too short, operation missing, bad option table,
 * crashed…). `strict` adds the ownership rules of RELIABILITY §2 (production mode). */
const char *px_plugin_describe(apr_pool_t *pool, const char *path, bool strict,
                               px_plugin_info **info);

/* px_plugin_describe of a section's path, remembered in the settings' pool: asked again, also
 * after a fork, it costs nothing.  Strict in production mode. */
const char *px_plugin_info_cached(apr_pool_t *pool, const px_settings *settings, const char *path,
                                  const px_plugin_info **info);

typedef struct px_plugin px_plugin;         /* a loaded file */
const char *px_plugin_load(apr_pool_t *pool, const char *path, bool strict, px_plugin **out);
const pxs_plugin *px_plugin_descriptor(const px_plugin *plugin);

/* Checks a section's options against the declared ones and fills values (in table order). Faults go
 * to `faults` as "file:line: sentence" lines. Secrets are resolved when `resolve`. */
bool px_plugin_options(apr_pool_t *pool, const px_plugin_info *info,
                       const px_plugin_section *section,
                       bool production, bool resolve, pxs_value **values, px_buf *faults);

/* Full path of a section's file below PixShiftPluginDir. */
const char *px_plugin_path(apr_pool_t *pool, const px_settings *settings, const char *file);
/* configtest of all sections, chains and references between them. */
bool px_plugins_check(apr_pool_t *pool, const px_settings *settings, px_buf *faults);

/* The conformance kit behind `pixshiftctl plugin check FILE [CASES]`: symbols, ABI, option
 * table, recorded cases (each .json file of CASES), malformed and truncated replies, double
 * open/close. Lines go to report; true when all passed. */
bool px_plugin_conformance(apr_pool_t *pool, const char *path, const char *cases_dir,
                           px_buf *report);

/* ---- registry ---- */
typedef struct px_registry px_registry;
typedef struct px_instance px_instance;     /* one <PixShiftPlugin> section */

/* Opens the instances whose kind bit (1u << PXS_KIND_…) is in `kinds`. Blocking AI plugins are
 * known but not opened here (the helper opens them). */
px_err *px_registry_open(apr_pool_t *pool, const px_settings *settings, unsigned kinds,
                         px_registry **out);
px_instance *px_registry_find(const px_registry *registry, const char *name);
const char *px_instance_name(const px_instance *instance);
pxs_kind px_instance_kind(const px_instance *instance);
uint32_t px_instance_caps(const px_instance *instance);
bool px_instance_blocking(const px_instance *instance);
const px_plugin_section *px_instance_section(const px_instance *instance);
const char *px_instance_path(const px_instance *instance);
/* per PixShiftStorage; NULL = none */
px_instance *px_registry_storage(const px_registry *registry);
int px_registry_count(const px_registry *registry);
px_instance *px_registry_at(const px_registry *registry, int i);      /* in order of the sections */
const px_plugin_info *px_instance_info(const px_instance *instance);
/* Option values in table order, secrets resolved; NULL and 0 when this process did not ask for the
 * kind.  Also for blocking plugins: the helper gets them. */
const pxs_value *px_instance_values(const px_instance *instance, int *count);
/* The ops table of the kind; NULL when the instance is not opened in this process. */
const void *px_instance_ops(const px_instance *instance);
/* Storage and message plugins may make file: exchanges below the folder that their option Root or
 * Folder names; NULL = none. */
const char *px_instance_file_root(const px_instance *instance);
/* Capability that an operation of PixShiftProviders needs at least; 0 = unknown operation. */
uint32_t px_operation_caps(const char *operation);

/* ---- selection ---- */
/* The providers of an operation that have all `caps`, in chain order; those with an open breaker go
 * last. *count 0 = nobody can do it. */
px_err *px_registry_select(const px_registry *registry, px_net *net, apr_pool_t *pool,
                           const char *operation, uint32_t caps, px_instance ***list, int *count);
/* May the next provider be tried after this failure? (DESIGN §5; refused content never) */
bool px_fail_allows_fallback(pxs_fail_class klass);
/* May the same provider be asked again? */
bool px_fail_allows_retry(pxs_fail_class klass);
const char *px_fail_name(pxs_fail_class klass);      /* "refused", "timeout", … */
px_err *px_fail_error(apr_pool_t *pool, const pxs_fail *fail, const char *provider);

/* ---- running an operation ---- */
/* Event-loop driver: calls the operation, performs its exchanges on `net` and reports steps. */
typedef struct px_op px_op;
typedef struct {
    /* Runs before each exchange is sent (attempt row: crash matrix 6). An error stops the
     * operation. */
    px_err *(*before_send)(void *baton, const pxs_call *call);
    /* PXS_DONE, PXS_FAIL (see px_op_fail) or PXS_WAIT (call px_op_resume later with the token). */
    void (*finished)(void *baton, px_op *op, pxs_step step);
    /* Streamed text; may be NULL. */
    void (*emit)(void *baton, const char *text, size_t len);
    void *baton;
    /* Becomes call->idempotency_key: stable for one attempt; may be NULL. */
    const char *idempotency_key;
} px_op_events;

typedef pxs_step px_op_fn(void *instance, pxs_call *call, const void *request, void *result);
/* `verb` is the ops table's function cast to px_op_fn; request and result live as long as the
 * op. */
px_err *px_op_start(apr_pool_t *pool, px_net *net, px_instance *instance, px_op_fn *verb,
                    const void *request, void *result, const px_net_options *options,
                    const px_op_events *events, px_op **op);
/* Like px_op_start, but calls nothing yet: px_op_resume begins (a job taken up after a restart). */
px_err *px_op_prepare(apr_pool_t *pool, px_net *net, px_instance *instance, px_op_fn *verb,
                      const void *request, void *result, const px_net_options *options,
                      const px_op_events *events, px_op **op);
/* After PXS_WAIT: phase and token as they were then, also after a restart. */
px_err *px_op_resume(px_op *op, uint32_t phase, const char *token);
void px_op_cancel(px_op *op);
const pxs_call *px_op_call(const px_op *op);
const pxs_fail *px_op_fail(const px_op *op);
/* Everything a plugin made for a result (strings, reply body, reply file) lives as long as the op's
 * pool; spool files are unlinked with it, unless they were renamed. */

/* Blocking driver of the same, for short operations (storage on request threads, sign_url).
 * PXS_WAIT is a failure here. */
px_err *px_op_run(apr_pool_t *pool, px_net *net, px_instance *instance, px_op_fn *verb,
                  const void *request, void *result, const px_net_options *options);

/* ---- storage, the common case ---- */
px_err *px_storage_put_file(const struct px_app *app, px_net *net, apr_pool_t *pool,
                            const char *key,
                            const char *content_type, const char *path, uint64_t len);
px_err *px_storage_get_file(const struct px_app *app, px_net *net, apr_pool_t *pool,
                            const char *key,
                            const char **path, uint64_t *len, bool *temporary);
px_err *px_storage_delete(const struct px_app *app, px_net *net, apr_pool_t *pool, const char *key);
/* A URL for the browser: the plugin's own, or one signed by us and served by GET
 * /api/files/{key}. */
px_err *px_storage_url(const struct px_app *app, px_net *net, apr_pool_t *pool, const char *key,
                       const char *user_id, const char *download_name, const char **url);
/* Verifies one of our signed URLs (query string after '?'); AUTH_FORBIDDEN when forged or
 * expired. */
px_err *px_storage_url_verify(const struct px_app *app, apr_pool_t *pool, const char *key,
                              const char *query, const char **user_id);
/* The download name in a verified query, NULL when there is none. */
const char *px_storage_url_name(apr_pool_t *pool, const char *query);
/* "uploads/<user>/<id>.jpg": [A-Za-z0-9/._-], no empty, "." or ".." component, ≤ 512 bytes. */
bool px_storage_key_fine(const char *key);

#endif
