/* Conveniences over the helper client: waiting for one task, files in memory; see helper.h. */
#include "helper.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    apr_pool_t *pool;
    px_helper_result *result;
    bool done;
} wait_for;

static void keep_result(void *baton, const px_helper_result *result)
{
    wait_for *w = baton;
    *w->result = *result;
    w->result->reason = apr_pstrdup(w->pool, result->reason);
    w->result->mime = apr_pstrdup(w->pool, result->mime);
    w->result->model = apr_pstrdup(w->pool, result->model);
    w->done = true;
}

px_err *px_helper_run_sync(apr_pool_t *pool, px_helper *h, const px_helper_task *task,
                           px_helper_result *result)
{
    wait_for w = { pool, result, false };
    px_err *err = px_helper_submit(pool, h, task, keep_result, &w);
    while (!err && !w.done) {
        struct pollfd polled = { .fd = px_helper_fd(h), .events = POLLIN };
        if (poll(&polled, 1, px_helper_timeout_ms(h)) < 0 && errno != EINTR)
            return px_error(pool, PX_E_INTERNAL, "PXS1511", "poll: %s", strerror(errno));
        px_helper_process(h);
    }
    return err;
}

px_err *px_helper_memfd(apr_pool_t *pool, const void *data, size_t len, int *out)
{
    int fd = memfd_create("pixshift", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    size_t done = 0;
    bool ok = fd >= 0;
    while (ok && data && done < len) {
        ssize_t put = write(fd, (const char *)data + done, len - done);
        if (put >= 0)
            done += (size_t)put;
        else
            ok = errno == EINTR;
    }
    if (ok && data)
        ok = fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0;
    if (!ok) {
        px_err *err = px_error(pool, PX_E_UNAVAILABLE, "PXS1508", "a file in memory: %s",
                               strerror(errno));
        if (fd >= 0)
            close(fd);
        return err;
    }
    *out = fd;
    return NULL;
}

px_err *px_helper_read_all(apr_pool_t *pool, int fd, size_t limit, char **data, size_t *len)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return px_error(pool, PX_E_INTERNAL, "PXS1512", "fstat: %s", strerror(errno));
    if (st.st_size < 0 || (size_t)st.st_size > limit)
        return px_error(pool, PX_E_FILE_TOO_LARGE, "PXS1513", "%lld bytes are over %zu",
                        (long long)st.st_size, limit);
    size_t size = (size_t)st.st_size, done = 0;
    char *bytes = apr_palloc(pool, size + 1);
    while (done < size) {
        ssize_t got = pread(fd, bytes + done, size - done, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return px_error(pool, PX_E_INTERNAL, "PXS1514", "reading an image: %s",
                            got < 0 ? strerror(errno) : "it became shorter");
        done += (size_t)got;
    }
    bytes[size] = '\0';
    *data = bytes;
    *len = size;
    return NULL;
}
