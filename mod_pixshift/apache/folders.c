/* PixShiftStateDir and its spool folder: made at start, as root, for the user that serves
 * requests. */
#include "host.h"

#include <apr_strings.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unixd.h>

/* Only a folder that was just made changes its owner: an admin's own choice stays. */
static const char *make_folder(apr_pool_t *pool, const char *path)
{
    struct stat st;
    if (mkdir(path, 0700) == 0) {
        if (geteuid() == 0
            && lchown(path, ap_unixd_config.user_id, ap_unixd_config.group_id) != 0) {
            return apr_psprintf(pool, "%s cannot be given to the service's user: %s", path,
                                strerror(errno));
        }
        return NULL;
    }
    if (errno != EEXIST) {
        return apr_psprintf(pool, "%s cannot be made: %s", path, strerror(errno));
    }
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode)
               ? NULL : apr_psprintf(pool, "%s is not a folder", path);
}

const char *px_folders_make(apr_pool_t *pool, const px_settings *settings)
{
    const char *state = px_set_str(settings, PX_S_STATE_DIR);
    const char *fault = make_folder(pool, state);
    return fault ? fault : make_folder(pool, apr_pstrcat(pool, state, "/spool", NULL));
}
