/* JSON in and out.
 *
 * In: px_json_check is a strict, allocation-free RFC 8259 check (json-c alone accepts bad input and
 * loses members when memory is short).  px_json_parse runs it, parses with json-c and
 * compares the tree with the check's counts.  Getters return borrowed pointers that live as long as
 * the pool.  Out: px_jw writes JSON straight into a buffer, spelling keys for the dialect.
 * No I/O; one thread per object. */
#ifndef PX_BASE_JSON_H
#define PX_BASE_JSON_H

#include "buf.h"
#include "error.h"
#include <json-c/json_object.h>
#include <stdint.h>

/* Hard bounds of the check's fixed tables. */
#define PX_JSON_DEPTH_MAX 128       /* max_depth is cut to this */
#define PX_JSON_OPEN_MEMBERS 4096   /* members of all objects open at one point of the text */

typedef struct {
    unsigned max_depth;     /* containers inside each other; default 32 */
    size_t max_values;      /* values of all kinds; default 100 000 */
    size_t max_string;      /* bytes of one raw string; 0 = no limit beyond the text's own */
    bool allow_duplicates;  /* repeated keys pass the check; px_json_parse never lets them */
} px_json_limits;

typedef struct {
    size_t values;          /* every value, containers included */
    size_t members;         /* object members */
    size_t elements;        /* array elements */
    size_t strings;         /* string values (not keys) */
    size_t string_bytes;    /* decoded bytes of all keys and string values */
    size_t nuls;            /* \u0000 escapes: legal, but C and PostgreSQL cannot hold them */
    unsigned depth;         /* deepest nesting seen */
    size_t pairs;           /* escaped surrogate pairs: json-c decodes some of them wrongly */
    size_t error_at;        /* byte offset of the first fault */
} px_json_stats;

/* NULL when `text` is one well-formed JSON text in UTF-8 within the limits: no BOM, no duplicate
 * keys in an object (compared after unescaping; unless allowed), integers within int64, other
 * numbers below 1e308, no lone surrogates; else a static sentence that says what is wrong, with
 * stats->error_at.  No allocation, no recursion, linear time: keys of open objects sit in a fixed
 * hash table, so one text may have at most PX_JSON_OPEN_MEMBERS members open at once.  `limits` and
 * `stats` may be NULL. */
const char *px_json_check(const char *text, size_t len, const px_json_limits *limits,
                          px_json_stats *stats);

/* Check + parse + compare. *out is freed with the pool (a top-level null gives *out NULL).
 * VALIDATION error on bad text, with details {reason, offset}, and on \u0000 anywhere; UNAVAILABLE
 * when the tree lost something (memory). Whole numbers keep int64 exactly. */
px_err *px_json_parse(apr_pool_t *pool, const char *text, size_t len, const px_json_limits *limits,
                      json_object **out);

/* Members of an object; NULL/false/fallback when absent or of another type. */
const char *px_json_str(json_object *obj, const char *key);
json_object *px_json_get(json_object *obj, const char *key);
int64_t px_json_int(json_object *obj, const char *key, int64_t fallback);
bool px_json_bool(json_object *obj, const char *key, bool fallback);

/* ---- writer ---- */
typedef enum { PX_SPELL_SNAKE, PX_SPELL_CAMEL } px_spelling;

typedef struct {
    px_buf *buf;
    px_spelling spelling;
    bool need_comma;
} px_jw;

px_jw *px_jw_make(apr_pool_t *pool, px_spelling spelling);
/* Keys are given in snake_case and spelled for the dialect. A NULL key = array element or top. */
void px_jw_object(px_jw *w, const char *key);
void px_jw_end_object(px_jw *w);
void px_jw_array(px_jw *w, const char *key);
void px_jw_end_array(px_jw *w);
void px_jw_str(px_jw *w, const char *key, const char *value);      /* NULL value writes null */
void px_jw_strn(px_jw *w, const char *key, const char *value, size_t len);
void px_jw_int(px_jw *w, const char *key, int64_t value);
void px_jw_bool(px_jw *w, const char *key, bool value);
void px_jw_null(px_jw *w, const char *key);
/* Exact decimal text such as "0.99", written as a JSON number. */
void px_jw_decimal(px_jw *w, const char *key, const char *decimal);
/* Finished JSON, copied as it is: user-supplied members are never respelled. */
void px_jw_raw(px_jw *w, const char *key, const char *json);
/* ISO 8601 UTC with milliseconds; 0 writes null. `usec` since 1970. */
void px_jw_time(px_jw *w, const char *key, int64_t usec);

#endif
