#include "array_text.h"

#include <apr_strings.h>

px_buf *px_array_make(apr_pool_t *pool, int count)
{
    return px_buf_make(pool, (size_t)count * 40 + 4);
}

static void separate(px_buf *array)
{
    px_buf_add(array, array->len ? "," : "{", 1);
}

void px_array_text(px_buf *array, const char *text)
{
    separate(array);
    if (!text) {
        px_buf_puts(array, "NULL");
        return;
    }
    px_buf_add(array, "\"", 1);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            px_buf_add(array, "\\", 1);
        }
        px_buf_add(array, text, 1);
    }
    px_buf_add(array, "\"", 1);
}

void px_array_int(px_buf *array, int64_t number)
{
    char text[24];
    apr_snprintf(text, sizeof(text), "%" APR_INT64_T_FMT, (apr_int64_t)number);
    separate(array);
    px_buf_puts(array, text);
}

void px_array_bool(px_buf *array, bool value)
{
    separate(array);
    px_buf_add(array, value ? "t" : "f", 1);
}

const char *px_array_end(px_buf *array)
{
    px_buf_puts(array, array->len ? "}" : "{}");
    return array->data;
}
