/* Balance, transactions, free tier: CRD-1, CRD-2, CRD-3. */
#include "credit_api.h"

#include "credit.h"
#include "credit_words.h"

#include "base/clock.h"
#include <apr_time.h>
#include <string.h>

#define RECENT 10

static bool is_v1(const px_req *req)
{
    return req->dialect != PX_DIALECT_PIXSHIFT;
}

/* References are shown where they name something that the client can ask for. */
static void write_reference(px_req *req, px_jw *w, const px_entry *e)
{
    bool job = e->reference_type && strcmp(e->reference_type, "job") == 0;
    bool payment = e->reference_type && strcmp(e->reference_type, "payment") == 0;

    px_jw_str(w, "reference_id", job || payment ? e->reference_id : NULL);
    px_jw_str(w, "reference_type", job ? (is_v1(req) ? "tryon_job" : "job")
                                       : payment ? "payment" : NULL);
}

static void write_entry(px_req *req, px_jw *w, const px_entry *e)
{
    px_jw_object(w, NULL);
    px_jw_str(w, "id", e->id);
    px_jw_str(w, "type", credit_word(e, is_v1(req)));
    px_jw_int(w, "credits", e->amount);
    px_jw_int(w, "amount", e->amount);
    px_jw_int(w, "balance_after", e->balance_after);
    px_jw_str(w, "description", credit_word_description(e));
    write_reference(req, w, e);
    px_jw_object(w, "metadata");
    px_jw_str(w, "kind", e->kind);
    px_jw_str(w, "source", e->source);
    px_jw_end_object(w);
    px_jw_time(w, "created_at", e->created_at);
    px_jw_end_object(w);
}

static void write_entries(px_req *req, px_jw *w, const char *key, const px_entry *list, int count)
{
    int i;

    px_jw_array(w, key);
    for (i = 0; i < count; i++) {
        write_entry(req, w, &list[i]);
    }
    px_jw_end_array(w);
}

/* GET /api/v1/credits */
static px_err *get_balance(px_req *req, px_reply *reply)
{
    px_balance b;
    px_err *err = px_credit_balance(req->app->db, req->pool, req->who->user_id, &b);

    if (err) {
        return err;
    }
    px_jw_object(reply->json, NULL);
    px_jw_int(reply->json, "credits", b.paid);
    px_jw_int(reply->json, "daily_free_credits", b.daily_free);
    px_jw_int(reply->json, "total_used", b.total_used);
    px_jw_int(reply->json, "held", b.held);
    px_jw_int(reply->json, "available", b.available);
    px_jw_end_object(reply->json);
    return NULL;
}

static int64_t month_start(void)
{
    apr_time_exp_t t;
    apr_time_t first = 0;

    apr_time_exp_gmt(&t, px_now());
    t.tm_mday = 1;
    t.tm_hour = t.tm_min = t.tm_sec = t.tm_usec = 0;
    apr_time_exp_gmt_get(&first, &t);
    return first;
}

/* GET /api/credits: one body for the clients of 000 and of 002 (C-4). */
static px_err *get_account(px_req *req, px_reply *reply)
{
    px_jw *w = reply->json;
    const char *user = req->who->user_id;
    px_entry_filter all = { 0 };
    px_allowance allowance;
    px_balance b;
    px_entry *list;
    int64_t total;
    int count;
    px_err *err = px_credit_balance(req->app->db, req->pool, user, &b);

    if (!err) {
        err = px_credit_allowance(req->app->db, req->pool, user, month_start(), &allowance);
    }
    if (!err) {
        err = px_credit_entries(req->app->db, req->pool, user, &all, RECENT, 0, &list, &count,
                                &total);
    }
    if (err) {
        return err;
    }
    px_jw_object(w, NULL);
    px_jw_bool(w, "success", true);
    px_jw_int(w, "credits", b.paid);
    px_jw_int(w, "amount", b.available);
    px_jw_int(w, "balance", b.available);
    px_jw_int(w, "held", b.held);
    px_jw_int(w, "daily_free_credits", b.daily_free);
    px_jw_int(w, "monthly_allowance", allowance.monthly_allowance);
    px_jw_int(w, "used_this_month", allowance.used);
    px_jw_int(w, "max_rollover", allowance.max_rollover);
    px_jw_str(w, "tier", req->who->tier ? req->who->tier : "free");
    write_entries(req, w, "recent_transactions", list, count);
    px_jw_end_object(w);
    return NULL;
}

typedef struct { const char *type, *date_from, *date_to; } list_query;

static const px_field list_fields[] = {
    { "type", PX_F_STRING, false, 1, 32, NULL, offsetof(list_query, type) },
    { "date_from", PX_F_STRING, false, 1, 40, NULL, offsetof(list_query, date_from) },
    { "date_to", PX_F_STRING, false, 1, 40, NULL, offsetof(list_query, date_to) },
    { NULL, PX_F_STRING, false, 0, 0, NULL, 0 }
};

static px_err *read_filter(px_req *req, px_entry_filter *filter)
{
    list_query q = { 0 };
    px_err *err = px_validate_query(req, list_fields, &q);

    if (err) {
        return err;
    }
    if (q.type && !(filter->match = credit_word_match(req->pool, q.type, is_v1(req)))) {
        return px_error_field(req->pool, "type", "it must be %s.",
                              is_v1(req) ? "usage, purchase, free, refund or admin_adjustment"
                                         : "usage, subscription, purchase, refund or bonus");
    }
    if (q.date_from && !credit_word_date(q.date_from, false, &filter->from)) {
        return px_error_field(req->pool, "date_from", "it must be a date such as 2026-11-21.");
    }
    if (q.date_to && !credit_word_date(q.date_to, true, &filter->to)) {
        return px_error_field(req->pool, "date_to", "it must be a date such as 2026-11-21.");
    }
    return NULL;
}

/* GET /api/v1/credits/transactions */
static px_err *get_transactions(px_req *req, px_reply *reply)
{
    px_entry_filter filter = { 0 };
    px_page page;
    px_entry *list;
    int64_t total;
    int count;
    px_err *err = px_page_read(req, 20, &page);

    if (!err) {
        err = read_filter(req, &filter);
    }
    if (!err) {
        err = px_credit_entries(req->app->db, req->pool, req->who->user_id, &filter, page.limit,
                                page.offset, &list, &count, &total);
    }
    if (err) {
        return err;
    }
    px_jw_object(reply->json, NULL);
    write_entries(req, reply->json, "transactions", list, count);
    px_page_write(req, reply->json, &page, total);
    px_jw_end_object(reply->json);
    return NULL;
}

/* GET /api/billing/free-tier */
static px_err *get_free_tier(px_req *req, px_reply *reply)
{
    px_balance b;
    px_err *err = px_credit_balance(req->app->db, req->pool, req->who->user_id, &b);

    if (err) {
        return err;
    }
    px_jw_object(reply->json, NULL);
    px_jw_int(reply->json, "free_tier_used", b.lifetime_free_used);
    px_jw_int(reply->json, "free_tier_limit", b.lifetime_free_limit);
    px_jw_int(reply->json, "remaining",
              b.lifetime_free_limit - b.lifetime_free_used - b.lifetime_free_held);
    px_jw_end_object(reply->json);
    return NULL;
}

#define READ(pattern, dialect, handler, summary) \
    { "GET", pattern, dialect, PX_CRED_ANY, PX_SCOPE_CREDITS_READ, PX_BODY_NONE, 0, handler, \
      summary }

const px_route px_credit_routes[] = {
    READ("/api/v1/credits", PX_DIALECT_TRAILROOM, get_balance,
         "The balance of the caller's credits."),
    READ("/api/v1/credits/transactions", PX_DIALECT_TRAILROOM, get_transactions,
         "The caller's credit transactions, newest first."),
    READ("/api/credits", PX_DIALECT_PIXSHIFT, get_account,
         "Balance, subscription allowance and the latest transactions."),
    READ("/api/credits/transactions", PX_DIALECT_PIXSHIFT, get_transactions,
         "The caller's credit transactions, newest first."),
    READ("/api/billing/free-tier", PX_DIALECT_PIXSHIFT, get_free_tier,
         "How many of the free transformations for life are used."),
    { NULL, NULL, PX_DIALECT_PIXSHIFT, 0, 0, PX_BODY_NONE, 0, NULL, NULL }
};
