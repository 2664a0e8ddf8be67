/* Refresh tokens: rotation, reuse detection, the grace window (RELIABILITY §2).
 *
 * A token is good once. Using it again within ten seconds from the same client gives the same
 * successor, because the first reply may have been lost; any other reuse means that somebody
 * else has the token, and ends the whole login. */
#include "session_store.h"

#include "admin/audit.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "base/log.h"
#include "config/settings.h"

#include <apr_strings.h>
#include <string.h>

#define GRACE_US 10000000
#define TOKEN_LEN 47            /* "psr_" and 43 of base64url */
#define SEAL_CONTEXT "refresh successor"

typedef enum { REFRESHED, UNKNOWN, EXPIRED, REUSED, SUSPENDED } outcome;

typedef struct {
    const px_app *app;
    const px_req *req;
    account_refresh *in;
    unsigned char hash[PX_SHA256_LEN], fingerprint[PX_SHA256_LEN];
    outcome result;
} run;

/* The key is made from the old token: who reads the database learns no successor. */
static void successor_key(const char *old_token, unsigned char key[32])
{
    px_derive_key(old_token, SEAL_CONTEXT, key);
}

static px_err *rotate(run *r, px_conn *conn, apr_pool_t *pool, const refresh_row *row)
{
    const px_settings *s = r->app->settings;
    int64_t idle_end = row->now + px_set_int(s, PX_S_REFRESH_TTL) * 1000;
    int64_t last_end = row->session_created_at + px_set_int(s, PX_S_REFRESH_MAX) * 1000;
    unsigned char key[32], hash[PX_SHA256_LEN];
    const char *next = apr_pstrcat(pool, "psr_", px_token(pool, 32), NULL);
    px_err *err;

    successor_key(r->in->token, key);
    px_sha256(next, strlen(next), hash);
    err = refresh_store_rotate(conn, pool, r->hash,
                               px_seal(pool, key, SEAL_CONTEXT, next, strlen(next)));
    if (!err) {
        err = refresh_store_insert(conn, pool, row->session_id, hash, r->fingerprint,
                                   idle_end < last_end ? idle_end : last_end);
    }
    r->in->successor = next;
    r->result = REFRESHED;
    return err;
}

/* *successor NULL: not a repetition that may be answered again. */
static px_err *repeated(run *r, px_conn *conn, apr_pool_t *pool, const refresh_row *row,
                        const char **successor)
{
    unsigned char key[32], hash[PX_SHA256_LEN];
    size_t len;
    bool live;
    px_err *err;

    *successor = NULL;
    if (row->now - row->rotated_at > GRACE_US || !row->same_client) {
        return NULL;
    }
    successor_key(r->in->token, key);
    *successor = (const char *)px_unseal(pool, key, SEAL_CONTEXT, row->successor, &len);
    if (!*successor) {
        return NULL;
    }
    px_sha256(*successor, len, hash);
    err = refresh_store_is_live(conn, pool, hash, &live);
    if (err || !live) {
        *successor = NULL;
    }
    return err;
}

static px_err *revoke_family(run *r, px_conn *conn, apr_pool_t *pool, const refresh_row *row)
{
    px_audit_actor actor = {.name = "system", .ip = r->in->ip, .user_agent = r->in->user_agent,
                            .request_id = r->req ? r->req->request_id : NULL};
    px_err *err = refresh_store_revoke(conn, pool, row->session_id);

    r->result = REUSED;
    return err ? err : px_audit_put(conn, pool, &actor, "auth.refresh.reuse", "USER", row->user_id,
                                    NULL, apr_psprintf(pool, "{\"session_id\":\"%s\"}",
                                                       row->session_id));
}

static px_err *body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    run *r = baton;
    refresh_row *row;
    px_err *err = refresh_store_lock(conn, pool, r->hash, r->fingerprint, &row);

    r->result = UNKNOWN;
    if (err || !row) {
        return err;
    }
    r->in->user_id = row->user_id;
    r->in->session_id = row->session_id;
    if (row->suspended || !row->active) {
        r->result = SUSPENDED;
        return NULL;
    }
    if (row->rotated_at) {
        err = repeated(r, conn, pool, row, &r->in->successor);
        if (err || r->in->successor) {
            r->result = REFRESHED;
            return err;
        }
        return revoke_family(r, conn, pool, row);
    }
    if (row->expires_at <= row->now || row->session_created_at < row->not_before) {
        r->result = EXPIRED;
        return NULL;
    }
    return rotate(r, conn, pool, row);
}

static px_err *refusal(run *r, apr_pool_t *pool)
{
    switch (r->result) {
    case REFRESHED:
        return NULL;
    case EXPIRED:
        return px_error(pool, PX_E_AUTH_EXPIRED, NULL, NULL);
    case SUSPENDED:
        return px_error(pool, PX_E_ACCOUNT_SUSPENDED, NULL, NULL);
    case REUSED:
        px_log(PX_LOG_WARN, "PXS7010", "a refresh token of user %s was used twice, last from %s: "
               "that login is ended", r->in->user_id, r->in->ip ? r->in->ip : "?");
        account_cache_cut(r->app, pool, r->in->user_id);
        break;
    case UNKNOWN:
        break;
    }
    return px_error_say(pool, PX_E_AUTH_INVALID,
                        "This refresh token is not valid. Please sign in again.");
}

px_err *account_refresh_run(const px_app *app, apr_pool_t *pool, const px_req *req,
                            account_refresh *in)
{
    run r = {.app = app, .req = req, .in = in};
    px_err *err;

    if (strlen(in->token) != TOKEN_LEN || strncmp(in->token, "psr_", 4) != 0) {
        r.result = UNKNOWN;
        return refusal(&r, pool);
    }
    px_sha256(in->token, strlen(in->token), r.hash);
    account_fingerprint(in->user_agent, in->ip, r.fingerprint);
    err = px_db_tx(app->db, pool, body, &r);
    if (!err && px_failpoint("cm19_refresh_rotated")) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS7013", "fail-point cm19_refresh_rotated");
    }
    return err ? err : refusal(&r, pool);
}
