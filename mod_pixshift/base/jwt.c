/* Access tokens: the key table and issuing. */
#include "jwt.h"

#include "id.h"
#include "json.h"
#include "jwt_keys.h"
#include <apr_strings.h>
#include <string.h>

px_jwt_keys *px_jwt_keys_make(apr_pool_t *pool, const char *issuer, const char *audience)
{
    px_jwt_keys *keys = apr_pcalloc(pool, sizeof(*keys));
    keys->pool = pool;
    keys->issuer = apr_pstrdup(pool, issuer);
    keys->audience = apr_pstrdup(pool, audience);
    return keys;
}

static bool kid_valid(const char *kid)
{
    size_t len = strlen(kid);
    return len >= 1 && len <= PX_JWT_KID_MAX
        && strspn(kid, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

const px_jwt_key *px_jwt_keys_find(const px_jwt_keys *keys, const char *kid)
{
    if (!kid_valid(kid)) {
        return NULL;
    }
    for (const px_jwt_key *key = keys->first; key; key = key->next) {
        if (strcmp(key->kid, kid) == 0) {
            return key;
        }
    }
    return NULL;
}

static apr_status_t release_key(void *jwk)
{
    cjose_jwk_release(jwk);
    return APR_SUCCESS;
}

px_err *px_jwt_keys_add(px_jwt_keys *keys, const char *kid, const void *secret, size_t secret_len)
{
    px_jwt_key *key;
    px_jwt_key **tail = &keys->first;
    cjose_err err;
    if (!kid_valid(kid) || px_jwt_keys_find(keys, kid)) {
        return px_error(keys->pool, PX_E_INTERNAL, "PXS1030", "key id is malformed or taken");
    }
    if (secret_len < PX_JWT_KEY_MIN) {
        return px_error(keys->pool, PX_E_INTERNAL, "PXS1031", "token key %s has under %d bytes",
                        kid, PX_JWT_KEY_MIN);
    }
    key = apr_pcalloc(keys->pool, sizeof(*key));
    key->kid = apr_pstrdup(keys->pool, kid);
    key->jwk = cjose_jwk_create_oct_spec(secret, secret_len, &err);
    if (!key->jwk) {
        return px_error(keys->pool, PX_E_INTERNAL, "PXS1032", "cjose: %s", err.message);
    }
    apr_pool_cleanup_register(keys->pool, key->jwk, release_key, apr_pool_cleanup_null);
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = key;
    return NULL;
}

static const px_buf *claims_json(apr_pool_t *pool, const px_jwt_keys *keys,
                                 const px_jwt_claims *claims)
{
    px_jw *w = px_jw_make(pool, PX_SPELL_SNAKE);
    px_jw_object(w, NULL);
    px_jw_str(w, "iss", keys->issuer);
    px_jw_str(w, "aud", keys->audience);
    px_jw_str(w, "sub", claims->sub);
    px_jw_str(w, "sid", claims->sid);
    px_jw_str(w, "jti", claims->jti ? claims->jti : px_token(pool, 16));
    px_jw_int(w, "iat", claims->iat);
    px_jw_int(w, "nbf", claims->nbf ? claims->nbf : claims->iat);
    px_jw_int(w, "exp", claims->exp);
    px_jw_end_object(w);
    return w->buf;
}

/* Signs with cjose; NULL and `err` filled on failure. */
static const char *sign(apr_pool_t *pool, const px_jwt_key *key, const px_buf *payload,
                        cjose_err *err)
{
    cjose_header_t *header = cjose_header_new(err);
    cjose_jws_t *jws = NULL;
    const char *compact = NULL;
    const char *token = NULL;
    if (header && cjose_header_set(header, CJOSE_HDR_ALG, CJOSE_HDR_ALG_HS256, err)
        && cjose_header_set(header, "typ", "at+jwt", err)
        && cjose_header_set(header, CJOSE_HDR_KID, key->kid, err)) {
        jws = cjose_jws_sign(key->jwk, header, (const uint8_t *)payload->data, payload->len, err);
    }
    if (jws && cjose_jws_export(jws, &compact, err)) {
        token = apr_pstrdup(pool, compact);     /* cjose keeps the original until the release */
    }
    cjose_jws_release(jws);
    cjose_header_release(header);
    return token;
}

px_err *px_jwt_issue(apr_pool_t *pool, const px_jwt_keys *keys, const px_jwt_claims *claims,
                     const char **token)
{
    cjose_err err = {0};
    *token = NULL;
    if (!keys->first) {
        return px_error(pool, PX_E_INTERNAL, "PXS1033", "no key to sign tokens with");
    }
    if (!claims->sub || !claims->sid || claims->exp <= claims->iat) {
        return px_error(pool, PX_E_INTERNAL, "PXS1034", "token claims are incomplete");
    }
    *token = sign(pool, keys->first, claims_json(pool, keys, claims), &err);
    if (!*token) {
        return px_error(pool, PX_E_INTERNAL, "PXS1035", "cjose: %s",
                        err.message ? err.message : "out of memory");
    }
    if (strlen(*token) > PX_JWT_MAX_LEN) {
        *token = NULL;
        return px_error(pool, PX_E_INTERNAL, "PXS1036", "the token would be too long");
    }
    return NULL;
}
