/* The conformance kit's inside: recorded cases and their player.  Runs in a forked child that may
 * crash; everything lives in pools that end with it. */
#ifndef PX_PLUGIN_CONFORM_H
#define PX_PLUGIN_CONFORM_H

#include "plugin_internal.h"
#include "base/json.h"

#include <apr_tables.h>

/* Longest time for a case or the lifecycle check; tests shorten it. */
extern int px_conform_limit_ms;

/* ---- conform_fields.c: structures of the SDK by member name ---- */

typedef enum { PX_FIELD_TEXT, PX_FIELD_I64, PX_FIELD_U64, PX_FIELD_U32 } px_field_type;

typedef struct {
    const char *name;
    size_t offset;
    px_field_type type;
} px_field;

/* Scalar members of the request and result of a kind (of parse_event: webhook and event). */
const px_field *px_conform_request_fields(pxs_kind kind, bool webhook, int *count);
const px_field *px_conform_result_fields(pxs_kind kind, bool webhook, int *count);
/* Fills members from JSON; NULL or a sentence about an unknown or ill-typed one.  `special` names
 * members that the caller handles itself, separated by spaces. */
const char *px_conform_fill(apr_pool_t *pool, void *target, const px_field *fields, int count,
                            json_object *from, const char *special);
/* Compares members with JSON; NULL or a sentence. */
const char *px_conform_compare(apr_pool_t *pool, const void *have, const px_field *fields,
                               int count,
                               json_object *want, const char *special);

/* ---- conform_case.c ---- */

typedef struct {
    const char *name;               /* file name, or "built-in case" */
    const px_plugin_info *info;
    json_object *json;
    const px_verb *verb;
    bool webhook;
    bool recorded;                  /* false: any exchange is answered, nothing is expected */
    void *request, *result;         /* of the verb's types */
    size_t result_size;
    json_object *exchanges;         /* array or NULL */
    int exchange_count;
    int64_t now_usec;
} px_case;

/* NULL or a sentence. */
const char *px_case_load(apr_pool_t *pool, const px_plugin_info *info, const char *path,
                         px_case **out);
/* A made-up case for plugins that come without. */
const char *px_case_make(apr_pool_t *pool, const px_plugin_info *info, px_case **out);
/* Option values in pages of their own, so that a stale pointer is noticed; *size for munmap. */
const char *px_case_values(apr_pool_t *pool, const px_plugin_info *info, const px_case *c,
                           pxs_value **values, void **pages, size_t *size);
/* Decoded "name" or "name_base64" member; NULL when absent or malformed.  Objects and arrays are
 * written as JSON. */
const char *px_case_bytes(apr_pool_t *pool, json_object *from, const char *name, size_t *len);

/* ---- conform_play.c ---- */

/* What happens to the reply of one exchange. */
typedef struct {
    int exchange;                   /* -1 = nothing */
    const char *what;               /* for the report */
    int status;                     /* 0 = as recorded */
    uint32_t failure;               /* with status -1: no reply */
    const char *body;               /* NULL = the recorded one … */
    size_t body_len;                /* … cut to this many bytes */
} px_mutation;

/* Runs the case once. NULL, or a sentence. With a mutation only sanity is asked for. */
const char *px_case_play(apr_pool_t *pool, const px_case *c, const void *ops, void *instance,
                         const px_mutation *mutation);
/* The recorded body's length of exchange i. */
size_t px_case_reply_len(apr_pool_t *pool, const px_case *c, int i);

#endif
