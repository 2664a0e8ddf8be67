/* SQL of transformation types. */
#include "type_store.h"

#include <string.h>

#define COLUMNS \
    "t.id, t.name, t.description, t.prompt_template, t.enabled, pixshift.usec(t.created_at), " \
    "pixshift.usec(t.updated_at)"

static void read_row(const px_rows *rows, int row, px_type *type)
{
    type->id = px_rows_str(rows, row, 0);
    type->name = px_rows_str(rows, row, 1);
    type->description = px_rows_str(rows, row, 2);
    type->prompt_template = px_rows_str(rows, row, 3);
    type->enabled = px_rows_bool(rows, row, 4);
    type->created_at = px_rows_int(rows, row, 5);
    type->updated_at = px_rows_int(rows, row, 6);
}

px_err *px_type_list(px_db *db, apr_pool_t *pool, bool only_enabled, bool usage, px_type **list,
                     int *count)
{
    px_rows *rows = NULL;
    px_err *err = px_db_query(db, pool, &rows,
                              "SELECT " COLUMNS ", CASE WHEN $2::boolean THEN (SELECT count(*) FROM "
                              "pixshift.jobs j WHERE j.type_id = t.id) END "
                              "FROM pixshift.transformation_types t WHERE t.deleted_at IS NULL "
                              "AND (t.enabled OR NOT $1::boolean) ORDER BY t.created_at, t.id", "bb",
                              only_enabled, usage);
    if (err)
        return err;
    *count = px_rows_count(rows);
    *list = apr_pcalloc(pool, sizeof(px_type) * (size_t)(*count + 1));
    for (int i = 0; i < *count; i++) {
        read_row(rows, i, &(*list)[i]);
        (*list)[i].usage_count = px_rows_int(rows, i, 7);
    }
    return NULL;
}

static px_err *one(apr_pool_t *pool, px_err *err, const px_rows *rows, px_type **out)
{
    if (err)
        return err;
    if (px_rows_count(rows) == 0)
        return px_error_say(pool, PX_E_NOT_FOUND, "There is no such transformation type.");
    *out = apr_pcalloc(pool, sizeof(**out));
    read_row(rows, 0, *out);
    return NULL;
}

#define SELECT_ONE \
    "SELECT " COLUMNS " FROM pixshift.transformation_types t WHERE t.id = $1::uuid AND t.deleted_at IS NULL"

px_err *px_type_get(px_db *db, apr_pool_t *pool, const char *id, px_type **out)
{
    px_rows *rows = NULL;
    px_err *err = px_db_query(db, pool, &rows, SELECT_ONE, "s", id);
    return one(pool, err, rows, out);
}

px_err *px_type_lock(px_conn *conn, apr_pool_t *pool, const char *id, px_type **out)
{
    px_rows *rows = NULL;
    px_err *err = px_conn_query(conn, pool, NULL,
                                "LOCK TABLE pixshift.transformation_types IN SHARE ROW EXCLUSIVE MODE", "");
    if (!err)
        err = px_conn_query(conn, pool, &rows, SELECT_ONE, "s", id);
    return one(pool, err, rows, out);
}

static px_err *name_taken(apr_pool_t *pool, px_err *err)
{
    const char *constraint = err ? px_db_err_constraint(err) : NULL;
    if (constraint && strcmp(constraint, "transformation_types_name") == 0)
        return px_error_field(pool, "name", "another type has this name.");
    return err;
}

px_err *px_type_add(px_conn *conn, apr_pool_t *pool, const px_type *type, const char **id)
{
    px_rows *rows = NULL;
    px_err *err = px_conn_query(conn, pool, &rows,
                                "INSERT INTO pixshift.transformation_types (name, description, "
                                "prompt_template, enabled) VALUES ($1, $2, $3, $4::boolean) RETURNING id",
                                "sssb", type->name, type->description, type->prompt_template,
                                type->enabled);
    if (err)
        return name_taken(pool, err);
    *id = px_rows_str(rows, 0, 0);
    return NULL;
}

px_err *px_type_update(px_conn *conn, apr_pool_t *pool, const px_type *type)
{
    return name_taken(pool, px_conn_query(conn, pool, NULL,
                                          "UPDATE pixshift.transformation_types SET name = $2, "
                                          "description = $3, prompt_template = $4, enabled = $5::boolean, "
                                          "updated_at = pixshift.now() WHERE id = $1::uuid", "ssssb",
                                          type->id, type->name, type->description,
                                          type->prompt_template, type->enabled));
}

px_err *px_type_usage(px_conn *conn, apr_pool_t *pool, const char *id, px_type_use *use)
{
    px_rows *rows = NULL;
    px_err *err = px_conn_query(conn, pool, &rows,
                                "SELECT (SELECT count(*) FROM pixshift.jobs WHERE type_id = $1::uuid AND "
                                "state IN ('queued', 'running', 'waiting_payment')), (SELECT count(*) FROM "
                                "pixshift.transformation_types WHERE enabled AND deleted_at IS NULL AND "
                                "id <> $1::uuid)", "s", id);
    if (err)
        return err;
    use->open_jobs = px_rows_int(rows, 0, 0);
    use->other_enabled = px_rows_int(rows, 0, 1);
    return NULL;
}

/* The row stays, so that the history of jobs made with it still resolves (C-16). */
px_err *px_type_remove(px_conn *conn, apr_pool_t *pool, const char *id)
{
    return px_conn_query(conn, pool, NULL,
                         "UPDATE pixshift.transformation_types SET enabled = false, deleted_at = "
                         "pixshift.now(), updated_at = pixshift.now() WHERE id = $1::uuid", "s", id);
}
