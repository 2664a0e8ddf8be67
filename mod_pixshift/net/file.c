/* The file: transport for storage and message plugins: objects below one root, written atomically.
 * Every folder on the way is opened by itself with O_NOFOLLOW, so neither ".." nor a symbolic link
 * leads out of the root, not even one that is made while we look. */
#include "net_internal.h"
#include "base/buf.h"
#include "base/crypto.h"
#include "base/id.h"
#include "base/log.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES 65536
#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)

typedef struct {
    const char *path;       /* absolute, decoded */
    char *below;            /* the part below the root, cut up while walking */
    const char *name;       /* last component */
    bool sync;
    int folder;             /* the opened folder of the object, -1 = none */
} target;

bool px_file_is(const char *url)
{
    return strncasecmp(url, "file:", 5) == 0;
}

static const char *exchange_header(const pxs_exchange *exchange, const char *name)
{
    for (uint32_t i = 0; i < exchange->header_count; i++) {
        if (strcasecmp(exchange->headers[i].name, name) == 0) {
            return exchange->headers[i].value;
        }
    }
    return NULL;
}

/* The root without trailing slashes must be a whole-component prefix of the path. */
static px_err *locate(px_transfer *t, target *where)
{
    const char *root = t->options.file_root;
    const char *url = t->exchange->url;
    const char *path = strncasecmp(url, "file:///", 8) == 0
                           ? px_url_decode(t->pool, url + 7, strlen(url + 7), false) : NULL;
    size_t len = root ? strlen(root) : 0;

    while (len > 1 && root[len - 1] == '/') {
        len--;
    }
    if (!path || !root || root[0] != '/' || strncmp(path, root, len) != 0
        || (len > 1 && path[len] != '/')) {
        return px_error(t->pool, PX_E_INTERNAL, "PXS3004",
                        root ? "a file: URL leads out of the allowed folder"
                             : "a file: URL is not allowed here");
    }
    where->path = path;
    where->below = apr_pstrdup(t->pool, path + (len > 1 ? len + 1 : 1));
    where->folder = -1;
    where->sync = true;
    if (exchange_header(t->exchange, "x-fsync")) {
        where->sync = strcasecmp(exchange_header(t->exchange, "x-fsync"), "off") != 0;
    }
    return NULL;
}

static bool component_fine(const char *name)
{
    return name[0] && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strlen(name) <= 255;
}

/* Opens `name` below `folder` (which is closed), making it when asked. */
static int descend(int folder, const char *name, bool make, bool sync)
{
    int next = openat(folder, name, FOLDER_FLAGS);

    if (next < 0 && errno == ENOENT && make) {
        if (mkdirat(folder, name, 0750) == 0 && sync) {
            fsync(folder);
        }
        next = openat(folder, name, FOLDER_FLAGS);
    }
    int saved = errno;
    close(folder);
    errno = saved;
    return next;
}

/* Opens the object's folder. 0, or -1 with errno; EINVAL for a bad component. */
static int open_folder(const px_transfer *t, target *where, bool make)
{
    int folder = open(t->options.file_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *rest = where->below;
    char *slash;

    while (folder >= 0 && (slash = strchr(rest, '/')) != NULL) {
        *slash = '\0';
        if (!component_fine(rest)) {
            close(folder);
            errno = EINVAL;
            return -1;
        }
        folder = descend(folder, rest, make, where->sync);
        rest = slash + 1;
    }
    if (folder < 0) {
        return -1;
    }
    if (!component_fine(rest)) {
        close(folder);
        errno = EINVAL;
        return -1;
    }
    where->name = rest;
    where->folder = folder;
    return 0;
}

/* ENOTDIR and ELOOP: a file or link where a folder should be; there is no such object. */
static bool is_absent(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

static void answer(px_transfer *t, int status)
{
    t->reply.pub.status = status;
    t->reply.temporary = true;
    px_sink_finish(&t->sink, &t->reply.pub);
}

static void fail_errno(px_transfer *t, const target *where, const char *what, int error)
{
    if (is_absent(error) && strcmp(what, "write") != 0) {
        t->sink.to_file = false;
        answer(t, 404);
        return;
    }
    px_log(PX_LOG_ERROR, "PXS3012", "%s: cannot %s %s: %s",
           t->options.name ? t->options.name : "file", what, where->path, strerror(error));
    t->reply.pub.status = 0;
    t->reply.pub.failure = error == EINVAL ? PXS_FAIL_BAD_REQUEST : PXS_FAIL_UNAVAILABLE;
}

/* ---- PUT ---- */

static bool write_fd(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return false;
        }
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static bool copy_body(px_transfer *t, int fd)
{
    char *buffer = apr_palloc(t->pool, COPY_BYTES);
    ssize_t n;

    while ((n = px_body_read(&t->body, buffer, COPY_BYTES)) > 0) {
        if (!write_fd(fd, buffer, (size_t)n)) {
            return false;
        }
    }
    if (n < 0) {
        errno = EIO;
    }
    return n == 0;
}

/* A file without a name vanishes with a process that dies while writing it. File systems that have none
 * of these (*named is set) get a temporary name. */
static int open_temporary(const target *where, const char *name, bool *named)
{
    int fd = openat(where->folder, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0640);

    *named = fd < 0;
    if (*named) {
        fd = openat(where->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
    }
    return fd;
}

/* Gives the finished file its name; replaces an object of that name in one step. */
static bool place(const target *where, int fd, const char *temp, bool *named)
{
    char self[40];

    if (!*named) {
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        if (linkat(AT_FDCWD, self, where->folder, where->name, AT_SYMLINK_FOLLOW) == 0) {
            return true;
        }
        if (errno != EEXIST || linkat(AT_FDCWD, self, where->folder, temp, AT_SYMLINK_FOLLOW) != 0) {
            return false;
        }
        *named = true;
    }
    if (renameat(where->folder, temp, where->folder, where->name) != 0) {
        return false;
    }
    *named = false;
    return true;
}

/* A temporary file in the same folder, flushed, then named: readers see the old object or the new
 * one, also after a power cut. */
static bool write_object(px_transfer *t, const target *where)
{
    const char *temp = apr_pstrcat(t->pool, ".px-", px_token(t->pool, 12), ".tmp", NULL);
    bool named;
    int fd = open_temporary(where, temp, &named);
    bool fine;

    if (fd < 0) {
        return false;
    }
    fine = copy_body(t, fd) && (!where->sync || fsync(fd) == 0) && place(where, fd, temp, &named);
    if (named) {
        int saved = errno;
        unlinkat(where->folder, temp, 0);
        errno = saved;
    }
    fine = close(fd) == 0 && fine;
    return fine && (!where->sync || fsync(where->folder) == 0);
}

static px_err *put(px_transfer *t, target *where)
{
    px_err *err = px_body_init(t->pool, &t->body, t->exchange->pieces, t->exchange->piece_count);

    if (err) {
        return err;
    }
    if (open_folder(t, where, true) != 0 || !write_object(t, where)) {
        fail_errno(t, where, "write", errno);
    } else {
        t->sink.to_file = false;
        answer(t, 201);
    }
    px_body_rewind(&t->body);
    return NULL;
}

/* ---- GET, HEAD, DELETE ---- */

static void add_length(px_transfer *t, uint64_t len)
{
    pxs_header *header = apr_array_push(t->sink.headers);

    header->name = "content-length";
    header->value = apr_psprintf(t->pool, "%" APR_UINT64_T_FMT, (apr_uint64_t)len);
    header->secret = 0;
}

/* "bytes=first-last" of an object; false when there is no such header or it asks for something
 * else. */
static bool wanted_range(const px_transfer *t, uint64_t size, uint64_t *first, uint64_t *last)
{
    const char *value = exchange_header(t->exchange, "range");
    unsigned long long from;
    unsigned long long to = size ? size - 1 : 0;
    char tail;

    if (!value || size == 0
        || (sscanf(value, "bytes=%20llu-%20llu%c", &from, &to, &tail) != 2
            && sscanf(value, "bytes=%20llu-%c", &from, &tail) != 1)
        || from > to || from >= size) {
        return false;
    }
    *first = from;
    *last = to < size ? to : size - 1;
    return true;
}

static bool deliver(px_transfer *t, const char *data, size_t len)
{
    if (!t->exchange->on_data) {
        return px_sink_write(&t->sink, data, len);
    }
    t->sink.streamed = true;
    t->sink.len += len;
    return t->exchange->on_data(t->options.call, data, len) == 0;
}

/* Small objects are copied to memory; large ones are asked for with reply_to_file. */
static void send_content(px_transfer *t, const target *where, int fd, uint64_t size)
{
    char *buffer = apr_palloc(t->pool, COPY_BYTES);
    uint64_t at = 0;
    uint64_t last = size ? size - 1 : 0;
    bool part = wanted_range(t, size, &at, &last);

    add_length(t, part ? last - at + 1 : size);
    while (size > 0 && at <= last) {
        size_t want = last - at + 1 < COPY_BYTES ? (size_t)(last - at + 1) : COPY_BYTES;
        ssize_t n = pread(fd, buffer, want, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            fail_errno(t, where, "read", n < 0 ? errno : EIO);
            return;
        }
        if (!deliver(t, buffer, (size_t)n)) {
            break;
        }
        at += (uint64_t)n;
    }
    if (t->sink.too_large || t->sink.write_failed) {
        t->reply.pub.failure = t->sink.too_large ? PXS_FAIL_MALFORMED : PXS_FAIL_UNAVAILABLE;
        return;
    }
    answer(t, part ? 206 : 200);
}

static void get(px_transfer *t, target *where)
{
    struct stat st;
    int fd = -1;

    if (open_folder(t, where, false) == 0) {
        fd = openat(where->folder, where->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    }
    if (fd < 0 || fstat(fd, &st) != 0) {
        fail_errno(t, where, "read", errno);
    } else if (!S_ISREG(st.st_mode)) {
        fail_errno(t, where, "read", ENOENT);
    } else if (t->exchange->reply_to_file) {
        t->sink.to_file = false;
        add_length(t, (uint64_t)st.st_size);
        answer(t, 200);
        t->reply.pub.body = NULL;
        t->reply.pub.body_len = (uint64_t)st.st_size;
        t->reply.pub.path = where->path;
        t->reply.temporary = false;
    } else {
        send_content(t, where, fd, (uint64_t)st.st_size);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void head(px_transfer *t, target *where)
{
    struct stat st;

    if (open_folder(t, where, false) != 0
        || fstatat(where->folder, where->name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        fail_errno(t, where, "look at", errno);
    } else if (!S_ISREG(st.st_mode)) {
        fail_errno(t, where, "look at", ENOENT);
    } else {
        add_length(t, (uint64_t)st.st_size);
        answer(t, 200);
    }
}

static void delete_object(px_transfer *t, target *where)
{
    if (open_folder(t, where, false) != 0 || unlinkat(where->folder, where->name, 0) != 0) {
        fail_errno(t, where, "delete", errno);
        return;
    }
    if (where->sync) {
        fsync(where->folder);
    }
    answer(t, 204);
}

px_err *px_file_perform(px_transfer *t)
{
    const char *method = t->exchange->method;
    target where = { 0 };
    px_err *err = locate(t, &where);

    if (err) {
        return err;
    }
    if (strcmp(method, "PUT") == 0) {
        err = put(t, &where);
    } else if (strcmp(method, "GET") == 0) {
        get(t, &where);
    } else if (strcmp(method, "HEAD") == 0) {
        head(t, &where);
    } else if (strcmp(method, "DELETE") == 0) {
        delete_object(t, &where);
    } else {
        t->reply.pub.status = 405;
        t->reply.pub.body = "";
    }
    if (where.folder >= 0) {
        close(where.folder);
    }
    return err;
}
