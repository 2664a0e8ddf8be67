/* Access tokens: issuing, verifying, and everything a forger may try. */
#include "unit.h"

#include "base/crypto.h"
#include "base/id.h"
#include "base/json.h"
#include "base/jwt.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define NOW_S 1795255872
#define NOW (NOW_S * 1000000LL)
static const char secret[] = "0123456789abcdef0123456789abcdef";

static px_jwt_keys *keys;

static void make_keys(void)
{
    keys = px_jwt_keys_make(unit_pool, "https://px.example", "pixshift");
    UNIT_OK(px_jwt_keys_add(keys, "k1", secret, 32));
}

static px_jwt_claims usual(void)
{
    px_jwt_claims c = {.sub = "u1", .sid = "s1", .iat = NOW_S, .exp = NOW_S + 900};
    return c;
}

/* A token with any header and payload, signed with `key` as HS256. */
static const char *forge(const char *header, const char *payload, const char *key)
{
    unsigned char mac[PX_SHA256_LEN];
    const char *input = apr_pstrcat(unit_pool, px_b64url(unit_pool, header, strlen(header)), ".",
                                    px_b64url(unit_pool, payload, strlen(payload)), NULL);
    px_hmac_sha256(key, strlen(key), input, strlen(input), mac);
    return apr_pstrcat(unit_pool, input, ".", px_b64url(unit_pool, mac, sizeof(mac)), NULL);
}

static px_err *verify(const char *token)
{
    px_jwt_claims c;
    return px_jwt_verify(unit_pool, keys, token, NOW, &c);
}

static const char good_header[] = "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}";
#define WHO "{\"iss\":\"https://px.example\",\"aud\":\"pixshift\","
static const char good_body[] =
    WHO "\"sub\":\"u1\",\"sid\":\"s1\","
    "\"jti\":\"j1\",\"iat\":1795255872,\"nbf\":1795255872,\"exp\":1795256772}";

START_TEST(round_trip)
{
    const char *token;
    px_jwt_claims in = usual();
    px_jwt_claims out;
    make_keys();
    UNIT_OK(px_jwt_issue(unit_pool, keys, &in, &token));
    UNIT_OK(px_jwt_verify(unit_pool, keys, token, NOW, &out));
    ck_assert_str_eq(out.sub, "u1");
    ck_assert_str_eq(out.sid, "s1");
    ck_assert_uint_ge(strlen(out.jti), 20);
    ck_assert_int_eq(out.iat, NOW_S);
    ck_assert_int_eq(out.nbf, NOW_S);
    ck_assert_int_eq(out.exp, NOW_S + 900);
    UNIT_OK(verify(forge(good_header, good_body, secret)));
}
END_TEST

START_TEST(times)
{
    const char *token;
    px_jwt_claims in = usual();
    px_jwt_claims out;
    make_keys();
    UNIT_OK(px_jwt_issue(unit_pool, keys, &in, &token));
    UNIT_OK(px_jwt_verify(unit_pool, keys, token, NOW + 959 * 1000000LL, &out));
    UNIT_ERR(px_jwt_verify(unit_pool, keys, token, NOW + 960 * 1000000LL, &out),
             PX_E_AUTH_EXPIRED);
    UNIT_OK(px_jwt_verify(unit_pool, keys, token, NOW - 60 * 1000000LL, &out));
    UNIT_ERR(px_jwt_verify(unit_pool, keys, token, NOW - 61 * 1000000LL, &out),
             PX_E_AUTH_INVALID);
    in.nbf = NOW_S + 300;
    UNIT_OK(px_jwt_issue(unit_pool, keys, &in, &token));
    UNIT_ERR(px_jwt_verify(unit_pool, keys, token, NOW, &out), PX_E_AUTH_INVALID);
}
END_TEST

START_TEST(refuses_to_issue_nonsense)
{
    const char *token;
    px_jwt_claims c = usual();
    px_jwt_keys *none = px_jwt_keys_make(unit_pool, "i", "a");
    make_keys();
    UNIT_ERR(px_jwt_issue(unit_pool, none, &c, &token), PX_E_INTERNAL);
    c.sub = NULL;
    UNIT_ERR(px_jwt_issue(unit_pool, keys, &c, &token), PX_E_INTERNAL);
    c = usual();
    c.exp = c.iat;
    UNIT_ERR(px_jwt_issue(unit_pool, keys, &c, &token), PX_E_INTERNAL);
    UNIT_ERR(px_jwt_keys_add(keys, "k1", secret, 32), PX_E_INTERNAL);
    UNIT_ERR(px_jwt_keys_add(keys, "k/2", secret, 32), PX_E_INTERNAL);
    UNIT_ERR(px_jwt_keys_add(keys, "", secret, 32), PX_E_INTERNAL);
    UNIT_ERR(px_jwt_keys_add(keys, "k2", secret, 31), PX_E_INTERNAL);
}
END_TEST

START_TEST(rotation)
{
    const char *token;
    px_jwt_claims in = usual();
    px_jwt_claims out;
    px_jwt_keys *next = px_jwt_keys_make(unit_pool, "https://px.example", "pixshift");
    make_keys();
    UNIT_OK(px_jwt_issue(unit_pool, keys, &in, &token));
    UNIT_OK(px_jwt_keys_add(next, "k2", "another key that is long enough!", 32));
    UNIT_ERR(px_jwt_verify(unit_pool, next, token, NOW, &out), PX_E_AUTH_INVALID);
    UNIT_OK(px_jwt_keys_add(next, "k1", secret, 32));
    UNIT_OK(px_jwt_verify(unit_pool, next, token, NOW, &out));
    UNIT_OK(px_jwt_issue(unit_pool, next, &in, &token));
    UNIT_ERR(px_jwt_verify(unit_pool, keys, token, NOW, &out), PX_E_AUTH_INVALID);
}
END_TEST

static const char *const bad_headers[] = {
    "{}", "[]", "null", "{\"alg\":\"none\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
    "{\"alg\":\"HS512\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
    "{\"alg\":\"hs256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
    "{\"alg\":\"RS256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
    "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}",
    "{\"alg\":\"HS256\",\"kid\":\"k1\"}", "{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}",
    "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"k2\"}",
    "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":1}",
    "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"../k1\"}",
    "{\"alg\":\"HS256\",\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
    "{\"alg\":[\"HS256\"],\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
    "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"crit\":[\"x\"]}",
    "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"jku\":\"https://evil\"}",
    "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"x5u\":\"https://evil\"}",
    "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"x5c\":[]}",
    "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"jwk\":{}}",
    "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"b64\":false}",
    "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"zip\":\"DEF\"}",
};

START_TEST(refuses_bad_headers)
{
    make_keys();
    for (size_t i = 0; i < sizeof(bad_headers) / sizeof(*bad_headers); i++) {
        px_err *err = verify(forge(bad_headers[i], good_body, secret));
        ck_assert_msg(err && err->id == PX_E_AUTH_INVALID, "%s", bad_headers[i]);
    }
}
END_TEST

/* The same secret used with another algorithm gives a MAC that matches, and still must not pass. */
START_TEST(refuses_another_algorithm)
{
    static const char header[] = "{\"alg\":\"HS512\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}";
    unsigned char mac[64];
    const char *input = apr_pstrcat(unit_pool, px_b64url(unit_pool, header, strlen(header)), ".",
                                    px_b64url(unit_pool, good_body, strlen(good_body)), NULL);
    make_keys();
    ck_assert_ptr_nonnull(HMAC(EVP_sha512(), secret, 32, (const unsigned char *)input,
                               strlen(input), mac, NULL));
    UNIT_ERR(verify(apr_pstrcat(unit_pool, input, ".", px_b64url(unit_pool, mac, sizeof(mac)),
                                NULL)), PX_E_AUTH_INVALID);
}
END_TEST

#define TIMES "\"iat\":1795255872,\"nbf\":1795255872,\"exp\":1795256772"
static const char *const bad_bodies[] = {
    "{}", "[]", "null", "x",
    "{\"iss\":\"https://other\",\"aud\":\"pixshift\","
    "\"sub\":\"u\",\"sid\":\"s\",\"jti\":\"j\"," TIMES "}",
    "{\"iss\":\"https://px.example\",\"aud\":\"x\","
    "\"sub\":\"u\",\"sid\":\"s\",\"jti\":\"j\"," TIMES "}",
    "{\"iss\":\"https://px.example\",\"aud\":[\"pixshift\"],"
    "\"sub\":\"u\",\"sid\":\"s\",\"jti\":\"j\"," TIMES "}",
    WHO "\"sid\":\"s\",\"jti\":\"j\"," TIMES "}",
    WHO "\"sub\":\"\",\"sid\":\"s\",\"jti\":\"j\"," TIMES "}",
    WHO "\"sub\":\"u\",\"jti\":\"j\"," TIMES "}",
    WHO "\"sub\":\"u\",\"sid\":\"s\"," TIMES "}",
    WHO "\"sub\":\"u\",\"sid\":\"s\",\"jti\":\"j\"}",
    WHO "\"sub\":\"u\",\"sid\":\"s\",\"jti\":\"j\","
    "\"iat\":1795255872,\"nbf\":1795255872,\"exp\":\"1795256772\"}",
    WHO "\"sub\":\"u\",\"sid\":\"s\",\"jti\":\"j\","
    "\"iat\":1795255872,\"nbf\":1795255872,\"exp\":1e99}",
    WHO "\"sub\":\"u\",\"sid\":\"s\",\"jti\":\"j\","
    "\"iat\":1795255872,\"nbf\":-5,\"exp\":9223372036854775807}",
};

START_TEST(refuses_bad_claims)
{
    make_keys();
    for (size_t i = 0; i < sizeof(bad_bodies) / sizeof(*bad_bodies); i++) {
        px_err *err = verify(forge(good_header, bad_bodies[i], secret));
        ck_assert_msg(err && err->id == PX_E_AUTH_INVALID, "%s", bad_bodies[i]);
    }
}
END_TEST

START_TEST(refuses_every_changed_byte)
{
    const char *token = forge(good_header, good_body, secret);
    make_keys();
    for (size_t i = 0; token[i]; i++) {
        char *changed = apr_pstrdup(unit_pool, token);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        UNIT_ERR(verify(changed), PX_E_AUTH_INVALID);
        changed[i] = '\0';
        UNIT_ERR(verify(changed), PX_E_AUTH_INVALID);
    }
}
END_TEST

START_TEST(refuses_bad_forms)
{
    const char *token = forge(good_header, good_body, secret);
    char *big = apr_palloc(unit_pool, 8192);
    make_keys();
    UNIT_ERR(verify(""), PX_E_AUTH_INVALID);
    UNIT_ERR(verify("."), PX_E_AUTH_INVALID);
    UNIT_ERR(verify(".."), PX_E_AUTH_INVALID);
    UNIT_ERR(verify("a.b"), PX_E_AUTH_INVALID);
    UNIT_ERR(verify(apr_pstrcat(unit_pool, token, ".", NULL)), PX_E_AUTH_INVALID);
    UNIT_ERR(verify(apr_pstrcat(unit_pool, token, ".e30.e30", NULL)), PX_E_AUTH_INVALID);
    UNIT_ERR(verify(apr_pstrcat(unit_pool, token, "=", NULL)), PX_E_AUTH_INVALID);
    UNIT_ERR(verify(apr_pstrcat(unit_pool, token, " ", NULL)), PX_E_AUTH_INVALID);
    UNIT_ERR(verify(apr_pstrcat(unit_pool, " ", token, NULL)), PX_E_AUTH_INVALID);
    UNIT_ERR(verify(forge(good_header, good_body, "wrong key")), PX_E_AUTH_INVALID);
    memset(big, 'A', 8191);
    big[8191] = '\0';
    UNIT_ERR(verify(big), PX_E_AUTH_INVALID);
    UNIT_ERR(verify(forge(good_header, apr_pstrcat(unit_pool, "{\"x\":\"", big, "\"}", NULL),
                          secret)), PX_E_AUTH_INVALID);
}
END_TEST

/* ---- the public vectors: HS256 groups of wycheproof, on the signature layer ---- */

/* The verdict we want.  372 and 373 are marked valid although a '?' stands in a segment: we are
 * stricter on purpose.  367 and 370 are marked invalid for a padding that the file has lost: their
 * text is, byte for byte, the valid case 357. */
static bool verdict(int64_t id, const char *result)
{
    if (id == 372 || id == 373) {
        return false;
    }
    return strcmp(result, "valid") == 0 || id == 367 || id == 370;
}

static int run_group(json_object *group)
{
    json_object *key = px_json_get(group, "private");
    json_object *tests = px_json_get(group, "tests");
    const char *k = px_json_str(key, "k");
    px_jwt_keys *table = px_jwt_keys_make(unit_pool, "i", "a");
    unsigned char *bytes;
    size_t len;
    int ran = 0;
    if (!k || !px_json_str(key, "alg") || strcmp(px_json_str(key, "alg"), "HS256") != 0) {
        return 0;
    }
    bytes = px_b64url_decode(unit_pool, k, strlen(k), &len);
    ck_assert_ptr_nonnull(bytes);
    UNIT_OK(px_jwt_keys_add(table, px_json_str(key, "kid"), bytes, len));
    for (size_t i = 0; i < json_object_array_length(tests); i++) {
        json_object *test = json_object_array_get_idx(tests, i);
        json_object *jws = px_json_get(test, "jws");
        int64_t id = px_json_int(test, "tcId", 0);
        bool want = verdict(id, px_json_str(test, "result"));
        const char *payload;
        px_err *err;
        if (!json_object_is_type(jws, json_type_string)) {
            continue;       /* JSON serialization: not a token at all */
        }
        err = px_jws_open(unit_pool, table, json_object_get_string(jws), NULL, &payload, &len);
        ck_assert_msg((err == NULL) == want, "case %d: %s", (int)id,
                      err ? err->cause : "accepted");
        ran++;
    }
    return ran;
}

START_TEST(public_vectors)
{
    const char *path = unit_shared("vectors/jose/json_web_signature_test.json");
    json_object *root;
    json_object *groups;
    size_t len;
    char *text;
    int ran = 0;
    if (!path) {
        return;
    }
    text = unit_read(path, &len);
    UNIT_OK(px_json_parse(unit_pool, text, len, NULL, &root));
    groups = px_json_get(root, "testGroups");
    for (size_t i = 0; i < json_object_array_length(groups); i++) {
        ran += run_group(json_object_array_get_idx(groups, i));
    }
    ck_assert_int_ge(ran, 39);
}
END_TEST

int main(void)
{
    TCase *tc = unit_begin("jwt");
    tcase_add_test(tc, round_trip);
    tcase_add_test(tc, times);
    tcase_add_test(tc, refuses_to_issue_nonsense);
    tcase_add_test(tc, rotation);
    tcase_add_test(tc, refuses_bad_headers);
    tcase_add_test(tc, refuses_another_algorithm);
    tcase_add_test(tc, refuses_bad_claims);
    tcase_add_test(tc, refuses_every_changed_byte);
    tcase_add_test(tc, refuses_bad_forms);
    tcase_add_test(tc, public_vectors);
    return unit_run();
}
