/* The ledger's SQL. The rules themselves are the functions of sql/0003_credit.up.sql. */
#include "credit_store.h"

#include <apr_strings.h>

px_err *credit_store_balance(px_db *db, apr_pool_t *pool, const char *user_id, px_balance *balance,
                             bool *found, bool *stale)
{
    static const char sql[] =
        "SELECT w.held, w.total_used,"
        " coalesce(sum(g.remaining - g.held) FILTER (WHERE g.live), 0),"
        " coalesce(sum(g.remaining - g.held) FILTER (WHERE g.live AND g.kind = 'daily_free'), 0),"
        " coalesce(sum(g.amount - g.remaining) FILTER (WHERE g.kind = 'lifetime_free'), 0),"
        " coalesce(sum(g.amount) FILTER (WHERE g.kind = 'lifetime_free'), 0),"
        " coalesce(sum(g.remaining - g.held) FILTER"
        "  (WHERE g.live AND g.kind NOT IN ('daily_free', 'lifetime_free')), 0),"
        " coalesce(bool_or(NOT g.live AND g.remaining > g.held), false)"
        "  OR w.daily_on IS NULL OR w.daily_on < (t.at AT TIME ZONE 'UTC')::date,"
        " coalesce(sum(g.held) FILTER (WHERE g.kind = 'lifetime_free'), 0)"
        " FROM (SELECT pixshift.now() AS at) t"
        " JOIN pixshift.wallets w ON w.user_id = $1"
        " LEFT JOIN LATERAL (SELECT kind, amount, remaining, held,"
        "                           expires_at IS NULL OR expires_at > t.at AS live"
        "                      FROM pixshift.grants WHERE user_id = w.user_id AND open) g ON true"
        " GROUP BY w.user_id, t.at";
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows, sql, "s", user_id);

    if (err) {
        return err;
    }
    *found = px_rows_count(rows) == 1;
    if (*found) {
        balance->held = px_rows_int(rows, 0, 0);
        balance->total_used = px_rows_int(rows, 0, 1);
        balance->available = px_rows_int(rows, 0, 2);
        balance->daily_free = px_rows_int(rows, 0, 3);
        balance->lifetime_free_used = px_rows_int(rows, 0, 4);
        balance->lifetime_free_limit = px_rows_int(rows, 0, 5);
        balance->paid = px_rows_int(rows, 0, 6);
        *stale = px_rows_bool(rows, 0, 7);
        balance->lifetime_free_held = px_rows_int(rows, 0, 8);
    }
    return NULL;
}

px_err *credit_store_daily(px_db *db, apr_pool_t *pool, const char *user_id)
{
    return px_db_query(db, pool, NULL, "SELECT pixshift.credit_daily($1)", "s", user_id);
}

px_err *credit_store_init(px_conn *conn, apr_pool_t *pool, const char *user_id)
{
    return px_conn_query(conn, pool, NULL, "SELECT pixshift.credit_init_user($1)", "s", user_id);
}

px_err *credit_store_grant(px_conn *conn, apr_pool_t *pool, const char *user_id, const char *kind,
                           int64_t amount, const char *scope, int64_t expires_at, const char *key,
                           const char *reference_type, const char *reference_id, const char *note)
{
    return px_conn_query(conn, pool, NULL,
                         "SELECT pixshift.credit_grant($1, $2, $3, $4, pixshift.from_usec($5), $6,"
                         " $7, $8, $9)", "sslslssss", user_id, kind, amount, scope, expires_at, key,
                         reference_type, reference_id, note);
}

px_err *credit_store_hold(px_conn *conn, apr_pool_t *pool, const char *user_id, int64_t amount,
                          const char *scope, const char *key, const char **hold_id)
{
    px_rows *rows;
    px_err *err = px_conn_query(conn, pool, &rows, "SELECT pixshift.credit_hold($1, $2, $3, $4)",
                                "slss", user_id, amount, scope, key);
    if (!err) {
        *hold_id = px_rows_str(rows, 0, 0);
    }
    return err;
}

px_err *credit_store_capture(px_conn *conn, apr_pool_t *pool, const char *hold_id, int64_t amount,
                             const char *reference_type, const char *reference_id)
{
    return px_conn_query(conn, pool, NULL, "SELECT pixshift.credit_capture($1, $2, $3, $4)", "slss",
                         hold_id, amount, reference_type, reference_id);
}

px_err *credit_store_release(px_conn *conn, apr_pool_t *pool, const char *hold_id,
                             const char *reason)
{
    return px_conn_query(conn, pool, NULL, "SELECT pixshift.credit_release($1, $2)", "ss", hold_id,
                         reason);
}

px_err *credit_store_refund(px_conn *conn, apr_pool_t *pool, const char *hold_id, int64_t amount,
                            const char *key, const char *note)
{
    return px_conn_query(conn, pool, NULL, "SELECT pixshift.credit_refund($1, $2, $3, $4)", "slss",
                         hold_id, amount, key, note);
}

px_err *credit_store_settle(px_conn *conn, apr_pool_t *pool, const char *holds, const char *amounts,
                            const char *references, const char *reference_type, int *done)
{
    px_rows *rows;
    px_err *err = px_conn_query(conn, pool, &rows,
                                "SELECT pixshift.credit_settle_batch($1, $2, $3, $4)", "ssss",
                                holds, amounts, references, reference_type);
    if (!err) {
        *done = (int)px_rows_int(rows, 0, 0);
    }
    return err;
}

px_err *credit_store_expire(px_db *db, apr_pool_t *pool, int users, int64_t *expired)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows, "SELECT pixshift.credit_expire($1)", "i", users);

    if (!err) {
        *expired = px_rows_int(rows, 0, 0);
    }
    return err;
}

static px_err *verify_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    px_err *err = px_conn_query(conn, pool, NULL, "SET LOCAL statement_timeout = 0", NULL);

    return err ? err : px_conn_query(conn, pool, baton,
                                     "SELECT name, subject, detail FROM pixshift.ledger_verify()",
                                     NULL);
}

px_err *credit_store_verify(px_db *db, apr_pool_t *pool, px_rows **rows)
{
    return px_db_tx(db, pool, verify_body, rows);
}

px_err *credit_store_profile(px_db *db, apr_pool_t *pool, const px_credit_profile *profile)
{
    return px_db_query(db, pool, NULL,
                       "UPDATE pixshift.credit_profile SET lifetime_free = $1, daily_free = $2,"
                       " initial = $3 WHERE (lifetime_free, daily_free, initial)"
                       " IS DISTINCT FROM ($1, $2, $3)", "lll", profile->lifetime_free,
                       profile->daily_free, profile->initial);
}

static const char *filter_sql =
    " FROM pixshift.ledger_entries WHERE user_id = $1"
    " AND ($2::text IS NULL OR (kind || ':' || source) = ANY (string_to_array($2, ','))"
    "      OR (kind || ':*') = ANY (string_to_array($2, ',')))"
    " AND ($3::bigint = 0 OR created_at >= pixshift.from_usec($3))"
    " AND ($4::bigint = 0 OR created_at < pixshift.from_usec($4))";

static void read_entry(const px_rows *rows, int i, px_entry *e)
{
    e->id = px_rows_str(rows, i, 0);
    e->seq = px_rows_int(rows, i, 1);
    e->kind = px_rows_str(rows, i, 2);
    e->source = px_rows_str(rows, i, 3);
    e->amount = px_rows_int(rows, i, 4);
    e->balance_after = px_rows_int(rows, i, 5);
    e->hold_id = px_rows_str(rows, i, 6);
    e->reference_type = px_rows_str(rows, i, 7);
    e->reference_id = px_rows_str(rows, i, 8);
    e->note = px_rows_str(rows, i, 9);
    e->created_at = px_rows_int(rows, i, 10);
}

px_err *px_credit_entries(px_db *db, apr_pool_t *pool, const char *user_id,
                          const px_entry_filter *filter, int64_t limit, int64_t offset,
                          px_entry **list, int *count, int64_t *total)
{
    const char *sql = apr_pstrcat(pool,
        "SELECT encode(substr(hash, 1, 16), 'hex')::uuid, seq, kind, source, amount, balance_after,"
        " hold_id, reference_type, reference_id, note, pixshift.usec(created_at), count(*) OVER ()",
        filter_sql,
        " ORDER BY seq DESC LIMIT $5 OFFSET $6", NULL);
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows, sql, "ssllll", user_id, filter->match, filter->from,
                              filter->to, limit, offset);
    int i;

    if (err) {
        return err;
    }
    *count = px_rows_count(rows);
    *list = apr_pcalloc(pool, (apr_size_t)(*count + 1) * sizeof **list);
    for (i = 0; i < *count; i++) {
        read_entry(rows, i, &(*list)[i]);
    }
    *total = *count ? px_rows_int(rows, 0, 11) : 0;
    if (*count || offset == 0) {
        return NULL;
    }
    /* A page behind the end has no row to carry the count. */
    err = px_db_query(db, pool, &rows, apr_pstrcat(pool, "SELECT count(*)", filter_sql, NULL),
                      "ssll", user_id, filter->match, filter->from, filter->to);
    if (!err) {
        *total = px_rows_int(rows, 0, 0);
    }
    return err;
}

px_err *px_credit_allowance(px_db *db, apr_pool_t *pool, const char *user_id, int64_t since,
                            px_allowance *allowance)
{
    static const char sql[] =
        "SELECT coalesce(g.amount, 0), coalesce((SELECT max(s.max_rollover)"
        "   FROM pixshift.subscription_credits s WHERE s.monthly_credits = g.amount), 0),"
        " (SELECT coalesce(-sum(e.amount), 0) FROM pixshift.ledger_entries e WHERE e.user_id = $1"
        "   AND e.kind IN ('usage', 'refund') AND e.created_at >= pixshift.from_usec($2))"
        " FROM (SELECT $1::uuid AS user_id) u LEFT JOIN LATERAL"
        " (SELECT amount FROM pixshift.grants WHERE user_id = u.user_id AND open"
        "   AND kind = 'subscription' AND (expires_at IS NULL OR expires_at > pixshift.now())"
        "   ORDER BY created_at DESC LIMIT 1) g ON true";
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows, sql, "sl", user_id, since);

    if (!err) {
        allowance->monthly_allowance = px_rows_int(rows, 0, 0);
        allowance->max_rollover = px_rows_int(rows, 0, 1);
        allowance->used = px_rows_int(rows, 0, 2);
    }
    return err;
}

px_err *credit_store_set_tier(px_db *db, apr_pool_t *pool, const char *user_id, const char *tier,
                              bool *found)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
                              "UPDATE pixshift.users SET pricing_tier = $2,"
                              " updated_at = pixshift.now() WHERE id = $1", "ss", user_id, tier);
    if (!err) {
        *found = px_rows_affected(rows) == 1;
    }
    return err;
}
