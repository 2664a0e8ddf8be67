/* JSON out: straight into a buffer, always well-formed UTF-8. */
#include "json.h"

#include "clock.h"
#include <inttypes.h>
#include <string.h>

px_jw *px_jw_make(apr_pool_t *pool, px_spelling spelling)
{
    px_jw *w = apr_pcalloc(pool, sizeof(*w));
    w->buf = px_buf_make(pool, 512);
    w->spelling = spelling;
    return w;
}

/* The escape of an ASCII byte, or NULL when it stands for itself. */
static const char *escape_of(unsigned char c, char hex[8])
{
    static const char digits[] = "0123456789abcdef";
    switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\b': return "\\b";
    case '\f': return "\\f";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: break;
    }
    if (c >= 0x20 && c != 0x7f) {
        return NULL;
    }
    memcpy(hex, "\\u00", 4);
    hex[4] = digits[c >> 4];
    hex[5] = digits[c & 15];
    hex[6] = '\0';
    return hex;
}

/* Bytes of the sequence at `s` when it is well-formed UTF-8, else 0. */
static size_t sequence_here(const char *s, size_t left)
{
    for (size_t n = 1; n <= 4 && n <= left; n++) {
        if (px_utf8_valid(s, n)) {
            return n;
        }
    }
    return 0;
}

static void write_string(px_buf *buf, const char *text, size_t len)
{
    size_t plain = 0;       /* start of the bytes not yet copied */
    size_t at = 0;
    px_buf_add(buf, "\"", 1);
    while (at < len) {
        unsigned char c = (unsigned char)text[at];
        char hex[8];
        const char *escape;
        size_t size = 1;
        if (c < 0x80) {
            escape = escape_of(c, hex);
        } else {
            size = sequence_here(text + at, len - at);
            escape = size ? NULL : "\xef\xbf\xbd";      /* a broken byte becomes U+FFFD */
            size = size ? size : 1;
        }
        if (escape) {
            px_buf_add(buf, text + plain, at - plain);
            px_buf_puts(buf, escape);
            plain = at + size;
        }
        at += size;
    }
    px_buf_add(buf, text + plain, len - plain);
    px_buf_add(buf, "\"", 1);
}

static void begin(px_jw *w, const char *key)
{
    if (w->need_comma) {
        px_buf_add(w->buf, ",", 1);
    }
    w->need_comma = true;
    if (key) {
        const char *spelled = w->spelling == PX_SPELL_CAMEL ? px_camel(w->buf->pool, key) : key;
        write_string(w->buf, spelled, strlen(spelled));
        px_buf_add(w->buf, ":", 1);
    }
}

static void open_with(px_jw *w, const char *key, const char *bracket)
{
    begin(w, key);
    px_buf_add(w->buf, bracket, 1);
    w->need_comma = false;
}

static void close_with(px_jw *w, const char *bracket)
{
    px_buf_add(w->buf, bracket, 1);
    w->need_comma = true;
}

void px_jw_object(px_jw *w, const char *key)
{
    open_with(w, key, "{");
}

void px_jw_end_object(px_jw *w)
{
    close_with(w, "}");
}

void px_jw_array(px_jw *w, const char *key)
{
    open_with(w, key, "[");
}

void px_jw_end_array(px_jw *w)
{
    close_with(w, "]");
}

void px_jw_str(px_jw *w, const char *key, const char *value)
{
    if (value) {
        px_jw_strn(w, key, value, strlen(value));
    } else {
        px_jw_null(w, key);
    }
}

void px_jw_strn(px_jw *w, const char *key, const char *value, size_t len)
{
    begin(w, key);
    write_string(w->buf, value, len);
}

void px_jw_int(px_jw *w, const char *key, int64_t value)
{
    begin(w, key);
    px_buf_printf(w->buf, "%" PRId64, value);
}

void px_jw_bool(px_jw *w, const char *key, bool value)
{
    px_jw_raw(w, key, value ? "true" : "false");
}

void px_jw_null(px_jw *w, const char *key)
{
    px_jw_raw(w, key, "null");
}

void px_jw_decimal(px_jw *w, const char *key, const char *decimal)
{
    px_jw_raw(w, key, decimal ? decimal : "null");
}

void px_jw_raw(px_jw *w, const char *key, const char *json)
{
    begin(w, key);
    px_buf_puts(w->buf, json);
}

void px_jw_time(px_jw *w, const char *key, int64_t usec)
{
    px_jw_str(w, key, usec ? px_time_iso(w->buf->pool, usec) : NULL);
}
