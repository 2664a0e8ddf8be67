#include "worker_shm.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHM_FD 4

px_cache *px_worker_shared_cache(apr_pool_t *pool)
{
    size_t size = px_cache_shm_size(PX_SHM_ENTRIES, PX_SHM_RATE_SLOTS);
    struct stat info;
    px_cache *cache = NULL;
    if (fstat(SHM_FD, &info) != 0 || !S_ISREG(info.st_mode) || (size_t)info.st_size != size)
        return NULL;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, SHM_FD, 0);
    close(SHM_FD);
    if (memory == MAP_FAILED)
        return NULL;
    if (px_cache_shm_attach(pool, memory, size, PX_SHM_ENTRIES, PX_SHM_RATE_SLOTS, &cache) != NULL)
        return NULL;
    return cache;
}
