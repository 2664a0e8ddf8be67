/* The shared segment of httpd (cache, counters), inherited by an embedded worker as descriptor 4. */
#ifndef PX_WORKER_SHM_H
#define PX_WORKER_SHM_H

#include "cache/cache.h"

/* NULL when there is none (an external worker): counters then have no effect. */
px_cache *px_worker_shared_cache(apr_pool_t *pool);

#endif
