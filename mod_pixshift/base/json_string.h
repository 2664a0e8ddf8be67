/* Raw JSON strings: the part of the strict check that looks inside quotes.  Private to base/.
 * No allocation; pure; any thread. */
#ifndef PX_BASE_JSON_STRING_H
#define PX_BASE_JSON_STRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *raw;        /* first byte behind the opening quote */
    size_t raw_len;         /* up to the closing quote */
    size_t decoded_len;     /* bytes after unescaping */
    size_t nuls;            /* \u0000 escapes */
    size_t pairs;           /* escaped surrogate pairs */
    uint64_t hash;          /* of a key's unescaped bytes, keyed per process */
} px_json_string;

/* Scans the string whose opening quote is text[at].  NULL and *out filled when well formed; else a
 * static sentence and *error_at.  Only keys are hashed: values may be megabytes. */
const char *px_json_string_scan(const char *text, size_t len, size_t at, bool is_key,
                                px_json_string *out, size_t *error_at);

/* Copies well-formed JSON with every escaped surrogate pair written as plain UTF-8. `out` has room
 * for `len` bytes; returns the new length, never longer. */
size_t px_json_unescape_pairs(const char *text, size_t len, char *out);

/* True when two well-formed raw strings unescape to the same bytes. */
bool px_json_string_equal(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
