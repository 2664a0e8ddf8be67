/* Writing the audit log, and showing it (AUD-1, AUD-2). */
#include "audit_store.h"

#include "admin.h"
#include "account/user.h"
#include "admin_internal.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

px_err *px_audit_put(px_conn *conn, apr_pool_t *pool, const px_audit_actor *actor,
                     const char *action, const char *entity_type, const char *entity_id,
                     const char *old_json, const char *new_json)
{
    return audit_store_put(conn, pool, actor, action, entity_type, entity_id, old_json, new_json);
}

px_audit_actor px_audit_actor_of(const px_req *req)
{
    px_audit_actor actor = {.name = "anonymous"};

    if (req) {
        actor.ip = req->client_ip;
        actor.user_agent = px_client_agent(req);
        actor.request_id = req->request_id;
    }
    if (req && req->who) {
        actor.admin_id = req->who->user_id;
        actor.name = req->who->email;
    }
    return actor;
}

px_err *px_audit_add(px_conn *conn, apr_pool_t *pool, const px_req *req, const char *action,
                     const char *entity_type, const char *entity_id, const char *old_json,
                     const char *new_json)
{
    px_audit_actor actor = px_audit_actor_of(req);

    return audit_store_put(conn, pool, &actor, action, entity_type, entity_id, old_json, new_json);
}

/* ---- GET /api/admin/actions ---- */

static const px_field filter_fields[] = {
    {"action_type", PX_F_STRING, false, 1, 64, NULL, offsetof(audit_filter, action)},
    {"entity_type", PX_F_STRING, false, 1, 40, NULL, offsetof(audit_filter, entity_type)},
    {"entity_id", PX_F_STRING, false, 1, 128, NULL, offsetof(audit_filter, entity_id)},
    {"admin_user_id", PX_F_UUID, false, 0, 0, NULL, offsetof(audit_filter, admin_id)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

/* 001's clients know actions as CREATE, UPDATE, DELETE: the last word of the dotted form. */
static const char *action_type(apr_pool_t *pool, const char *action)
{
    const char *dot = strrchr(action, '.');
    char *word = apr_pstrdup(pool, dot ? dot + 1 : action);

    for (char *p = word; *p; p++) {
        *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
    }
    return word;
}

static void write_row(px_req *req, px_jw *w, const audit_row *row)
{
    px_jw_object(w, NULL);
    px_jw_str(w, "id", row->id);
    px_jw_str(w, "admin_user_id", row->admin_id);
    px_jw_str(w, "admin_email", row->admin_email);
    px_jw_str(w, "action_type", action_type(req->pool, row->action));
    px_jw_str(w, "action", row->action);
    px_jw_str(w, "entity_type", row->entity_type);
    px_jw_str(w, "entity_id", row->entity_id);
    px_jw_object(w, "details");
    px_jw_raw(w, "old_value", row->old_json ? row->old_json : "null");
    px_jw_raw(w, "new_value", row->new_json ? row->new_json : "null");
    px_jw_end_object(w);
    px_jw_str(w, "ip_address", row->ip);
    px_jw_str(w, "user_agent", row->user_agent);
    px_jw_str(w, "request_id", row->request_id);
    px_jw_time(w, "timestamp", row->created_at);
    px_jw_end_object(w);
}

px_err *admin_actions_api(px_req *req, px_reply *reply)
{
    audit_filter filter = {0};
    audit_row *list;
    px_page page;
    int64_t total;
    int count;
    px_err *err = px_validate_query(req, filter_fields, &filter);

    if (err || (err = px_page_read(req, 20, &page)) != NULL) {
        return err;
    }
    filter.limit = page.limit;
    filter.offset = page.offset;
    err = audit_store_list(req->app->db, req->pool, &filter, &list, &count, &total);
    if (err) {
        return err;
    }
    px_jw_object(reply->json, NULL);
    px_jw_array(reply->json, "actions");
    for (int i = 0; i < count; i++) {
        write_row(req, reply->json, &list[i]);
    }
    px_jw_end_array(reply->json);
    px_page_write(req, reply->json, &page, total);
    px_jw_end_object(reply->json);
    return NULL;
}
