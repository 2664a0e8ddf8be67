/* SQL of sessions, and the one statement behind each kind of credential. */
#include "session_store.h"

#include "base/clock.h"

#include <apr_strings.h>
#include <string.h>

/* The user's part of every look-up: columns 0 to 7. */
#define WHO_COLUMNS \
    "u.id, u.email, u.role, u.admin_scope, u.pricing_tier, u.is_suspended, u.is_active," \
    " pixshift.usec(u.not_before)"

#define SESSION_COLUMNS \
    WHO_COLUMNS ", s.id, s.csrf, pixshift.usec(s.created_at), pixshift.usec(s.last_activity)," \
    " pixshift.usec(s.expires_at)"

static account_found *read_who(apr_pool_t *pool, const px_rows *rows)
{
    account_found *found = apr_pcalloc(pool, sizeof *found);
    px_principal *who = &found->record.who;

    who->user_id = px_rows_str(rows, 0, 0);
    who->email = px_rows_str(rows, 0, 1);
    who->role = strcmp(px_rows_str(rows, 0, 2), "admin") == 0 ? PX_ROLE_ADMIN : PX_ROLE_USER;
    who->admin_scope = px_rows_str(rows, 0, 3);
    who->tier = px_rows_str(rows, 0, 4);
    found->suspended = px_rows_bool(rows, 0, 5);
    found->active = px_rows_bool(rows, 0, 6);
    found->not_before = px_rows_int(rows, 0, 7);
    return found;
}

static void read_session(apr_pool_t *pool, const px_rows *rows, account_found **out)
{
    account_found *found = NULL;

    if (px_rows_count(rows) > 0) {
        found = read_who(pool, rows);
        found->record.who.session_id = px_rows_str(rows, 0, 8);
        found->record.who.csrf = px_rows_str(rows, 0, 9);
        found->record.who.scopes = ~0u;
        found->record.started = px_rows_int(rows, 0, 10);
        found->record.last_used = px_rows_int(rows, 0, 11);
        found->record.valid_until = px_rows_int(rows, 0, 12);
    }
    *out = found;
}

px_err *session_store_by_hash(px_db *db, apr_pool_t *pool, const unsigned char hash[PX_SHA256_LEN],
                              account_found **found)
{
    int64_t now = px_now();
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "SELECT " SESSION_COLUMNS " FROM pixshift.sessions s"
        " JOIN pixshift.users u ON u.id = s.user_id WHERE s.id_hash = $1",
        "x", hash, (size_t)PX_SHA256_LEN);

    if (!err) {
        read_session(pool, rows, found);
        if (*found) {
            (*found)->record.looked_up = now;
        }
    }
    return err;
}

px_err *session_store_by_id(px_db *db, apr_pool_t *pool, const char *id, account_found **found)
{
    int64_t now = px_now();
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "SELECT " SESSION_COLUMNS " FROM pixshift.sessions s"
        " JOIN pixshift.users u ON u.id = s.user_id WHERE s.id = $1", "s", id);

    if (!err) {
        read_session(pool, rows, found);
        if (*found) {
            (*found)->record.looked_up = now;
        }
    }
    return err;
}

px_err *session_store_by_key(px_db *db, apr_pool_t *pool, const unsigned char hash[PX_SHA256_LEN],
                             account_found **out)
{
    int64_t now = px_now();
    account_found *found = NULL;
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
        "SELECT " WHO_COLUMNS ", k.id, array_to_string(k.scopes, ','), k.test_mode, k.is_active,"
        " pixshift.usec(k.created_at), pixshift.usec(k.last_used), pixshift.usec(k.expires_at)"
        " FROM pixshift.api_keys k JOIN pixshift.users u ON u.id = k.user_id WHERE k.key_hash = $1",
        "x", hash, (size_t)PX_SHA256_LEN);

    if (err) {
        return err;
    }
    if (px_rows_count(rows) > 0) {
        found = read_who(pool, rows);
        found->record.who.key_id = px_rows_str(rows, 0, 8);
        found->record.who.scopes = account_scopes_parse(px_rows_str(rows, 0, 9));
        found->record.who.test_mode = px_rows_bool(rows, 0, 10);
        found->key_active = px_rows_bool(rows, 0, 11);
        found->record.started = px_rows_int(rows, 0, 12);
        found->record.last_used = px_rows_int(rows, 0, 13);
        found->record.valid_until = px_rows_int(rows, 0, 14);
        found->record.looked_up = now;
    }
    *out = found;
    return NULL;
}

/* ---- sessions ---- */

px_err *session_store_insert(px_conn *conn, apr_pool_t *pool, const session_new *in,
                             const char **id, int64_t *created_at)
{
    px_rows *rows;
    px_err *err = px_conn_query(conn, pool, &rows,
        "INSERT INTO pixshift.sessions (user_id, id_hash, csrf, user_agent, ip, created_at,"
        "  last_activity, expires_at, purge_at)"
        " SELECT $1, $2, $3, left($4, 400), left($5, 64), t.at, t.at,"
        "  t.at + $6::bigint * interval '1 millisecond',"
        "  t.at + $7::bigint * interval '1 millisecond'"
        " FROM (SELECT pixshift.now() AS at) t RETURNING id, pixshift.usec(created_at)",
        "sxsssll", in->user_id, in->id_hash, in->id_hash ? (size_t)PX_SHA256_LEN : (size_t)0,
        in->csrf, in->user_agent, in->ip, in->life_ms, in->purge_ms);

    if (!err) {
        *id = px_rows_str(rows, 0, 0);
        *created_at = px_rows_int(rows, 0, 1);
    }
    return err;
}

px_err *session_store_delete(px_db *db, apr_pool_t *pool, const char *id, const char **id_hash_hex)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
                              "DELETE FROM pixshift.sessions WHERE id = $1"
                              " RETURNING encode(id_hash, 'hex')", "s", id);

    *id_hash_hex = !err && px_rows_count(rows) > 0 ? px_rows_str(rows, 0, 0) : NULL;
    return err;
}

px_err *session_store_touch(px_db *db, apr_pool_t *pool, const char *id)
{
    return px_db_query(db, pool, NULL,
                       "UPDATE pixshift.sessions SET last_activity = pixshift.now() WHERE id = $1"
                       " AND last_activity < pixshift.now() - interval '1 minute'", "s", id);
}
