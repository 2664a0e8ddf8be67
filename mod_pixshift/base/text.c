/* String helpers: UTF-8, numbers with units, URL and HTML spelling. */
#include "buf.h"

#include <apr_cstr.h>
#include <apr_strings.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

/* Length of the UTF-8 sequence at `s`, 0 when it is not well formed (RFC 3629 table). */
static size_t sequence_length(const unsigned char *s, size_t left)
{
    unsigned char lo = 0x80;
    unsigned char hi = 0xbf;
    size_t need;
    if (s[0] < 0x80) {
        return 1;
    }
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        need = 2;
    } else if (s[0] >= 0xe0 && s[0] <= 0xef) {
        need = 3;
        lo = s[0] == 0xe0 ? 0xa0 : 0x80;    /* no overlong forms */
        hi = s[0] == 0xed ? 0x9f : 0xbf;    /* no surrogates */
    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        need = 4;
        lo = s[0] == 0xf0 ? 0x90 : 0x80;
        hi = s[0] == 0xf4 ? 0x8f : 0xbf;    /* nothing above U+10FFFF */
    } else {
        return 0;
    }
    if (left < need || s[1] < lo || s[1] > hi) {
        return 0;
    }
    for (size_t i = 2; i < need; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return need;
}

bool px_utf8_valid(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t at = 0;
    while (at < len) {
        size_t step;
        uint64_t word;
        if (len - at >= 8) {
            /* Eight ASCII bytes at once; the second term finds zero bytes. */
            memcpy(&word, s + at, 8);
            if (((word | (word - 0x0101010101010101u)) & 0x8080808080808080u) == 0) {
                at += 8;
                continue;
            }
        }
        if (s[at] == 0 || (step = sequence_length(s + at, len - at)) == 0) {
            return false;
        }
        at += step;
    }
    return true;
}

size_t px_utf8_length(const char *text, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++) {
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return count;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

const char *px_trim(apr_pool_t *pool, const char *text)
{
    size_t len;
    while (is_space(*text)) {
        text++;
    }
    len = strlen(text);
    while (len > 0 && is_space(text[len - 1])) {
        len--;
    }
    return apr_pstrmemdup(pool, text, len);
}

/* Reads decimal digits at *text into *out (negative numbers keep LLONG_MIN reachable). */
static bool read_digits(const char **text, bool negative, long long *out)
{
    const char *s = *text;
    long long value = 0;
    if (*s < '0' || *s > '9') {
        return false;
    }
    for (; *s >= '0' && *s <= '9'; s++) {
        int digit = *s - '0';
        if (__builtin_mul_overflow(value, 10LL, &value)
            || __builtin_add_overflow(value, negative ? -digit : digit, &value)) {
            return false;
        }
    }
    *text = s;
    *out = value;
    return true;
}

bool px_parse_int(const char *text, long long min, long long max, long long *out)
{
    bool negative;
    long long value;
    if (!text) {
        return false;
    }
    negative = *text == '-';
    text += negative;
    if (!read_digits(&text, negative, &value) || *text || value < min || value > max) {
        return false;
    }
    *out = value;
    return true;
}

/* Whole number, unit from `units` (name/factor pairs, ended by NULL), nothing behind. */
typedef struct {
    const char *name;
    long long factor;
} unit;

static bool parse_with_unit(const char *text, const unit *units, long long *out)
{
    long long value;
    if (!text || !read_digits(&text, false, &value)) {
        return false;
    }
    for (; units->name; units++) {
        if (apr_cstr_casecmp(text, units->name) == 0) {
            return !__builtin_mul_overflow(value, units->factor, out);
        }
    }
    return false;
}

bool px_parse_duration_ms(const char *text, long long *ms)
{
    static const unit units[] = {
        {"", 1000}, {"ms", 1}, {"s", 1000}, {"min", 60000}, {"m", 60000},
        {"h", 3600000}, {"d", 86400000}, {"w", 604800000}, {NULL, 0},
    };
    return parse_with_unit(text, units, ms);
}

bool px_parse_size(const char *text, long long *bytes)
{
    static const unit units[] = {
        {"", 1}, {"B", 1}, {"K", 1LL << 10}, {"KB", 1LL << 10}, {"M", 1LL << 20},
        {"MB", 1LL << 20}, {"G", 1LL << 30}, {"GB", 1LL << 30}, {NULL, 0},
    };
    return parse_with_unit(text, units, bytes);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

const char *px_url_decode(apr_pool_t *pool, const char *text, size_t len, bool plus)
{
    char *out = apr_palloc(pool, len + 1);
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '%') {
            int hi = i + 2 < len ? hex_value(text[i + 1]) : -1;
            int lo = i + 2 < len ? hex_value(text[i + 2]) : -1;
            if (hi < 0 || lo < 0) {
                return NULL;
            }
            c = (char)(hi * 16 + lo);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        out[used++] = c;
    }
    out[used] = '\0';
    return px_utf8_valid(out, used) ? out : NULL;
}

const char *px_url_encode(apr_pool_t *pool, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    char *out = apr_palloc(pool, strlen(text) * 3 + 1);
    char *at = out;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
            || c == '-' || c == '.' || c == '_' || c == '~';    /* RFC 3986 unreserved */
        if (plain) {
            *at++ = (char)c;
        } else {
            *at++ = '%';
            *at++ = hex[c >> 4];
            *at++ = hex[c & 15];
        }
    }
    *at = '\0';
    return out;
}

const char *px_camel(apr_pool_t *pool, const char *snake)
{
    char *out = apr_palloc(pool, strlen(snake) + 1);
    char *at = out;
    for (; *snake; snake++) {
        bool joins = *snake == '_' && at != out;    /* a leading underscore stays */
        if (joins && snake[1] >= 'a' && snake[1] <= 'z') {
            *at++ = (char)(*++snake - 'a' + 'A');
        } else if (joins && snake[1] >= '0' && snake[1] <= '9') {
            *at++ = *++snake;
        } else {
            *at++ = *snake;
        }
    }
    *at = '\0';
    return out;
}

const char *px_html_escape(apr_pool_t *pool, const char *text)
{
    px_buf *buf = px_buf_make(pool, strlen(text) + 32);
    for (; *text; text++) {
        switch (*text) {
        case '&': px_buf_puts(buf, "&amp;"); break;
        case '<': px_buf_puts(buf, "&lt;"); break;
        case '>': px_buf_puts(buf, "&gt;"); break;
        case '"': px_buf_puts(buf, "&quot;"); break;
        case '\'': px_buf_puts(buf, "&#39;"); break;
        default: px_buf_add(buf, text, 1);
        }
    }
    return buf->data;
}
