/* A growing byte buffer in an APR pool, and the string helpers that everything shares.
 * Owned by the pool; one thread at a time; never fails (APR aborts on memory exhaustion). */
#ifndef PX_BASE_BUF_H
#define PX_BASE_BUF_H

#include <apr_pools.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct {
    apr_pool_t *pool;
    char *data;      /* always NUL-terminated */
    size_t len;      /* without the NUL */
    size_t size;
} px_buf;

px_buf *px_buf_make(apr_pool_t *pool, size_t initial_size);
void px_buf_add(px_buf *buf, const void *data, size_t len);
void px_buf_puts(px_buf *buf, const char *text);
void px_buf_printf(px_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* True when the bytes are well-formed UTF-8 (no surrogates, no overlong forms, no NUL). */
bool px_utf8_valid(const char *text, size_t len);
/* Number of code points of valid UTF-8. */
size_t px_utf8_length(const char *text, size_t len);
/* Copy without leading and trailing ASCII white space. */
const char *px_trim(apr_pool_t *pool, const char *text);
/* Parses a whole decimal integer in [min,max]; false for anything else (empty, sign only,
 * overflow, trailing bytes). */
bool px_parse_int(const char *text, long long min, long long max, long long *out);
/* "90", "90s", "15min", "2h", "30d", "500ms" -> milliseconds (a bare number is seconds). */
bool px_parse_duration_ms(const char *text, long long *ms);
/* "1048576", "64K", "10M", "1G" -> bytes (binary multiples). */
bool px_parse_size(const char *text, long long *bytes);
/* Percent-decodes a path or query piece; NULL when malformed, NUL inside or not UTF-8. `plus` turns
 * '+' into a space (query strings). */
const char *px_url_decode(apr_pool_t *pool, const char *text, size_t len, bool plus);
const char *px_url_encode(apr_pool_t *pool, const char *text);
/* snake_case -> camelCase ("created_at" -> "createdAt"). */
const char *px_camel(apr_pool_t *pool, const char *snake);
/* HTML-escapes & < > " '. */
const char *px_html_escape(apr_pool_t *pool, const char *text);
/* Fills {{name}} from `lookup`; `html` escapes the values. Unknown names give an empty string.
 * (the small mail template renderer) */
const char *px_template_render(apr_pool_t *pool, const char *tmpl, bool html,
                               const char *(*lookup)(void *baton, const char *name), void *baton);

#endif
