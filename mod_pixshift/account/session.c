/* Sessions: opening and ending them, the cookie, access tokens. */
#include "session_store.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "cache/cache.h"
#include "config/settings.h"

#include <apr_strings.h>
#include <string.h>

#define SECRET_BYTES 32
#define CSRF_BYTES 24
#define AGENT_MAX 400

void account_fingerprint(const char *user_agent, const char *ip, unsigned char out[PX_SHA256_LEN])
{
    unsigned char pair[2 * PX_SHA256_LEN];

    px_sha256(user_agent ? user_agent : "", user_agent ? strlen(user_agent) : 0, pair);
    px_sha256(ip ? ip : "", ip ? strlen(ip) : 0, pair + PX_SHA256_LEN);
    px_sha256(pair, sizeof pair, out);
}

/* Clients may send any bytes. */
const char *px_client_agent(const px_req *req)
{
    const char *agent = apr_table_get(req->headers_in, "User-Agent");
    size_t len = agent ? strlen(agent) : 0;

    if (!agent || !px_utf8_valid(agent, len)) {
        return NULL;
    }
    if (len > AGENT_MAX) {
        for (len = AGENT_MAX; len > 0 && (agent[len] & 0xc0) == 0x80; len--) {
        }
    }
    return apr_pstrmemdup(req->pool, agent, len);
}

static int64_t longer(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

px_err *account_session_open(const px_app *app, px_conn *conn, apr_pool_t *pool, account_login *in)
{
    const px_settings *s = app->settings;
    unsigned char hash[PX_SHA256_LEN], token_hash[PX_SHA256_LEN], fingerprint[PX_SHA256_LEN];
    session_new row = {.user_id = in->user_id, .user_agent = in->user_agent, .ip = in->ip};
    px_err *err;

    in->csrf = row.csrf = px_token(pool, CSRF_BYTES);
    if (in->with_secret) {
        in->secret = apr_pstrcat(pool, "pss_", px_token(pool, SECRET_BYTES), NULL);
        px_sha256(in->secret, strlen(in->secret), hash);
        row.id_hash = hash;
    }
    row.life_ms = px_set_int(s, PX_S_SESSION_MAX);
    row.purge_ms = longer(row.life_ms, longer(px_set_int(s, PX_S_REFRESH_MAX),
                                              px_set_int(s, PX_S_ACCESS_TTL)));
    err = session_store_insert(conn, pool, &row, &in->session_id, &in->created_at);
    if (err) {
        return err;
    }
    in->refresh_token = apr_pstrcat(pool, "psr_", px_token(pool, SECRET_BYTES), NULL);
    px_sha256(in->refresh_token, strlen(in->refresh_token), token_hash);
    account_fingerprint(in->user_agent, in->ip, fingerprint);
    return refresh_store_insert(conn, pool, in->session_id, token_hash, fingerprint,
                                in->created_at + px_set_int(s, PX_S_REFRESH_TTL) * 1000);
}

px_err *account_session_end(const px_app *app, apr_pool_t *pool, const px_principal *who)
{
    const char *hash;
    px_err *err;

    if (!who->session_id) {
        return NULL;
    }
    err = session_store_delete(app->db, pool, who->session_id, &hash);
    /* The cut also makes void what a look-up under way may still write. The user's other
     * sessions are looked up once more and go on. */
    if (!err) {
        if (hash && app->cache) {
            (void)px_cache_delete(app->cache, pool, account_cache_key(pool, 's', hash));
        }
        account_cache_cut(app, pool, who->user_id);
    }
    return err;
}

px_err *account_access_token(const px_app *app, apr_pool_t *pool, const char *user_id,
                             const char *session_id, const char **token, int64_t *expires_in)
{
    const account_secrets *secrets;
    px_jwt_claims claims = {.sub = user_id, .sid = session_id};
    px_err *err = account_secrets_get(app, pool, &secrets);

    *expires_in = px_set_int(app->settings, PX_S_ACCESS_TTL) / 1000;
    claims.iat = px_now() / 1000000;
    claims.exp = claims.iat + *expires_in;
    return err ? err : px_jwt_issue(pool, secrets->jwt, &claims, token);
}

/* ---- the cookie ---- */

/* Behind a proxy that ends TLS the connection is plain; the public address tells what browsers
 * see. */
const char *account_cookie_name(const px_req *req, bool *secure)
{
    const char *base = px_set_str(req->app->settings, PX_S_BASE_URL);

    *secure = req->https || px_settings_production(req->app->settings)
              || (base && strncmp(base, "https://", 8) == 0);
    return *secure ? "__Host-ps_sid" : "ps_sid";
}

static void cookie(px_req *req, px_reply *reply, const char *value, int64_t max_age)
{
    bool secure;
    const char *name = account_cookie_name(req, &secure);

    apr_table_add(reply->headers, "Set-Cookie",
                  apr_psprintf(req->pool,
                               "%s=%s; Path=/; HttpOnly; SameSite=Lax; Max-Age=%" APR_INT64_T_FMT
                               "%s", name, value, (apr_int64_t)max_age, secure ? "; Secure" : ""));
}

void account_cookie_set(px_req *req, px_reply *reply, const char *secret)
{
    cookie(req, reply, secret, px_set_int(req->app->settings, PX_S_SESSION_MAX) / 1000);
}

void account_cookie_clear(px_req *req, px_reply *reply)
{
    cookie(req, reply, "", 0);
}
