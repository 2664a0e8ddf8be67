/* credit/ from C: results, refusals and details. The ledger's own rules are tested in tests/sql. */
#include "unit_db.h"

#include "base/log.h"
#include "credit/credit.h"
#include "credit/credit_words.h"

static const char *const migrations[] = { "0001_base", "0003_credit", "0007_credit_audit", NULL };

/* Runs first: each test is a process of its own, the database stays. */
START_TEST(schema_goes_in)
{
    unit_db_migrate(migrations);
}
END_TEST

static px_db *db;
static const char *user;

typedef struct { px_err *(*act)(px_conn *conn, apr_pool_t *pool); } act_baton;

static px_err *act_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    return ((act_baton *)baton)->act(conn, pool);
}

static px_err *in_tx(px_err *(*act)(px_conn *conn, apr_pool_t *pool))
{
    act_baton b = { act };
    return px_db_tx(db, unit_pool, act_body, &b);
}

static px_err *init(px_conn *conn, apr_pool_t *pool)
{
    return px_credit_init_user(conn, pool, user);
}

static void set_up(void)
{
    static const px_credit_profile profile = { 5, 3, 0 };
    px_rows *rows;

    db = unit_db_open(2, true, NULL);
    UNIT_OK(px_credit_set_profile(db, unit_pool, &profile));
    UNIT_OK(px_db_query(db, unit_pool, &rows, "INSERT INTO pixshift.users DEFAULT VALUES RETURNING id",
                        NULL));
    user = px_rows_str(rows, 0, 0);
    UNIT_OK(in_tx(init));
}

static px_balance balance_now(void)
{
    px_balance b;

    UNIT_OK(px_credit_balance(db, unit_pool, user, &b));
    return b;
}

static const char *hold_a, *hold_b;

static px_err *two_holds(px_conn *conn, apr_pool_t *pool)
{
    px_err *err = px_credit_hold(conn, pool, user, 6, PX_SCOPE_TRANSFORMATION,
                                 apr_pstrcat(pool, "a", user, NULL), &hold_a);
    return err ? err : px_credit_hold(conn, pool, user, 2, PX_SCOPE_ANY,
                                      apr_pstrcat(pool, "b", user, NULL), &hold_b);
}

static px_err *settle_both(px_conn *conn, apr_pool_t *pool)
{
    px_settlement list[] = { { hold_a, 4, "job \"1\"" }, { hold_b, -1, NULL } };
    int done;
    px_err *err = px_credit_settle(conn, pool, list, 2, "job", &done);

    if (!err) {
        ck_assert_int_eq(done, 2);
        err = px_credit_settle(conn, pool, list, 2, "job", &done);
        ck_assert_int_eq(done, 0);
    }
    return err ? err : px_credit_settle(conn, pool, list, 0, "job", &done);
}

static px_err *give_back(px_conn *conn, apr_pool_t *pool)
{
    return px_credit_refund(conn, pool, hold_a, 1, apr_pstrcat(pool, "r", user, NULL), "sorry");
}

START_TEST(balances_follow)
{
    px_balance b;
    px_entry *list;
    px_entry_filter filter = { "usage:*,refund:*", 0, 0 };
    int count;
    int64_t total, expired;

    set_up();
    b = balance_now();
    ck_assert_int_eq(b.available, 8);
    ck_assert_int_eq(b.daily_free, 3);
    ck_assert_int_eq(b.lifetime_free_limit, 5);
    ck_assert_int_eq(b.paid, 0);
    UNIT_OK(in_tx(two_holds));
    b = balance_now();
    ck_assert_int_eq(b.available, 0);
    ck_assert_int_eq(b.held, 8);
    UNIT_OK(in_tx(settle_both));
    UNIT_OK(in_tx(give_back));
    UNIT_OK(in_tx(give_back));
    b = balance_now();
    ck_assert_int_eq(b.held, 0);
    ck_assert_int_eq(b.total_used, 3);
    ck_assert_int_eq(b.lifetime_free_used, 3);
    ck_assert_int_eq(b.available, 5);
    UNIT_OK(px_credit_entries(db, unit_pool, user, &filter, 10, 0, &list, &count, &total));
    ck_assert_int_eq(count, 2);
    ck_assert_int_eq(total, 2);
    ck_assert_str_eq(list[0].kind, "refund");
    ck_assert_str_eq(list[0].note, "sorry");
    ck_assert_str_eq(list[0].reference_id, "job \"1\"");
    ck_assert_int_eq(strlen(list[0].id), 36);
    ck_assert_str_eq(credit_word_description(&list[0]), "sorry");
    ck_assert_int_eq(list[1].amount, -4);
    ck_assert_str_eq(list[1].reference_id, "job \"1\"");
    UNIT_OK(px_credit_entries(db, unit_pool, user, &filter, 10, 50, &list, &count, &total));
    ck_assert_int_eq(count, 0);
    ck_assert_int_eq(total, 2);
    UNIT_OK(px_credit_expire(db, unit_pool, 100, &expired));
}
END_TEST

static px_err *too_much(px_conn *conn, apr_pool_t *pool)
{
    const char *id;
    return px_credit_hold(conn, pool, user, 100, PX_SCOPE_ANY, apr_pstrcat(pool, "x", user, NULL), &id);
}

static px_err *capture_unknown(px_conn *conn, apr_pool_t *pool)
{
    return px_credit_capture(conn, pool, "00000000-0000-7000-8000-000000000000", 1, "job", "j");
}

static px_err *capture_then_release(px_conn *conn, apr_pool_t *pool)
{
    const char *id;
    px_err *err = px_credit_hold(conn, pool, user, 1, PX_SCOPE_ANY, apr_pstrcat(pool, "y", user, NULL),
                                 &id);
    if (!err) {
        err = px_credit_capture(conn, pool, id, 1, "job", "j");
    }
    return err ? err : px_credit_release(conn, pool, id, "late");
}

static px_err *grant_nothing(px_conn *conn, apr_pool_t *pool)
{
    return px_credit_grant(conn, pool, user, PX_GRANT_ADMIN, 0, NULL, 0, "k", NULL, NULL, NULL);
}

START_TEST(refusals_are_told_apart)
{
    px_err *err;

    set_up();
    err = in_tx(too_much);
    ck_assert_ptr_nonnull(err);
    ck_assert_int_eq(err->id, PX_E_INSUFFICIENT_CREDITS);
    ck_assert_str_eq(err->details->key, "required");
    ck_assert_int_eq(err->details->number, 100);
    ck_assert_str_eq(err->details->next->key, "available");
    ck_assert_int_eq(err->details->next->number, 3);    /* the five for life are for one scope */
    ck_assert_str_eq(err->details->next->next->key, "held");
    UNIT_ERR(in_tx(capture_unknown), PX_E_NOT_FOUND);
    UNIT_ERR(in_tx(capture_then_release), PX_E_CONFLICT);
    UNIT_ERR(in_tx(grant_nothing), PX_E_VALIDATION);
    UNIT_ERR(px_credit_balance(db, unit_pool, "00000000-0000-7000-8000-000000000000",
                               &(px_balance){ 0 }), PX_E_NOT_FOUND);
}
END_TEST

static px_err *purchase(px_conn *conn, apr_pool_t *pool)
{
    return px_credit_grant(conn, pool, user, PX_GRANT_PURCHASE, 50, NULL, 0,
                           apr_pstrcat(pool, "purchase:", user, NULL), "payment", "pay_1", NULL);
}

START_TEST(grants_are_kept_once)
{
    int64_t violations = -1;

    set_up();
    UNIT_OK(in_tx(purchase));
    UNIT_OK(in_tx(purchase));
    ck_assert_int_eq(balance_now().paid, 50);
    UNIT_OK(px_credit_verify(db, unit_pool, &violations, NULL, NULL));
    ck_assert_int_eq(violations, 0);
    unit_db_exec("ALTER TABLE pixshift.wallets DISABLE TRIGGER ALL;"
                 "UPDATE pixshift.wallets SET posted = posted + 1;"
                 "ALTER TABLE pixshift.wallets ENABLE TRIGGER ALL");
    UNIT_OK(px_credit_verify(db, unit_pool, &violations, NULL, NULL));
    ck_assert_int_ge(violations, 2);
    unit_db_exec("ALTER TABLE pixshift.wallets DISABLE TRIGGER ALL;"
                 "UPDATE pixshift.wallets SET posted = posted - 1;"
                 "ALTER TABLE pixshift.wallets ENABLE TRIGGER ALL");
}
END_TEST

/* ---- words (C-34) ---- */

START_TEST(types_speak_each_dialect)
{
    static const struct { const char *kind, *source, *v1, *pixshift; } cases[] = {
        { "usage", "hold", "usage", "usage" },          { "refund", "hold", "refund", "refund" },
        { "grant", "purchase", "purchase", "purchase" }, { "expire", "daily_free", "free", "bonus" },
        { "grant", "subscription", "purchase", "subscription" },
        { "grant", "admin", "admin_adjustment", "bonus" }, { "grant", "promo", "free", "bonus" },
    };
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        px_entry e = { .kind = cases[i].kind, .source = cases[i].source };
        ck_assert_str_eq(credit_word(&e, true), cases[i].v1);
        ck_assert_str_eq(credit_word(&e, false), cases[i].pixshift);
    }
    ck_assert_str_eq(credit_word_match(unit_pool, "usage", true), "usage:*");
    ck_assert_str_eq(credit_word_match(unit_pool, "deduction", false), "usage:*");
    ck_assert_str_eq(credit_word_match(unit_pool, "purchase", true),
                     "grant:subscription,expire:subscription,grant:purchase,expire:purchase");
    ck_assert_str_eq(credit_word_match(unit_pool, "purchase", false), "grant:purchase,expire:purchase");
    ck_assert_str_eq(credit_word_match(unit_pool, "subscription", true),
                     "grant:subscription,expire:subscription");
    ck_assert_str_eq(credit_word_match(unit_pool, "refund", true),
                     "refund:*,grant:refund,expire:refund");
    ck_assert_ptr_null(credit_word_match(unit_pool, "nonsense", true));
}
END_TEST

START_TEST(dates_are_read_strictly)
{
    static const char *const bad[] = {
        "", "2026", "2026-13-01", "2026-02-29", "2026-00-10", "2026-11-31", "1969-01-01", "2026-1-1",
        "2026-11-21T", "2026-11-21T10:11", "2026-11-21T10:11:12", "2026-11-21T24:00:00Z",
        "2026-11-21T10:11:12Zx", "2026-11-21T10:11:12+1:00", "2026-11-21 x", "20261121", "2026-11-21Z",
    };
    int64_t at;
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(!credit_word_date(bad[i], false, &at), "%s", bad[i]);
    }
    ck_assert(credit_word_date("2026-11-21", false, &at));
    ck_assert(at == 1795219200000000);
    ck_assert(credit_word_date("2026-11-21", true, &at));
    ck_assert(at == 1795305600000000);
    ck_assert(credit_word_date("2024-02-29T23:00:00.25-02:30", false, &at));
    ck_assert(at == 1709256600250000 - 0);
    ck_assert(credit_word_date("1970-01-01T00:00:00Z", true, &at));
    ck_assert(at == 1);
}
END_TEST

static void no_log(void *baton, px_log_level level, const char *line)
{
    (void)baton, (void)level, (void)line;
}

int main(void)
{
    TCase *tc;

    unit_db_begin("credit");
    px_log_set_sink(no_log, NULL);
    tc = unit_begin("credit");
    tcase_add_test(tc, schema_goes_in);
    tcase_add_test(tc, balances_follow);
    tcase_add_test(tc, refusals_are_told_apart);
    tcase_add_test(tc, grants_are_kept_once);
    tc = unit_case("words");
    tcase_add_test(tc, types_speak_each_dialect);
    tcase_add_test(tc, dates_are_read_strictly);
    return unit_db_end(unit_run());
}
