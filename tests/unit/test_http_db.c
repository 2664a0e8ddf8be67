/* http/ and cache/ with a database: Idempotency-Key, the PostgreSQL backend, gauges. */
#include "unit_db.h"
#include "unit_http.h"

#include <sys/wait.h>

#define SECRET "inline:0123456789abcdef0123456789abcdef"

static px_app *app;
static px_router *router;
static int handler_ran;
static px_err_id handler_fails = PX_E_COUNT;
static px_principal someone = {.user_id = "0190a5f2-7c1e-7aaa-8bbb-0123456789ab", .credential = PX_CRED_JWT};
static px_principal *signed_in;

static px_err *authenticate(px_req *req, px_principal **who)
{
    (void)req;
    *who = signed_in;
    return NULL;
}

static px_err *handle_create(px_req *req, px_reply *reply)
{
    int number = ++handler_ran;
    if (handler_fails != PX_E_COUNT) {
        return px_error(req->pool, handler_fails, NULL, NULL);
    }
    reply->status = 202;
    apr_table_set(reply->headers, "Location", "/api/things/1");
    apr_table_set(reply->headers, "Set-Cookie", "secret=1");
    px_jw_object(reply->json, NULL);
    px_jw_int(reply->json, "number", number);
    px_jw_end_object(reply->json);
    return NULL;
}

static px_err *resume_done(px_req *req, px_reply *reply)
{
    reply->mode = PX_REPLY_JSON;
    return handle_create(req, reply);
}

static px_err *handle_wait(px_req *req, px_reply *reply)
{
    (void)req;
    reply->mode = PX_REPLY_WAIT;
    reply->resume = resume_done;
    return NULL;
}

static px_err *handle_huge(px_req *req, px_reply *reply)
{
    char *huge = apr_palloc(req->pool, 3000001);
    handler_ran++;
    memset(huge, 'x', 3000000);
    huge[3000000] = '\0';
    px_jw_str(reply->json, NULL, huge);
    return NULL;
}

#define CREATE(path, fn) {"POST", path, PX_DIALECT_PIXSHIFT, PX_CRED_NONE | PX_CRED_ANY, 0, PX_BODY_JSON, \
    PX_ROUTE_CREATES, fn, ""}
static const px_route routes[] = {
    CREATE("/api/things", handle_create), CREATE("/api/wait", handle_wait), CREATE("/api/huge", handle_huge),
    {NULL, NULL, PX_DIALECT_PIXSHIFT, 0, 0, PX_BODY_NONE, 0, NULL, NULL}
};

/* Only the files that these parts need, so that other slices may change. */
static void migrate(void)
{
    static const char *const files[] = {"0001_base", "0006_kv", "0008_idempotency"};
    const char *root = getenv("srcdir") ? getenv("srcdir") : ".";
    size_t len;
    unit_db_exec("DROP SCHEMA IF EXISTS pixshift CASCADE");
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *text = unit_read(apr_pstrcat(unit_pool, root, "/sql/", files[i], ".up.sql", NULL), &len);
        ck_assert_ptr_nonnull(text);
        unit_db_exec(text);
    }
}

static void begin(void)
{
    const px_route *const tables[] = {routes, px_http_routes, NULL};
    const char *const directives[] = {"PixShiftSecret", SECRET, NULL};
    migrate();
    app = unit_app(directives);
    UNIT_OK(px_settings_resolve_secrets((px_settings *)app->settings));
    app->db = unit_db_open(8, false, NULL);
    ck_assert_ptr_null(px_router_make(unit_pool, tables, &router));
    px_http_set_authenticator(authenticate);
    handler_ran = 0;
    handler_fails = PX_E_COUNT;
    signed_in = &someone;
}

static px_req *request(const char *path, const char *key, const char *json)
{
    px_req *req = unit_send_json(unit_req(app, "POST", path), json);
    if (key) {
        apr_table_set(req->headers_in, "Idempotency-Key", key);
    }
    return req;
}

static px_reply *run(px_req *req)
{
    px_reply *reply = px_reply_make(req);
    px_http_run(router, req, reply);
    return reply;
}

static px_reply *post(const char *path, const char *key, const char *json)
{
    return run(request(path, key, json));
}

static const char *text(px_reply *reply)
{
    size_t len;
    return px_reply_text(reply, &len);
}

START_TEST(a_repetition_gets_the_first_reply)
{
    px_reply *first, *again;
    begin();
    first = post("/api/things", "k-1", "{\"a\":1}");
    ck_assert_int_eq(first->status, 202);
    ck_assert_ptr_null(apr_table_get(first->headers, "Idempotent-Replayed"));
    again = post("/api/things", "k-1", "{\"a\":1}");
    ck_assert_int_eq(again->status, 202);
    ck_assert_str_eq(text(again), text(first));
    ck_assert_str_eq(text(again), "{\"number\":1}");
    ck_assert_str_eq(apr_table_get(again->headers, "Idempotent-Replayed"), "true");
    ck_assert_str_eq(apr_table_get(again->headers, "Location"), "/api/things/1");
    ck_assert_ptr_null(apr_table_get(again->headers, "Set-Cookie"));
    ck_assert_int_eq(handler_ran, 1);
    ck_assert_str_eq(text(post("/api/things", "k-2", "{\"a\":1}")), "{\"number\":2}");
    ck_assert_str_eq(text(post("/api/things", NULL, "{\"a\":1}")), "{\"number\":3}");
}
END_TEST

START_TEST(another_request_is_refused)
{
    begin();
    post("/api/things", "k-1", "{\"a\":1}");
    ck_assert_int_eq(post("/api/things", "k-1", "{\"a\":2}")->status, 422);
    ck_assert_int_eq(post("/api/wait", "k-1", "{\"a\":1}")->status, 422);
    ck_assert_int_eq(post("/api/things?x=1", "k-1", "{\"a\":1}")->status, 422);
    ck_assert_int_eq(post("/api/things", "k 1", "{\"a\":1}")->status, 400);
    ck_assert_int_eq(post("/api/things", "", "{\"a\":1}")->status, 400);
    ck_assert_int_eq(handler_ran, 1);
}
END_TEST

START_TEST(keys_belong_to_their_sender)
{
    px_principal other = someone;
    begin();
    other.user_id = "0190a5f2-7c1e-7aaa-8bbb-000000000000";
    post("/api/things", "k-1", "{}");
    signed_in = &other;
    ck_assert_str_eq(text(post("/api/things", "k-1", "{}")), "{\"number\":2}");
    signed_in = NULL;
    ck_assert_str_eq(text(post("/api/things", "k-1", "{}")), "{\"number\":3}");
    ck_assert_str_eq(text(post("/api/things", "k-1", "{}")), "{\"number\":3}");
    const char *id = px_idempotency_id(request("/api/things", "k-1", "{}"));
    ck_assert_uint_eq(strlen(id), 64);
    signed_in = &other;
    ck_assert_ptr_null(px_idempotency_id(request("/api/things", NULL, "{}")));
}
END_TEST

START_TEST(passing_errors_give_the_key_back)
{
    begin();
    handler_fails = PX_E_UNAVAILABLE;
    ck_assert_int_eq(post("/api/things", "k-1", "{}")->status, 503);
    handler_fails = PX_E_INSUFFICIENT_CREDITS;
    ck_assert_int_eq(post("/api/things", "k-1", "{}")->status, 402);
    handler_fails = PX_E_NOT_FOUND;
    ck_assert_int_eq(post("/api/things", "k-1", "{}")->status, 404);
    handler_fails = PX_E_COUNT;
    px_reply *reply = post("/api/things", "k-1", "{}");
    ck_assert_int_eq(reply->status, 404);           /* this one is final */
    ck_assert_str_eq(apr_table_get(reply->headers, "Idempotent-Replayed"), "true");
    ck_assert_int_eq(handler_ran, 3);
}
END_TEST

START_TEST(waiting_replies_are_recorded_at_their_end)
{
    px_req *req;
    px_reply *reply, *twin;
    begin();
    req = request("/api/wait", "k-1", "{}");
    reply = run(req);
    ck_assert_int_eq(reply->mode, PX_REPLY_WAIT);
    twin = post("/api/wait", "k-1", "{}");
    ck_assert_int_eq(twin->status, 409);
    ck_assert_str_eq(apr_table_get(twin->headers, "Retry-After"), "1");
    ck_assert_ptr_null(reply->resume(req, reply));
    ck_assert_str_eq(text(reply), "{\"number\":1}");
    twin = post("/api/wait", "k-1", "{}");
    ck_assert_str_eq(text(twin), "{\"number\":1}");
    ck_assert_int_eq(twin->status, 202);
}
END_TEST

START_TEST(a_client_that_left_may_come_back)
{
    px_req *req;
    begin();
    req = request("/api/wait", "k-1", "{}");
    run(req);
    px_http_abandon(req);
    ck_assert_int_eq(post("/api/wait", "k-1", "{}")->mode, PX_REPLY_WAIT);
    px_http_abandon(request("/api/wait", "k-1", "{}"));
    ck_assert_int_eq(post("/api/wait", "k-1", "{}")->status, 409);
}
END_TEST

/* The first process died: its key is taken over after a minute, and it can no longer write there. */
START_TEST(a_dead_owner_is_taken_over)
{
    px_req *dead;
    px_reply *reply, *twin;
    begin();
    dead = request("/api/wait", "k-1", "{}");
    reply = run(dead);
    unit_db_exec("UPDATE pixshift.idempotency SET locked_until = pixshift.now() - interval '1 second'");
    ck_assert_int_eq(post("/api/things", "k-1", "{}")->status, 422);
    twin = post("/api/wait", "k-1", "{}");
    ck_assert_int_eq(twin->mode, PX_REPLY_WAIT);
    ck_assert_ptr_null(reply->resume(dead, reply));         /* not dead after all: writes nothing */
    ck_assert_int_eq(post("/api/wait", "k-1", "{}")->status, 409);
}
END_TEST

START_TEST(keys_end_after_a_day)
{
    int64_t removed;
    begin();
    post("/api/things", "k-1", "{}");
    post("/api/things", "k-2", "{}");
    unit_db_exec("UPDATE pixshift.idempotency SET expires_at = pixshift.now() WHERE key = 'k-1'");
    ck_assert_str_eq(text(post("/api/things", "k-1", "{\"other\":1}")), "{\"number\":3}");
    unit_db_exec("UPDATE pixshift.idempotency SET expires_at = pixshift.now()");
    UNIT_OK(px_idempotency_purge(app, unit_pool, &removed));
    ck_assert_int_eq(removed, 2);
}
END_TEST

START_TEST(bodies_are_sealed)
{
    px_rows *rows;
    px_reply *reply;
    begin();
    post("/api/things", "k-1", "{}");
    UNIT_OK(px_db_query(app->db, unit_pool, &rows, "SELECT body FROM pixshift.idempotency", ""));
    ck_assert_ptr_null(strstr(px_rows_str(rows, 0, 0), "number"));
    unit_db_exec("UPDATE pixshift.idempotency SET body = 'A' || substr(body, 2)");
    reply = post("/api/things", "k-1", "{}");
    ck_assert_int_eq(reply->status == 202 || reply->status == 409, 1);
    /* A reply too large to keep is not made a second time either. */
    ck_assert_int_eq(post("/api/huge", "k-h", "{}")->status, 200);
    ck_assert_int_eq(post("/api/huge", "k-h", "{}")->status, 409);
    ck_assert_int_eq(handler_ran, 2);
}
END_TEST

START_TEST(twins_run_once)
{
    px_rows *rows;
    begin();
    for (int i = 0; i < 8; i++) {
        if (fork() == 0) {
            app->db = unit_db_open(1, false, NULL);
            px_reply *reply = post("/api/things", "k-t", "{}");
            _exit(handler_ran ? 10 : reply->status == 202 || reply->status == 409 ? 0 : 1);
        }
    }
    int ran = 0;
    for (int i = 0; i < 8; i++) {
        int status;
        wait(&status);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) != 1);
        ran += WEXITSTATUS(status) == 10;
    }
    ck_assert_int_eq(ran, 1);
    UNIT_OK(px_db_query(app->db, unit_pool, &rows, "SELECT count(*) FROM pixshift.idempotency", ""));
    ck_assert_int_eq(px_rows_int(rows, 0, 0), 1);
}
END_TEST

START_TEST(without_a_database)
{
    begin();
    app->db = NULL;
    ck_assert_int_eq(post("/api/things", "k-1", "{}")->status, 503);
    ck_assert_int_eq(post("/api/things", NULL, "{}")->status, 202);
}
END_TEST

/* ---- cache ---- */

START_TEST(kv_in_postgres)
{
    px_cache *cache;
    const char *value;
    size_t len;
    int64_t sum, removed;
    begin();
    UNIT_OK(px_cache_postgres(unit_pool, app->db, &cache));
    UNIT_OK(px_cache_get(cache, unit_pool, "a", &value, &len));
    ck_assert_ptr_null(value);
    UNIT_OK(px_cache_set(cache, unit_pool, "a", "x\0y", 3, 60000));
    UNIT_OK(px_cache_get(cache, unit_pool, "a", &value, &len));
    ck_assert_uint_eq(len, 3);
    ck_assert_mem_eq(value, "x\0y", 3);
    UNIT_OK(px_cache_set(cache, unit_pool, "empty", "", 0, INT64_MAX));
    UNIT_OK(px_cache_get(cache, unit_pool, "empty", &value, &len));
    ck_assert_ptr_nonnull(value);
    UNIT_OK(px_cache_delete(cache, unit_pool, "a"));
    UNIT_OK(px_cache_get(cache, unit_pool, "a", &value, &len));
    ck_assert_ptr_null(value);
    UNIT_OK(px_cache_add(cache, unit_pool, "n", 5, 100, &sum));
    UNIT_OK(px_cache_add(cache, unit_pool, "n", -7, 60000, &sum));
    ck_assert_int_eq(sum, -2);
    usleep(120000);
    UNIT_OK(px_cache_add(cache, unit_pool, "n", 1, 1, &sum));
    ck_assert_int_eq(sum, 1);
    usleep(5000);
    UNIT_OK(px_cache_purge(cache, unit_pool, &removed));
    ck_assert_int_eq(removed, 1);
}
END_TEST

START_TEST(limits_in_postgres)
{
    px_cache *cache;
    px_rate_verdict v;
    int64_t removed;
    begin();
    UNIT_OK(px_cache_postgres(unit_pool, app->db, &cache));
    for (int i = 0; i < 7; i++) {
        UNIT_OK(px_rate_take(cache, "k", 7, 3600000, 1, &v));
        ck_assert(v.allowed);
        ck_assert_int_eq(v.remaining, 6 - i);
    }
    UNIT_OK(px_rate_take(cache, "k", 7, 3600000, 1, &v));
    ck_assert(!v.allowed);
    ck_assert_int_gt(v.retry_after_ms, 500000);
    UNIT_OK(px_rate_take(cache, "k", 7, 3600000, 0, &v));
    ck_assert_int_eq(v.remaining, 0);
    UNIT_OK(px_rate_take(cache, "short", 1, 10, 1, &v));
    usleep(20000);
    UNIT_OK(px_cache_purge(cache, unit_pool, &removed));
    ck_assert_int_eq(removed, 1);
}
END_TEST

START_TEST(limits_in_postgres_are_exact_over_processes)
{
    begin();
    for (int p = 0; p < 8; p++) {
        if (fork() == 0) {
            px_cache *cache;
            px_rate_verdict v;
            int allowed = 0;
            if (px_cache_postgres(unit_pool, unit_db_open(1, false, NULL), &cache)) {
                _exit(255);
            }
            for (int i = 0; i < 40; i++) {
                if (px_rate_take(cache, "k", 100, 3600000, 1, &v)) {
                    _exit(255);
                }
                allowed += v.allowed;
            }
            _exit(allowed);
        }
    }
    int sum = 0;
    for (int p = 0; p < 8; p++) {
        int status;
        wait(&status);
        ck_assert_int_ne(WEXITSTATUS(status), 255);
        sum += WEXITSTATUS(status);
    }
    ck_assert_int_eq(sum, 100);
}
END_TEST

START_TEST(gauges)
{
    px_req *req;
    px_reply *reply;
    begin();
    unit_db_exec("CREATE VIEW pixshift.audit_job AS SELECT 'queued'::text AS state,"
                 " pixshift.now() - interval '9 seconds' AS created_at");
    req = unit_req(app, "GET", "/metrics");
    reply = run(req);
    ck_assert_ptr_nonnull(strstr(reply->bytes, "pixshift_jobs{state=\"queued\"} 1\n"));
    ck_assert_ptr_nonnull(strstr(reply->bytes, "pixshift_job_oldest_seconds{state=\"queued\"} 9\n"));
    ck_assert_ptr_nonnull(strstr(reply->bytes, "pixshift_database_connections{state=\"max\"} 8\n"));
    ck_assert_ptr_nonnull(strstr(reply->bytes, "pixshift_database_up 1\n"));
}
END_TEST

int main(void)
{
    TCase *tc;
    unit_db_begin("http");
    tc = unit_begin("http with a database");
    tcase_add_test(tc, a_repetition_gets_the_first_reply);
    tcase_add_test(tc, another_request_is_refused);
    tcase_add_test(tc, keys_belong_to_their_sender);
    tcase_add_test(tc, passing_errors_give_the_key_back);
    tcase_add_test(tc, waiting_replies_are_recorded_at_their_end);
    tcase_add_test(tc, a_client_that_left_may_come_back);
    tcase_add_test(tc, a_dead_owner_is_taken_over);
    tcase_add_test(tc, keys_end_after_a_day);
    tcase_add_test(tc, bodies_are_sealed);
    tcase_add_test(tc, twins_run_once);
    tcase_add_test(tc, without_a_database);
    tcase_add_test(tc, kv_in_postgres);
    tcase_add_test(tc, limits_in_postgres);
    tcase_add_test(tc, limits_in_postgres_are_exact_over_processes);
    tcase_add_test(tc, gauges);
    return unit_db_end(unit_run());
}
