/* Register, login, refresh, logout, me, session: parse, call, reply. In the pixshift dialect a
 * login is a browser session as well (cookie, `session` in the body, anti-forgery token); both
 * dialects get an access token and a refresh token. */
#include "account_internal.h"

#include "config/settings.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

#define PASSWORD_MAX 1024
#define PERSON_NAME_MAX 100

typedef struct {
    const char *email, *password, *first_name, *last_name;
} credentials_in;

static const px_field register_fields[] = {
    {"email", PX_F_EMAIL, true, 3, 254, NULL, offsetof(credentials_in, email)},
    {"password", PX_F_STRING, true, 1, PASSWORD_MAX, NULL, offsetof(credentials_in, password)},
    {"first_name", PX_F_STRING, false, 0, PERSON_NAME_MAX, NULL,
     offsetof(credentials_in, first_name)},
    {"last_name", PX_F_STRING, false, 0, PERSON_NAME_MAX, NULL,
     offsetof(credentials_in, last_name)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

static const px_field login_fields[] = {
    {"email", PX_F_STRING, true, 1, 254, NULL, offsetof(credentials_in, email)},
    {"password", PX_F_STRING, true, 1, PASSWORD_MAX, NULL, offsetof(credentials_in, password)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

static void client_of(px_req *req, account_login *login)
{
    login->user_agent = px_client_agent(req);
    login->ip = req->client_ip;
    login->with_secret = req->dialect == PX_DIALECT_PIXSHIFT;
}

/* Tokens and secrets stay out of every cache on the way. */
static void no_store(px_reply *reply)
{
    apr_table_setn(reply->headers, "Cache-Control", "no-store");
}

static px_err *write_login(px_req *req, px_reply *reply, const px_user *user,
                           const account_login *login, const account_new *made)
{
    px_jw *w = reply->json;
    px_balance balance;
    const char *access;
    int64_t expires_in;
    px_err *err = px_credit_balance(req->app->db, req->pool, user->id, &balance);

    if (err || (err = account_access_token(req->app, req->pool, user->id, login->session_id,
                                           &access, &expires_in)) != NULL) {
        return err;
    }
    px_jw_object(w, NULL);
    px_reply_success(req, reply);
    px_user_write(req, w, "user", user, &balance);
    px_jw_str(w, "access_token", access);
    px_jw_str(w, "refresh_token", login->refresh_token);
    px_jw_str(w, "token_type", "Bearer");
    px_jw_int(w, "expires_in", expires_in);
    if (login->secret) {
        px_jw_str(w, "session", login->secret);
        px_jw_str(w, "csrf_token", login->csrf);
        account_cookie_set(req, reply, login->secret);
    }
    if (made && made->api_key) {
        px_jw_str(w, "api_key", made->api_key);
        px_jw_str(w, "key_id", made->key_id);
    }
    px_jw_end_object(w);
    no_store(reply);
    return NULL;
}

/* ---- register ---- */

typedef struct {
    px_req *req;
    account_new made;
    account_login login;
} registration;

static px_err *register_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    registration *r = baton;
    px_err *err = account_new_write(conn, pool, &r->made);

    r->login.user_id = r->made.user_id;
    return err ? err : account_session_open(r->req->app, conn, pool, &r->login);
}

px_err *account_register_api(px_req *req, px_reply *reply)
{
    registration r = {.req = req};
    credentials_in in = {0};
    px_user *user;
    px_err *err = px_validate(req, register_fields, &in);

    if (err) {
        return err;
    }
    r.made = (account_new){.email = in.email, .password = in.password, .first_name = in.first_name,
                           .last_name = in.last_name, .signs_in = true,
                           .with_key = px_set_on(req->app->settings, PX_S_KEY_AT_REGISTER)};
    client_of(req, &r.login);
    if ((err = account_new_check(req->app, req->pool, &r.made)) != NULL
        || (err = px_db_tx(req->app->db, req->pool, register_body, &r)) != NULL
        || (err = px_user_find(req->app, req->pool, r.made.user_id, &user)) != NULL) {
        return err;
    }
    reply->status = 201;
    return write_login(req, reply, user, &r.login, &r.made);
}

/* ---- login ---- */

static px_err *login_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    registration *r = baton;

    return account_session_open(r->req->app, conn, pool, &r->login);
}

px_err *account_login_api(px_req *req, px_reply *reply)
{
    registration r = {.req = req};
    credentials_in in = {0};
    px_user *user;
    px_err *err = px_validate(req, login_fields, &in);

    if (err || (err = account_login_check(req, in.email, in.password, &user)) != NULL) {
        return err;
    }
    client_of(req, &r.login);
    r.login.user_id = user->id;
    err = px_db_tx(req->app->db, req->pool, login_body, &r);
    return err ? err : write_login(req, reply, user, &r.login, NULL);
}

/* ---- refresh ---- */

typedef struct { const char *refresh_token; } refresh_in;

static const px_field refresh_fields[] = {
    {"refresh_token", PX_F_STRING, true, 1, 200, NULL, offsetof(refresh_in, refresh_token)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

px_err *account_refresh_api(px_req *req, px_reply *reply)
{
    account_refresh run = {.user_agent = px_client_agent(req), .ip = req->client_ip};
    refresh_in in = {0};
    const char *access;
    int64_t expires_in;
    px_err *err = px_validate(req, refresh_fields, &in);

    run.token = in.refresh_token;
    if (err || (err = account_refresh_run(req->app, req->pool, req, &run)) != NULL
        || (err = account_access_token(req->app, req->pool, run.user_id, run.session_id, &access,
                                       &expires_in)) != NULL) {
        return err;
    }
    px_jw_object(reply->json, NULL);
    px_reply_success(req, reply);
    px_jw_str(reply->json, "access_token", access);
    px_jw_str(reply->json, "refresh_token", run.successor);
    px_jw_str(reply->json, "token_type", "Bearer");
    px_jw_int(reply->json, "expires_in", expires_in);
    px_jw_end_object(reply->json);
    no_store(reply);
    return NULL;
}

/* ---- logout ---- */

px_err *account_logout_api(px_req *req, px_reply *reply)
{
    px_err *err = account_session_end(req->app, req->pool, req->who);

    if (err) {
        return err;
    }
    if (req->who->credential == PX_CRED_COOKIE) {
        account_cookie_clear(req, reply);
    }
    px_jw_object(reply->json, NULL);
    px_reply_success(req, reply);
    if (req->dialect != PX_DIALECT_PIXSHIFT) {
        px_jw_str(reply->json, "message", "Logged out successfully");
    }
    px_jw_end_object(reply->json);
    return NULL;
}

/* ---- who am I ---- */

static px_err *write_me(px_req *req, px_reply *reply)
{
    px_balance balance;
    px_user *user;
    px_err *err = px_user_find(req->app, req->pool, req->who->user_id, &user);

    if (err || (err = px_credit_balance(req->app->db, req->pool, user->id, &balance)) != NULL) {
        return err;
    }
    px_user_write(req, reply->json, "user", user, &balance);
    no_store(reply);
    return NULL;
}

px_err *account_me_api(px_req *req, px_reply *reply)
{
    px_err *err;

    px_jw_object(reply->json, NULL);
    err = write_me(req, reply);
    px_jw_end_object(reply->json);
    return err;
}

/* A page that was loaded anew learns its anti-forgery token here. */
px_err *account_session_api(px_req *req, px_reply *reply)
{
    px_err *err;

    px_jw_object(reply->json, NULL);
    err = write_me(req, reply);
    if (!err && req->who->credential == PX_CRED_COOKIE) {
        px_jw_str(reply->json, "csrf_token", req->who->csrf);
    }
    px_jw_end_object(reply->json);
    return err;
}
