/* The error table and the constructors of px_err. */
#include "error.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>

static const px_err_row rows[PX_E_COUNT] = {
#define PX_ERR(id, code, v1_code, status, v1_status, category, retry, text) \
    {PX_E_##id, #id, code, v1_code, status, v1_status, #category, PX_RETRY_##retry, text},
#include "error.def"
#undef PX_ERR
};

/* C's printf, because APR's knows neither %lld nor %zu. */
static const char *format(apr_pool_t *pool, const char *fmt, va_list ap)
{
    char small[256];
    char *text;
    va_list again;
    int len;
    va_copy(again, ap);
    len = vsnprintf(small, sizeof(small), fmt, ap);
    if (len < 0) {
        text = apr_pstrdup(pool, fmt);
    } else if ((size_t)len < sizeof(small)) {
        text = apr_pstrmemdup(pool, small, (apr_size_t)len);
    } else {
        text = apr_palloc(pool, (apr_size_t)len + 1);
        vsnprintf(text, (size_t)len + 1, fmt, again);
    }
    va_end(again);
    /* Messages of libraries end with a newline. */
    for (size_t end = strlen(text); end > 0 && (text[end - 1] == '\n' || text[end - 1] == ' '); end--) {
        text[end - 1] = '\0';
    }
    return text;
}

static px_err *err_make(apr_pool_t *pool, px_err_id id)
{
    px_err *err = apr_pcalloc(pool, sizeof(*err));
    const px_err_row *row = px_err_info(id);
    err->id = row->id;
    err->text = row->text;
    err->pool = pool;
    return err;
}

static px_err *err_add(px_err *err, const char *key, const char *text, long long number)
{
    px_err_detail *detail = apr_pcalloc(err->pool, sizeof(*detail));
    px_err_detail **tail = &err->details;
    detail->key = apr_pstrdup(err->pool, key);
    detail->text = text ? apr_pstrdup(err->pool, text) : NULL;
    detail->number = number;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = detail;
    return err;
}

const px_err_row *px_err_info(px_err_id id)
{
    /* An id from a bad cast must not read outside the table: it is our own fault. */
    if ((int)id < 0 || id >= PX_E_COUNT) {
        id = PX_E_INTERNAL;
    }
    return &rows[id];
}

px_err *px_error(apr_pool_t *pool, px_err_id id, const char *log_id, const char *cause_fmt, ...)
{
    px_err *err = err_make(pool, id);
    err->log_id = log_id ? apr_pstrdup(pool, log_id) : NULL;
    if (cause_fmt) {
        va_list ap;
        va_start(ap, cause_fmt);
        err->cause = format(pool, cause_fmt, ap);
        va_end(ap);
    }
    return err;
}

px_err *px_error_say(apr_pool_t *pool, px_err_id id, const char *text_fmt, ...)
{
    px_err *err = err_make(pool, id);
    va_list ap;
    va_start(ap, text_fmt);
    err->text = format(pool, text_fmt, ap);
    va_end(ap);
    return err;
}

px_err *px_error_field(apr_pool_t *pool, const char *field, const char *reason_fmt, ...)
{
    px_err *err = err_make(pool, PX_E_VALIDATION);
    const char *reason;
    va_list ap;
    va_start(ap, reason_fmt);
    reason = format(pool, reason_fmt, ap);
    va_end(ap);
    err->text = apr_psprintf(pool, "The field '%s' is not valid: %s", field, reason);
    err_add(err, "field", field, 0);
    return err_add(err, "reason", reason, 0);
}

px_err *px_err_with(px_err *err, const char *key, const char *text)
{
    return err_add(err, key, text ? text : "", 0);
}

px_err *px_err_with_number(px_err *err, const char *key, long long number)
{
    return err_add(err, key, NULL, number);
}
