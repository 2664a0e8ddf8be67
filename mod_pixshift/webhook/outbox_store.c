#include "outbox.h"

#include <apr_strings.h>
#include <string.h>

/* "job:0190…:succeeded" names its aggregate: the type before the first colon, the id between. */
static void aggregate_of(apr_pool_t *pool, const char *key, const char **type, const char **id)
{
    const char *first = strchr(key, ':');
    if (first == NULL) {
        *type = "event";
        *id = key;
        return;
    }
    const char *second = strchr(first + 1, ':');
    *type = apr_pstrmemdup(pool, key, (apr_size_t)(first - key));
    *id = second ? apr_pstrmemdup(pool, first + 1, (apr_size_t)(second - first - 1))
                 : apr_pstrdup(pool, first + 1);
}

px_err *px_outbox_add(px_conn *conn, apr_pool_t *pool, const char *key, const char *type,
                      const char *user_id, const char *data_json)
{
    const char *aggregate_type, *aggregate_id;
    aggregate_of(pool, key, &aggregate_type, &aggregate_id);
    return px_conn_query(conn, pool, NULL,
                         "SELECT pixshift.outbox_put($1, $2::uuid, $3, $4, $5, $6::jsonb)", "sssssj",
                         type, user_id, aggregate_type, aggregate_id, key, data_json);
}
