/* SQL of users and identities (sql/0002_account). */
#include "account_store.h"

#include <apr_strings.h>
#include <string.h>

/* Seconds of delay after n failures in a row: none below 10, then 30 s doubling to an hour. */
#define FAILURES_FREE "10"

#define USER_COLUMNS \
    "u.id, u.email, u.phone, u.first_name, u.last_name, u.profile_picture, u.auth_provider," \
    " u.role, u.admin_scope, pixshift.user_entitlement(u.id), u.pricing_tier, u.phone_verified," \
    " u.is_email_verified, u.is_active, u.is_suspended, pixshift.usec(u.created_at)," \
    " pixshift.usec(u.updated_at), pixshift.usec(u.last_login)"
#define USER_COLUMN_COUNT 18

static void read_user(const px_rows *rows, int row, px_user *user)
{
    user->id = px_rows_str(rows, row, 0);
    user->email = px_rows_str(rows, row, 1);
    user->phone = px_rows_str(rows, row, 2);
    user->first_name = px_rows_str(rows, row, 3);
    user->last_name = px_rows_str(rows, row, 4);
    user->profile_picture = px_rows_str(rows, row, 5);
    user->auth_provider = px_rows_str(rows, row, 6);
    user->role = strcmp(px_rows_str(rows, row, 7), "admin") == 0 ? PX_ROLE_ADMIN : PX_ROLE_USER;
    user->admin_scope = px_rows_str(rows, row, 8);
    user->entitlement = px_rows_str(rows, row, 9);
    user->pricing_tier = px_rows_str(rows, row, 10);
    user->phone_verified = px_rows_bool(rows, row, 11);
    user->is_email_verified = px_rows_bool(rows, row, 12);
    user->is_active = px_rows_bool(rows, row, 13);
    user->is_suspended = px_rows_bool(rows, row, 14);
    user->created_at = px_rows_int(rows, row, 15);
    user->updated_at = px_rows_int(rows, row, 16);
    user->last_login = px_rows_int(rows, row, 17);
}

static void take_user(apr_pool_t *pool, const px_rows *rows, px_user **out)
{
    *out = NULL;
    if (px_rows_count(rows) > 0 && !px_rows_null(rows, 0, 0)) {
        *out = apr_pcalloc(pool, sizeof **out);
        read_user(rows, 0, *out);
    }
}

px_err *account_store_find(px_db *db, apr_pool_t *pool, const char *id, const char *email,
                           px_user **out)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
                              id ? "SELECT " USER_COLUMNS " FROM pixshift.users u WHERE u.id = $1"
                                 : "SELECT " USER_COLUMNS " FROM pixshift.users u"
                                   " WHERE u.email = $1", "s", id ? id : email);
    if (!err) {
        take_user(pool, rows, out);
    }
    return err;
}

px_err *account_store_lock(px_conn *conn, apr_pool_t *pool, const char *id, px_user **out)
{
    px_rows *rows;
    px_err *err = px_conn_query(conn, pool, &rows,
                                "SELECT " USER_COLUMNS " FROM pixshift.users u WHERE u.id = $1"
                                " FOR NO KEY UPDATE", "s", id);
    if (!err) {
        take_user(pool, rows, out);
    }
    return err;
}

/* ---- login ---- */

px_err *account_store_login(px_db *db, apr_pool_t *pool, const char *email, const char *subject,
                            account_login_row *out)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "SELECT " USER_COLUMNS ", u.password_hash, coalesce(f.failures, 0),"
        " coalesce(pixshift.usec(f.blocked_until), 0)"
        " FROM (VALUES ($1::text, $2::text)) AS v (email, subject)"
        " LEFT JOIN pixshift.users u ON u.email = v.email"
        " LEFT JOIN pixshift.login_failures f ON f.subject = v.subject",
        "ss", email, subject);

    if (!err) {
        take_user(pool, rows, &out->user);
        out->password_hash = px_rows_str(rows, 0, USER_COLUMN_COUNT);
        out->failures = (int)px_rows_int(rows, 0, USER_COLUMN_COUNT + 1);
        out->blocked_until = px_rows_int(rows, 0, USER_COLUMN_COUNT + 2);
    }
    return err;
}

/* A day without attempts makes the count begin anew. */
px_err *account_store_login_failed(px_db *db, apr_pool_t *pool, const char *subject)
{
    return px_db_query(db, pool, NULL,
        "INSERT INTO pixshift.login_failures AS f (subject, failures) VALUES ($1, 1)"
        " ON CONFLICT (subject) DO UPDATE SET"
        "  failures = CASE WHEN f.last_at < pixshift.now() - interval '1 day' THEN 1"
        "                  ELSE f.failures + 1 END,"
        "  last_at = pixshift.now(),"
        "  blocked_until = CASE WHEN f.last_at < pixshift.now() - interval '1 day'"
        "    OR f.failures + 1 < " FAILURES_FREE " THEN NULL"
        "    ELSE pixshift.now() + interval '1 second'"
        "      * least(30 * 2 ^ least(f.failures + 1 - " FAILURES_FREE ", 7), 3600) END",
        "s", subject);
}

px_err *account_store_login_passed(px_db *db, apr_pool_t *pool, const char *subject,
                                   const char *user_id, const char *new_hash)
{
    return px_db_query(db, pool, NULL,
        "WITH cleared AS (DELETE FROM pixshift.login_failures WHERE subject = $1)"
        " UPDATE pixshift.users SET last_login = pixshift.now(),"
        "  password_hash = coalesce($3, password_hash) WHERE id = $2", "sss", subject, user_id,
        new_hash);
}

/* ---- changes ---- */

px_err *account_store_insert(px_conn *conn, apr_pool_t *pool, const char *email, const char *hash,
                             const char *first_name, const char *last_name, bool signs_in,
                             const char **id)
{
    px_rows *rows;
    px_err *err = px_conn_query(conn, pool, &rows,
        "WITH u AS (INSERT INTO pixshift.users (email, password_hash, first_name, last_name,"
        "   last_login) VALUES ($1, $2, $3, $4, CASE WHEN $5::boolean THEN pixshift.now() END)"
        "   RETURNING id, email),"
        " i AS (INSERT INTO pixshift.identities (user_id, kind, subject, email)"
        "   SELECT id, 'email', email, email FROM u)"
        " SELECT id FROM u", "ssssb", email, hash, first_name, last_name, signs_in);

    if (err) {
        const char *constraint = px_db_err_constraint(err);
        bool taken = constraint && (strcmp(constraint, "users_email") == 0
                                    || strcmp(constraint, "identities_kind_subject_key") == 0);
        return taken ? px_error(pool, PX_E_EMAIL_TAKEN, NULL, NULL) : err;
    }
    *id = px_rows_str(rows, 0, 0);
    return NULL;
}

px_err *account_store_set_role(px_conn *conn, apr_pool_t *pool, const char *id, const char *role,
                               const char *admin_scope)
{
    return px_conn_query(conn, pool, NULL,
                         "UPDATE pixshift.users SET role = $2, admin_scope = $3,"
                         " updated_at = pixshift.now() WHERE id = $1", "sss", id, role,
                         admin_scope);
}

px_err *account_store_set_entitlement(px_conn *conn, apr_pool_t *pool, const char *id,
                                      const char *entitlement, int64_t until)
{
    return px_conn_query(conn, pool, NULL,
                         "UPDATE pixshift.users SET entitlement = $2,"
                         " entitlement_until = pixshift.from_usec($3), updated_at = pixshift.now()"
                         " WHERE id = $1", "ssl", id, entitlement, until);
}

px_err *account_store_set_suspended(px_conn *conn, apr_pool_t *pool, const char *id, bool suspended,
                                    const char *reason)
{
    return px_conn_query(conn, pool, NULL,
                         "UPDATE pixshift.users SET is_suspended = $2, suspended_reason = $3,"
                         " updated_at = pixshift.now() WHERE id = $1", "sbs", id, suspended,
                         suspended ? reason : NULL);
}

px_err *account_store_end_logins(px_conn *conn, apr_pool_t *pool, const char *id)
{
    return px_conn_query(conn, pool, NULL, "SELECT pixshift.end_logins($1)", "s", id);
}

px_err *account_store_set_password(px_conn *conn, apr_pool_t *pool, const char *id,
                                   const char *hash)
{
    return px_conn_query(conn, pool, NULL,
                         "UPDATE pixshift.users SET password_hash = $2, updated_at = pixshift.now()"
                         " WHERE id = $1", "ss", id, hash);
}

/* ---- lists ---- */

px_err *account_store_list(px_db *db, apr_pool_t *pool, const char *role, const char *entitlement,
                           const char *search, int64_t limit, int64_t offset, px_user **list,
                           int *count, int64_t *total)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "SELECT " USER_COLUMNS ", t.total FROM"
        " (SELECT count(*) AS total FROM pixshift.users u"
        "   WHERE ($1::text IS NULL OR u.role = $1)"
        "     AND ($2::text IS NULL OR pixshift.user_entitlement(u.id) = $2)"
        "     AND ($3::text IS NULL OR strpos(u.email, $3) > 0)) t"
        " LEFT JOIN LATERAL (SELECT * FROM pixshift.users u"
        "   WHERE ($1::text IS NULL OR u.role = $1)"
        "     AND ($2::text IS NULL OR pixshift.user_entitlement(u.id) = $2)"
        "     AND ($3::text IS NULL OR strpos(u.email, $3) > 0)"
        "   ORDER BY u.created_at DESC, u.id DESC LIMIT $4 OFFSET $5) u ON true"
        " ORDER BY u.created_at DESC, u.id DESC",
        "sssll", role, entitlement, search, limit, offset);

    if (err) {
        return err;
    }
    *total = px_rows_int(rows, 0, USER_COLUMN_COUNT);
    /* A page behind the end is one row without a user. */
    *count = px_rows_null(rows, 0, 0) ? 0 : px_rows_count(rows);
    *list = apr_pcalloc(pool, (apr_size_t)(*count + 1) * sizeof **list);
    for (int i = 0; i < *count; i++) {
        read_user(rows, i, &(*list)[i]);
    }
    return NULL;
}

px_err *account_store_purge(px_db *db, apr_pool_t *pool, int64_t *removed)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows, "SELECT pixshift.account_purge(10000)", "");

    *removed = err ? 0 : px_rows_int(rows, 0, 0);
    return err;
}
