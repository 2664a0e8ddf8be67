/* Taking images in: structural scan, row, object, row again – in this order, so that a crash at any line
 * leaves nothing that nobody knows (crash matrix 2). No decoder runs here. */
#include "studio.h"

#include "base/crypto.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "cache/cache.h"
#include "config/settings.h"
#include "plugin/plugin.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static px_err *scan(px_req *req, const void *data, size_t len, px_scan_result *found)
{
    const px_settings *s = req->app->settings;
    px_scan_limits limits = {.min_side = (uint32_t)px_set_int(s, PX_S_MIN_SIDE),
                             .max_side = (uint32_t)px_set_int(s, PX_S_MAX_SIDE),
                             .max_pixels = (uint64_t)px_set_int(s, PX_S_MAX_PIXELS),
                             .max_bytes = (size_t)px_set_int(s, PX_S_MAX_UPLOAD)};
    px_err *err = px_image_scan(req->pool, data, len, &limits, found);
    if (err)
        px_count(req->app->cache, PX_C_IMAGES_REFUSED, 1);
    return err;
}

static px_err *scan_file(px_req *req, const char *path, uint64_t len, px_scan_result *found)
{
    if (len == 0)
        return scan(req, "", 0, found);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return px_error(req->pool, PX_E_INTERNAL, "PXS6101", "%s cannot be opened: %s", path,
                        strerror(errno));
    void *data = mmap(NULL, (size_t)len, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (data == MAP_FAILED)
        return px_error(req->pool, PX_E_INTERNAL, "PXS6101", "%s cannot be mapped: %s", path,
                        strerror(errno));
    px_err *err = scan(req, data, (size_t)len, found);
    munmap(data, (size_t)len);
    return err;
}

px_err *px_intake_file(px_req *req, const char *path, uint64_t len, const char *sha256,
                       const char *retention, px_image **out)
{
    px_scan_result found;
    px_err *err = scan_file(req, path, len, &found);
    if (err)
        return err;
    px_image *image = apr_pcalloc(req->pool, sizeof(*image));
    image->id = px_uuid7(req->pool);
    image->user_id = req->who->user_id;
    image->kind = "upload";
    image->mime = found.mime;
    image->width = found.width;
    image->height = found.height;
    image->bytes = (int64_t)len;
    image->sha256 = sha256;
    image->retention = retention;
    image->state = "ready";
    image->key = apr_pstrcat(req->pool, "uploads/", image->user_id, "/", image->id, ".",
                             strcmp(found.extension, "jpeg") == 0 ? "jpg" : found.extension, NULL);
    if (!sha256)
        return px_error(req->pool, PX_E_INTERNAL, "PXS6104", "an upload came without its digest");
    err = px_image_insert(req->app->db, req->pool, image,
                          strcmp(retention, "persistent") == 0
                              ? 0 : px_set_int(req->app->settings, PX_S_UPLOAD_LIFETIME));
    if (!err)
        err = px_storage_put_file(req->app, req->net, req->pool, image->key, image->mime, path, len);
    if (!err && px_failpoint("cm02_upload_stored"))
        err = px_error(req->pool, PX_E_UNAVAILABLE, NULL, NULL);
    if (!err)
        err = px_image_ready(req->app->db, req->pool, image->id);
    *out = image;
    return err;
}

/* The bytes of a JSON body go through a file as well: storage streams files. */
px_err *px_intake_bytes(px_req *req, const void *data, size_t len, const char *retention,
                        px_image **out)
{
    int fd = memfd_create("intake", MFD_CLOEXEC);
    if (fd < 0)
        return px_error(req->pool, PX_E_INTERNAL, "PXS6102", "no memory file: %s", strerror(errno));
    size_t done = 0;
    while (done < len) {
        ssize_t put = write(fd, (const char *)data + done, len - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            close(fd);
            return px_error(req->pool, PX_E_INTERNAL, "PXS6102", "a memory file cannot be written: %s",
                            strerror(errno));
        }
        done += (size_t)put;
    }
    px_err *err = px_intake_file(req, apr_psprintf(req->pool, "/proc/self/fd/%d", fd), len,
                                 px_sha256_hex(req->pool, data, len), retention, out);
    close(fd);
    return err;
}
