/* PostgreSQL array literals as statement parameters. */
#ifndef PX_STUDIO_ARRAY_TEXT_H
#define PX_STUDIO_ARRAY_TEXT_H

#include "base/buf.h"
#include <stdint.h>

px_buf *px_array_make(apr_pool_t *pool, int count);
void px_array_text(px_buf *array, const char *text);        /* NULL = SQL NULL */
void px_array_int(px_buf *array, int64_t number);
void px_array_bool(px_buf *array, bool value);
/* Ends it; "{}" when nothing was added. */
const char *px_array_end(px_buf *array);

#endif
