/* http/: router, guards, validation, pages, replies in three spellings, events, waits. */
#include "unit_http.h"

#include <stddef.h>

/* ---- a small application ---- */

static px_principal *signed_in;         /* what the authenticator finds; NULL = nothing was sent */
static px_err_id auth_error = PX_E_COUNT;
static int handler_ran;

static px_err *authenticate(px_req *req, px_principal **who)
{
    if (auth_error != PX_E_COUNT) {
        return px_error(req->pool, auth_error, NULL, NULL);
    }
    *who = signed_in;
    return NULL;
}

static px_err *handle_ok(px_req *req, px_reply *reply)
{
    handler_ran++;
    px_jw_object(reply->json, NULL);
    px_reply_success(req, reply);
    px_jw_str(reply->json, "route_pattern", req->route->pattern);
    px_jw_end_object(reply->json);
    return NULL;
}

static px_err *handle_field_error(px_req *req, px_reply *reply)
{
    apr_table_set(reply->headers, "Location", "/never");
    px_jw_object(reply->json, NULL);
    return px_err_with_number(px_error_field(req->pool, "image_url", "it is %s.", "wrong"), "max_bytes", 5);
}

static px_err *handle_crash(px_req *req, px_reply *reply)
{
    (void)reply;
    return px_error(req->pool, PX_E_INTERNAL, "PXS4999", "secret %s", "detail");
}

typedef struct { const char *first_name; int64_t age; bool keep_text; json_object *meta_data; const char *mail;
                 const char *id; const char *mode; const char *image; } person;

static const px_field person_fields[] = {
    {"first_name", PX_F_STRING, true, 1, 5, NULL, offsetof(person, first_name)},
    {"age", PX_F_INT, false, 0, 150, NULL, offsetof(person, age)},
    {"keep_text", PX_F_BOOL, false, 0, 0, NULL, offsetof(person, keep_text)},
    {"meta_data", PX_F_OBJECT, false, 0, 0, NULL, offsetof(person, meta_data)},
    {"mail", PX_F_EMAIL, false, 0, 0, NULL, offsetof(person, mail)},
    {"id", PX_F_UUID, false, 0, 0, NULL, offsetof(person, id)},
    {"mode", PX_F_ENUM, false, 0, 0, "top|full", offsetof(person, mode)},
    {"image", PX_F_IMAGE, false, 0, 0, NULL, offsetof(person, image)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0}
};

static px_err *handle_person(px_req *req, px_reply *reply)
{
    person p = {0};
    px_err *err = px_validate(req, person_fields, &p);
    return err ? err : handle_ok(req, reply);
}

static int wakes;

static px_err *resume_twice(px_req *req, px_reply *reply)
{
    if (++wakes < 3) {
        return NULL;
    }
    if (wakes == 10) {
        return px_error(req->pool, PX_E_PROVIDER, NULL, NULL);
    }
    reply->mode = PX_REPLY_JSON;
    return handle_ok(req, reply);
}

static px_err *handle_wait(px_req *req, px_reply *reply)
{
    (void)req;
    reply->mode = PX_REPLY_WAIT;
    reply->topic = "job";
    reply->resume = resume_twice;
    return NULL;
}

#define PIX PX_DIALECT_PIXSHIFT
#define TRAIL PX_DIALECT_TRAILROOM
static const px_route routes[] = {
    {"GET", "/api/open", PIX, PX_CRED_NONE, 0, PX_BODY_NONE, 0, handle_ok, ""},
    {"GET", "/api/things", PIX, PX_CRED_NONE, 0, PX_BODY_NONE, 0, handle_ok, ""},
    {"POST", "/api/things", PIX, PX_CRED_NONE, 0, PX_BODY_JSON, 0, handle_person, ""},
    {"POST", "/api/forms", PIX, PX_CRED_NONE, 0, PX_BODY_JSON_OR_MULTIPART, 0, handle_person, ""},
    {"POST", "/api/images", PIX, PX_CRED_NONE, 0, PX_BODY_JSON_OR_MULTIPART, PX_ROUTE_IMAGES | PX_ROUTE_ONE_FILE,
     handle_person, ""},
    {"GET", "/api/things/{id}", PIX, PX_CRED_NONE, 0, PX_BODY_NONE, 0, handle_ok, ""},
    {"DELETE", "/api/things/{id}", PIX, PX_CRED_ANY, PX_SCOPE_JOBS_WRITE, PX_BODY_NONE, 0, handle_ok, ""},
    {"GET", "/api/things/history", PIX, PX_CRED_NONE, 0, PX_BODY_NONE, 0, handle_ok, ""},
    {"GET", "/api/things/{thing}/parts/{part}", PIX, PX_CRED_NONE, 0, PX_BODY_NONE, 0, handle_ok, ""},
    {"GET", "/api/files/{key*}", PIX, PX_CRED_NONE, 0, PX_BODY_NONE, PX_ROUTE_NO_V1_ALIAS, handle_ok, ""},
    {"GET", "/api/admin", PIX, PX_CRED_ANY, 0, PX_BODY_NONE, PX_ROUTE_ADMIN, handle_ok, ""},
    {"GET", "/api/private", PIX, PX_CRED_USER, 0, PX_BODY_NONE, 0, handle_ok, ""},
    {"POST", "/api/private", PIX, PX_CRED_ANY, PX_SCOPE_JOBS_WRITE, PX_BODY_NONE, 0, handle_ok, ""},
    {"GET", "/api/both", PIX, PX_CRED_NONE, 0, PX_BODY_NONE, 0, handle_ok, ""},
    {"GET", "/api/v1/both", TRAIL, PX_CRED_NONE, 0, PX_BODY_NONE, 0, handle_ok, ""},
    {"GET", "/api/fail", PIX, PX_CRED_NONE, 0, PX_BODY_NONE, 0, handle_field_error, ""},
    {"GET", "/api/v1/fail", TRAIL, PX_CRED_NONE, 0, PX_BODY_NONE, 0, handle_field_error, ""},
    {"GET", "/v1/fail", PX_DIALECT_OPENAI, PX_CRED_NONE, 0, PX_BODY_NONE, 0, handle_field_error, ""},
    {"GET", "/api/crash", PIX, PX_CRED_NONE, 0, PX_BODY_NONE, 0, handle_crash, ""},
    {"GET", "/api/wait", PIX, PX_CRED_NONE, 0, PX_BODY_NONE, 0, handle_wait, ""},
    {NULL, NULL, PIX, 0, 0, PX_BODY_NONE, 0, NULL, NULL}
};

static px_app *app;
static px_router *router;

static void begin(void)
{
    const px_route *const tables[] = {routes, px_http_routes, NULL};
    const char *const directives[] = {"PixShiftBaseURL", "https://px.example/", "PixShiftCORSOrigins",
                                      "https://a.example https://b.example", NULL};
    app = unit_app(directives);
    app->settings = app->settings;
    ck_assert_ptr_null(px_router_make(unit_pool, tables, &router));
    px_http_set_authenticator(authenticate);
    signed_in = NULL;
    auth_error = PX_E_COUNT;
    handler_ran = 0;
}

static px_reply *run(px_req *req)
{
    px_reply *reply = px_reply_make(req);
    px_http_run(router, req, reply);
    return reply;
}

static const char *text(px_reply *reply)
{
    size_t len;
    return px_reply_text(reply, &len);
}

static px_reply *get(const char *path)
{
    return run(unit_req(app, "GET", path));
}

static json_object *parsed(px_reply *reply)
{
    json_object *obj = NULL;
    UNIT_OK(px_json_parse(unit_pool, text(reply), strlen(text(reply)), NULL, &obj));
    return obj;
}

static const char *code(px_reply *reply)
{
    return px_json_str(px_json_get(parsed(reply), "error"), "code");
}

/* ---- router ---- */

static const char *found(const char *method, const char *path)
{
    const char *allow;
    px_req *req = unit_req(app, method, path);
    return px_router_find(router, req, &allow) ? NULL : req->route->pattern;
}

START_TEST(routes_are_found)
{
    const char *allow;
    px_req *req;
    begin();
    ck_assert_str_eq(found("GET", "/api/things"), "/api/things");
    ck_assert_str_eq(found("HEAD", "/api/things"), "/api/things");
    ck_assert_str_eq(found("GET", "/api/things/history"), "/api/things/history");
    ck_assert_str_eq(found("GET", "/api/things/abc"), "/api/things/{id}");
    ck_assert_str_eq(found("DELETE", "/api/things/history"), "/api/things/{id}");
    ck_assert_ptr_null(found("GET", "/api/things/"));
    ck_assert_ptr_null(found("GET", "/api//things"));
    ck_assert_ptr_null(found("GET", "/api/thing"));
    ck_assert_ptr_null(found("GET", "/api/thingsx"));
    ck_assert_ptr_null(found("GET", "api/things"));
    ck_assert_ptr_null(found("GET", ""));
    ck_assert_ptr_null(found("GET", "/"));
    ck_assert_ptr_null(found("GET", "/api/files/"));
    req = unit_req(app, "GET", "/api/things/t-1/parts/p 2");
    UNIT_OK(px_router_find(router, req, &allow));
    ck_assert_str_eq(px_param(req, "thing"), "t-1");
    ck_assert_str_eq(px_param(req, "part"), "p 2");
    ck_assert_str_eq(px_param(req, "other"), "");
    req = unit_req(app, "GET", "/api/files/a/b//c.png");
    UNIT_OK(px_router_find(router, req, &allow));
    ck_assert_str_eq(px_param(req, "key"), "a/b//c.png");
    req = unit_req(app, "PATCH", "/api/things/history");
    UNIT_ERR(px_router_find(router, req, &allow), PX_E_METHOD_NOT_ALLOWED);
    ck_assert_str_eq(allow, "GET, HEAD, DELETE, OPTIONS");
}
END_TEST

/* C-1: /api paths are aliased under /api/v1 only where nothing of that name is there. */
START_TEST(c1_aliases)
{
    const px_route **list;
    int aliases = 0;
    begin();
    ck_assert_str_eq(found("GET", "/api/v1/things/x"), "/api/v1/things/{id}");
    ck_assert_str_eq(found("POST", "/api/v1/things"), "/api/v1/things");
    ck_assert_ptr_null(found("GET", "/api/v1/files/x"));
    for (int i = px_router_list(router, &list) - 1; i >= 0; i--) {
        aliases += strcmp(list[i]->pattern, "/api/v1/both") == 0;
    }
    ck_assert_int_eq(aliases, 1);
    ck_assert_str_eq(text(get("/api/v1/both")), "{\"route_pattern\":\"/api/v1/both\"}");
    /* An alias speaks the dialect of the contract that it belongs to. */
    ck_assert_str_eq(text(get("/api/v1/open")), "{\"routePattern\":\"/api/v1/open\"}");
}
END_TEST

START_TEST(bad_tables_are_refused)
{
    static const struct { px_route one, two; const char *says; } cases[] = {
        {{"GET", "/a/{x}", PIX, 1, 0, PX_BODY_NONE, 0, handle_ok, ""},
         {"GET", "/a/{y}", PIX, 1, 0, PX_BODY_NONE, 0, handle_ok, ""}, "exists twice"},
        {{"GET", "a", PIX, 1, 0, PX_BODY_NONE, 0, handle_ok, ""}, {0}, "does not begin"},
        {{"GET", "/a/x{y}", PIX, 1, 0, PX_BODY_NONE, 0, handle_ok, ""}, {0}, "whole segment"},
        {{"GET", "/a/{y*}/b", PIX, 1, 0, PX_BODY_NONE, 0, handle_ok, ""}, {0}, "goes on"},
        {{"GET", "/a", PIX, 1, 0, PX_BODY_NONE, 0, NULL, ""}, {0}, "lacks"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        px_route table[3] = {cases[i].one, cases[i].two, {0}};
        const px_route *const tables[] = {table, NULL};
        px_router *made;
        const char *fault = px_router_make(unit_pool, tables, &made);
        ck_assert_ptr_nonnull(fault);
        ck_assert_msg(strstr(fault, cases[i].says) != NULL, "%s", fault);
    }
}
END_TEST

/* ---- replies ---- */

START_TEST(c18_error_envelopes)
{
    px_reply *reply;
    begin();
    reply = get("/api/fail");
    ck_assert_int_eq(reply->status, 400);
    ck_assert_str_eq(text(reply), "{\"success\":false,\"error\":{\"code\":\"VALIDATION_ERROR\",\"message\":"
        "\"The field 'imageUrl' is not valid: it is wrong.\",\"category\":\"VALIDATION\",\"details\":"
        "{\"field\":\"imageUrl\",\"reason\":\"it is wrong.\",\"maxBytes\":5},\"requestId\":\"req-1\"}}");
    ck_assert_ptr_null(apr_table_get(reply->headers, "Location"));
    reply = get("/api/v1/fail");
    ck_assert_str_eq(text(reply), "{\"error\":{\"code\":\"INVALID_REQUEST\",\"message\":"
        "\"The field 'image_url' is not valid: it is wrong.\",\"category\":\"VALIDATION\",\"details\":"
        "{\"field\":\"image_url\",\"reason\":\"it is wrong.\",\"max_bytes\":5},\"request_id\":\"req-1\"},"
        "\"detail\":\"The field 'image_url' is not valid: it is wrong.\"}");
    reply = get("/v1/fail");
    ck_assert_str_eq(text(reply), "{\"error\":{\"message\":\"The field 'image_url' is not valid: it is wrong.\","
        "\"type\":\"invalid_request_error\",\"param\":\"image_url\",\"code\":\"INVALID_REQUEST\"}}");
}
END_TEST

START_TEST(private_detail_stays_private)
{
    px_reply *reply;
    begin();
    reply = get("/api/crash");
    ck_assert_int_eq(reply->status, 500);
    ck_assert_str_eq(code(reply), "INTERNAL_ERROR");
    ck_assert_ptr_null(strstr(text(reply), "secret"));
    ck_assert_ptr_null(strstr(text(reply), "PXS"));
    ck_assert_str_eq(apr_table_get(reply->headers, "Retry-After"), "5");
}
END_TEST

START_TEST(every_answer_has_its_headers)
{
    static const char *const paths[] = {"/api/open", "/api/fail", "/nowhere", "/api/v1/nowhere"};
    px_req *req;
    px_reply *reply;
    begin();
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        reply = get(paths[i]);
        ck_assert_str_eq(apr_table_get(reply->headers, "X-Content-Type-Options"), "nosniff");
        ck_assert_str_eq(apr_table_get(reply->headers, "Cache-Control"), "no-store");
        ck_assert_str_eq(apr_table_get(reply->headers, "X-Request-Id"), "req-1");
        ck_assert_str_eq(reply->content_type, "application/json");
    }
    reply = run(unit_req(app, "PUT", "/api/open"));
    ck_assert_int_eq(reply->status, 405);
    ck_assert_str_eq(apr_table_get(reply->headers, "Allow"), "GET, HEAD, OPTIONS");
    req = unit_req(app, "OPTIONS", "/api/open");
    reply = run(req);
    ck_assert_int_eq(reply->status, 204);
    ck_assert_str_eq(apr_table_get(reply->headers, "Allow"), "GET, HEAD, OPTIONS");
    ck_assert_str_eq(code(get("/api/v1/nowhere")), "NOT_FOUND");
    ck_assert_ptr_nonnull(px_json_str(parsed(get("/api/v1/nowhere")), "detail"));
}
END_TEST

START_TEST(success_only_on_writes)
{
    begin();
    ck_assert_str_eq(text(get("/api/open")), "{\"routePattern\":\"/api/open\"}");
    ck_assert_str_eq(text(run(unit_send_json(unit_req(app, "POST", "/api/things"), "{\"firstName\":\"x\"}"))),
                     "{\"success\":true,\"routePattern\":\"/api/things\"}");
}
END_TEST

START_TEST(cors)
{
    px_req *req;
    px_reply *reply;
    begin();
    req = unit_req(app, "OPTIONS", "/api/private");
    apr_table_set(req->headers_in, "Origin", "https://b.example");
    apr_table_set(req->headers_in, "Access-Control-Request-Method", "POST");
    reply = run(req);
    ck_assert_int_eq(reply->status, 204);
    ck_assert_str_eq(apr_table_get(reply->headers, "Access-Control-Allow-Origin"), "https://b.example");
    ck_assert_ptr_nonnull(strstr(apr_table_get(reply->headers, "Access-Control-Allow-Headers"), "X-API-Key"));
    ck_assert_ptr_null(apr_table_get(reply->headers, "Access-Control-Allow-Credentials"));
    apr_table_set(req->headers_in, "Origin", "https://evil.example");
    reply = run(req);
    ck_assert_ptr_null(apr_table_get(reply->headers, "Access-Control-Allow-Origin"));
    ck_assert_ptr_null(apr_table_get(reply->headers, "Access-Control-Allow-Methods"));
    req = unit_req(app, "GET", "/api/open");
    apr_table_set(req->headers_in, "Origin", "https://a.example");
    reply = run(req);
    ck_assert_str_eq(apr_table_get(reply->headers, "Access-Control-Allow-Origin"), "https://a.example");
    ck_assert_str_eq(apr_table_get(reply->headers, "Vary"), "Origin");
}
END_TEST

/* ---- guards ---- */

static px_principal user(unsigned credential)
{
    px_principal p = {.user_id = "u1", .credential = credential, .scopes = PX_SCOPE_DEFAULT_KEY,
                      .csrf = credential == PX_CRED_COOKIE ? "tok" : NULL,
                      .key_id = credential == PX_CRED_KEY ? "k1" : NULL};
    return p;
}

START_TEST(credentials)
{
    px_principal session = user(PX_CRED_SESSION), key = user(PX_CRED_KEY);
    begin();
    ck_assert_str_eq(code(get("/api/private")), "AUTH_REQUIRED");
    ck_assert_ptr_nonnull(apr_table_get(get("/api/private")->headers, "WWW-Authenticate"));
    signed_in = &session;
    ck_assert_int_eq(get("/api/private")->status, 200);
    signed_in = &key;
    ck_assert_str_eq(code(get("/api/private")), "AUTH_FORBIDDEN");          /* not for keys */
    auth_error = PX_E_AUTH_EXPIRED;
    ck_assert_str_eq(code(get("/api/private")), "AUTH_EXPIRED");
    ck_assert_int_eq(get("/api/open")->status, 200);        /* asks for none, so a stale one is no matter */
    ck_assert_int_eq(handler_ran, 2);
}
END_TEST

START_TEST(roles_and_scopes)
{
    px_principal someone = user(PX_CRED_SESSION), key = user(PX_CRED_KEY);
    begin();
    signed_in = &someone;
    ck_assert_int_eq(get("/api/admin")->status, 403);
    someone.role = PX_ROLE_ADMIN;
    ck_assert_int_eq(get("/api/admin")->status, 200);
    signed_in = &key;
    ck_assert_int_eq(run(unit_req(app, "POST", "/api/private"))->status, 200);
    key.scopes = PX_SCOPE_JOBS_READ;
    px_reply *reply = run(unit_req(app, "POST", "/api/private"));
    ck_assert_int_eq(reply->status, 403);
    ck_assert_ptr_nonnull(strstr(text(reply), "jobs:write"));
    someone.scopes = 0;                     /* interactive credentials have all scopes */
    signed_in = &someone;
    ck_assert_int_eq(run(unit_req(app, "POST", "/api/private"))->status, 200);
}
END_TEST

static int csrf_status(const char *token, const char *origin, const char *site)
{
    px_req *req = unit_req(app, "POST", "/api/private");
    apr_table_set(req->headers_in, "Host", "127.0.0.1:8080");
    if (token) {
        apr_table_set(req->headers_in, "X-CSRF-Token", token);
    }
    if (origin) {
        apr_table_set(req->headers_in, "Origin", origin);
    }
    if (site) {
        apr_table_set(req->headers_in, "Sec-Fetch-Site", site);
    }
    return run(req)->status;
}

START_TEST(cookie_writes_need_their_token)
{
    px_principal cookie = user(PX_CRED_COOKIE), session = user(PX_CRED_SESSION);
    begin();
    signed_in = &cookie;
    ck_assert_int_eq(csrf_status(NULL, NULL, NULL), 403);
    ck_assert_int_eq(csrf_status("", NULL, NULL), 403);
    ck_assert_int_eq(csrf_status("toK", NULL, NULL), 403);
    ck_assert_int_eq(csrf_status("token", NULL, NULL), 403);
    ck_assert_int_eq(csrf_status("tok", NULL, NULL), 200);
    ck_assert_int_eq(csrf_status("tok", "https://px.example", "same-origin"), 200);
    ck_assert_int_eq(csrf_status("tok", "http://127.0.0.1:8080", NULL), 200);
    ck_assert_int_eq(csrf_status("tok", "https://evil.example", NULL), 403);
    ck_assert_int_eq(csrf_status("tok", "https://a.example", NULL), 403);
    ck_assert_int_eq(csrf_status("tok", "null", NULL), 403);
    ck_assert_int_eq(csrf_status("tok", NULL, "cross-site"), 403);
    ck_assert_int_eq(csrf_status("tok", "https://px.example", "same-site"), 403);
    cookie.csrf = NULL;
    ck_assert_int_eq(csrf_status("", NULL, NULL), 403);
    ck_assert_int_eq(get("/api/private")->status, 200);             /* reading is safe */
    signed_in = &session;
    ck_assert_int_eq(csrf_status(NULL, "https://evil.example", "cross-site"), 200);
}
END_TEST

START_TEST(rate_limits)
{
    px_principal key = user(PX_CRED_KEY);
    px_reply *reply;
    begin();
    unit_give_cache(app);
    for (int i = 0; i < 100; i++) {
        reply = get(i % 2 ? "/api/open" : "/nowhere");
        ck_assert_int_eq(reply->status, i % 2 ? 200 : 404);
    }
    ck_assert_str_eq(apr_table_get(reply->headers, "X-RateLimit-Limit"), "100");
    ck_assert_int_le(atoi(apr_table_get(reply->headers, "X-RateLimit-Remaining")), 1);
    ck_assert_ptr_nonnull(strstr(apr_table_get(reply->headers, "RateLimit-Policy"), "\"ip\";q=100;w=60"));
    reply = get("/api/open");
    ck_assert_int_eq(reply->status, 429);
    ck_assert_str_eq(code(reply), "RATE_LIMIT_EXCEEDED");
    ck_assert_str_eq(apr_table_get(reply->headers, "Retry-After"), "1");
    ck_assert_str_eq(apr_table_get(reply->headers, "X-RateLimit-Remaining"), "0");
    ck_assert_int_eq(px_counter_value(app->cache, PX_C_RATE_LIMITED), 1);
    ck_assert_int_eq(get("/healthz")->status, 200);
    ck_assert_int_eq(px_counter_value(app->cache, PX_C_REQUESTS), 102);
    /* Other addresses are not concerned; a /64 of IPv6 is one. */
    for (int i = 0; i < 101; i++) {
        px_req *req = unit_req(app, "GET", "/api/open");
        req->client_ip = apr_psprintf(unit_pool, "2001:db8:1:2:%x::%x", i, i + 1);
        reply = run(req);
    }
    ck_assert_int_eq(reply->status, 429);
    /* A key has its own limit besides. */
    px_req *req = unit_req(app, "POST", "/api/private");
    req->client_ip = "::ffff:198.51.100.7";
    signed_in = &key;
    reply = run(req);
    ck_assert_int_eq(reply->status, 200);
    ck_assert_ptr_nonnull(strstr(apr_table_get(reply->headers, "RateLimit"), "\"key\";r=999;t=4"));
}
END_TEST

START_TEST(bodies)
{
    px_req *req;
    char *big = apr_palloc(unit_pool, 200001);
    begin();
    memset(big, ' ', 200000);
    big[200000] = '\0';
#define POST(path, type, data) run(unit_send(unit_req(app, "POST", path), type, data, strlen(data)))
    ck_assert_int_eq(POST("/api/things", "application/json", "{\"firstName\":\"x\"}")->status, 200);
    ck_assert_int_eq(POST("/api/things", "application/problem+json; charset=utf-8", "{\"firstName\":\"x\"}")->status, 200);
    ck_assert_int_eq(POST("/api/things", "text/plain", "{\"firstName\":\"x\"}")->status, 415);
    ck_assert_int_eq(POST("/api/things", "multipart/form-data; boundary=b", "--b--")->status, 415);
    ck_assert_int_eq(POST("/api/things", "application/json", "[1]")->status, 400);
    ck_assert_int_eq(POST("/api/things", "application/json", "{\"firstName\":\"x\",}")->status, 400);
    ck_assert_int_eq(POST("/api/things", "application/json", "")->status, 400);
    ck_assert_int_eq(run(unit_req(app, "POST", "/api/things"))->status, 400);
    ck_assert_int_eq(POST("/api/forms", "multipart/form-data; boundary=b",
        "--b\r\nContent-Disposition: form-data; name=\"firstName\"\r\n\r\nx\r\n--b--")->status, 200);
    ck_assert_str_eq(code(POST("/api/things", "application/json", big)), "FILE_TOO_LARGE");
    /* Announced size: nothing is read. */
    req = unit_send(unit_req(app, "POST", "/api/things"), "application/json", big, 200000);
    run(req);
    ck_assert_uint_eq(((unit_body *)req->host)->at, 0);
    /* Chunked: read up to the limit, not to the end. */
    req = unit_send(unit_req(app, "POST", "/api/v1/things"), "application/json", big, 200000);
    req->content_length = -1;
    apr_table_set(req->headers_in, "Transfer-Encoding", "chunked");
    ck_assert_str_eq(code(run(req)), "FILE_TOO_LARGE");
    ck_assert_uint_lt(((unit_body *)req->host)->at, 140000);
    /* Routes with images take base64 of the upload limit. */
    ck_assert_int_eq(POST("/api/images", "application/json", apr_pstrcat(unit_pool, "{\"firstName\":\"x\"}", big,
                                                                        NULL))->status, 200);
    req = unit_send_json(unit_req(app, "POST", "/api/images"), "{}");
    req->content_length = 13981100 + 65536;
    ck_assert_str_eq(code(run(req)), "FILE_TOO_LARGE");
}
END_TEST

/* ---- validation ---- */

static const char *validated(const char *json, person *p)
{
    px_req *req = unit_send_json(unit_req(app, "POST", "/api/things"), json);
    px_err *err;
    memset(p, 0, sizeof(*p));
    UNIT_OK(px_json_parse(unit_pool, json, strlen(json), NULL, &req->json));
    err = px_validate(req, person_fields, p);
    if (err) {
        px_reply *reply = px_reply_make(req);
        px_reply_error(req, reply, err);
        return px_json_str(px_json_get(parsed(reply), "error"), "message");
    }
    return NULL;
}

START_TEST(good_values)
{
    person p;
    begin();
    ck_assert_ptr_null(validated("{\"firstName\":\"Zo\xc3\xab\",\"age\":150,\"keepText\":true,\"metaData\":"
        "{\"any_thing\":[1]},\"mail\":\"a.b+c@d-e.example\",\"id\":\"0190A5F2-7c1e-7aaa-8bbb-0123456789ab\","
        "\"mode\":\"full\",\"image\":\"https://x/\"}", &p));
    ck_assert_str_eq(p.first_name, "Zo\xc3\xab");
    ck_assert_int_eq(p.age, 150);
    ck_assert(p.keep_text);
    ck_assert_ptr_nonnull(px_json_get(p.meta_data, "any_thing"));
    ck_assert_str_eq(p.mode, "full");
    ck_assert_str_eq(p.image, "https://x/");
    ck_assert_ptr_null(validated("{\"firstName\":\"x\",\"age\":null}", &p));
    ck_assert_int_eq(p.age, 0);
}
END_TEST

START_TEST(bad_values_are_named)
{
    static const char *const cases[][2] = {
        {"{}", "The field 'firstName' is not valid: it is required."},
        {"{\"firstName\":null}", "it is required."},
        {"{\"firstName\":\"\"}", "it must not be empty."},
        {"{\"firstName\":\"123456\"}", "at most 5 characters."},
        {"{\"firstName\":1}", "it must be a string."},
        {"{\"firstName\":\"x\",\"first_name\":\"y\"}", "The field 'first_name' is not valid: it is not known here."},
        {"{\"firstName\":\"x\",\"Age\":1}", "'Age'"},
        {"{\"firstName\":\"x\",\"age\":151}", "it must be from 0 to 150."},
        {"{\"firstName\":\"x\",\"age\":-1}", "it must be from 0 to 150."},
        {"{\"firstName\":\"x\",\"age\":1.0}", "it must be a whole number."},
        {"{\"firstName\":\"x\",\"age\":\"1\"}", "it must be a whole number."},
        {"{\"firstName\":\"x\",\"keepText\":1}", "it must be true or false."},
        {"{\"firstName\":\"x\",\"metaData\":[]}", "it must be an object."},
        {"{\"firstName\":\"x\",\"mail\":\"a@b\"}", "email"},
        {"{\"firstName\":\"x\",\"mail\":\"a b@c.de\"}", "email"},
        {"{\"firstName\":\"x\",\"mail\":\"a@b@c.de\"}", "email"},
        {"{\"firstName\":\"x\",\"mail\":\"a@-b.de\"}", "email"},
        {"{\"firstName\":\"x\",\"mail\":\"a@b..de\"}", "email"},
        {"{\"firstName\":\"x\",\"mail\":\"@b.de\"}", "email"},
        {"{\"firstName\":\"x\",\"mail\":\"a@b.de\\r\\nBcc: x@y.z\"}", "email"},
        {"{\"firstName\":\"x\",\"id\":\"1\"}", "UUID"},
        {"{\"firstName\":\"x\",\"mode\":\"ful\"}", "it must be one of: top full."},
        {"{\"firstName\":\"x\",\"mode\":\"top|full\"}", "it must be one of: top full."},
        {"{\"firstName\":\"x\",\"image\":\"\"}", "'image'"},
    };
    person p;
    begin();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *message = validated(cases[i][0], &p);
        ck_assert_msg(message && strstr(message, cases[i][1]), "%s: %s", cases[i][0], message ? message : "accepted");
    }
}
END_TEST

START_TEST(query_strings)
{
    static const px_field fields[] = {
        {"date_from", PX_F_STRING, false, 0, 0, NULL, offsetof(person, first_name)},
        {"age", PX_F_INT, false, 1, 9, NULL, offsetof(person, age)},
        {NULL, PX_F_STRING, false, 0, 0, NULL, 0}
    };
    static const struct { const char *query; bool good; } cases[] = {
        {"/x", true}, {"/x?", true}, {"/x?dateFrom=a%20b+c&age=9&page=2&limit=3&wait=1", true},
        {"/x?date_from=1", false}, {"/x?age=10", false}, {"/x?age=", false}, {"/x?age=1&age=1", false},
        {"/x?other=1", false}, {"/x?age=%", false}, {"/x?age=%zz", false}, {"/x?dateFrom=%00", false},
        {"/x?dateFrom=%ff", false}, {"/x?&&age=1&", true},
    };
    person p;
    px_page page;
    begin();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        px_err *err = px_validate_query(unit_req(app, "GET", cases[i].query), fields, &p);
        ck_assert_msg((err == NULL) == cases[i].good, "%s", cases[i].query);
    }
    UNIT_OK(px_validate_query(unit_req(app, "GET", cases[2].query), fields, &p));
    ck_assert_str_eq(p.first_name, "a b c");
    UNIT_OK(px_page_read(unit_req(app, "GET", "/x?page=3&limit=100"), 0, &page));
    ck_assert_int_eq(page.offset, 200);
    UNIT_OK(px_page_read(unit_req(app, "GET", "/x"), 0, &page));
    ck_assert_int_eq(page.limit, 10);
    UNIT_OK(px_page_read(unit_req(app, "GET", "/x"), 20, &page));
    ck_assert_int_eq(page.limit, 20);
    UNIT_ERR(px_page_read(unit_req(app, "GET", "/x?limit=101"), 0, &page), PX_E_VALIDATION);
    UNIT_ERR(px_page_read(unit_req(app, "GET", "/x?page=0"), 0, &page), PX_E_VALIDATION);
    UNIT_ERR(px_page_read(unit_req(app, "GET", "/x?page=99999999999999999999"), 0, &page), PX_E_VALIDATION);
    UNIT_ERR(px_page_read(unit_req(app, "GET", "/x?page=1&page=1"), 0, &page), PX_E_VALIDATION);
}
END_TEST

START_TEST(pages_in_both_spellings)
{
    px_page page = {2, 10, 10};
    px_req *req;
    px_jw *w = px_jw_make(unit_pool, PX_SPELL_CAMEL);
    begin();
    req = unit_req(app, "GET", "/x");
    px_jw_object(w, NULL);
    px_page_write(req, w, &page, 31);
    req->dialect = TRAIL;
    px_page_write(req, w, &page, 31);
    px_jw_end_object(w);
    ck_assert_str_eq(w->buf->data, "{\"pagination\":{\"page\":2,\"limit\":10,\"total\":31},\"total\":31,\"page\":2,\"limit\":10}");
}
END_TEST

START_TEST(cookies)
{
    px_req *req;
    begin();
    req = unit_req(app, "GET", "/x");
    ck_assert_ptr_null(px_cookie(req, "sid"));
    apr_table_set(req->headers_in, "Cookie", "xsid=no; sid=\"a=b\" ;sid2=x; empty=");
    ck_assert_str_eq(px_cookie(req, "sid"), "a=b");
    ck_assert_str_eq(px_cookie(req, "sid2"), "x");
    ck_assert_str_eq(px_cookie(req, "empty"), "");
    ck_assert_ptr_null(px_cookie(req, "si"));
}
END_TEST

static int64_t wait_of(const char *path, const char *prefer)
{
    px_req *req = unit_req(app, "GET", path);
    if (prefer) {
        apr_table_set(req->headers_in, "Prefer", prefer);
    }
    return px_wait_asked(req);
}

START_TEST(waits)
{
    begin();
    ck_assert_int_eq(wait_of("/x", NULL), -1);
    ck_assert_int_eq(wait_of("/x", "wait=5"), 5000);
    ck_assert_int_eq(wait_of("/x", "respond-async, Wait = \"7\"; x=1"), 7000);
    ck_assert_int_eq(wait_of("/x", "respond-async"), -1);
    ck_assert_int_eq(wait_of("/x", "waiting=5"), -1);
    ck_assert_int_eq(wait_of("/x", "wait"), -1);
    ck_assert_int_eq(wait_of("/x?wait=0", NULL), 0);
    ck_assert_int_eq(wait_of("/x?wait=3", "wait=5"), 3000);
    ck_assert_int_eq(wait_of("/x?wait=3600", NULL), 60000);
    ck_assert_int_eq(wait_of("/x?wait=-3", NULL), -1);
    ck_assert_int_eq(wait_of("/x?wait=abc", NULL), -1);
}
END_TEST

START_TEST(waiting_replies_end)
{
    px_req *req;
    px_reply *reply;
    begin();
    unit_give_cache(app);
    wakes = 0;
    req = unit_req(app, "GET", "/api/wait");
    reply = run(req);
    ck_assert_int_eq(reply->mode, PX_REPLY_WAIT);
    for (int i = 0; i < 2; i++) {
        ck_assert_ptr_null(reply->resume(req, reply));
        ck_assert_int_eq(reply->mode, PX_REPLY_WAIT);
    }
    ck_assert_int_eq(px_counter_value(app->cache, PX_C_REQUESTS), 0);
    ck_assert_ptr_null(reply->resume(req, reply));
    ck_assert_int_eq(reply->mode, PX_REPLY_JSON);
    ck_assert_str_eq(text(reply), "{\"routePattern\":\"/api/wait\"}");
    ck_assert_str_eq(apr_table_get(reply->headers, "Cache-Control"), "no-store");
    ck_assert_int_eq(px_counter_value(app->cache, PX_C_REQUESTS), 1);
    /* An error at the end becomes an ordinary error reply. */
    wakes = 9;
    reply = run(req = unit_req(app, "GET", "/api/wait"));
    ck_assert_ptr_null(reply->resume(req, reply));
    ck_assert_int_eq(reply->status, 502);
    ck_assert_str_eq(code(reply), "API_ERROR");
}
END_TEST

START_TEST(events)
{
    px_buf *out = px_buf_make(unit_pool, 64);
    px_req *req;
    begin();
    px_sse_event(out, "7", "job", "{\"a\":\n1}\r\n2\r3");
    ck_assert_str_eq(out->data, "id: 7\nevent: job\ndata: {\"a\":\ndata: 1}\ndata: 2\ndata: 3\n\n");
    out->len = 0;
    px_sse_event(out, NULL, "x\nevil: y", "");
    ck_assert_str_eq(out->data, "event: x\ndata: \n\n");
    req = unit_req(app, "GET", "/x?last_event_id=4");
    ck_assert_str_eq(px_sse_last_id(req), "4");
    apr_table_set(req->headers_in, "Last-Event-ID", "5");
    ck_assert_str_eq(px_sse_last_id(req), "5");
}
END_TEST

START_TEST(health)
{
    px_reply *reply;
    begin();
    unit_give_cache(app);
    ck_assert_str_eq(text(get("/healthz")), "{\"status\":\"ok\"}");
    reply = get("/api/health");
    ck_assert_int_eq(reply->status, 200);
    ck_assert_str_eq(px_json_str(parsed(reply), "status"), "degraded");
    reply = get("/readyz");
    ck_assert_int_eq(reply->status, 503);
    reply = get("/metrics");
    ck_assert_int_eq(reply->mode, PX_REPLY_BYTES);
    ck_assert_ptr_nonnull(strstr(reply->bytes, "# TYPE pixshift_requests_total counter\npixshift_requests_total 3\n"));
    ck_assert_ptr_nonnull(strstr(reply->bytes, "# TYPE pixshift_streams_open gauge\n"));
    ck_assert_ptr_nonnull(strstr(reply->bytes, "pixshift_database_up 0\n"));
}
END_TEST

START_TEST(public_urls)
{
    begin();
    ck_assert_str_eq(px_public_url(unit_req(app, "GET", "/x"), "/api/y"), "https://px.example/api/y");
}
END_TEST

int main(void)
{
    TCase *tc = unit_begin("http");
    tcase_add_test(tc, routes_are_found);
    tcase_add_test(tc, c1_aliases);
    tcase_add_test(tc, bad_tables_are_refused);
    tcase_add_test(tc, c18_error_envelopes);
    tcase_add_test(tc, private_detail_stays_private);
    tcase_add_test(tc, every_answer_has_its_headers);
    tcase_add_test(tc, success_only_on_writes);
    tcase_add_test(tc, cors);
    tcase_add_test(tc, credentials);
    tcase_add_test(tc, roles_and_scopes);
    tcase_add_test(tc, cookie_writes_need_their_token);
    tcase_add_test(tc, rate_limits);
    tcase_add_test(tc, bodies);
    tcase_add_test(tc, good_values);
    tcase_add_test(tc, bad_values_are_named);
    tcase_add_test(tc, query_strings);
    tcase_add_test(tc, pages_in_both_spellings);
    tcase_add_test(tc, cookies);
    tcase_add_test(tc, waits);
    tcase_add_test(tc, waiting_replies_end);
    tcase_add_test(tc, events);
    tcase_add_test(tc, health);
    tcase_add_test(tc, public_urls);
    return unit_run();
}
