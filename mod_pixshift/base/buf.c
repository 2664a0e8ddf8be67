/* The growing byte buffer. */
#include "buf.h"

#include <apr_strings.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Makes room for `more` bytes and the NUL.  Doubling keeps the bytes that the pool cannot give back
 * below the final size. */
static void reserve(px_buf *buf, size_t more)
{
    size_t want;
    char *grown;
    if (more >= SIZE_MAX / 4 - buf->len) {
        abort();    /* no such request can be honest; same end as memory exhaustion */
    }
    want = buf->len + more + 1;
    if (want <= buf->size) {
        return;
    }
    if (want < buf->size * 2) {
        want = buf->size * 2;
    }
    grown = apr_palloc(buf->pool, want);
    memcpy(grown, buf->data, buf->len + 1);
    buf->data = grown;
    buf->size = want;
}

px_buf *px_buf_make(apr_pool_t *pool, size_t initial_size)
{
    px_buf *buf = apr_pcalloc(pool, sizeof(*buf));
    buf->pool = pool;
    buf->size = initial_size < 64 ? 64 : initial_size;
    buf->data = apr_palloc(pool, buf->size);
    buf->data[0] = '\0';
    return buf;
}

void px_buf_add(px_buf *buf, const void *data, size_t len)
{
    if (len == 0) {
        return;
    }
    reserve(buf, len);
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void px_buf_puts(px_buf *buf, const char *text)
{
    px_buf_add(buf, text, strlen(text));
}

void px_buf_printf(px_buf *buf, const char *fmt, ...)
{
    va_list ap;
    va_list again;
    int need;
    va_start(ap, fmt);
    va_copy(again, ap);
    need = vsnprintf(buf->data + buf->len, buf->size - buf->len, fmt, ap);
    if (need > 0 && (size_t)need >= buf->size - buf->len) {
        buf->data[buf->len] = '\0';
        reserve(buf, (size_t)need);
        need = vsnprintf(buf->data + buf->len, buf->size - buf->len, fmt, again);
    }
    va_end(again);
    va_end(ap);
    if (need > 0) {
        buf->len += (size_t)need;
    }
    buf->data[buf->len] = '\0';
}
