/* Runs the program of an exec: secret. Blocking, at most 5 s; for start-up, before threads
 * exist. */
#ifndef PX_CONFIG_SECRET_EXEC_H
#define PX_CONFIG_SECRET_EXEC_H

#include <apr_pools.h>
#include <stddef.h>

/* `command` is "/program arg arg" split at spaces (no shell, no quotes). NULL with the standard
 * output, at most `limit` bytes, in the pool; or a sentence. */
const char *px_secret_exec(apr_pool_t *pool, const char *command, size_t limit,
                           const char **output, size_t *len);

#endif
