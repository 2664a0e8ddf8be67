/* The strict check against json-c: what the check accepts must parse with equal counts, and what is
 * written back must be accepted again. */
#include "base/json.h"

#include <apr_general.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(apr_pool_t *pool, json_object *tree)
{
    const char *text = json_object_to_json_string_ext(tree, JSON_C_TO_STRING_PLAIN);
    json_object *again;
    if (px_json_parse(pool, text, strlen(text), NULL, &again)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    apr_pool_t *pool;
    px_json_stats stats;
    px_json_limits loose = {.allow_duplicates = true};
    const char *text = (const char *)data;
    const char *fault;
    json_object *tree;
    px_err *err;
    if (!root) {
        apr_initialize();
        atexit(apr_terminate);      /* leak checks do not look into pools */
        apr_pool_create(&root, NULL);
    }
    apr_pool_create(&pool, root);
    fault = px_json_check(text, size, NULL, &stats);
    if (stats.error_at > size || (!fault && px_json_check(text, size, &loose, NULL))) {
        abort();
    }
    err = px_json_parse(pool, text, size, NULL, &tree);
    if (fault ? !err : (err != NULL) != (stats.nuls > 0)) {
        abort();        /* the check and the parser disagree */
    }
    if (!err) {
        round_trip(pool, tree);
    }
    if (size > 0) {
        px_jw *w = px_jw_make(pool, PX_SPELL_CAMEL);
        px_jw_strn(w, NULL, text, size);
        if (px_json_check(w->buf->data, w->buf->len, NULL, NULL)) {
            abort();    /* the writer made something that is not JSON */
        }
    }
    apr_pool_destroy(pool);
    return 0;
}
