/* Prompts of try-ons in the hands of admins: PRM-2, PRM-3. A prompt's text never changes: new text is a new
 * version, so that the prompt of any old job can still be told. */
#include "studio_api.h"

#include "admin/audit.h"
#include "base/id.h"
#include "prompt_store.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

#define TYPES "system|top_only|full_outfit"

static void write_prompt(px_jw *w, const char *key, const px_prompt *prompt)
{
    px_jw_object(w, key);
    px_jw_str(w, "id", prompt->id);
    px_jw_str(w, "name", prompt->name);
    px_jw_str(w, "type", prompt->type);
    px_jw_str(w, "content", prompt->content);
    px_jw_int(w, "version", prompt->version);
    px_jw_bool(w, "is_active", prompt->is_active);
    px_jw_str(w, "created_by", prompt->created_by);
    px_jw_str(w, "notes", prompt->notes);
    px_jw_time(w, "activated_at", prompt->activated_at);
    px_jw_time(w, "created_at", prompt->created_at);
    px_jw_end_object(w);
}

typedef struct { const char *type; } list_in;

static const px_field list_fields[] = {
    {"type", PX_F_ENUM, false, 0, 0, TYPES, offsetof(list_in, type)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

/* GET /api/v1/admin/prompts */
px_err *studio_prompt_list_api(px_req *req, px_reply *reply)
{
    list_in in = {0};
    px_page page;
    px_prompt *list;
    int64_t total;
    int count;
    px_err *err = px_validate_query(req, list_fields, &in);
    if (err || (err = px_page_read(req, 50, &page)) != NULL
        || (err = px_prompt_list(req->app->db, req->pool, in.type, page.limit, page.offset, &list, &count,
                                 &total)) != NULL)
        return err;
    px_jw_object(reply->json, NULL);
    px_jw_array(reply->json, "prompts");
    for (int i = 0; i < count; i++)
        write_prompt(reply->json, NULL, &list[i]);
    px_jw_end_array(reply->json);
    px_page_write(req, reply->json, &page, total);
    px_jw_end_object(reply->json);
    return NULL;
}

static px_err *answer(px_req *req, px_reply *reply, const char *id)
{
    px_prompt *prompt;
    px_err *err = px_prompt_get(req->app->db, req->pool, id, &prompt);
    if (err)
        return err;
    px_jw_object(reply->json, NULL);
    write_prompt(reply->json, "prompt", prompt);
    px_jw_end_object(reply->json);
    return NULL;
}

/* The words of TRY-1 are understood as well as those of the table. */
static const char *type_of_mode(const char *mode)
{
    if (strcmp(mode, "top") == 0 || strcmp(mode, "top_only") == 0)
        return "top_only";
    if (strcmp(mode, "full") == 0 || strcmp(mode, "full_outfit") == 0)
        return "full_outfit";
    return strcmp(mode, "system") == 0 ? "system" : NULL;
}

/* GET /api/v1/admin/prompts/active/{mode} */
px_err *studio_prompt_active_api(px_req *req, px_reply *reply)
{
    const char *type = type_of_mode(px_param(req, "mode"));
    px_prompt *prompt;
    px_err *err;
    if (!type)
        return px_error_field(req->pool, "mode", "it must be one of: system top full.");
    if ((err = px_prompt_active(req->app->db, req->pool, type, &prompt)) != NULL)
        return err;
    px_jw_object(reply->json, NULL);
    write_prompt(reply->json, "prompt", prompt);
    px_jw_end_object(reply->json);
    return NULL;
}

/* ---- changes ---- */

typedef struct {
    px_req *req;
    const char *id;             /* of the prompt that the reply shows */
    const char *name, *type, *content, *notes;
    bool is_active;
} prompt_in;

static const px_field create_fields[] = {
    {"name", PX_F_STRING, false, 1, 100, NULL, offsetof(prompt_in, name)},
    {"type", PX_F_ENUM, true, 0, 0, TYPES, offsetof(prompt_in, type)},
    {"content", PX_F_STRING, true, 1, 8000, NULL, offsetof(prompt_in, content)},
    {"notes", PX_F_STRING, false, 0, 1000, NULL, offsetof(prompt_in, notes)},
    {"is_active", PX_F_BOOL, false, 0, 0, NULL, offsetof(prompt_in, is_active)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

static const px_field update_fields[] = {
    {"name", PX_F_STRING, false, 1, 100, NULL, offsetof(prompt_in, name)},
    {"content", PX_F_STRING, false, 1, 8000, NULL, offsetof(prompt_in, content)},
    {"notes", PX_F_STRING, false, 0, 1000, NULL, offsetof(prompt_in, notes)},
    {"is_active", PX_F_BOOL, false, 0, 0, NULL, offsetof(prompt_in, is_active)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

static const char *change_json(apr_pool_t *pool, const px_prompt *prompt)
{
    px_jw *w = px_jw_make(pool, PX_SPELL_SNAKE);
    px_jw_object(w, NULL);
    px_jw_str(w, "type", prompt->type);
    px_jw_int(w, "version", prompt->version);
    px_jw_str(w, "name", prompt->name);
    px_jw_str(w, "content", prompt->content);
    px_jw_str(w, "notes", prompt->notes);
    px_jw_bool(w, "is_active", prompt->is_active);
    px_jw_end_object(w);
    return w->buf->data;
}

static px_err *audit(px_conn *conn, apr_pool_t *pool, prompt_in *in, const char *action,
                     const px_prompt *old, const char *id)
{
    px_prompt *now;
    px_err *err = px_prompt_lock(conn, pool, id, &now);
    if (err)
        return err;
    in->id = apr_pstrdup(in->req->pool, id);
    return px_audit_add(conn, pool, in->req, action, "PROMPT", id, old ? change_json(pool, old) : NULL,
                        change_json(pool, now));
}

static px_err *create_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    prompt_in *in = baton;
    px_prompt made = {.name = in->name ? in->name : in->type, .type = in->type, .content = in->content,
                      .notes = in->notes, .created_by = in->req->who->user_id,
                      .is_active = in->is_active};
    const char *id;
    px_err *err = px_prompt_add(conn, pool, &made, &id);
    return err ? err : audit(conn, pool, in, "prompt.create", NULL, id);
}

/* POST /api/v1/admin/prompts */
px_err *studio_prompt_create_api(px_req *req, px_reply *reply)
{
    prompt_in in = {.req = req};
    px_err *err = px_admin_require(req, "");
    if (!err)
        err = px_validate(req, create_fields, &in);
    if (!err)
        err = px_db_tx(req->app->db, req->pool, create_body, &in);
    if (err)
        return err;
    reply->status = 201;
    return answer(req, reply, in.id);
}

static px_err *new_version(px_conn *conn, apr_pool_t *pool, const prompt_in *in, const px_prompt *old,
                           bool active, const char **id)
{
    px_prompt made = {.name = in->name ? in->name : old->name, .type = old->type, .content = in->content,
                      .notes = in->notes, .created_by = in->req->who->user_id, .is_active = active};
    return px_prompt_add(conn, pool, &made, id);
}

static px_err *update_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    prompt_in *in = baton;
    bool said = px_json_get(in->req->json, "is_active") != NULL;
    const char *id = px_param(in->req, "promptId");
    bool other_text;
    px_prompt *old;
    px_err *err = px_prompt_lock(conn, pool, id, &old);
    if (err)
        return err;
    if (said && !in->is_active && old->is_active)
        return px_error_say(pool, PX_E_CONFLICT, "Activate another version instead.");
    other_text = in->content && strcmp(in->content, old->content) != 0;
    if (other_text)
        err = new_version(conn, pool, in, old, said ? in->is_active : old->is_active, &id);
    else
        err = px_prompt_annotate(conn, pool, id, in->name, in->notes);
    if (!err && !other_text && in->is_active)
        err = px_prompt_activate(conn, pool, id);
    return err ? err : audit(conn, pool, in, "prompt.update", old, id);
}

static px_err *change(px_req *req, px_reply *reply, px_db_tx_body *body, const px_field *fields)
{
    prompt_in in = {.req = req};
    px_err *err = px_admin_require(req, "");
    if (!err && fields)
        err = px_validate(req, fields, &in);
    if (!err && !px_uuid_valid(px_param(req, "promptId")))
        err = px_error_say(req->pool, PX_E_NOT_FOUND, "There is no such prompt.");
    if (!err)
        err = px_db_tx(req->app->db, req->pool, body, &in);
    return err ? err : answer(req, reply, in.id);
}

/* PUT /api/v1/admin/prompts/{promptId} */
px_err *studio_prompt_update_api(px_req *req, px_reply *reply)
{
    return change(req, reply, update_body, update_fields);
}

static px_err *rollback_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    prompt_in *in = baton;
    const char *id = px_param(in->req, "promptId");
    px_prompt *old;
    px_err *err = px_prompt_lock(conn, pool, id, &old);
    if (!err)
        err = px_prompt_activate(conn, pool, id);
    return err ? err : audit(conn, pool, in, "prompt.rollback", old, id);
}

/* POST /api/v1/admin/prompts/{promptId}/rollback: this version is in use again. */
px_err *studio_prompt_rollback_api(px_req *req, px_reply *reply)
{
    return change(req, reply, rollback_body, NULL);
}
