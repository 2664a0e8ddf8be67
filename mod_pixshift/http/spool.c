/* Spool files: uploads on their way from the request to the storage plugin.  They belong to a
 * request's pool; what a crash leaves behind is swept by age. */
#include "http_internal.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"

#include <apr_strings.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SWEEP_AGE_SECONDS 3600
#define PREFIX "up-"

static const char *spool_dir(const px_app *app, apr_pool_t *pool)
{
    const char *state = px_set_str(app->settings, PX_S_STATE_DIR);
    return apr_pstrcat(pool, state ? state : ".", "/spool", NULL);
}

static apr_status_t remove_file(void *path)
{
    unlink(path);
    return APR_SUCCESS;
}

static int open_new(const char *path)
{
    return open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

px_err *px_spool_create(px_req *req, const char **path, int *fd)
{
    const char *dir = spool_dir(req->app, req->pool);
    *path = apr_pstrcat(req->pool, dir, "/" PREFIX, px_token(req->pool, 18), NULL);
    *fd = open_new(*path);
    if (*fd < 0 && errno == ENOENT && (mkdir(dir, 0700) == 0 || errno == EEXIST)) {
        *fd = open_new(*path);
    }
    if (*fd < 0) {
        return px_error(req->pool, PX_E_UNAVAILABLE, "PXS4030", "no spool file in %s: %s", dir,
                        strerror(errno));
    }
    apr_pool_cleanup_register(req->pool, *path, remove_file, apr_pool_cleanup_null);
    return NULL;
}

void px_spool_sweep(const px_app *app, apr_pool_t *pool)
{
    const char *name = spool_dir(app, pool);
    DIR *dir = opendir(name);
    time_t old = time(NULL) - SWEEP_AGE_SECONDS;
    struct dirent *entry;
    struct stat st;
    int removed = 0;
    if (!dir) {
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0 &&
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode) && st.st_mtime < old &&
            unlinkat(dirfd(dir), entry->d_name, 0) == 0) {
            removed++;
        }
    }
    closedir(dir);
    if (removed > 0) {
        px_log(PX_LOG_NOTICE, "PXS4032", "%d spool files of crashed requests were removed",
               removed);
    }
}
