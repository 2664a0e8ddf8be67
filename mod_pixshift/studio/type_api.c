/* Transformation types: TRF-2 for everybody, ADM-2 for admins. Every change and its audit row are one
 * transaction. */
#include "studio_api.h"

#include "admin/audit.h"
#include "base/id.h"
#include "type_list.h"
#include "type_store.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

/* GET /api/transformation-types */
px_err *studio_type_list_api(px_req *req, px_reply *reply)
{
    const char *text;
    size_t len;
    px_err *err = px_validate_query(req, studio_no_fields, NULL);
    if (err || (err = px_type_list_text(req, &text, &len)) != NULL)
        return err;
    px_buf_add(reply->json->buf, text, len);
    return NULL;
}

/* ---- for admins ---- */

static void write_type(px_jw *w, const char *key, const px_type *type)
{
    px_jw_object(w, key);
    px_jw_str(w, "id", type->id);
    px_jw_str(w, "name", type->name);
    px_jw_str(w, "description", type->description);
    px_jw_str(w, "prompt_template", type->prompt_template);
    px_jw_bool(w, "enabled", type->enabled);
    px_jw_int(w, "usage_count", type->usage_count);
    px_jw_time(w, "created_at", type->created_at);
    px_jw_time(w, "updated_at", type->updated_at);
    px_jw_end_object(w);
}

/* GET /api/admin/transformation-types */
px_err *studio_type_list_all_api(px_req *req, px_reply *reply)
{
    px_type *list;
    int count;
    px_err *err = px_validate_query(req, studio_no_fields, NULL);
    if (err || (err = px_type_list(req->app->db, req->pool, false, true, &list, &count)) != NULL)
        return err;
    px_jw_object(reply->json, NULL);
    px_jw_array(reply->json, "types");
    for (int i = 0; i < count; i++)
        write_type(reply->json, NULL, &list[i]);
    px_jw_end_array(reply->json);
    px_jw_end_object(reply->json);
    return NULL;
}

typedef struct {
    px_req *req;
    const char *id;
    const char *name, *description, *prompt_template;
    bool enabled;
} type_in;

#define TYPE_FIELDS(required)                                                                          \
    {"name", PX_F_STRING, required, 1, 100, NULL, offsetof(type_in, name)},                            \
    {"description", PX_F_STRING, false, 0, 1000, NULL, offsetof(type_in, description)},                \
    {"prompt_template", PX_F_STRING, required, 1, 4000, NULL, offsetof(type_in, prompt_template)},     \
    {"enabled", PX_F_BOOL, false, 0, 0, NULL, offsetof(type_in, enabled)},                             \
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0}

static const px_field create_fields[] = {TYPE_FIELDS(true)};
static const px_field update_fields[] = {TYPE_FIELDS(false)};

static const char *type_json(apr_pool_t *pool, const px_type *type)
{
    px_jw *w = px_jw_make(pool, PX_SPELL_SNAKE);
    px_jw_object(w, NULL);
    px_jw_str(w, "name", type->name);
    px_jw_str(w, "description", type->description);
    px_jw_str(w, "prompt_template", type->prompt_template);
    px_jw_bool(w, "enabled", type->enabled);
    px_jw_end_object(w);
    return w->buf->data;
}

static px_err *create_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    type_in *in = baton;
    px_type type = {.name = in->name, .description = in->description,
                    .prompt_template = in->prompt_template, .enabled = in->enabled};
    const char *id;
    px_err *err = px_type_add(conn, pool, &type, &id);
    if (err)
        return err;
    in->id = apr_pstrdup(in->req->pool, id);
    return px_audit_add(conn, pool, in->req, "transformation_type.create", "TRANSFORMATION_TYPE", id, NULL,
                        type_json(pool, &type));
}

static px_err *answer(px_req *req, px_reply *reply, const char *id)
{
    px_type *type;
    px_err *err;
    px_type_list_changed(req);
    err = px_type_get(req->app->db, req->pool, id, &type);
    if (err)
        return err;
    px_jw_object(reply->json, NULL);
    px_reply_success(req, reply);
    write_type(reply->json, "type", type);
    px_jw_end_object(reply->json);
    return NULL;
}

/* POST /api/admin/transformation-types */
px_err *studio_type_create_api(px_req *req, px_reply *reply)
{
    type_in in = {.req = req, .description = "", .enabled = true};
    px_err *err = px_admin_require(req, "");
    if (!err)
        err = px_validate(req, create_fields, &in);
    if (!err)
        err = px_db_tx(req->app->db, req->pool, create_body, &in);
    return err ? err : answer(req, reply, in.id);
}

/* Somebody must be able to transform something (C-16). */
static px_err *keep_one(px_conn *conn, apr_pool_t *pool, const px_type *type, px_type_use *use)
{
    px_err *err = px_type_usage(conn, pool, type->id, use);
    if (!err && type->enabled && use->other_enabled == 0)
        err = px_err_with(px_error_say(pool, PX_E_VALIDATION,
                                       "This is the last enabled transformation type."),
                          "reason", "last_enabled");
    return err;
}

static px_err *update_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    const type_in *in = baton;
    px_type_use use;
    px_type *old, type;
    px_err *err = px_type_lock(conn, pool, in->id, &old);
    if (err)
        return err;
    type = *old;
    type.name = in->name ? in->name : old->name;
    type.description = in->description ? in->description : old->description;
    type.prompt_template = in->prompt_template ? in->prompt_template : old->prompt_template;
    if (px_json_get(in->req->json, px_field_name(in->req, "enabled")))
        type.enabled = in->enabled;
    if (!type.enabled && (err = keep_one(conn, pool, old, &use)) != NULL)
        return err;
    if ((err = px_type_update(conn, pool, &type)) != NULL)
        return err;
    return px_audit_add(conn, pool, in->req, "transformation_type.update", "TRANSFORMATION_TYPE", in->id,
                        type_json(pool, old), type_json(pool, &type));
}

static px_err *no_type(px_req *req)
{
    return px_error_say(req->pool, PX_E_NOT_FOUND, "There is no such transformation type.");
}

/* PUT /api/admin/transformation-types/{id} */
px_err *studio_type_update_api(px_req *req, px_reply *reply)
{
    type_in in = {.req = req, .id = px_param(req, "id")};
    px_err *err = px_admin_require(req, "");
    if (!err)
        err = px_validate(req, update_fields, &in);
    if (!err && !px_uuid_valid(in.id))
        err = no_type(req);
    if (!err)
        err = px_db_tx(req->app->db, req->pool, update_body, &in);
    return err ? err : answer(req, reply, in.id);
}

static px_err *delete_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    const type_in *in = baton;
    px_type_use use;
    px_type *old;
    px_err *err = px_type_lock(conn, pool, in->id, &old);
    if (err || (err = keep_one(conn, pool, old, &use)) != NULL)
        return err;
    if (use.open_jobs > 0)
        return px_err_with_number(
            px_err_with(px_error_say(pool, PX_E_VALIDATION,
                                     "Jobs of this transformation type are under way."),
                        "reason", "in_use"),
            "open_jobs", use.open_jobs);
    if ((err = px_type_remove(conn, pool, in->id)) != NULL)
        return err;
    return px_audit_add(conn, pool, in->req, "transformation_type.delete", "TRANSFORMATION_TYPE", in->id,
                        type_json(pool, old), NULL);
}

/* DELETE /api/admin/transformation-types/{id} */
px_err *studio_type_delete_api(px_req *req, px_reply *reply)
{
    type_in in = {.req = req, .id = px_param(req, "id")};
    px_err *err = px_admin_require(req, "");
    if (!err)
        err = px_uuid_valid(in.id) ? px_db_tx(req->app->db, req->pool, delete_body, &in)
                                   : no_type(req);
    if (err)
        return err;
    px_type_list_changed(req);
    px_jw_object(reply->json, NULL);
    px_jw_bool(reply->json, "success", true);
    px_jw_end_object(reply->json);
    return NULL;
}
