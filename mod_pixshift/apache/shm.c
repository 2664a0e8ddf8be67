/* The shared segment of cache, rate limits and counters.  It is a memory file mapped by the
 * parent before fork, and stays over graceful restarts: its address and size hang on
 * s->process->pool under a string key, without any pointer into this module, which is unloaded
 * meanwhile (REFERENCE §8).  The layout check is px_cache_shm_attach's. */
#include "host.h"
#include "cache/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEY "pixshift:shared-segment"

typedef struct {
    void *memory;
    size_t size;
    int fd;
} segment;

static const char *make(apr_pool_t *pool, size_t size, segment **out)
{
    segment *seg = apr_pcalloc(pool, sizeof(*seg));
    seg->size = size;
    seg->fd = memfd_create("pixshift", MFD_CLOEXEC);
    if (seg->fd < 0 || ftruncate(seg->fd, (off_t)size) != 0) {
        return "the shared memory file could not be made";
    }
    seg->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, seg->fd, 0);
    if (seg->memory == MAP_FAILED) {
        close(seg->fd);
        return "the shared memory could not be mapped";
    }
    *out = seg;
    return NULL;
}

const char *px_shm_get(server_rec *s, px_host *host)
{
    size_t size = px_cache_shm_size(PX_SHM_ENTRIES, PX_SHM_RATE_SLOTS);
    void *found = NULL;
    segment *seg;
    const char *fault;
    apr_pool_userdata_get(&found, KEY, s->process->pool);
    seg = found;
    if (!seg || seg->size != size) {
        /* An old one of another size stays mapped: draining children still use it. */
        if ((fault = make(s->process->pool, size, &seg)) != NULL) {
            return fault;
        }
        apr_pool_userdata_set(seg, KEY, NULL, s->process->pool);
    }
    host->shm = seg->memory;
    host->shm_size = seg->size;
    host->shm_fd = seg->fd;
    return NULL;
}
