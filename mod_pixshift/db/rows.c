/* Rows: a thin view of a PGresult that dies with a pool. */
#include "db_internal.h"

#include "base/buf.h"
#include <stdlib.h>
#include <string.h>

static apr_status_t clear_result(void *data)
{
    PQclear(data);
    return APR_SUCCESS;
}

px_rows *px_rows_wrap(apr_pool_t *pool, PGresult *result)
{
    px_rows *rows = apr_palloc(pool, sizeof *rows);

    rows->result = result;
    rows->pool = pool;
    apr_pool_cleanup_register(pool, result, clear_result, apr_pool_cleanup_null);
    return rows;
}

int px_rows_count(const px_rows *rows)
{
    return PQntuples(rows->result);
}

int px_rows_affected(const px_rows *rows)
{
    long long n = 0;

    px_parse_int(PQcmdTuples(rows->result), 0, INT32_MAX, &n);
    return (int)n;
}

bool px_rows_null(const px_rows *rows, int row, int col)
{
    return PQgetisnull(rows->result, row, col) != 0;
}

const char *px_rows_str(const px_rows *rows, int row, int col)
{
    return px_rows_null(rows, row, col) ? NULL : PQgetvalue(rows->result, row, col);
}

int64_t px_rows_int(const px_rows *rows, int row, int col)
{
    return px_rows_null(rows, row, col) ? 0 : strtoll(PQgetvalue(rows->result, row, col), NULL, 10);
}

bool px_rows_bool(const px_rows *rows, int row, int col)
{
    const char *text = px_rows_str(rows, row, col);

    return text && text[0] == 't';
}

const unsigned char *px_rows_bytes(const px_rows *rows, int row, int col, size_t *len)
{
    const char *text = px_rows_str(rows, row, col);
    unsigned char *raw, *copy;

    *len = 0;
    if (!text) {
        return NULL;
    }
    raw = PQunescapeBytea((const unsigned char *)text, len);
    if (!raw) {
        abort();    /* out of memory: the same end as APR's pools */
    }
    copy = apr_palloc(rows->pool, *len + 1);
    memcpy(copy, raw, *len);
    copy[*len] = '\0';
    PQfreemem(raw);
    return copy;
}
