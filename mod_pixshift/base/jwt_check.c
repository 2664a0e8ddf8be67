/* Access tokens: verifying.  Form and header are checked here before cjose sees anything. */
#include "jwt.h"

#include "id.h"
#include "json.h"
#include "jwt_keys.h"
#include <apr_strings.h>
#include <string.h>

typedef struct {
    const char *text;
    size_t len;
} segment;

static px_err *invalid(apr_pool_t *pool, const char *why)
{
    return px_error(pool, PX_E_AUTH_INVALID, NULL, "token: %s", why);
}

/* Exactly three non-empty segments. */
static bool split(const char *token, segment seg[3])
{
    for (int i = 0; i < 3; i++) {
        size_t len = strcspn(token, ".");
        seg[i].text = token;
        seg[i].len = len;
        if (len == 0 || token[len] != (i < 2 ? '.' : '\0')) {
            return false;
        }
        token += len + 1;
    }
    return true;
}

/* The decoded segment as a JSON object. */
static px_err *parse_segment(apr_pool_t *pool, const segment *seg, json_object **out)
{
    static const px_json_limits limits = {.max_depth = 4, .max_values = 64};
    size_t len;
    unsigned char *text = px_b64url_decode(pool, seg->text, seg->len, &len);
    px_err *err;
    if (!text) {
        return invalid(pool, "not canonical base64url");
    }
    err = px_json_parse(pool, (const char *)text, len, &limits, out);
    if (err) {
        return err->id == PX_E_VALIDATION ? invalid(pool, err->text) : err;
    }
    return json_object_is_type(*out, json_type_object) ? NULL : invalid(pool, "not an object");
}

/* Only alg, typ and kid may stand in a header: that refuses crit, b64, zip, jku, jwk, x5u, x5c and
 * whatever comes after them. */
static px_err *check_header(apr_pool_t *pool, const px_jwt_keys *keys, json_object *header,
                            const char *typ, const px_jwt_key **key)
{
    const char *alg = px_json_str(header, "alg");
    const char *kid = px_json_str(header, "kid");
    const char *have_typ = px_json_str(header, "typ");
    int known = (alg != NULL) + (kid != NULL) + (have_typ != NULL);
    if (json_object_object_length(header) != known) {
        return invalid(pool, "a header member is not allowed");
    }
    if (!alg || strcmp(alg, "HS256") != 0) {
        return invalid(pool, "algorithm is not the pinned one");
    }
    if (typ && (!have_typ || strcmp(have_typ, typ) != 0)) {
        return invalid(pool, "typ differs");
    }
    *key = kid ? px_jwt_keys_find(keys, kid) : NULL;
    return *key ? NULL : invalid(pool, "unknown key id");
}

/* cjose does the MAC and its constant-time comparison. */
static bool signature_good(apr_pool_t *pool, const char *token, const px_jwt_key *key,
                           const char **payload, size_t *payload_len)
{
    cjose_err err;
    uint8_t *data = NULL;
    size_t len = 0;
    cjose_jws_t *jws = cjose_jws_import(token, strlen(token), &err);
    bool good = jws && cjose_jws_verify(jws, key->jwk, &err)
        && cjose_jws_get_plaintext(jws, &data, &len, &err);
    if (good) {
        *payload = apr_pstrmemdup(pool, (const char *)data, len);
        *payload_len = len;
    }
    cjose_jws_release(jws);
    return good;
}

px_err *px_jws_open(apr_pool_t *pool, const px_jwt_keys *keys, const char *token, const char *typ,
                    const char **payload, size_t *payload_len)
{
    segment seg[3];
    json_object *header = NULL;
    const px_jwt_key *key = NULL;
    size_t ignored;
    px_err *err;
    *payload = NULL;
    *payload_len = 0;
    if (strnlen(token, PX_JWT_MAX_LEN + 1) > PX_JWT_MAX_LEN) {
        return invalid(pool, "longer than 4096 bytes");
    }
    if (!split(token, seg)) {
        return invalid(pool, "not three segments");
    }
    /* cjose's decoder is more lenient than RFC 7515: ours decides about all three. */
    if (!px_b64url_decode(pool, seg[1].text, seg[1].len, &ignored)
        || !px_b64url_decode(pool, seg[2].text, seg[2].len, &ignored)) {
        return invalid(pool, "not canonical base64url");
    }
    err = parse_segment(pool, &seg[0], &header);
    if (!err) {
        err = check_header(pool, keys, header, typ, &key);
    }
    if (!err && !signature_good(pool, token, key, payload, payload_len)) {
        err = invalid(pool, "the signature does not match");
    }
    return err;
}

/* A required whole number of seconds between 0 and the year 9999. */
static bool take_time(json_object *body, const char *name, int64_t *out)
{
    *out = px_json_int(body, name, -1);
    return *out >= 0 && *out <= 253402300799;
}

static bool same(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static px_err *check_claims(apr_pool_t *pool, const px_jwt_keys *keys, json_object *body,
                            int64_t now, px_jwt_claims *claims)
{
    claims->sub = px_json_str(body, "sub");
    claims->sid = px_json_str(body, "sid");
    claims->jti = px_json_str(body, "jti");
    if (!same(px_json_str(body, "iss"), keys->issuer)
        || !same(px_json_str(body, "aud"), keys->audience)) {
        return invalid(pool, "issuer or audience differs");
    }
    if (!claims->sub || !*claims->sub || !claims->sid || !*claims->sid || !claims->jti
        || !*claims->jti) {
        return invalid(pool, "sub, sid or jti is missing");
    }
    if (!take_time(body, "iat", &claims->iat) || !take_time(body, "nbf", &claims->nbf)
        || !take_time(body, "exp", &claims->exp) || claims->exp <= claims->iat) {
        return invalid(pool, "iat, nbf or exp is missing or wrong");
    }
    if (claims->iat > now + PX_JWT_SKEW_SECONDS || claims->nbf > now + PX_JWT_SKEW_SECONDS) {
        return invalid(pool, "not valid yet");
    }
    if (claims->exp + PX_JWT_SKEW_SECONDS <= now) {
        return px_error(pool, PX_E_AUTH_EXPIRED, NULL, "token: expired");
    }
    return NULL;
}

px_err *px_jwt_verify(apr_pool_t *pool, const px_jwt_keys *keys, const char *token, int64_t now,
                      px_jwt_claims *claims)
{
    static const px_json_limits limits = {.max_depth = 4, .max_values = 64};
    const char *payload;
    size_t len;
    json_object *body = NULL;
    px_err *err;
    memset(claims, 0, sizeof(*claims));
    err = px_jws_open(pool, keys, token, "at+jwt", &payload, &len);
    if (err) {
        return err;
    }
    err = px_json_parse(pool, payload, len, &limits, &body);
    if (err) {
        return err->id == PX_E_VALIDATION ? invalid(pool, err->text) : err;
    }
    if (!json_object_is_type(body, json_type_object)) {
        return invalid(pool, "the payload is not an object");
    }
    return check_claims(pool, keys, body, now / 1000000, claims);
}
