/* The small mail template renderer: {{name}} and nothing else. */
#include "buf.h"

#include <apr_strings.h>
#include <string.h>

const char *px_template_render(apr_pool_t *pool, const char *tmpl, bool html,
                               const char *(*lookup)(void *baton, const char *name), void *baton)
{
    px_buf *out = px_buf_make(pool, strlen(tmpl) * 2);
    for (;;) {
        const char *open = strstr(tmpl, "{{");
        const char *end = open ? strstr(open + 2, "}}") : NULL;
        const char *name;
        const char *value;
        if (!end) {
            px_buf_puts(out, tmpl);    /* an unclosed "{{" is ordinary text */
            return out->data;
        }
        px_buf_add(out, tmpl, (size_t)(open - tmpl));
        name = px_trim(pool, apr_pstrmemdup(pool, open + 2, (size_t)(end - open - 2)));
        value = lookup(baton, name);
        if (value) {
            px_buf_puts(out, html ? px_html_escape(pool, value) : value);
        }
        tmpl = end + 2;
    }
}
