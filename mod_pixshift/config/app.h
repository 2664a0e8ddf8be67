/* px_app: what a process of PixShift has at hand.  Made once by each host after fork, read-only
 * afterwards; handlers reach everything through it.  Forward declarations only, so that no folder
 * pulls in another's types. */
#ifndef PX_CONFIG_APP_H
#define PX_CONFIG_APP_H

#include <apr_pools.h>

typedef struct px_app {
    apr_pool_t *pool;                   /* process lifetime */
    const struct px_settings *settings;
    struct px_db *db;
    struct px_cache *cache;
    struct px_net *net;
    struct px_registry *plugins;
    const char *role;                   /* "httpd", "worker", "ctl": for logs and metrics */
} px_app;

#endif
