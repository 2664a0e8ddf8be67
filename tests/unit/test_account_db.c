/* account/ and admin/ through their routes, with a database and the shared cache. */
#include "unit_db.h"
#include "unit_http.h"

#include "account/account.h"
#include "account/account_internal.h"
#include "admin/audit.h"
#include "base/clock.h"

#include <pthread.h>
#include <sys/stat.h>

#define SECRET "inline:0123456789abcdef0123456789abcdef"
#define PASSWORD "correct horse battery staple"

static px_app *app;
static px_router *router;

static void begin(void)
{
    const char *root = getenv("srcdir") ? getenv("srcdir") : ".";
    const px_route *const tables[] = {px_account_routes, px_admin_routes, NULL};
    const char *const directives[] = {"PixShiftSecret", SECRET, "PixShiftPasswordCost", "4", NULL};
    px_db *owner;

    unit_db_exec("DROP SCHEMA IF EXISTS pixshift CASCADE");
    owner = unit_db_open(1, false, NULL);
    UNIT_OK(px_migrate(owner, unit_pool, apr_pstrcat(unit_pool, root, "/sql", NULL), -1, NULL, NULL, NULL));
    app = unit_app(directives);
    UNIT_OK(px_settings_resolve_secrets((px_settings *)app->settings));
    app->db = unit_db_open(8, true, NULL);
    unit_give_cache(app);
    ck_assert_ptr_null(px_router_make(unit_pool, tables, &router));
    px_http_set_authenticator(px_account_authenticate);
}

/* ---- a client ---- */

typedef struct { int status; json_object *json; px_reply *reply; } answer;

static answer send_with(const char *method, const char *path, const char *header, const char *value,
                        const char *json, const char *csrf)
{
    px_req *req = unit_req(app, method, path);
    answer a;
    size_t len;
    const char *text;

    if (json) {
        unit_send_json(req, json);
    }
    if (header) {
        apr_table_set(req->headers_in, header, value);
    }
    if (csrf) {
        apr_table_set(req->headers_in, "X-CSRF-Token", csrf);
    }
    apr_table_set(req->headers_in, "User-Agent", "unit");
    a.reply = px_reply_make(req);
    px_http_run(router, req, a.reply);
    a.status = a.reply->status;
    text = px_reply_text(a.reply, &len);
    a.json = NULL;
    if (len) {
        UNIT_OK(px_json_parse(unit_pool, text, len, NULL, &a.json));
    }
    return a;
}

static answer call(const char *method, const char *path, const char *bearer, const char *json)
{
    return send_with(method, path, bearer ? "Authorization" : NULL,
                     bearer ? apr_pstrcat(unit_pool, "Bearer ", bearer, NULL) : NULL, json, NULL);
}

static const char *str(answer a, const char *key)
{
    const char *value = px_json_str(a.json, key);

    ck_assert_msg(value != NULL, "no %s in %s", key, json_object_to_json_string(a.json));
    return value;
}

static const char *code(answer a)
{
    return px_json_str(px_json_get(a.json, "error"), "code");
}

static answer sign_up(const char *email)
{
    answer a = call("POST", "/api/v1/auth/register", NULL,
                    apr_psprintf(unit_pool, "{\"email\":\"%s\",\"password\":\"" PASSWORD "\","
                                 "\"first_name\":\"Jo\",\"last_name\":\"Doe\"}", email));

    ck_assert_msg(a.status == 201, "%s", json_object_to_json_string(a.json));
    return a;
}

static answer login(const char *path, const char *email, const char *password)
{
    return call("POST", path, NULL, apr_psprintf(unit_pool, "{\"email\":\"%s\",\"password\":\"%s\"}",
                                                 email, password));
}

static answer refresh(const char *token)
{
    return call("POST", "/api/v1/auth/refresh", NULL,
                apr_psprintf(unit_pool, "{\"refresh_token\":\"%s\"}", token));
}

static const char *user_id(answer a)
{
    return px_json_str(px_json_get(a.json, "user"), "id");
}

static int64_t sql_int(const char *sql)
{
    px_rows *rows;

    UNIT_OK(px_db_query(app->db, unit_pool, &rows, sql, ""));
    return px_rows_int(rows, 0, 0);
}

static const char *make_admin(const char *scope)
{
    answer a = sign_up("admin@example.org");

    UNIT_OK(px_account_set_role(app, unit_pool, user_id(a), PX_ROLE_ADMIN, scope, "ctl:unit"));
    return str(a, "access_token");
}

/* ---- sign-up and login ---- */

START_TEST(register_gives_everything)
{
    answer a, b;
    json_object *user;

    begin();
    a = sign_up("Jo@Example.org");
    user = px_json_get(a.json, "user");
    ck_assert_str_eq(px_json_str(user, "email"), "jo@example.org");
    ck_assert_str_eq(px_json_str(user, "role"), "free");
    ck_assert_str_eq(px_json_str(user, "auth_provider"), "email");
    ck_assert_int_eq(px_json_int(user, "daily_free_credits", -1), 3);
    ck_assert_int_eq(px_json_int(user, "credits", -1), 0);
    ck_assert(strncmp(str(a, "api_key"), "psk_live_", 9) == 0);
    ck_assert_ptr_null(px_json_str(a.json, "session"));
    ck_assert_ptr_null(apr_table_get(a.reply->headers, "Set-Cookie"));
    b = call("POST", "/api/v1/auth/register", NULL,
             "{\"email\":\"JO@example.org\",\"password\":\"" PASSWORD "\"}");
    ck_assert_int_eq(b.status, 409);
    ck_assert_str_eq(code(b), "EMAIL_TAKEN");
    ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.users"), 1);
    ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.outbox WHERE topic = 'user.registered'"), 1);
    /* Nothing that a client presents is stored as it is. */
    ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.users WHERE password_hash LIKE '$2b$%'"), 1);
}
END_TEST

START_TEST(strange_user_agents_do_no_harm)
{
    px_req *req;
    px_reply *reply;
    char long_one[1000];

    begin();
    memset(long_one, 'x', sizeof long_one);
    memcpy(long_one + 399, "\xc3\xa4", 2);          /* a character across the cut */
    long_one[999] = '\0';
    sign_up("jo@example.org");
    for (int i = 0; i < 2; i++) {
        req = unit_send_json(unit_req(app, "POST", "/api/v1/auth/login"),
                             "{\"email\":\"jo@example.org\",\"password\":\"" PASSWORD "\"}");
        apr_table_set(req->headers_in, "User-Agent", i ? long_one : "\xff\xfe");
        reply = px_reply_make(req);
        px_http_run(router, req, reply);
        ck_assert_int_eq(reply->status, 200);
    }
    ck_assert_int_eq(sql_int("SELECT max(length(user_agent)) FROM pixshift.sessions"), 399);
}
END_TEST

START_TEST(register_refuses_what_is_wrong)
{
    begin();
    ck_assert_int_eq(call("POST", "/api/v1/auth/register", NULL,
                          "{\"email\":\"x\",\"password\":\"" PASSWORD "\"}").status, 400);
    ck_assert_int_eq(call("POST", "/api/v1/auth/register", NULL,
                          "{\"email\":\"a@b.org\",\"password\":\"password1\"}").status, 400);
    ck_assert_int_eq(call("POST", "/api/v1/auth/register", NULL,
                          "{\"email\":\"a@b.org\",\"password\":\"" PASSWORD "\",\"role\":\"admin\"}").status,
                     400);
    ck_assert_int_eq(call("POST", "/api/auth/register", NULL,
                          "{\"email\":\"a@b.org\",\"password\":\"" PASSWORD "\",\"first_name\":\"x\"}").status,
                     400);
    ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.users"), 0);
}
END_TEST

START_TEST(me_and_logout_with_an_access_token)
{
    answer a, b;
    const char *token;

    begin();
    a = sign_up("jo@example.org");
    token = str(a, "access_token");
    b = call("GET", "/api/v1/auth/me", token, NULL);
    ck_assert_int_eq(b.status, 200);
    ck_assert_str_eq(user_id(b), user_id(a));
    ck_assert_int_eq(call("GET", "/api/v1/auth/me", NULL, NULL).status, 401);
    ck_assert_int_eq(call("GET", "/api/v1/auth/me", apr_pstrcat(unit_pool, token, "x", NULL), NULL).status,
                     401);
    b = call("POST", "/api/v1/auth/logout", token, NULL);
    ck_assert_str_eq(str(b, "message"), "Logged out successfully");
    /* C-7: at once, although the token itself would be good for a quarter of an hour. */
    ck_assert_int_eq(call("GET", "/api/v1/auth/me", token, NULL).status, 401);
    ck_assert_int_eq(refresh(str(a, "refresh_token")).status, 401);
}
END_TEST

START_TEST(cookie_session)
{
    answer a, b;
    const char *cookie, *csrf;

    begin();
    sign_up("jo@example.org");
    a = login("/api/auth/login", "jo@example.org", PASSWORD);
    ck_assert_int_eq(a.status, 200);
    ck_assert(px_json_bool(a.json, "success", false));
    cookie = apr_table_get(a.reply->headers, "Set-Cookie");
    ck_assert_ptr_nonnull(strstr(cookie, "HttpOnly"));
    ck_assert_ptr_nonnull(strstr(cookie, "SameSite=Lax"));
    cookie = apr_pstrmemdup(unit_pool, cookie, strcspn(cookie, ";"));
    ck_assert_str_eq(cookie, apr_pstrcat(unit_pool, "ps_sid=", str(a, "session"), NULL));
    csrf = str(a, "csrfToken");
    b = send_with("GET", "/api/auth/session", "Cookie", cookie, NULL, NULL);
    ck_assert_int_eq(b.status, 200);
    ck_assert_str_eq(px_json_str(px_json_get(b.json, "user"), "role"), "GUEST");
    ck_assert_int_eq(px_json_int(px_json_get(b.json, "user"), "freeTierUsed", -1), 0);
    ck_assert_str_eq(str(b, "csrfToken"), csrf);
    /* The same secret as an opaque bearer; both at once are ambiguous. */
    ck_assert_int_eq(call("GET", "/api/auth/session", str(a, "session"), NULL).status, 200);
    ck_assert_int_eq(send_with("POST", "/api/auth/logout", "Cookie", cookie, NULL, NULL).status, 403);
    b = send_with("POST", "/api/auth/logout", "Cookie", cookie, NULL, csrf);
    ck_assert_int_eq(b.status, 200);
    ck_assert_ptr_nonnull(strstr(apr_table_get(b.reply->headers, "Set-Cookie"), "Max-Age=0"));
    ck_assert_int_eq(send_with("GET", "/api/auth/session", "Cookie", cookie, NULL, NULL).status, 401);
    ck_assert_int_eq(call("GET", "/api/v1/auth/me", str(a, "accessToken"), NULL).status, 401);
}
END_TEST

START_TEST(two_credentials_are_ambiguous)
{
    answer a;
    px_req *req;
    px_principal *who;

    begin();
    a = sign_up("jo@example.org");
    req = unit_req(app, "GET", "/x");
    apr_table_set(req->headers_in, "x-api-key", str(a, "api_key"));
    UNIT_OK(px_account_authenticate(req, &who));
    ck_assert_uint_eq(who->credential, PX_CRED_KEY);
    apr_table_set(req->headers_in, "Cookie", "ps_sid=x");
    UNIT_ERR(px_account_authenticate(req, &who), PX_E_AUTH_AMBIGUOUS);
    apr_table_unset(req->headers_in, "Cookie");
    apr_table_set(req->headers_in, "Authorization", "Bearer abc");
    UNIT_ERR(px_account_authenticate(req, &who), PX_E_AUTH_AMBIGUOUS);
    apr_table_unset(req->headers_in, "x-api-key");
    UNIT_ERR(px_account_authenticate(req, &who), PX_E_AUTH_INVALID);
    apr_table_set(req->headers_in, "Authorization", "Basic abc");
    UNIT_ERR(px_account_authenticate(req, &who), PX_E_AUTH_INVALID);
    apr_table_unset(req->headers_in, "Authorization");
    UNIT_OK(px_account_authenticate(req, &who));
    ck_assert_ptr_null(who);
}
END_TEST

START_TEST(sessions_end_when_idle_and_in_any_case)
{
    const char *session;

    begin();
    sign_up("jo@example.org");
    session = str(login("/api/auth/login", "jo@example.org", PASSWORD), "session");
    ck_assert_int_eq(call("GET", "/api/auth/session", session, NULL).status, 200);
    unit_db_exec("UPDATE pixshift.sessions SET last_activity = now() - interval '25 hours'");
    account_cache_cut(app, unit_pool, user_id(call("GET", "/api/auth/session", session, NULL)));
    ck_assert_int_eq(call("GET", "/api/auth/session", session, NULL).status, 401);
    unit_db_exec("UPDATE pixshift.sessions SET last_activity = now() - interval '2 hours'");
    ck_assert_int_eq(call("GET", "/api/auth/session", session, NULL).status, 200);
    ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.sessions"
                             " WHERE last_activity > now() - interval '1 minute'"), 1);
    unit_db_exec("UPDATE pixshift.sessions SET expires_at = now() - interval '1 second'");
    px_user_forget(app, unit_pool, user_id(login("/api/auth/login", "jo@example.org", PASSWORD)));
    ck_assert_str_eq(code(call("GET", "/api/auth/session", session, NULL)), "AUTH_EXPIRED");
}
END_TEST

START_TEST(failed_logins_slow_down)
{
    answer a;

    begin();
    sign_up("jo@example.org");
    for (int i = 0; i < 10; i++) {
        a = login("/api/v1/auth/login", "jo@example.org", "wrong password");
        ck_assert_int_eq(a.status, 401);
        ck_assert_str_eq(code(a), "AUTH_INVALID_CREDENTIALS");
    }
    a = login("/api/v1/auth/login", "jo@example.org", PASSWORD);
    ck_assert_int_eq(a.status, 429);
    ck_assert_ptr_nonnull(apr_table_get(a.reply->headers, "Retry-After"));
    /* The same for an account that does not exist. */
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(login("/api/v1/auth/login", "nobody@example.org", PASSWORD).status, 401);
    }
    ck_assert_int_eq(login("/api/v1/auth/login", "nobody@example.org", PASSWORD).status, 429);
    unit_db_exec("UPDATE pixshift.login_failures SET blocked_until = now() - interval '1 second'");
    ck_assert_int_eq(login("/api/v1/auth/login", "jo@example.org", PASSWORD).status, 200);
    ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.login_failures"), 1);
    /* And the address: 20 failures so far, 30 are the end for everybody behind it. */
    for (int i = 0; i < 10; i++) {
        login("/api/v1/auth/login", apr_psprintf(unit_pool, "n%d@example.org", i), PASSWORD);
    }
    ck_assert_int_eq(login("/api/v1/auth/login", "jo@example.org", PASSWORD).status, 429);
}
END_TEST

/* ---- refresh tokens ---- */

START_TEST(refresh_rotates)
{
    answer a, b, c;

    begin();
    a = sign_up("jo@example.org");
    b = refresh(str(a, "refresh_token"));
    ck_assert_int_eq(b.status, 200);
    ck_assert_str_ne(str(b, "refresh_token"), str(a, "refresh_token"));
    ck_assert_int_eq(call("GET", "/api/v1/auth/me", str(b, "access_token"), NULL).status, 200);
    /* The reply was lost: the same successor again. */
    c = refresh(str(a, "refresh_token"));
    ck_assert_int_eq(c.status, 200);
    ck_assert_str_eq(str(c, "refresh_token"), str(b, "refresh_token"));
    ck_assert_int_eq(refresh("psr_x").status, 401);
    ck_assert_int_eq(refresh("psr_0123456789012345678901234567890123456789012").status, 401);
}
END_TEST

START_TEST(refresh_reuse_ends_the_login)
{
    answer a, b;

    begin();
    a = sign_up("jo@example.org");
    b = refresh(str(a, "refresh_token"));
    unit_db_exec("UPDATE pixshift.refresh_tokens SET rotated_at = rotated_at - interval '11 seconds'"
                 " WHERE rotated_at IS NOT NULL");
    ck_assert_int_eq(refresh(str(a, "refresh_token")).status, 401);
    ck_assert_int_eq(refresh(str(b, "refresh_token")).status, 401);
    ck_assert_int_eq(call("GET", "/api/v1/auth/me", str(b, "access_token"), NULL).status, 401);
    ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.audit_log"
                             " WHERE action = 'auth.refresh.reuse'"), 1);
}
END_TEST

START_TEST(refresh_grace_is_for_the_same_client_and_a_live_successor)
{
    answer a, b;
    px_req *req;
    px_reply *reply;

    begin();
    a = sign_up("jo@example.org");
    b = refresh(str(a, "refresh_token"));
    refresh(str(b, "refresh_token"));
    ck_assert_int_eq(refresh(str(a, "refresh_token")).status, 401);
    a = login("/api/v1/auth/login", "jo@example.org", PASSWORD);
    ck_assert_int_eq(refresh(str(a, "refresh_token")).status, 200);
    req = unit_send_json(unit_req(app, "POST", "/api/v1/auth/refresh"),
                         apr_psprintf(unit_pool, "{\"refresh_token\":\"%s\"}", str(a, "refresh_token")));
    apr_table_set(req->headers_in, "User-Agent", "somebody else");
    reply = px_reply_make(req);
    px_http_run(router, req, reply);
    ck_assert_int_eq(reply->status, 401);
}
END_TEST

START_TEST(refresh_tokens_end)
{
    answer a;

    begin();
    a = sign_up("jo@example.org");
    unit_db_exec("UPDATE pixshift.refresh_tokens SET expires_at = now() - interval '1 second'");
    ck_assert_str_eq(code(refresh(str(a, "refresh_token"))), "AUTH_TOKEN_EXPIRED");
    a = login("/api/v1/auth/login", "jo@example.org", PASSWORD);
    /* Idle life is 7 days, but never beyond 30 days after the login. */
    unit_db_exec("UPDATE pixshift.sessions SET created_at = now() - interval '25 days'");
    ck_assert_int_eq(refresh(str(a, "refresh_token")).status, 200);
    ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.refresh_tokens WHERE rotated_at IS NULL"
                             " AND expires_at BETWEEN now() + interval '4 days 23 hours'"
                             " AND now() + interval '5 days 1 hour'"), 1);
}
END_TEST

typedef struct { const char *token; const char *successor; int status; } racer;

static void *race(void *baton)
{
    racer *r = baton;
    apr_pool_t *pool;
    account_refresh in = {.token = r->token, .user_agent = "unit", .ip = "192.0.2.1"};
    px_err *err;

    apr_pool_create(&pool, NULL);
    err = account_refresh_run(app, pool, NULL, &in);
    r->status = err ? px_err_info(err->id)->status : 200;
    r->successor = err ? NULL : strdup(in.successor);
    apr_pool_destroy(pool);
    return NULL;
}

START_TEST(racing_refreshes_have_one_successor)
{
    answer a;
    const char *token;

    begin();
    a = sign_up("jo@example.org");
    token = str(a, "refresh_token");
    for (int round = 0; round < 25; round++) {
        racer r[8];
        pthread_t thread[8];
        const char *next = NULL;
        for (int i = 0; i < 8; i++) {
            r[i] = (racer){.token = token};
            pthread_create(&thread[i], NULL, race, &r[i]);
        }
        for (int i = 0; i < 8; i++) {
            pthread_join(thread[i], NULL);
            ck_assert_int_eq(r[i].status, 200);
            next = next ? next : r[i].successor;
            ck_assert_str_eq(r[i].successor, next);
        }
        ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.refresh_tokens"
                                 " WHERE rotated_at IS NULL"), 1);
        token = next;
    }
}
END_TEST

/* ---- API keys ---- */

static answer with_key(const char *method, const char *path, const char *key)
{
    return send_with(method, path, "x-api-key", key, NULL, NULL);
}

START_TEST(keys_are_made_listed_and_revoked)
{
    answer a, b, list;
    const char *token, *key;
    px_req *req;
    px_principal *who;
    json_object *row;

    begin();
    a = sign_up("jo@example.org");
    token = str(a, "access_token");
    b = call("POST", "/api/v1/api-keys/generate", token, "{\"name\":\"CI\",\"test_mode\":true}");
    ck_assert_int_eq(b.status, 201);
    key = str(b, "api_key");
    ck_assert(strncmp(key, "psk_test_", 9) == 0);
    list = call("GET", "/api/v1/api-keys", token, NULL);
    ck_assert_int_eq(px_json_int(list.json, "total", -1), 2);
    row = json_object_array_get_idx(px_json_get(list.json, "keys"), 0);
    ck_assert_str_eq(px_json_str(row, "name"), "CI");
    ck_assert(strncmp(px_json_str(row, "prefix"), key, 17) == 0 && strlen(px_json_str(row, "prefix")) == 17);
    ck_assert_ptr_null(strstr(json_object_to_json_string(list.json), key));
    /* KEY-5: not on account routes. */
    ck_assert_int_eq(with_key("GET", "/api/v1/auth/me", key).status, 403);
    ck_assert_int_eq(with_key("GET", "/api/v1/api-keys", key).status, 403);
    req = unit_req(app, "GET", "/x");
    apr_table_set(req->headers_in, "Authorization", apr_pstrcat(unit_pool, "Bearer ", key, NULL));
    UNIT_OK(px_account_authenticate(req, &who));
    ck_assert(who->test_mode && who->scopes == PX_SCOPE_DEFAULT_KEY);
    ck_assert_int_eq(call("DELETE", apr_pstrcat(unit_pool, "/api/v1/api-keys/", str(b, "key_id"), NULL),
                          token, NULL).status, 200);
    UNIT_ERR(px_account_authenticate(req, &who), PX_E_AUTH_INVALID);
    ck_assert_int_eq(call("DELETE", apr_pstrcat(unit_pool, "/api/v1/api-keys/", str(b, "key_id"), NULL),
                          token, NULL).status, 404);
    ck_assert_int_eq(call("DELETE", "/api/v1/api-keys/nonsense", token, NULL).status, 404);
}
END_TEST

START_TEST(keys_of_others_are_out_of_reach)
{
    answer a, b;
    const char *path;

    begin();
    a = sign_up("jo@example.org");
    b = sign_up("eve@example.org");
    path = apr_pstrcat(unit_pool, "/api/v1/api-keys/", str(a, "key_id"), NULL);
    ck_assert_int_eq(call("DELETE", path, str(b, "access_token"), NULL).status, 404);
    ck_assert_int_eq(call("POST", apr_pstrcat(unit_pool, path, "/regenerate", NULL),
                          str(b, "access_token"), NULL).status, 404);
}
END_TEST

START_TEST(regenerated_keys_replace_the_old)
{
    answer a, b;
    px_req *req;
    px_principal *who;

    begin();
    a = sign_up("jo@example.org");
    req = unit_req(app, "GET", "/x");
    apr_table_set(req->headers_in, "x-api-key", str(a, "api_key"));
    UNIT_OK(px_account_authenticate(req, &who));
    b = call("POST", apr_pstrcat(unit_pool, "/api/v1/api-keys/", str(a, "key_id"), "/regenerate", NULL),
             str(a, "access_token"), NULL);
    ck_assert_int_eq(b.status, 200);
    ck_assert_str_eq(str(b, "key_id"), str(a, "key_id"));
    UNIT_ERR(px_account_authenticate(req, &who), PX_E_AUTH_INVALID);
    apr_table_set(req->headers_in, "x-api-key", str(b, "api_key"));
    UNIT_OK(px_account_authenticate(req, &who));
}
END_TEST

START_TEST(uses_are_counted_without_a_write_each)
{
    px_req *req;
    px_principal *who;

    begin();
    req = unit_req(app, "GET", "/x");
    apr_table_set(req->headers_in, "x-api-key", str(sign_up("jo@example.org"), "api_key"));
    for (int i = 0; i < 10; i++) {
        UNIT_OK(px_account_authenticate(req, &who));
    }
    ck_assert_int_eq(sql_int("SELECT usage_count FROM pixshift.api_keys"), 1);
    ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.api_keys WHERE last_used IS NOT NULL"), 1);
    /* A minute later, the next look-up writes them all. */
    unit_db_exec("UPDATE pixshift.api_keys SET last_used = now() - interval '2 minutes'");
    px_user_forget(app, unit_pool, who->user_id);
    UNIT_OK(px_account_authenticate(req, &who));
    ck_assert_int_eq(sql_int("SELECT usage_count FROM pixshift.api_keys"), 11);
}
END_TEST

START_TEST(expired_keys_are_refused)
{
    px_req *req;
    px_principal *who;

    begin();
    req = unit_req(app, "GET", "/x");
    apr_table_set(req->headers_in, "x-api-key", str(sign_up("jo@example.org"), "api_key"));
    unit_db_exec("UPDATE pixshift.api_keys SET expires_at = now() - interval '1 second'");
    UNIT_ERR(px_account_authenticate(req, &who), PX_E_AUTH_EXPIRED);
}
END_TEST

/* ---- profile ---- */

START_TEST(profile_is_read_and_changed)
{
    answer a, b;
    const char *token;

    begin();
    a = sign_up("jo@example.org");
    token = str(a, "access_token");
    b = call("PUT", "/api/users/profile", token, "{\"phone\":\"+14155552671\"}");
    ck_assert_int_eq(b.status, 200);
    ck_assert_str_eq(px_json_str(px_json_get(b.json, "user"), "phone"), "+14155552671");
    ck_assert_int_eq(call("PUT", "/api/users/profile", token, "{\"phone\":\"0123\"}").status, 400);
    ck_assert_int_eq(call("PUT", "/api/users/profile", token, "{\"role\":\"ADMIN\"}").status, 400);
    b = call("GET", "/api/users/profile", token, NULL);
    ck_assert_int_eq(b.status, 200);
    ck_assert_int_eq(px_json_int(px_json_get(b.json, "stats"), "totalTransformations", -1), 0);
    ck_assert_ptr_nonnull(px_json_get(px_json_get(b.json, "stats"), "totalSpent"));
    /* C-27: unproven numbers do not exclude each other. */
    b = call("PUT", "/api/users/profile", str(sign_up("eve@example.org"), "access_token"),
             "{\"phone\":\"+14155552671\"}");
    ck_assert_int_eq(b.status, 200);
    unit_db_exec("UPDATE pixshift.users SET phone_verified = true WHERE email = 'jo@example.org'");
    call("PUT", "/api/users/profile", token, "{\"phone\":\"+14155552672\"}");
    ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.users WHERE phone_verified"), 0);
}
END_TEST

/* ---- admin ---- */

START_TEST(admin_routes_are_for_admins)
{
    answer a;
    const char *support;

    begin();
    a = sign_up("jo@example.org");
    ck_assert_int_eq(call("GET", "/api/admin/users", str(a, "access_token"), NULL).status, 403);
    ck_assert_int_eq(call("GET", "/api/v1/admin/users", NULL, NULL).status, 401);
    support = make_admin("support");
    ck_assert_int_eq(call("GET", "/api/v1/admin/users?role=admin", support, NULL).status, 200);
    ck_assert_int_eq(call("PUT", apr_pstrcat(unit_pool, "/api/v1/admin/users/", user_id(a), "/role", NULL),
                          support, "{\"role\":\"admin\"}").status, 403);
}
END_TEST

START_TEST(admin_lists_users)
{
    answer a;
    const char *admin;

    begin();
    sign_up("jo@example.org");
    sign_up("eve@example.org");
    admin = make_admin(NULL);
    a = call("GET", "/api/v1/admin/users?limit=2", admin, NULL);
    ck_assert_int_eq(px_json_int(a.json, "total", -1), 3);
    ck_assert_int_eq(json_object_array_length(px_json_get(a.json, "users")), 2);
    a = call("GET", "/api/admin/users?role=ADMIN", admin, NULL);
    ck_assert_int_eq(px_json_int(px_json_get(a.json, "pagination"), "total", -1), 1);
    a = call("GET", "/api/v1/admin/users?role=free&search=EVE", admin, NULL);
    ck_assert_int_eq(px_json_int(a.json, "total", -1), 1);
    a = call("GET", "/api/v1/admin/users?page=9", admin, NULL);
    ck_assert_int_eq(px_json_int(a.json, "total", -1), 3);
    ck_assert_int_eq(json_object_array_length(px_json_get(a.json, "users")), 0);
    ck_assert_int_eq(call("GET", "/api/v1/admin/users?role=king", admin, NULL).status, 400);
}
END_TEST

START_TEST(admin_changes_roles)
{
    answer jo, a;
    const char *admin, *path;

    begin();
    jo = sign_up("jo@example.org");
    admin = make_admin(NULL);
    path = apr_pstrcat(unit_pool, "/api/v1/admin/users/", user_id(jo), "/role", NULL);
    a = call("PUT", path, admin, "{\"role\":\"paid\",\"days\":30}");
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(px_json_str(px_json_get(a.json, "user"), "role"), "paid");
    ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.users WHERE role = 'user'"
                             " AND entitlement = 'paid' AND entitlement_until > now()"), 1);
    a = call("PUT", path, admin, "{\"role\":\"admin\",\"admin_scope\":\"finance\"}");
    ck_assert_str_eq(px_json_str(px_json_get(a.json, "user"), "admin_scope"), "finance");
    ck_assert_int_eq(call("GET", "/api/admin/users", str(jo, "access_token"), NULL).status, 200);
    call("PUT", path, admin, "{\"role\":\"user\"}");
    ck_assert_int_eq(call("GET", "/api/admin/users", str(jo, "access_token"), NULL).status, 403);
    a = call("GET", "/api/admin/actions?entityType=USER&actionType=UPDATE", admin, NULL);
    ck_assert_int_eq(px_json_int(px_json_get(a.json, "pagination"), "total", -1), 4);
    ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.violation_audit_chain"), 0);
    ck_assert_int_eq(call("PUT", "/api/v1/admin/users/0190a5f2-7c1e-7aaa-8bbb-0123456789ab/role", admin,
                          "{\"role\":\"admin\"}").status, 404);
}
END_TEST

START_TEST(admin_grants_credits)
{
    answer jo, a;
    const char *admin, *path;

    begin();
    jo = sign_up("jo@example.org");
    admin = make_admin("finance");
    path = apr_pstrcat(unit_pool, "/api/v1/admin/users/", user_id(jo), "/credits", NULL);
    ck_assert_int_eq(call("POST", path, admin, "{\"amount\":5}").status, 400);
    a = call("POST", path, admin, "{\"amount\":5,\"reason\":\"welcome\"}");
    ck_assert_int_eq(a.status, 200);
    ck_assert_int_eq(px_json_int(a.json, "credits", -1), 5);
    ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.audit_log WHERE action = 'user.credits.add'"
                             " AND new_value->>'amount' = '5' AND admin_email = 'admin@example.org'"), 1);
    ck_assert_int_eq(sql_int("SELECT count(*) FROM pixshift.ledger_verify()"), 0);
}
END_TEST

START_TEST(suspension_cuts_everything_at_once)
{
    answer jo, a;
    const char *admin, *token, *path, *session;
    px_req *req;
    px_principal *who;

    begin();
    jo = sign_up("jo@example.org");
    token = str(jo, "access_token");
    session = str(login("/api/auth/login", "jo@example.org", PASSWORD), "session");
    req = unit_req(app, "GET", "/x");
    apr_table_set(req->headers_in, "x-api-key", str(jo, "api_key"));
    UNIT_OK(px_account_authenticate(req, &who));
    ck_assert_int_eq(call("GET", "/api/v1/auth/me", token, NULL).status, 200);
    ck_assert_int_eq(call("GET", "/api/auth/session", session, NULL).status, 200);
    admin = make_admin("support");
    path = apr_pstrcat(unit_pool, "/api/v1/admin/users/", user_id(jo), NULL);
    a = call("POST", apr_pstrcat(unit_pool, path, "/suspend", NULL), admin, "{\"reason\":\"abuse\"}");
    ck_assert_int_eq(a.status, 200);
    ck_assert_int_eq(call("GET", "/api/v1/auth/me", token, NULL).status, 401);
    ck_assert_int_eq(call("GET", "/api/auth/session", session, NULL).status, 401);
    UNIT_ERR(px_account_authenticate(req, &who), PX_E_ACCOUNT_SUSPENDED);
    ck_assert_int_eq(refresh(str(jo, "refresh_token")).status, 401);
    ck_assert_int_eq(login("/api/v1/auth/login", "jo@example.org", PASSWORD).status, 403);
    ck_assert_int_eq(login("/api/v1/auth/login", "jo@example.org", "wrong password").status, 401);
    a = call("POST", apr_pstrcat(unit_pool, path, "/unsuspend", NULL), admin, NULL);
    ck_assert_int_eq(a.status, 200);
    UNIT_OK(px_account_authenticate(req, &who));
    /* What was cut stays cut. */
    ck_assert_int_eq(call("GET", "/api/v1/auth/me", token, NULL).status, 401);
    ck_assert_int_eq(login("/api/v1/auth/login", "jo@example.org", PASSWORD).status, 200);
}
END_TEST

START_TEST(a_new_password_ends_all_logins)
{
    answer jo;

    begin();
    jo = sign_up("jo@example.org");
    ck_assert_int_eq(call("GET", "/api/v1/auth/me", str(jo, "access_token"), NULL).status, 200);
    UNIT_OK(px_user_set_password(app, unit_pool, user_id(jo), "a new one, much better", NULL));
    ck_assert_int_eq(call("GET", "/api/v1/auth/me", str(jo, "access_token"), NULL).status, 401);
    ck_assert_int_eq(login("/api/v1/auth/login", "jo@example.org", PASSWORD).status, 401);
    ck_assert_int_eq(login("/api/v1/auth/login", "jo@example.org", "a new one, much better").status, 200);
}
END_TEST

START_TEST(platform_figures)
{
    answer a;

    begin();
    sign_up("jo@example.org");
    a = call("GET", "/api/admin/stats", make_admin(NULL), NULL);
    ck_assert_int_eq(a.status, 200);
    ck_assert_int_eq(px_json_int(a.json, "totalUsers", -1), 2);
    ck_assert_int_eq(px_json_int(a.json, "activeUsers", -1), 2);
    ck_assert_int_eq(px_json_int(a.json, "totalTransformations", -1), 0);
    ck_assert_ptr_nonnull(px_json_get(a.json, "totalRevenue"));
}
END_TEST

/* C-41: the row of a user with a wallet cannot be deleted. */
START_TEST(users_are_not_deleted)
{
    begin();
    sign_up("jo@example.org");
    UNIT_ERR(px_db_query(app->db, unit_pool, NULL, "DELETE FROM pixshift.users", ""), PX_E_INTERNAL);
}
END_TEST

int main(void)
{
    TCase *tc;

    unit_db_begin("account");
    tc = unit_begin("account_db");
    tcase_add_test(tc, register_gives_everything);
    tcase_add_test(tc, strange_user_agents_do_no_harm);
    tcase_add_test(tc, register_refuses_what_is_wrong);
    tcase_add_test(tc, me_and_logout_with_an_access_token);
    tcase_add_test(tc, cookie_session);
    tcase_add_test(tc, two_credentials_are_ambiguous);
    tcase_add_test(tc, sessions_end_when_idle_and_in_any_case);
    tcase_add_test(tc, failed_logins_slow_down);
    tcase_add_test(tc, refresh_rotates);
    tcase_add_test(tc, refresh_reuse_ends_the_login);
    tcase_add_test(tc, refresh_grace_is_for_the_same_client_and_a_live_successor);
    tcase_add_test(tc, refresh_tokens_end);
    tcase_add_test(tc, racing_refreshes_have_one_successor);
    tcase_add_test(tc, keys_are_made_listed_and_revoked);
    tcase_add_test(tc, keys_of_others_are_out_of_reach);
    tcase_add_test(tc, regenerated_keys_replace_the_old);
    tcase_add_test(tc, uses_are_counted_without_a_write_each);
    tcase_add_test(tc, expired_keys_are_refused);
    tcase_add_test(tc, profile_is_read_and_changed);
    tcase_add_test(tc, admin_routes_are_for_admins);
    tcase_add_test(tc, admin_lists_users);
    tcase_add_test(tc, admin_changes_roles);
    tcase_add_test(tc, admin_grants_credits);
    tcase_add_test(tc, suspension_cuts_everything_at_once);
    tcase_add_test(tc, a_new_password_ends_all_logins);
    tcase_add_test(tc, platform_figures);
    tcase_add_test(tc, users_are_not_deleted);
    return unit_db_end(unit_run());
}
