/* Check, parse with json-c, compare the tree with the check's counts; getters. */
#include "json.h"
#include "json_string.h"

#include <json-c/json_object_iterator.h>
#include <json-c/json_tokener.h>
#include <limits.h>
#include <string.h>

static apr_status_t put_tree(void *tree)
{
    json_object_put(tree);
    return APR_SUCCESS;
}

/* Counts what json-c kept.  Recursion is bounded by the checked depth. */
static void count_tree(json_object *node, px_json_stats *sum)
{
    sum->values++;
    switch (json_object_get_type(node)) {
    case json_type_string:
        sum->strings++;
        sum->string_bytes += (size_t)json_object_get_string_len(node);
        break;
    case json_type_array:
        for (size_t i = 0; i < json_object_array_length(node); i++) {
            sum->elements++;
            count_tree(json_object_array_get_idx(node, i), sum);
        }
        break;
    case json_type_object: {
        struct json_object_iterator it = json_object_iter_begin(node);
        struct json_object_iterator end = json_object_iter_end(node);
        for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
            sum->members++;
            sum->string_bytes += strlen(json_object_iter_peek_name(&it));
            count_tree(json_object_iter_peek_value(&it), sum);
        }
        break;
    }
    default:
        break;
    }
}

static bool same_counts(const px_json_stats *a, const px_json_stats *b)
{
    return a->values == b->values && a->members == b->members && a->elements == b->elements
        && a->strings == b->strings && a->string_bytes == b->string_bytes;
}

/* Runs json-c; false when it did not finish. */
static bool run_tokener(const char *text, size_t len, unsigned depth, json_object **out)
{
    json_tokener *tok = json_tokener_new_ex((int)depth + 2);
    enum json_tokener_error state;
    *out = NULL;
    if (!tok) {
        return false;
    }
    json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
    *out = json_tokener_parse_ex(tok, text, (int)len);
    state = json_tokener_get_error(tok);
    if (state == json_tokener_continue) {
        /* A bare number ends only when something follows it: the NUL says so. */
        *out = json_tokener_parse_ex(tok, "", 1);
        state = json_tokener_get_error(tok);
    }
    json_tokener_free(tok);
    return state == json_tokener_success;
}

static px_err *refused(apr_pool_t *pool, const char *reason, size_t at)
{
    px_err *err = px_error_say(pool, PX_E_VALIDATION, "The JSON is not valid at byte %lu: %s",
                               (unsigned long)at, reason);
    px_err_with(err, "reason", reason);
    return px_err_with_number(err, "offset", (long long)at);
}

px_err *px_json_parse(apr_pool_t *pool, const char *text, size_t len, const px_json_limits *limits,
                      json_object **out)
{
    px_json_limits strict = limits ? *limits : (px_json_limits){0};
    px_json_stats want;
    px_json_stats got = {0};
    const char *fault;
    bool finished;
    strict.allow_duplicates = false;    /* json-c would keep one of them in silence */
    *out = NULL;
    if (len > INT_MAX - 1) {
        return refused(pool, "The text is too long.", 0);
    }
    fault = px_json_check(text, len, &strict, &want);
    if (fault) {
        return refused(pool, fault, want.error_at);
    }
    if (want.nuls) {
        return refused(pool, "A string holds the character U+0000.", 0);
    }
    if (want.pairs) {
        /* json-c takes U+1D8xx..U+1DFxx and the like, when escaped, for lone surrogates. */
        char *plain = apr_palloc(pool, len);
        len = px_json_unescape_pairs(text, len, plain);
        text = plain;
    }
    finished = run_tokener(text, len, want.depth, out);
    if (finished) {
        count_tree(*out, &got);
    }
    if (!finished || !same_counts(&want, &got)) {
        json_object_put(*out);
        *out = NULL;
        return px_error(pool, PX_E_UNAVAILABLE, "PXS1001",
                        "json-c kept %lu of %lu values of a checked text",
                        (unsigned long)got.values, (unsigned long)want.values);
    }
    if (*out) {
        apr_pool_cleanup_register(pool, *out, put_tree, apr_pool_cleanup_null);
    }
    return NULL;
}

json_object *px_json_get(json_object *obj, const char *key)
{
    json_object *found = NULL;
    if (!json_object_is_type(obj, json_type_object)) {
        return NULL;
    }
    return json_object_object_get_ex(obj, key, &found) ? found : NULL;
}

const char *px_json_str(json_object *obj, const char *key)
{
    json_object *found = px_json_get(obj, key);
    return json_object_is_type(found, json_type_string) ? json_object_get_string(found) : NULL;
}

int64_t px_json_int(json_object *obj, const char *key, int64_t fallback)
{
    json_object *found = px_json_get(obj, key);
    return json_object_is_type(found, json_type_int) ? json_object_get_int64(found) : fallback;
}

bool px_json_bool(json_object *obj, const char *key, bool fallback)
{
    json_object *found = px_json_get(obj, key);
    return json_object_is_type(found, json_type_boolean) ? json_object_get_boolean(found)
                                                         : fallback;
}
