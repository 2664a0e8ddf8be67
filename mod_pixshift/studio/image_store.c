/* SQL of images. */
#include "studio.h"

#include <apr_strings.h>

#define COLUMNS                                                                                   \
    "id, user_id, job_id, kind, key, mime, sha256, retention, state, width, height, bytes, "     \
    "pixshift.usec(created_at), coalesce(pixshift.usec(first_downloaded_at), 0), "                 \
    "coalesce(pixshift.usec(delete_after), 0)"

static px_image *read_row(apr_pool_t *pool, const px_rows *rows, int row)
{
    px_image *image = apr_pcalloc(pool, sizeof(*image));
    image->id = px_rows_str(rows, row, 0);
    image->user_id = px_rows_str(rows, row, 1);
    image->job_id = px_rows_str(rows, row, 2);
    image->kind = px_rows_str(rows, row, 3);
    image->key = px_rows_str(rows, row, 4);
    image->mime = px_rows_str(rows, row, 5);
    image->sha256 = px_rows_str(rows, row, 6);
    image->retention = px_rows_str(rows, row, 7);
    image->state = px_rows_str(rows, row, 8);
    image->width = px_rows_int(rows, row, 9);
    image->height = px_rows_int(rows, row, 10);
    image->bytes = px_rows_int(rows, row, 11);
    image->created_at = px_rows_int(rows, row, 12);
    image->first_downloaded_at = px_rows_int(rows, row, 13);
    image->delete_after = px_rows_int(rows, row, 14);
    return image;
}

px_err *px_image_insert(px_db *db, apr_pool_t *pool, const px_image *image, int64_t keep_ms)
{
    return px_db_query(db, pool, NULL,
                       "INSERT INTO pixshift.images (id, user_id, job_id, kind, key, mime, width, height, "
                       "bytes, sha256, retention, lifetime_ms, delete_after) VALUES ($1::uuid, $2::uuid, "
                       "$3::uuid, $4, $5, $6, $7, $8, $9, $10, $11, nullif($12::bigint, 0), "
                       "pixshift.now() + interval '1 hour')", "ssssssiilssl",
                       image->id, image->user_id, image->job_id, image->kind, image->key, image->mime,
                       (int)image->width, (int)image->height, image->bytes, image->sha256,
                       image->retention, keep_ms);
}

px_err *px_image_ready(px_db *db, apr_pool_t *pool, const char *id)
{
    return px_db_query(db, pool, NULL,
                       "UPDATE pixshift.images SET state = 'ready', delete_after = "
                       "pixshift.now() + lifetime_ms * interval '1 millisecond' "
                       "WHERE id = $1::uuid AND state = 'pending'", "s", id);
}

static px_err *one(apr_pool_t *pool, px_err *err, const px_rows *rows, px_image **out)
{
    if (err)
        return err;
    if (px_rows_count(rows) == 0)
        return px_error(pool, PX_E_NOT_FOUND, NULL, NULL);
    *out = read_row(pool, rows, 0);
    return NULL;
}

px_err *px_image_get(px_db *db, apr_pool_t *pool, const char *id, const char *user_id, px_image **out)
{
    px_rows *rows = NULL;
    px_err *err = px_db_query(db, pool, &rows,
                              "SELECT " COLUMNS " FROM pixshift.images WHERE id = $1::uuid AND "
                              "state = 'ready' AND ($2::uuid IS NULL OR user_id = $2::uuid)", "ss", id,
                              user_id);
    return one(pool, err, rows, out);
}

px_err *px_image_by_key(px_db *db, apr_pool_t *pool, const char *key, px_image **out)
{
    px_rows *rows = NULL;
    px_err *err = px_db_query(db, pool, &rows, "SELECT " COLUMNS " FROM pixshift.images WHERE key = $1 "
                              "AND state = 'ready'", "s", key);
    return one(pool, err, rows, out);
}

px_err *px_image_downloaded(px_db *db, apr_pool_t *pool, const char *id, int64_t delete_after_ms)
{
    return px_db_query(db, pool, NULL, "SELECT pixshift.image_downloaded($1::uuid, $2::bigint)", "sl", id,
                       delete_after_ms);
}

px_err *px_image_take_once(px_db *db, apr_pool_t *pool, const char *id, bool *first)
{
    px_rows *rows = NULL;
    px_err *err = px_db_query(db, pool, &rows, "SELECT pixshift.image_take_once($1::uuid)", "s", id);
    *first = !err && px_rows_bool(rows, 0, 0);
    return err;
}

px_err *px_image_condemn(px_db *db, apr_pool_t *pool, const char *id)
{
    return px_db_query(db, pool, NULL,
                       "UPDATE pixshift.images SET delete_after = pixshift.now() "
                       "WHERE id = $1::uuid AND state = 'ready'", "s", id);
}
