/* SQL of prompts. */
#include "prompt_store.h"

#include <apr_strings.h>

#define COLUMNS \
    "id, name, type, content, created_by, notes, version, is_active, " \
    "coalesce(pixshift.usec(activated_at), 0), pixshift.usec(created_at)"

static void read_row(const px_rows *rows, int row, px_prompt *prompt)
{
    prompt->id = px_rows_str(rows, row, 0);
    prompt->name = px_rows_str(rows, row, 1);
    prompt->type = px_rows_str(rows, row, 2);
    prompt->content = px_rows_str(rows, row, 3);
    prompt->created_by = px_rows_str(rows, row, 4);
    prompt->notes = px_rows_str(rows, row, 5);
    prompt->version = px_rows_int(rows, row, 6);
    prompt->is_active = px_rows_bool(rows, row, 7);
    prompt->activated_at = px_rows_int(rows, row, 8);
    prompt->created_at = px_rows_int(rows, row, 9);
}

px_err *px_prompt_list(px_db *db, apr_pool_t *pool, const char *type, int64_t limit, int64_t offset,
                       px_prompt **list, int *count, int64_t *total)
{
    px_rows *rows = NULL;
    px_err *err = px_db_query(db, pool, &rows,
                              "SELECT count(*) FROM pixshift.prompts WHERE $1::text IS NULL OR type = $1",
                              "s", type);
    if (err)
        return err;
    *total = px_rows_int(rows, 0, 0);
    err = px_db_query(db, pool, &rows,
                      "SELECT " COLUMNS " FROM pixshift.prompts WHERE $1::text IS NULL OR type = $1 "
                      "ORDER BY type, version DESC LIMIT $2::bigint OFFSET $3::bigint", "sll", type, limit,
                      offset);
    if (err)
        return err;
    *count = px_rows_count(rows);
    *list = apr_pcalloc(pool, sizeof(px_prompt) * (size_t)(*count + 1));
    for (int i = 0; i < *count; i++)
        read_row(rows, i, &(*list)[i]);
    return NULL;
}

static px_err *one(apr_pool_t *pool, px_err *err, const px_rows *rows, px_prompt **out)
{
    if (err)
        return err;
    if (px_rows_count(rows) == 0)
        return px_error_say(pool, PX_E_NOT_FOUND, "There is no such prompt.");
    *out = apr_pcalloc(pool, sizeof(**out));
    read_row(rows, 0, *out);
    return NULL;
}

px_err *px_prompt_get(px_db *db, apr_pool_t *pool, const char *id, px_prompt **out)
{
    px_rows *rows = NULL;
    px_err *err = px_db_query(db, pool, &rows,
                              "SELECT " COLUMNS " FROM pixshift.prompts WHERE id = $1::uuid", "s", id);
    return one(pool, err, rows, out);
}

px_err *px_prompt_lock(px_conn *conn, apr_pool_t *pool, const char *id, px_prompt **out)
{
    px_rows *rows = NULL;
    px_err *err = px_conn_query(conn, pool, &rows, "SELECT " COLUMNS
                                " FROM pixshift.prompts WHERE id = $1::uuid FOR UPDATE", "s", id);
    return one(pool, err, rows, out);
}

px_err *px_prompt_active(px_db *db, apr_pool_t *pool, const char *type, px_prompt **out)
{
    px_rows *rows = NULL;
    px_err *err = px_db_query(db, pool, &rows,
                              "SELECT " COLUMNS " FROM pixshift.prompts WHERE type = $1 AND is_active", "s",
                              type);
    return one(pool, err, rows, out);
}

px_err *px_prompt_compose(px_db *db, apr_pool_t *pool, const char *type, const char **text)
{
    px_rows *rows = NULL;
    px_err *err = px_db_query(db, pool, &rows,
                              "SELECT string_agg(content, E'\\n\\n' ORDER BY type <> 'system') FROM "
                              "pixshift.prompts WHERE is_active AND type IN ('system', $1)", "s", type);
    if (err)
        return err;
    *text = px_rows_str(rows, 0, 0);
    return *text ? NULL : px_error(pool, PX_E_NO_PROVIDER, "PXS6084", "no prompt of type %s is active", type);
}

px_err *px_prompt_add(px_conn *conn, apr_pool_t *pool, const px_prompt *prompt, const char **id)
{
    px_rows *rows = NULL;
    px_err *err = px_conn_query(conn, pool, &rows,
                                "SELECT pixshift.prompt_add($1, $2, $3, $4, $5::uuid, $6::boolean)", "sssssb",
                                prompt->type, prompt->name, prompt->content, prompt->notes,
                                prompt->created_by, prompt->is_active);
    if (!err)
        *id = px_rows_str(rows, 0, 0);
    return err;
}

px_err *px_prompt_activate(px_conn *conn, apr_pool_t *pool, const char *id)
{
    return px_conn_query(conn, pool, NULL, "SELECT pixshift.prompt_activate($1::uuid)", "s", id);
}

px_err *px_prompt_annotate(px_conn *conn, apr_pool_t *pool, const char *id, const char *name,
                           const char *notes)
{
    return px_conn_query(conn, pool, NULL,
                         "UPDATE pixshift.prompts SET name = coalesce($2, name), notes = coalesce($3, notes) "
                         "WHERE id = $1::uuid", "sss", id, name, notes);
}
