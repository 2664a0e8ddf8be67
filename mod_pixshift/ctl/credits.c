/* pixshiftctl credits … and ledger verify */
#include "ctl.h"

#include "account/user.h"
#include "admin/admin.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "credit/credit.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>

#define DAY_US (86400 * INT64_C(1000000))

static void amount(const char *name, int64_t value)
{
    printf("%-22s %lld\n", name, (long long)value);
}

static void print_balance(const px_balance *b)
{
    amount("available", b->available);
    amount("held", b->held);
    amount("of these: paid", b->paid);
    amount("  daily free", b->daily_free);
    amount("  lifetime free", b->lifetime_free_limit - b->lifetime_free_used);
    amount("used in all", b->total_used);
}

static void print_entry(ctl *c, const px_entry *e)
{
    printf("%s  %+8lld  -> %-8lld %s:%s%s%s%s%s\n", px_time_iso(c->pool, e->created_at),
           (long long)e->amount, (long long)e->balance_after, e->kind, e->source,
           e->reference_type ? "  " : "", e->reference_type ? e->reference_type : "",
           e->reference_id ? " " : "", e->reference_id ? e->reference_id : "");
    if (e->note) {
        printf("%26s%s\n", "", e->note);
    }
}

int ctl_credits_show(ctl *c)
{
    px_entry_filter all = {0};
    int64_t limit = 10, total;
    px_balance balance;
    px_entry *list;
    px_user *user;
    px_err *err;
    int count;

    if (c->option[CTL_O_LIMIT] && !ctl_number("--limit", c->option[CTL_O_LIMIT], 0, 1000, &limit)) {
        return CTL_USAGE;
    }
    if ((err = px_user_find(&c->app, c->pool, c->args[0], &user)) != NULL
        || (err = px_credit_balance(c->app.db, c->pool, user->id, &balance)) != NULL
        || (err = px_credit_entries(c->app.db, c->pool, user->id, &all, limit, 0, &list, &count,
                                    &total)) != NULL) {
        return ctl_fail(err);
    }
    printf("%s %s\n", user->id, user->email ? user->email : "");
    print_balance(&balance);
    if (count > 0) {
        printf("\nlatest %d of %lld entries:\n", count, (long long)total);
    }
    for (int i = 0; i < count; i++) {
        print_entry(c, &list[i]);
    }
    return CTL_OK;
}

int ctl_credits_grant(ctl *c)
{
    px_admin_grant grant = {.actor = {.name = ctl_actor(c->pool)}, .note = c->option[CTL_O_NOTE]};
    const char *once = c->option[CTL_O_ONCE];
    px_balance balance;
    int64_t days = 0;
    px_user *user;
    px_err *err;

    if (!grant.note || !*grant.note) {
        ctl_say_error("say why: --note TEXT is kept in the ledger and the audit log");
        return CTL_USAGE;
    }
    if (!ctl_number("the amount", c->args[1], 1, 1000000, &grant.amount)
        || (c->option[CTL_O_DAYS]
            && !ctl_number("--days", c->option[CTL_O_DAYS], 1, 3660, &days))) {
        return CTL_USAGE;
    }
    if ((err = px_user_find(&c->app, c->pool, c->args[0], &user)) != NULL) {
        return ctl_fail(err);
    }
    grant.user_id = user->id;
    grant.expires_at = days ? px_now() + days * DAY_US : 0;
    grant.key = apr_pstrcat(c->pool, "ctl:", once ? once : px_uuid7(c->pool), NULL);
    if ((err = px_admin_grant_credits(&c->app, c->pool, &grant)) != NULL
        || (err = px_credit_balance(c->app.db, c->pool, user->id, &balance)) != NULL) {
        return ctl_fail(err);
    }
    printf("granted %lld credits to %s; available now: %lld\n", (long long)grant.amount,
           user->email ? user->email : user->id, (long long)balance.available);
    return CTL_OK;
}

/* ---- ledger verify ---- */

static void print_violation(void *baton, const char *text)
{
    (void)baton;
    puts(text);
}

static void write_violation(void *baton, const char *text)
{
    px_jw_str(baton, NULL, text);
}

int ctl_ledger_verify(ctl *c)
{
    bool json = c->option[CTL_O_JSON] != NULL;
    px_jw *w = px_jw_make(c->pool, PX_SPELL_SNAKE);
    int64_t violations = 0;
    px_err *err;

    px_jw_object(w, NULL);
    px_jw_array(w, "lines");
    err = px_credit_verify(c->app.db, c->pool, &violations,
                           json ? write_violation : print_violation, w);
    if (err) {
        return ctl_fail(err);
    }
    px_jw_end_array(w);
    px_jw_int(w, "violations", violations);
    px_jw_end_object(w);
    if (json) {
        puts(w->buf->data);
    } else {
        printf(violations ? "%lld violations\n" : "the ledger is in order (%lld violations)\n",
               (long long)violations);
    }
    return violations ? CTL_FAILED : CTL_OK;
}
