/* From a request's credentials to the principal behind them (C-7): cookie, opaque bearer, access
 * token, API key.  One at most; each checked for form before anything is looked up. */
#include "session_store.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "config/settings.h"

#include <apr_strings.h>
#include <string.h>

#define SESSION_LEN 47          /* "pss_" and 43 of base64url */
#define TOUCH_US 60000000

typedef struct {
    unsigned kind;              /* one PX_CRED_ bit; 0 = nothing was sent */
    const char *text;
} credential;

/* ---- what was sent ---- */

static px_err *invalid(px_req *req)
{
    return px_error(req->pool, PX_E_AUTH_INVALID, NULL, NULL);
}

static unsigned bearer_kind(const char *token)
{
    if (strncmp(token, "psk_", 4) == 0) {
        return PX_CRED_KEY;
    }
    return strchr(token, '.') ? PX_CRED_JWT : PX_CRED_SESSION;
}

static px_err *add(px_req *req, credential *out, unsigned kind, const char *text)
{
    if (out->kind) {
        return px_error(req->pool, PX_E_AUTH_AMBIGUOUS, NULL, NULL);
    }
    out->kind = kind;
    out->text = text;
    return NULL;
}

/* A repeated header arrives joined by a comma, which no token contains: it fails as malformed. */
static px_err *collect(px_req *req, credential *out)
{
    const char *authorization = apr_table_get(req->headers_in, "Authorization");
    const char *key = apr_table_get(req->headers_in, "x-api-key");
    bool secure;
    const char *cookie = px_cookie(req, account_cookie_name(req, &secure));
    px_err *err = NULL;

    if (cookie && *cookie) {
        err = add(req, out, PX_CRED_COOKIE, cookie);
    }
    if (!err && authorization) {
        if (strncasecmp(authorization, "Bearer ", 7) != 0) {
            return px_error_say(req->pool, PX_E_AUTH_INVALID,
                                "Send the credential as 'Authorization: Bearer …'.");
        }
        authorization += 7 + strspn(authorization + 7, " ");
        err = add(req, out, bearer_kind(authorization), authorization);
    }
    if (!err && key) {
        err = add(req, out, PX_CRED_KEY, key);
    }
    return err;
}

/* ---- what is behind it ---- */

static px_err *check_found(px_req *req, const account_found *found, bool key)
{
    if (!found || (key && !found->key_active)) {
        return invalid(req);
    }
    if (found->suspended) {
        return px_error(req->pool, PX_E_ACCOUNT_SUSPENDED, NULL, NULL);
    }
    if (!found->active) {
        return invalid(req);
    }
    /* Keys outlive a change of password: they are revoked one by one. */
    if (!key && found->record.started < found->not_before) {
        return px_error(req->pool, PX_E_AUTH_EXPIRED, NULL, NULL);
    }
    return NULL;
}

static px_err *check_time(px_req *req, const account_record *record)
{
    return record->valid_until && record->valid_until <= px_now()
               ? px_error(req->pool, PX_E_AUTH_EXPIRED, NULL, NULL) : NULL;
}

/* An idle session ends before its absolute end does. */
static void apply_idle(px_req *req, account_record *record)
{
    int64_t idle_end = record->last_used
                       + px_set_int(req->app->settings, PX_S_SESSION_IDLE) * 1000;

    if (idle_end < record->valid_until) {
        record->valid_until = idle_end;
    }
}

/* Activity is noted once a minute, on a request that had to ask the database anyway. */
static px_err *touch(px_req *req, const account_record *record)
{
    return px_now() - record->last_used < TOUCH_US
               ? NULL : session_store_touch(req->app->db, req->pool, record->who.session_id);
}

static px_err *opaque(px_req *req, const char *secret, account_record **out)
{
    unsigned char hash[PX_SHA256_LEN];
    const char *key;
    account_found *found;
    px_err *err;

    if (strlen(secret) != SESSION_LEN || strncmp(secret, "pss_", 4) != 0) {
        return invalid(req);
    }
    px_sha256(secret, SESSION_LEN, hash);
    key = account_cache_key(req->pool, 's', px_hex(req->pool, hash, sizeof hash));
    if ((err = account_cache_get(req->app, req->pool, key, out)) != NULL || *out) {
        return err ? err : check_time(req, *out);
    }
    if ((err = session_store_by_hash(req->app->db, req->pool, hash, &found)) != NULL
        || (err = check_found(req, found, false)) != NULL) {
        return err;
    }
    apply_idle(req, &found->record);
    if ((err = check_time(req, &found->record)) != NULL) {
        return err;
    }
    *out = &found->record;
    account_cache_put(req->app, req->pool, key, *out);
    return touch(req, *out);
}

static px_err *verify_token(px_req *req, const char *token, px_jwt_claims *claims)
{
    const account_secrets *secrets;
    px_err *err = account_secrets_get(req->app, req->pool, &secrets);

    if (err) {
        return err;
    }
    err = px_jwt_verify(req->pool, secrets->jwt, token, px_now(), claims);
    if (err) {
        /* Whoever sends rubbish shall not fill the error log with it. */
        px_log(PX_LOG_DEBUG, "PXS7016", "an access token was refused: %s",
               err->cause ? err->cause : err->text);
        return px_error(req->pool, err->id, NULL, NULL);
    }
    return px_uuid_valid(claims->sid) ? NULL : invalid(req);
}

/* What is cached is that this very token was verified: its signature costs five times the rest. */
static px_err *access_token(px_req *req, const char *token, account_record **out)
{
    unsigned char hash[PX_SHA256_LEN];
    px_jwt_claims claims;
    const char *key;
    account_found *found;
    px_err *err;

    px_sha256(token, strlen(token), hash);
    key = account_cache_key(req->pool, 't', px_hex(req->pool, hash, sizeof hash));
    err = account_cache_get(req->app, req->pool, key, out);
    if (err || (*out && (*out)->valid_until > px_now())) {
        return err;
    }
    if ((err = verify_token(req, token, &claims)) != NULL
        || (err = session_store_by_id(req->app->db, req->pool, claims.sid, &found)) != NULL
        || (err = check_found(req, found, false)) != NULL) {
        return err;
    }
    if (strcmp(found->record.who.user_id, claims.sub) != 0) {
        return invalid(req);
    }
    *out = &found->record;
    (*out)->valid_until = claims.exp * 1000000;
    account_cache_put(req->app, req->pool, key, *out);
    return touch(req, *out);
}

static px_err *api_key(px_req *req, const char *text, account_record **out)
{
    unsigned char hash[PX_SHA256_LEN];
    bool test_mode;
    const char *key;
    account_found *found;
    px_err *err;

    if (!account_key_well_formed(req->pool, text, &test_mode)) {
        return invalid(req);
    }
    px_sha256(text, ACCOUNT_KEY_LEN, hash);
    key = account_cache_key(req->pool, 'k', px_hex(req->pool, hash, sizeof hash));
    if ((err = account_cache_get(req->app, req->pool, key, out)) != NULL || *out) {
        err = err ? err : check_time(req, *out);
        if (!err) {
            account_key_used(req->app, req->pool, *out, false);
        }
        return err;
    }
    if ((err = session_store_by_key(req->app->db, req->pool, hash, &found)) != NULL
        || (err = check_found(req, found, true)) != NULL
        || (err = check_time(req, &found->record)) != NULL) {
        return err;
    }
    *out = &found->record;
    account_cache_put(req->app, req->pool, key, *out);
    account_key_used(req->app, req->pool, *out, true);
    return NULL;
}

/* A kind that the route does not take is refused before anything is looked up: an API key must not
 * be worth guessing on routes that have no use for it. */
static bool taken(const px_req *req, unsigned kind)
{
    return !req->route || (req->route->creds & kind);
}

px_err *px_account_authenticate(px_req *req, px_principal **who)
{
    credential sent = {0};
    account_record *record = NULL;
    px_err *err = collect(req, &sent);

    *who = NULL;
    if (err || !sent.kind) {
        return err;
    }
    if (!taken(req, sent.kind)) {
        return px_error_say(req->pool, PX_E_AUTH_FORBIDDEN,
                            "This kind of credential is not accepted here.");
    }
    switch (sent.kind) {
    case PX_CRED_KEY:
        err = api_key(req, sent.text, &record);
        break;
    case PX_CRED_JWT:
        err = access_token(req, sent.text, &record);
        break;
    default:
        err = opaque(req, sent.text, &record);
        break;
    }
    if (!err) {
        *who = &record->who;
        (*who)->credential = sent.kind;
    }
    return err;
}
