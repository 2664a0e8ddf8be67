/* Errors: one type for the whole product, made from the one table error.def.
 *
 * A function that can fail returns `px_err *`; NULL means success.  An error is allocated in the
 * pool given to it and lives as long; nobody frees it.  Any thread; no I/O (logging an error is the
 * host's business: it has `cause` and `log_id`). */
#ifndef PX_BASE_ERROR_H
#define PX_BASE_ERROR_H

#include <apr_pools.h>
#include <stdarg.h>

typedef enum {
#define PX_ERR(id, code, v1_code, status, v1_status, category, retry, text) PX_E_##id,
#include "error.def"
#undef PX_ERR
    PX_E_COUNT
} px_err_id;

typedef enum { PX_RETRY_NEVER, PX_RETRY_LATER, PX_RETRY_AUTH, PX_RETRY_PAY } px_retry;

/* One row of error.def; static storage. */
typedef struct {
    px_err_id id;
    const char *name;       /* "AUTH_REQUIRED": the row's id as text */
    const char *code;       /* wire code, pixshift dialect */
    const char *v1_code;    /* wire code, trailroom and openai dialects */
    int status;             /* HTTP status, pixshift dialect */
    int v1_status;
    const char *category;
    px_retry retry;
    const char *text;       /* safe text */
} px_err_row;

/* One member of the reply's `details` object. Keys are snake_case; a NULL `text` means `number`. */
typedef struct px_err_detail {
    const char *key;
    const char *text;
    long long number;
    struct px_err_detail *next;
} px_err_detail;

typedef struct px_err {
    px_err_id id;
    const char *text;        /* safe text for the client: the row's, or a more exact sentence */
    const char *cause;       /* private: for the log only; never in a reply; may be NULL */
    const char *log_id;      /* "PXSnnnn" under which the host logs the cause; may be NULL */
    int retry_after;         /* seconds; 0 = no Retry-After header */
    px_err_detail *details;  /* in order of adding */
    apr_pool_t *pool;
} px_err;

/* The row of an id. Never NULL. */
const px_err_row *px_err_info(px_err_id id);

/* A new error with the row's safe text. `log_id` and `cause_fmt` may be NULL: then nothing beyond
 * the access log is logged (ordinary client mistakes). */
px_err *px_error(apr_pool_t *pool, px_err_id id, const char *log_id, const char *cause_fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* A new error whose client text is `text_fmt` (a full sentence, nothing private). */
px_err *px_error_say(apr_pool_t *pool, px_err_id id, const char *text_fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A VALIDATION error that names the offending field: details {field, reason}. */
px_err *px_error_field(apr_pool_t *pool, const char *field, const char *reason_fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds a member to the reply's details; returns `err` for chaining. Strings are copied. */
px_err *px_err_with(px_err *err, const char *key, const char *text);
px_err *px_err_with_number(px_err *err, const char *key, long long number);

#endif
