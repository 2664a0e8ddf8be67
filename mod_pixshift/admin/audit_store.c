/* SQL of the audit log (sql/0009_admin). */
#include "audit_store.h"

px_err *audit_store_put(px_conn *conn, apr_pool_t *pool, const px_audit_actor *actor,
                        const char *action, const char *entity_type, const char *entity_id,
                        const char *old_json, const char *new_json)
{
    return px_conn_query(conn, pool, NULL,
                         "SELECT pixshift.audit_put($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                         "sssssjjsss", actor->admin_id, actor->name, action, entity_type, entity_id,
                         old_json, new_json, actor->ip, actor->user_agent, actor->request_id);
}

/* $1 is a whole action or the word that ends one, in any case: 001 asks for CREATE. */
#define FILTER_SQL \
    " FROM pixshift.audit_log a" \
    " WHERE ($1::text IS NULL OR a.action = lower($1) OR a.action LIKE '%.' || lower($1))" \
    " AND ($2::text IS NULL OR a.entity_type = upper($2))" \
    " AND ($3::text IS NULL OR a.entity_id = $3)" \
    " AND ($4::uuid IS NULL OR a.admin_id = $4)"

static void read_row(const px_rows *rows, int i, audit_row *row)
{
    row->id = px_rows_str(rows, i, 0);
    row->admin_id = px_rows_str(rows, i, 1);
    row->admin_email = px_rows_str(rows, i, 2);
    row->action = px_rows_str(rows, i, 3);
    row->entity_type = px_rows_str(rows, i, 4);
    row->entity_id = px_rows_str(rows, i, 5);
    row->old_json = px_rows_str(rows, i, 6);
    row->new_json = px_rows_str(rows, i, 7);
    row->ip = px_rows_str(rows, i, 8);
    row->user_agent = px_rows_str(rows, i, 9);
    row->request_id = px_rows_str(rows, i, 10);
    row->created_at = px_rows_int(rows, i, 11);
}

px_err *audit_store_list(px_db *db, apr_pool_t *pool, const audit_filter *filter, audit_row **list,
                         int *count, int64_t *total)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "SELECT a.id, a.admin_id, a.admin_email, a.action, a.entity_type, a.entity_id, a.old_value,"
        " a.new_value, a.ip_address, a.user_agent, a.request_id, pixshift.usec(a.created_at),"
        " t.total FROM (SELECT count(*) AS total" FILTER_SQL ") t"
        " LEFT JOIN LATERAL (SELECT a.*" FILTER_SQL
        "  ORDER BY a.created_at DESC, a.id DESC LIMIT $5 OFFSET $6) a ON true"
        " ORDER BY a.created_at DESC, a.id DESC", "ssssll", filter->action, filter->entity_type,
        filter->entity_id, filter->admin_id, filter->limit, filter->offset);

    if (err) {
        return err;
    }
    *total = px_rows_int(rows, 0, 12);
    *count = px_rows_null(rows, 0, 0) ? 0 : px_rows_count(rows);
    *list = apr_pcalloc(pool, (apr_size_t)(*count + 1) * sizeof **list);
    for (int i = 0; i < *count; i++) {
        read_row(rows, i, &(*list)[i]);
    }
    return NULL;
}
