/* credit/'s routes: bodies of both dialects (C-4), pages and filters (CRD-2, C-34), tiers (PKG-1, 2). */
#include "unit_db.h"
#include "unit_http.h"

#include "credit/credit.h"
#include "credit/credit_api.h"
#include "base/log.h"

static const char *const migrations[] = { "0001_base", "0003_credit", "0007_credit_audit", NULL };

static px_app *app;
static px_router *router;
static px_principal who;

static px_err *authenticate(px_req *req, px_principal **found)
{
    (void)req;
    *found = &who;
    return NULL;
}

START_TEST(schema_goes_in)
{
    unit_db_migrate(migrations);
}
END_TEST

static const char *history;

/* A purchase, a used job of three, one credit given back, one job under way. */
static px_err *live(px_conn *conn, apr_pool_t *pool)
{
    const char *id, *user = who.user_id;
    px_err *err = px_credit_init_user(conn, pool, user);

    if (!err) {
        err = px_credit_grant(conn, pool, user, PX_GRANT_PURCHASE, 10, NULL, 0,
                              apr_pstrcat(pool, "p", user, NULL), "payment", "pay-1", NULL);
    }
    if (!err) {
        err = px_credit_hold(conn, pool, user, 9, PX_SCOPE_TRANSFORMATION,
                             apr_pstrcat(pool, "h", user, NULL), &id);
    }
    if (!err) {
        err = px_credit_capture(conn, pool, id, 9, "job", "job-1");
    }
    if (!err) {
        err = px_credit_refund(conn, pool, id, 1, apr_pstrcat(pool, "r", user, NULL), NULL);
    }
    return err ? err : px_credit_hold(conn, pool, user, 2, PX_SCOPE_ANY,
                                      apr_pstrcat(pool, "i", user, NULL), &history);
}

static px_err *live_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    (void)baton;
    return live(conn, pool);
}

static void begin(void)
{
    static const px_credit_profile profile = { 5, 3, 0 };
    const px_route *const tables[] = { px_credit_routes, px_tier_routes, NULL };
    px_rows *rows;

    app = unit_app(NULL);
    app->db = unit_db_open(2, true, NULL);
    ck_assert_ptr_null(px_router_make(unit_pool, tables, &router));
    px_http_set_authenticator(authenticate);
    UNIT_OK(px_credit_set_profile(app->db, unit_pool, &profile));
    UNIT_OK(px_db_query(app->db, unit_pool, &rows,
                        "INSERT INTO pixshift.users DEFAULT VALUES RETURNING id", NULL));
    who = (px_principal){ .user_id = px_rows_str(rows, 0, 0), .credential = PX_CRED_JWT, .scopes = ~0u };
    UNIT_OK(px_db_tx(app->db, unit_pool, live_body, NULL));
}

static json_object *call(px_req *req, int status)
{
    px_reply *reply = px_reply_make(req);
    json_object *body;
    const char *text;
    size_t len;

    px_http_run(router, req, reply);
    text = px_reply_text(reply, &len);
    ck_assert_msg(reply->status == status, "%s: %d %s", req->path, reply->status, text);
    UNIT_OK(px_json_parse(unit_pool, text, len, NULL, &body));
    return body;
}

static json_object *get(const char *path, int status)
{
    return call(unit_req(app, "GET", path), status);
}

static json_object *first(json_object *body, const char *key)
{
    return json_object_array_get_idx(px_json_get(body, key), 0);
}

START_TEST(balances_have_each_clients_fields)
{
    json_object *body;

    begin();
    body = get("/api/v1/credits", 200);     /* 9 = 5 for life, 3 of today, 1 bought and given back */
    ck_assert_int_eq(px_json_int(body, "credits", -1), 8);
    ck_assert_int_eq(px_json_int(body, "daily_free_credits", -1), 0);
    ck_assert_int_eq(px_json_int(body, "total_used", -1), 8);
    ck_assert_ptr_null(px_json_get(body, "success"));
    body = get("/api/credits", 200);
    ck_assert(px_json_bool(body, "success", false));
    ck_assert_int_eq(px_json_int(body, "credits", -1), 8);
    ck_assert_int_eq(px_json_int(body, "amount", -1), 8);
    ck_assert_int_eq(px_json_int(body, "balance", -1), 8);
    ck_assert_int_eq(px_json_int(body, "monthlyAllowance", -1), 0);
    ck_assert_int_eq(px_json_int(body, "usedThisMonth", -1), 8);
    ck_assert_int_eq(px_json_int(body, "maxRollover", -1), 0);
    ck_assert_str_eq(px_json_str(body, "tier"), "free");
    ck_assert_int_eq(json_object_array_length(px_json_get(body, "recentTransactions")), 5);
    ck_assert_int_eq(px_json_int(first(body, "recentTransactions"), "balanceAfter", -1), 10);
    body = get("/api/billing/free-tier", 200);
    ck_assert_int_eq(px_json_int(body, "freeTierUsed", -1), 5);
    ck_assert_int_eq(px_json_int(body, "freeTierLimit", -1), 5);
    ck_assert_int_eq(px_json_int(body, "remaining", -1), 0);
}
END_TEST

static px_err *subscribe(px_conn *conn, apr_pool_t *pool, void *baton)
{
    (void)baton;
    return px_credit_grant(conn, pool, who.user_id, PX_GRANT_SUBSCRIPTION, 100, NULL, INT64_C(32503680000000000),
                           apr_pstrcat(pool, "s", who.user_id, NULL), "payment", "sub-1", NULL);
}

START_TEST(subscriptions_show_their_allowance)
{
    json_object *body;

    begin();
    UNIT_OK(px_db_tx(app->db, unit_pool, subscribe, NULL));
    who.tier = "premium";
    body = get("/api/credits", 200);
    ck_assert_int_eq(px_json_int(body, "monthlyAllowance", -1), 100);
    ck_assert_int_eq(px_json_int(body, "maxRollover", -1), 600);
    ck_assert_int_eq(px_json_int(body, "balance", -1), 108);
    ck_assert_str_eq(px_json_str(body, "tier"), "premium");
}
END_TEST

START_TEST(transactions_are_paged_and_filtered)
{
    json_object *body, *entry;

    begin();
    body = get("/api/v1/credits/transactions", 200);
    ck_assert_int_eq(px_json_int(body, "total", -1), 5);
    ck_assert_int_eq(px_json_int(body, "limit", -1), 20);
    entry = first(body, "transactions");
    ck_assert_str_eq(px_json_str(entry, "type"), "refund");
    ck_assert_str_eq(px_json_str(entry, "reference_id"), "job-1");
    ck_assert_str_eq(px_json_str(entry, "reference_type"), "tryon_job");
    ck_assert_str_eq(px_json_str(px_json_get(entry, "metadata"), "kind"), "refund");
    body = get("/api/v1/credits/transactions?type=usage", 200);
    ck_assert_int_eq(px_json_int(body, "total", -1), 1);
    entry = first(body, "transactions");
    ck_assert_int_eq(px_json_int(entry, "amount", 0), -9);
    ck_assert_int_eq(px_json_int(entry, "credits", 0), -9);
    ck_assert_int_eq(px_json_int(entry, "balance_after", 0), 9);
    body = get("/api/v1/credits/transactions?type=free&page=2&limit=1", 200);
    ck_assert_int_eq(px_json_int(body, "total", -1), 2);
    ck_assert_int_eq(px_json_int(body, "page", -1), 2);
    ck_assert_int_eq(json_object_array_length(px_json_get(body, "transactions")), 1);
    body = get("/api/v1/credits/transactions?type=purchase", 200);
    ck_assert_str_eq(px_json_str(first(body, "transactions"), "reference_type"), "payment");
    body = get("/api/credits/transactions?type=bonus&limit=1", 200);
    ck_assert_int_eq(px_json_int(px_json_get(body, "pagination"), "total", -1), 2);
    ck_assert_str_eq(px_json_str(first(body, "transactions"), "type"), "bonus");
    body = get("/api/v1/credits/transactions?date_from=2000-01-01&date_to=2999-12-31", 200);
    ck_assert_int_eq(px_json_int(body, "total", -1), 5);
    body = get("/api/v1/credits/transactions?date_to=2001-01-01", 200);
    ck_assert_int_eq(px_json_int(body, "total", -1), 0);
    get("/api/v1/credits/transactions?type=nonsense", 400);
    get("/api/v1/credits/transactions?date_from=yesterday", 400);
    get("/api/v1/credits/transactions?limit=101", 400);
    get("/api/v1/credits/transactions?colour=red", 400);
}
END_TEST

static px_req *choose(const char *body)
{
    return unit_send_json(unit_req(app, "POST", "/api/billing/pricing-tier"), body);
}

START_TEST(tiers_are_listed_and_chosen)
{
    json_object *body, *tier;
    px_rows *rows;

    begin();
    body = get("/api/billing/pricing-tiers", 200);
    tier = first(body, "tiers");
    ck_assert_str_eq(px_json_str(tier, "id"), "basic");
    ck_assert_str_eq(json_object_to_json_string(px_json_get(tier, "costPerImage")), "0.99");
    ck_assert_str_eq(px_json_str(tier, "currency"), "USD");
    tier = json_object_array_get_idx(px_json_get(body, "tiers"), 1);
    ck_assert_int_eq(px_json_int(tier, "monthlyLimit", -1), 100);
    ck_assert_str_eq(json_object_to_json_string(px_json_get(tier, "costPerMonth")), "9.99");
    body = call(choose("{\"pricingTier\": \"premium\"}"), 200);
    ck_assert_str_eq(json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN),
                     "{\"success\":true,\"pricingTier\":\"premium\"}");
    UNIT_OK(px_db_query(app->db, unit_pool, &rows,
                        "SELECT pricing_tier FROM pixshift.users WHERE id = $1", "s", who.user_id));
    ck_assert_str_eq(px_rows_str(rows, 0, 0), "premium");
    call(choose("{\"pricingTier\": \"gold\"}"), 400);
    call(choose("{}"), 400);
    call(choose("{\"pricingTier\": \"basic\", \"price\": 0}"), 400);
}
END_TEST

START_TEST(keys_need_their_scope)
{
    begin();
    who.credential = PX_CRED_KEY;
    who.scopes = PX_SCOPE_JOBS_READ;
    get("/api/v1/credits", 403);
    who.scopes = PX_SCOPE_CREDITS_READ;
    get("/api/v1/credits", 200);
    call(choose("{\"pricingTier\": \"basic\"}"), 403);
}
END_TEST

static void no_log(void *baton, px_log_level level, const char *line)
{
    (void)baton, (void)level, (void)line;
}

int main(void)
{
    TCase *tc;

    unit_db_begin("credit_api");
    px_log_set_sink(no_log, NULL);
    tc = unit_begin("credit_api");
    tcase_add_test(tc, schema_goes_in);
    tcase_add_test(tc, balances_have_each_clients_fields);
    tcase_add_test(tc, subscriptions_show_their_allowance);
    tcase_add_test(tc, transactions_are_paged_and_filtered);
    tcase_add_test(tc, tiers_are_listed_and_chosen);
    tcase_add_test(tc, keys_need_their_scope);
    return unit_db_end(unit_run());
}
