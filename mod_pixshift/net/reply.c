/* Where replies go: memory, a spool file that is mapped at the end, or a file for the receiver. */
#include "net_internal.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_FIRST 4096u
#define MEMORY_MAX 65536u       /* beyond that a reply is spooled */

void px_sink_init(px_sink *sink, apr_pool_t *pool, const char *spool_dir, uint64_t limit,
                  bool to_file)
{
    memset(sink, 0, sizeof *sink);
    sink->pool = pool;
    sink->spool_dir = spool_dir;
    sink->limit = limit;
    sink->to_file = to_file;
    sink->fd = -1;
    sink->headers = apr_array_make(pool, 16, sizeof(pxs_header));
}

void px_sink_reset(px_sink *sink)
{
    free(sink->memory);
    if (sink->map) {
        munmap(sink->map, sink->map_len);
    }
    if (sink->fd >= 0) {
        close(sink->fd);
    }
    if (sink->path) {
        unlink(sink->path);
    }
    sink->memory = NULL;
    sink->memory_size = 0;
    sink->map = NULL;
    sink->fd = -1;
    sink->path = NULL;
    sink->len = 0;
    sink->too_large = sink->write_failed = sink->cut = false;
    if (sink->headers) {
        apr_array_clear(sink->headers);
    }
    sink->header_bytes = 0;
}

static bool open_spool(px_sink *sink)
{
    const char *dir = sink->spool_dir ? sink->spool_dir : "/tmp";
    char *name;

    if (!sink->to_file) {
        sink->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (sink->fd >= 0) {
            return true;
        }
    }
    name = apr_psprintf(sink->pool, "%s/px-reply-XXXXXX", dir);
    sink->fd = mkostemp(name, O_CLOEXEC);
    if (sink->fd < 0) {
        sink->write_failed = true;
        return false;
    }
    if (sink->to_file) {
        sink->path = name;
    } else {
        unlink(name);
    }
    return true;
}

static bool write_all(px_sink *sink, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(sink->fd, data, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            sink->write_failed = true;
            return false;
        }
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* One byte more than the content always fits: the NUL behind the body. */
static bool grow(px_sink *sink, size_t need)
{
    size_t size = sink->memory_size ? sink->memory_size : MEMORY_FIRST;
    char *bigger;

    while (size < need + 1) {
        size *= 2;
    }
    if (size == sink->memory_size) {
        return true;
    }
    bigger = realloc(sink->memory, size);
    if (!bigger) {
        sink->write_failed = true;
        return false;
    }
    sink->memory = bigger;
    sink->memory_size = size;
    return true;
}

static bool to_memory(px_sink *sink, const void *data, size_t len)
{
    size_t have = (size_t)sink->len;

    if (!grow(sink, have + len)) {
        return false;
    }
    memcpy(sink->memory + have, data, len);
    sink->len += len;
    return true;
}

static bool spill(px_sink *sink)
{
    if (!open_spool(sink) || !write_all(sink, sink->memory, (size_t)sink->len)) {
        return false;
    }
    free(sink->memory);
    sink->memory = NULL;
    sink->memory_size = 0;
    return true;
}

bool px_sink_write(px_sink *sink, const void *data, size_t len)
{
    if (sink->len + len > sink->limit) {
        sink->too_large = true;
        return false;
    }
    if (sink->fd < 0 && sink->to_file && !open_spool(sink)) {
        return false;
    }
    if (sink->fd < 0 && sink->spool_dir && sink->len + len > MEMORY_MAX && !spill(sink)) {
        return false;
    }
    if (sink->fd < 0) {
        return to_memory(sink, data, len);
    }
    if (!write_all(sink, data, len)) {
        return false;
    }
    sink->len += len;
    return true;
}

bool px_sink_header(px_sink *sink, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    pxs_header *header;
    char *name;

    if (len >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {   /* also ends the 1xx before it */
        apr_array_clear(sink->headers);
        sink->header_bytes = 0;
        return true;
    }
    sink->header_bytes += len;
    if (sink->header_bytes > PX_NET_HEADER_BYTES_MAX) {
        return false;
    }
    while (len > 0 && apr_isspace(line[len - 1])) {
        len--;
    }
    if (!colon || colon >= line + len || colon == line) {
        return true;
    }
    header = apr_array_push(sink->headers);
    name = apr_pstrmemdup(sink->pool, line, (apr_size_t)(colon - line));
    for (char *p = name; *p; p++) {
        *p = (char)apr_tolower(*p);
    }
    for (colon++; colon < line + len && (*colon == ' ' || *colon == '\t'); colon++) {
    }
    header->name = name;
    header->value = apr_pstrmemdup(sink->pool, colon, (apr_size_t)(line + len - colon));
    header->secret = strcmp(name, "set-cookie") == 0;
    return true;
}

const char *px_sink_find_header(const px_sink *sink, const char *name)
{
    const pxs_header *header = (const pxs_header *)sink->headers->elts;

    for (int i = 0; i < sink->headers->nelts; i++) {
        if (strcmp(header[i].name, name) == 0) {
            return header[i].value;
        }
    }
    return NULL;
}

/* The byte behind the content is part of the mapping and zero, as for memory. */
static bool map_spool(px_sink *sink)
{
    sink->map_len = (size_t)sink->len + 1;
    if (ftruncate(sink->fd, (off_t)sink->map_len) != 0) {
        return false;
    }
    void *map = mmap(NULL, sink->map_len, PROT_READ, MAP_PRIVATE, sink->fd, 0);
    if (map == MAP_FAILED) {
        return false;
    }
    sink->map = map;
    close(sink->fd);
    sink->fd = -1;
    return true;
}

bool px_sink_finish(px_sink *sink, pxs_reply *reply)
{
    reply->headers = (const pxs_header *)sink->headers->elts;
    reply->header_count = (uint32_t)sink->headers->nelts;
    reply->body_len = sink->len;
    if (sink->streamed) {
        return true;
    }
    if (sink->to_file) {
        if (sink->fd < 0 && !open_spool(sink)) {
            return false;
        }
        close(sink->fd);
        sink->fd = -1;
        reply->path = sink->path;
        sink->path = NULL;              /* handed over */
        return true;
    }
    if (sink->fd >= 0) {
        if (!map_spool(sink)) {
            return false;
        }
        reply->body = sink->map;
        return true;
    }
    if (sink->memory) {
        sink->memory[sink->len] = '\0';
    }
    reply->body = sink->memory ? sink->memory : "";
    return true;
}
