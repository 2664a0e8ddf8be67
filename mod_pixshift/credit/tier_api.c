/* Pricing tiers: PKG-1, PKG-2. The tier that is chosen stands on the user's row. */
#include "credit_api.h"
#include "credit_store.h"

#include "base/money.h"
#include "config/settings.h"
#include <string.h>

static void write_tier(px_req *req, px_jw *w, const px_tier *tier)
{
    const char *price = px_money_text(req->pool, tier->price_minor, tier->currency);

    px_jw_object(w, NULL);
    px_jw_str(w, "id", tier->id);
    px_jw_str(w, "name", tier->name);
    px_jw_str(w, "description", tier->description);
    if (strcmp(tier->kind, "monthly") == 0) {
        px_jw_int(w, "monthly_limit", tier->monthly_limit);
        px_jw_decimal(w, "cost_per_month", price);
    } else {
        px_jw_decimal(w, "cost_per_image", price);
    }
    px_jw_str(w, "currency", tier->currency);
    px_jw_end_object(w);
}

/* GET /api/billing/pricing-tiers */
static px_err *get_tiers(px_req *req, px_reply *reply)
{
    const px_tier *tier;

    px_jw_object(reply->json, NULL);
    px_jw_array(reply->json, "tiers");
    for (tier = req->app->settings->tiers; tier; tier = tier->next) {
        write_tier(req, reply->json, tier);
    }
    px_jw_end_array(reply->json);
    px_jw_end_object(reply->json);
    return NULL;
}

typedef struct { const char *tier; } tier_body;

static const px_field tier_fields[] = {
    { "pricing_tier", PX_F_STRING, true, 1, 64, NULL, offsetof(tier_body, tier) },
    { NULL, PX_F_STRING, false, 0, 0, NULL, 0 }
};

/* POST /api/billing/pricing-tier */
static px_err *choose_tier(px_req *req, px_reply *reply)
{
    tier_body body = { 0 };
    const px_tier *tier = req->app->settings->tiers;
    bool found = false;
    px_err *err = px_validate(req, tier_fields, &body);

    if (err) {
        return err;
    }
    while (tier && strcmp(tier->id, body.tier) != 0) {
        tier = tier->next;
    }
    if (!tier) {
        return px_error_field(req->pool, "pricing_tier", "there is no such tier.");
    }
    err = credit_store_set_tier(req->app->db, req->pool, req->who->user_id, tier->id, &found);
    if (!err && !found) {
        err = px_error(req->pool, PX_E_NOT_FOUND, "PXS2101", "user %s is gone", req->who->user_id);
    }
    if (err) {
        return err;
    }
    px_http_forget(req, req->who->user_id);
    px_jw_object(reply->json, NULL);
    px_reply_success(req, reply);
    px_jw_str(reply->json, "pricing_tier", tier->id);
    px_jw_end_object(reply->json);
    return NULL;
}

const px_route px_tier_routes[] = {
    { "GET", "/api/billing/pricing-tiers", PX_DIALECT_PIXSHIFT, PX_CRED_ANY, 0, PX_BODY_NONE, 0,
      get_tiers, "The pricing tiers on offer." },
    { "POST", "/api/billing/pricing-tier", PX_DIALECT_PIXSHIFT, PX_CRED_USER, PX_SCOPE_ACCOUNT,
      PX_BODY_JSON, 0, choose_tier, "Chooses the caller's pricing tier." },
    { NULL, NULL, PX_DIALECT_PIXSHIFT, 0, 0, PX_BODY_NONE, 0, NULL, NULL }
};
