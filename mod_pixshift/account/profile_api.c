/* The own profile (USER-1, USER-2). */
#include "profile_store.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

static const px_field profile_fields[] = {
    {"phone", PX_F_STRING, false, 8, 16, NULL, offsetof(profile_change, phone)},
    {"first_name", PX_F_STRING, false, 0, 100, NULL, offsetof(profile_change, first_name)},
    {"last_name", PX_F_STRING, false, 0, 100, NULL, offsetof(profile_change, last_name)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

/* E.164: a plus sign, then 7 to 15 digits without a leading zero. */
static bool phone_valid(const char *phone)
{
    size_t digits = phone[0] == '+' ? strspn(phone + 1, "0123456789") : 0;

    return digits >= 7 && digits <= 15 && phone[1] != '0' && phone[1 + digits] == '\0';
}

static px_err *read_user(px_req *req, px_user **user, px_balance *balance)
{
    px_err *err = px_user_find(req->app, req->pool, req->who->user_id, user);

    return err ? err : px_credit_balance(req->app->db, req->pool, (*user)->id, balance);
}

px_err *account_profile_get_api(px_req *req, px_reply *reply)
{
    px_jw *w = reply->json;
    profile_stats stats;
    px_balance balance;
    px_user *user;
    px_err *err = read_user(req, &user, &balance);

    if (err || (err = profile_store_stats(req->app->db, req->pool, user->id, &stats)) != NULL) {
        return err;
    }
    px_jw_object(w, NULL);
    px_user_write(req, w, "user", user, &balance);
    px_jw_object(w, "stats");
    px_jw_int(w, "total_transformations", stats.transformations);
    px_jw_decimal(w, "total_spent", stats.spent);
    px_jw_end_object(w);
    px_jw_end_object(w);
    return NULL;
}

px_err *account_profile_put_api(px_req *req, px_reply *reply)
{
    profile_change change = {0};
    px_balance balance;
    px_user *user;
    px_err *err = px_validate(req, profile_fields, &change);

    if (!err && change.phone && !phone_valid(change.phone)) {
        err = px_error_field(req->pool, "phone", "it must be in E.164 form, such as +14155552671.");
    }
    if (err || (err = profile_store_update(req->app->db, req->pool, req->who->user_id,
                                           &change)) != NULL
        || (err = read_user(req, &user, &balance)) != NULL) {
        return err;
    }
    px_jw_object(reply->json, NULL);
    px_reply_success(req, reply);
    px_user_write(req, reply->json, "user", user, &balance);
    px_jw_end_object(reply->json);
    return NULL;
}
