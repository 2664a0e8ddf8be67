/* The ledger's rules on this side: names, arguments, and refusals in the client's words. */
#include "credit_store.h"

#include "base/buf.h"
#include "base/id.h"
#include "base/json.h"
#include "config/settings.h"
#include <apr_strings.h>
#include <string.h>

static const char *const kind_names[] = {
    "lifetime_free", "daily_free", "subscription", "purchase", "promo", "refund", "admin"
};

const char *px_grant_kind_name(px_grant_kind kind)
{
    return kind_names[kind];
}

static px_err *not_enough(apr_pool_t *pool, const char *detail)
{
    px_err *err = px_error(pool, PX_E_INSUFFICIENT_CREDITS, NULL, NULL);
    json_object *facts;
    px_err *bad = px_json_parse(pool, detail, strlen(detail), NULL, &facts);

    if (bad) {
        return bad;
    }
    px_err_with_number(err, "required", px_json_int(facts, "required", 0));
    px_err_with_number(err, "available", px_json_int(facts, "available", 0));
    px_err_with_number(err, "held", px_json_int(facts, "held", 0));
    return err;
}

/* From the SQLSTATEs of sql/0003_credit.up.sql to the table of errors. */
static px_err *explain(apr_pool_t *pool, px_err *err)
{
    const char *state = px_db_err_sqlstate(err);

    if (!err || !state || strncmp(state, "PX", 2) != 0) {
        return err;
    }
    if (strcmp(state, "PX402") == 0) {
        return not_enough(pool, px_db_err_detail(err));
    }
    if (strcmp(state, "PX404") == 0) {
        return px_error(pool, PX_E_NOT_FOUND, "PXS2101", "%s", err->cause);
    }
    if (strcmp(state, "PX409") == 0) {
        return px_error(pool, PX_E_CONFLICT, "PXS2102", "%s", err->cause);
    }
    if (strcmp(state, "PX422") == 0) {
        return px_error(pool, PX_E_VALIDATION, "PXS2103", "%s", err->cause);
    }
    return px_error(pool, PX_E_INTERNAL, "PXS2100", "%s", err->cause);
}

px_err *px_credit_explain(apr_pool_t *pool, px_err *err)
{
    return explain(pool, err);
}

px_err *px_credit_init_user(px_conn *conn, apr_pool_t *pool, const char *user_id)
{
    return explain(pool, credit_store_init(conn, pool, user_id));
}

px_err *px_credit_grant(px_conn *conn, apr_pool_t *pool, const char *user_id, px_grant_kind kind,
                        int64_t amount, const char *scope, int64_t expires_at, const char *key,
                        const char *reference_type, const char *reference_id, const char *note)
{
    return explain(pool, credit_store_grant(conn, pool, user_id, px_grant_kind_name(kind), amount,
                                            scope ? scope : PX_SCOPE_ANY, expires_at, key,
                                            reference_type, reference_id, note));
}

px_err *px_credit_hold(px_conn *conn, apr_pool_t *pool, const char *user_id, int64_t amount,
                       const char *scope, const char *key, const char **hold_id)
{
    return explain(pool, credit_store_hold(conn, pool, user_id, amount, scope, key, hold_id));
}

px_err *px_credit_capture(px_conn *conn, apr_pool_t *pool, const char *hold_id, int64_t amount,
                          const char *reference_type, const char *reference_id)
{
    return explain(pool, credit_store_capture(conn, pool, hold_id, amount, reference_type,
                                              reference_id));
}

px_err *px_credit_release(px_conn *conn, apr_pool_t *pool, const char *hold_id, const char *reason)
{
    return explain(pool, credit_store_release(conn, pool, hold_id, reason));
}

px_err *px_credit_refund(px_conn *conn, apr_pool_t *pool, const char *hold_id, int64_t amount,
                         const char *key, const char *note)
{
    return explain(pool, credit_store_refund(conn, pool, hold_id, amount, key, note));
}

/* One element of an array literal; NULL and quotes as PostgreSQL wants them. */
static void add_element(px_buf *buf, const char *text)
{
    px_buf_puts(buf, buf->len ? "," : "{");
    if (!text) {
        px_buf_puts(buf, "NULL");
        return;
    }
    px_buf_puts(buf, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            px_buf_puts(buf, "\\");
        }
        px_buf_add(buf, text, 1);
    }
    px_buf_puts(buf, "\"");
}

px_err *px_credit_settle(px_conn *conn, apr_pool_t *pool, const px_settlement *list, int count,
                         const char *reference_type, int *done)
{
    px_buf *holds = px_buf_make(pool, (size_t)count * 40 + 4);
    px_buf *amounts = px_buf_make(pool, (size_t)count * 6 + 4);
    px_buf *references = px_buf_make(pool, (size_t)count * 40 + 4);
    int i;

    *done = 0;
    if (count == 0) {
        return NULL;
    }
    for (i = 0; i < count; i++) {
        add_element(holds, list[i].hold_id);
        add_element(references, list[i].reference_id);
        add_element(amounts, list[i].amount < 0
                                 ? NULL
                                 : apr_psprintf(pool, "%" APR_INT64_T_FMT,
                                                (apr_int64_t)list[i].amount));
    }
    px_buf_puts(holds, "}");
    px_buf_puts(amounts, "}");
    px_buf_puts(references, "}");
    return explain(pool, credit_store_settle(conn, pool, holds->data, amounts->data,
                                             references->data, reference_type, done));
}

px_err *px_credit_expire(px_db *db, apr_pool_t *pool, int users, int64_t *expired)
{
    return explain(pool, credit_store_expire(db, pool, users, expired));
}

px_err *px_credit_balance(px_db *db, apr_pool_t *pool, const char *user_id, px_balance *balance)
{
    bool found = false, stale = false;
    px_err *err = credit_store_balance(db, pool, user_id, balance, &found, &stale);

    if (!err && found && stale) {
        err = explain(pool, credit_store_daily(db, pool, user_id));
        if (!err) {
            err = credit_store_balance(db, pool, user_id, balance, &found, &stale);
        }
    }
    if (!err && !found) {
        err = px_error(pool, PX_E_NOT_FOUND, "PXS2101", "user %s has no wallet", user_id);
    }
    return err;
}

px_err *px_credit_verify(px_db *db, apr_pool_t *pool, int64_t *violations,
                         void (*line)(void *baton, const char *text), void *baton)
{
    px_rows *rows;
    px_err *err = credit_store_verify(db, pool, &rows);
    int i;

    if (err) {
        return err;
    }
    *violations = px_rows_count(rows);
    for (i = 0; line && i < px_rows_count(rows); i++) {
        line(baton, apr_psprintf(pool, "%s: %s: %s", px_rows_str(rows, i, 0),
                                 px_rows_str(rows, i, 1), px_rows_str(rows, i, 2)));
    }
    return NULL;
}

px_err *px_credit_set_profile(px_db *db, apr_pool_t *pool, const px_credit_profile *profile)
{
    return credit_store_profile(db, pool, profile);
}

px_err *px_credit_apply_settings(px_db *db, apr_pool_t *pool, const px_settings *settings)
{
    px_credit_profile profile = {
        .lifetime_free = px_set_int(settings, PX_S_FREE_LIFETIME),
        .daily_free = px_set_int(settings, PX_S_FREE_DAILY),
        .initial = px_set_int(settings, PX_S_FREE_INITIAL),
    };

    return px_credit_set_profile(db, pool, &profile);
}
