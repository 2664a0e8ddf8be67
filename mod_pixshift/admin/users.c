/* Users in the hands of admins: lists, roles, credits, suspension (ADM-3 … ADM-6). Every change
 * and its audit row are one transaction. */
#include "admin.h"
#include "admin_internal.h"

#include "account/user.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "credit/credit.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

#define DAY_US (86400 * INT64_C(1000000))

px_err *admin_require(px_req *req, const char *allowed)
{
    const char *scope = req->who->admin_scope ? req->who->admin_scope : "";
    size_t len = strlen(scope);
    const char *p = allowed;

    if (strcmp(scope, "super") == 0) {
        return NULL;
    }
    while (len && (p = strstr(p, scope)) != NULL) {
        if ((p == allowed || p[-1] == '|') && (p[len] == '|' || p[len] == '\0')) {
            return NULL;
        }
        p += len;
    }
    return px_error_say(req->pool, PX_E_AUTH_FORBIDDEN, "Your admin role does not include this.");
}

px_err *px_admin_require(px_req *req, const char *allowed)
{
    return admin_require(req, allowed);
}

/* The user named by the path; both spellings of the parameter occur. */
static const char *user_param(px_req *req)
{
    const char *id = px_param(req, "userId");

    return *id ? id : px_param(req, "id");
}

static px_err *no_user(px_req *req)
{
    return px_error_say(req->pool, PX_E_NOT_FOUND, "There is no such user.");
}

/* ---- reading ---- */

typedef struct { const char *role, *search; } list_in;

static const px_field list_fields[] = {
    {"role", PX_F_STRING, false, 1, 20, NULL, offsetof(list_in, role)},
    {"search", PX_F_STRING, false, 1, 254, NULL, offsetof(list_in, search)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

px_err *admin_users_api(px_req *req, px_reply *reply)
{
    px_user_filter filter = {0};
    list_in in = {0};
    px_user *list;
    px_page page;
    int64_t total;
    int count;
    px_err *err = px_validate_query(req, list_fields, &in);

    if (err || (err = px_page_read(req, 20, &page)) != NULL) {
        return err;
    }
    filter = (px_user_filter){in.role, in.search, page.limit, page.offset};
    err = px_user_list(req->app, req->pool, &filter, &list, &count, &total);
    if (err) {
        return err;
    }
    px_jw_object(reply->json, NULL);
    px_jw_array(reply->json, "users");
    for (int i = 0; i < count; i++) {
        px_user_write(req, reply->json, NULL, &list[i], NULL);
    }
    px_jw_end_array(reply->json);
    px_page_write(req, reply->json, &page, total);
    px_jw_end_object(reply->json);
    return NULL;
}

/* {success?, user}, with the balance as it is now. */
static px_err *reply_user(px_req *req, px_reply *reply, const char *id)
{
    px_balance balance;
    px_user *user;
    px_err *err = px_user_find(req->app, req->pool, id, &user);

    if (err || (err = px_credit_balance(req->app->db, req->pool, user->id, &balance)) != NULL) {
        return err;
    }
    px_jw_object(reply->json, NULL);
    px_reply_success(req, reply);
    px_user_write(req, reply->json, "user", user, &balance);
    px_jw_end_object(reply->json);
    return NULL;
}

px_err *admin_user_api(px_req *req, px_reply *reply)
{
    const char *id = user_param(req);

    return px_uuid_valid(id) ? reply_user(req, reply, id) : no_user(req);
}

/* ---- role ---- */

typedef struct {
    px_req *req;
    const char *id, *role, *admin_scope, *reason;
    int64_t days;               /* of a set entitlement; 0 = for good */
    px_role_wish wish;
} role_in;

static const px_field role_fields[] = {
    {"role", PX_F_STRING, true, 1, 20, NULL, offsetof(role_in, role)},
    {"admin_scope", PX_F_ENUM, false, 0, 0, "super|support|finance",
     offsetof(role_in, admin_scope)},
    {"days", PX_F_INT, false, 1, 3660, NULL, offsetof(role_in, days)},
    {"reason", PX_F_STRING, false, 1, 500, NULL, offsetof(role_in, reason)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

static const char *role_json(apr_pool_t *pool, const char *role, const char *scope,
                             const char *entitlement, const char *reason)
{
    px_jw *w = px_jw_make(pool, PX_SPELL_SNAKE);

    px_jw_object(w, NULL);
    px_jw_str(w, "role", role);
    px_jw_str(w, "admin_scope", scope);
    px_jw_str(w, "entitlement", entitlement);
    if (reason) {
        px_jw_str(w, "reason", reason);
    }
    px_jw_end_object(w);
    return w->buf->data;
}

static const char *role_name(px_role role)
{
    return role == PX_ROLE_ADMIN ? "admin" : "user";
}

/* Nobody takes their own rights away by mistake: the last admin would lock everybody out. */
static px_err *role_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    role_in *in = baton;
    bool admin = in->wish.role == PX_ROLE_ADMIN;
    const char *scope = admin ? (in->admin_scope ? in->admin_scope : "super") : NULL;
    int64_t until = in->days ? px_now() + in->days * DAY_US : 0;
    px_user *user;
    px_err *err = px_user_lock(conn, pool, in->id, &user);

    if (!err && strcmp(user->id, in->req->who->user_id) == 0 && !admin) {
        err = px_error_say(pool, PX_E_CONFLICT, "You cannot take your own admin role away.");
    }
    if (err || (err = px_user_set_role(conn, pool, in->id, &in->wish, scope, until)) != NULL) {
        return err;
    }
    return px_audit_add(conn, pool, in->req, "user.role.update", "USER", in->id,
                        role_json(pool, role_name(user->role), user->admin_scope, user->entitlement,
                                  NULL),
                        role_json(pool, role_name(in->wish.role), scope,
                                  in->wish.sets_entitlement ? in->wish.entitlement
                                                            : user->entitlement, in->reason));
}

px_err *admin_user_role_api(px_req *req, px_reply *reply)
{
    role_in in = {.req = req, .id = user_param(req)};
    px_err *err = admin_require(req, "");

    if (err || (err = px_validate(req, role_fields, &in)) != NULL) {
        return err;
    }
    if (!px_role_parse(in.role, &in.wish)) {
        return px_error_field(req->pool, "role", "it is not a role.");
    }
    if (in.admin_scope && in.wish.role != PX_ROLE_ADMIN) {
        return px_error_field(req->pool, "admin_scope", "only admins have one.");
    }
    if (!px_uuid_valid(in.id)) {
        return no_user(req);
    }
    if ((err = px_db_tx(req->app->db, req->pool, role_body, &in)) != NULL) {
        return err;
    }
    px_user_forget(req->app, req->pool, in.id);
    return reply_user(req, reply, in.id);
}

/* ---- credits ---- */

typedef struct {
    const char *reason;
    int64_t amount, days;
} credits_in;

static const px_field credits_fields[] = {
    {"amount", PX_F_INT, true, 1, 1000000, NULL, offsetof(credits_in, amount)},
    {"reason", PX_F_STRING, true, 1, 500, NULL, offsetof(credits_in, reason)},
    {"days", PX_F_INT, false, 1, 3660, NULL, offsetof(credits_in, days)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

static const char *grant_json(apr_pool_t *pool, const px_admin_grant *grant)
{
    px_jw *w = px_jw_make(pool, PX_SPELL_SNAKE);

    px_jw_object(w, NULL);
    px_jw_int(w, "amount", grant->amount);
    px_jw_str(w, "note", grant->note);
    px_jw_str(w, "key", grant->key);
    px_jw_time(w, "expires_at", grant->expires_at);
    px_jw_end_object(w);
    return w->buf->data;
}

static px_err *grant_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    const px_admin_grant *grant = baton;
    px_user *user;
    px_err *err = px_user_lock(conn, pool, grant->user_id, &user);

    if (err || (err = px_credit_grant(conn, pool, user->id, PX_GRANT_ADMIN, grant->amount,
                                      PX_SCOPE_ANY, grant->expires_at, grant->key, "admin",
                                      grant->actor.admin_id, grant->note)) != NULL) {
        return err;
    }
    if (px_failpoint("cm23_admin_adjustment")) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS7100", "fail-point cm23_admin_adjustment");
    }
    return px_audit_put(conn, pool, &grant->actor, "user.credits.add", "USER", user->id, NULL,
                        grant_json(pool, grant));
}

px_err *px_admin_grant_credits(const px_app *app, apr_pool_t *pool, const px_admin_grant *grant)
{
    px_admin_grant copy = *grant;

    return px_db_tx(app->db, pool, grant_body, &copy);
}

/* The grant's key is the request's Idempotency-Key where one was sent: a repetition after a crash
 * between commit and reply grants nothing more. */
px_err *admin_user_credits_api(px_req *req, px_reply *reply)
{
    px_admin_grant grant = {.actor = px_audit_actor_of(req), .user_id = user_param(req)};
    const char *once = px_idempotency_id(req);
    credits_in in = {0};
    px_balance balance;
    px_err *err = admin_require(req, "support|finance");

    if (err || (err = px_validate(req, credits_fields, &in)) != NULL) {
        return err;
    }
    grant.amount = in.amount;
    grant.note = in.reason;
    grant.expires_at = in.days ? px_now() + in.days * DAY_US : 0;
    grant.key = apr_pstrcat(req->pool, "admin:", once ? once : px_uuid7(req->pool), NULL);
    if ((err = px_admin_grant_credits(req->app, req->pool, &grant)) != NULL
        || (err = px_credit_balance(req->app->db, req->pool, grant.user_id, &balance)) != NULL) {
        return err;
    }
    px_jw_object(reply->json, NULL);
    px_reply_success(req, reply);
    px_jw_str(reply->json, "user_id", grant.user_id);
    px_jw_int(reply->json, "credits_added", in.amount);
    px_jw_int(reply->json, "credits", balance.paid);
    px_jw_int(reply->json, "new_balance", balance.available);
    px_jw_end_object(reply->json);
    return NULL;
}

/* ---- suspension ---- */

typedef struct {
    px_req *req;
    const char *id, *reason;
    bool suspend;
} suspend_in;

static const px_field suspend_fields[] = {
    {"reason", PX_F_STRING, false, 1, 500, NULL, offsetof(suspend_in, reason)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

static const char *suspended_json(apr_pool_t *pool, bool suspended, const char *reason)
{
    px_jw *w = px_jw_make(pool, PX_SPELL_SNAKE);

    px_jw_object(w, NULL);
    px_jw_bool(w, "is_suspended", suspended);
    if (reason) {
        px_jw_str(w, "reason", reason);
    }
    px_jw_end_object(w);
    return w->buf->data;
}

static px_err *suspend_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    const suspend_in *in = baton;
    px_user *user;
    px_err *err = px_user_lock(conn, pool, in->id, &user);

    if (!err && in->suspend && strcmp(user->id, in->req->who->user_id) == 0) {
        err = px_error_say(pool, PX_E_CONFLICT, "You cannot suspend yourself.");
    }
    if (err || (err = px_user_set_suspended(conn, pool, in->id, in->suspend, in->reason)) != NULL) {
        return err;
    }
    return px_audit_add(conn, pool, in->req, in->suspend ? "user.suspend" : "user.unsuspend",
                        "USER", in->id, suspended_json(pool, user->is_suspended, NULL),
                        suspended_json(pool, in->suspend, in->reason));
}

static px_err *change_suspension(px_req *req, px_reply *reply, bool suspend)
{
    suspend_in in = {.req = req, .id = user_param(req), .suspend = suspend};
    px_err *err = admin_require(req, "support");

    if (err || (err = px_validate(req, suspend_fields, &in)) != NULL) {
        return err;
    }
    if (!px_uuid_valid(in.id)) {
        return no_user(req);
    }
    if ((err = px_db_tx(req->app->db, req->pool, suspend_body, &in)) != NULL) {
        return err;
    }
    px_user_forget(req->app, req->pool, in.id);
    return reply_user(req, reply, in.id);
}

px_err *admin_user_suspend_api(px_req *req, px_reply *reply)
{
    return change_suspension(req, reply, true);
}

px_err *admin_user_unsuspend_api(px_req *req, px_reply *reply)
{
    return change_suspension(req, reply, false);
}
