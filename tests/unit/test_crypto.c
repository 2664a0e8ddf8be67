/* Digests, sealing, randomness, passwords and their gate; published test vectors. */
#include "unit.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/id.h"
#include <pthread.h>
#include <stdatomic.h>

START_TEST(digests)
{
    unsigned char mac[PX_SHA256_LEN];
    ck_assert_str_eq(px_sha256_hex(unit_pool, "abc", 3),        /* FIPS 180-2 */
                     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    px_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac);     /* RFC 4231 case 2 */
    ck_assert_str_eq(px_hex(unit_pool, mac, 32),
                     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    px_hmac_sha256("", 0, "", 0, mac);
    ck_assert_str_eq(px_hex(unit_pool, mac, 32),
                     "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}
END_TEST

START_TEST(equality)
{
    ck_assert(px_equal_ct("abc", 3, "abc", 3));
    ck_assert(!px_equal_ct("abc", 3, "abd", 3));
    ck_assert(!px_equal_ct("abc", 3, "abcd", 4));
    ck_assert(px_equal_ct("", 0, "", 0));
}
END_TEST

START_TEST(subkeys_differ)
{
    unsigned char a[32];
    unsigned char b[32];
    px_derive_key("secret", "session", a);
    px_derive_key("secret", "session", b);
    ck_assert_mem_eq(a, b, 32);
    px_derive_key("secret", "csrf", b);
    ck_assert_mem_ne(a, b, 32);
    px_derive_key("other", "session", b);
    ck_assert_mem_ne(a, b, 32);
    /* HKDF-SHA256, empty salt, computed independently (python: HMAC twice). */
    ck_assert_str_eq(px_hex(unit_pool, a, 32),
                     "b3ee04feefd46eda9b7ec62313e82b8e36986076f8c76ad21eaff266a58e15ff");
}
END_TEST

START_TEST(sealing)
{
    unsigned char key[32] = {1, 2, 3};
    unsigned char other[32] = {9};
    const char *sealed = px_seal(unit_pool, key, "ctx", "hello\0x", 7);
    size_t len;
    unsigned char *plain = px_unseal(unit_pool, key, "ctx", sealed, &len);
    ck_assert_ptr_nonnull(plain);
    ck_assert_uint_eq(len, 7);
    ck_assert_mem_eq(plain, "hello\0x", 7);
    ck_assert_str_ne(sealed, px_seal(unit_pool, key, "ctx", "hello\0x", 7));
    ck_assert_ptr_null(px_unseal(unit_pool, other, "ctx", sealed, &len));
    ck_assert_ptr_null(px_unseal(unit_pool, key, "ctx2", sealed, &len));
    ck_assert_ptr_null(px_unseal(unit_pool, key, "ctx", "", &len));
    ck_assert_ptr_null(px_unseal(unit_pool, key, "ctx", "AAAA", &len));
    for (size_t i = 0; sealed[i]; i++) {
        char *forged = apr_pstrdup(unit_pool, sealed);
        forged[i] = forged[i] == 'A' ? 'B' : 'A';
        ck_assert_msg(!px_unseal(unit_pool, key, "ctx", forged, &len), "byte %zu", i);
        forged[i] = '\0';
        ck_assert_ptr_null(px_unseal(unit_pool, key, "ctx", forged, &len));
    }
    sealed = px_seal(unit_pool, key, "", NULL, 0);
    ck_assert_ptr_nonnull(px_unseal(unit_pool, key, "", sealed, &len));
    ck_assert_uint_eq(len, 0);
}
END_TEST

START_TEST(random_differs)
{
    unsigned char a[64] = {0};
    unsigned char b[64] = {0};
    px_random(a, sizeof(a));
    px_random(b, sizeof(b));
    ck_assert_mem_ne(a, b, sizeof(a));
}
END_TEST

static void check_scheme(const char *scheme, int cost, const char *prefix)
{
    const char *hash;
    bool match;
    bool rehash;
    UNIT_OK(px_password_hash(unit_pool, "pepper", "open sesame", scheme, cost, &hash));
    ck_assert_msg(strncmp(hash, prefix, strlen(prefix)) == 0, "%s", hash);
    UNIT_OK(px_password_verify(unit_pool, "pepper", "open sesame", hash, scheme, cost, &match,
                               &rehash));
    ck_assert(match && !rehash);
    UNIT_OK(px_password_verify(unit_pool, "pepper", "open sesamf", hash, scheme, cost, &match,
                               &rehash));
    ck_assert(!match && !rehash);
    UNIT_OK(px_password_verify(unit_pool, "salt", "open sesame", hash, scheme, cost, &match,
                               &rehash));
    ck_assert(!match);
    UNIT_OK(px_password_verify(unit_pool, "pepper", "open sesame", hash, scheme, cost + 1, &match,
                               &rehash));
    ck_assert(match && rehash);
}

START_TEST(passwords)
{
    const char *hash;
    bool match;
    bool rehash;
    char longer[201];
    check_scheme("bcrypt", 4, "$2b$04$");
    check_scheme("yescrypt", 1, "$y$");
    UNIT_OK(px_password_hash(unit_pool, "p", "x", "bcrypt", 4, &hash));
    UNIT_OK(px_password_verify(unit_pool, "p", "x", hash, "yescrypt", 1, &match, &rehash));
    ck_assert(match && rehash);     /* another scheme than the wanted one */
    memset(longer, 'a', 200);
    longer[200] = '\0';
    UNIT_OK(px_password_hash(unit_pool, "p", longer, "bcrypt", 4, &hash));
    longer[199] = 'b';              /* bcrypt alone would not see it */
    UNIT_OK(px_password_verify(unit_pool, "p", longer, hash, "bcrypt", 4, &match, &rehash));
    ck_assert(!match);
    UNIT_OK(px_password_verify(unit_pool, "p", "x", NULL, "bcrypt", 4, &match, &rehash));
    ck_assert(!match && !rehash);
    UNIT_ERR(px_password_hash(unit_pool, "p", "x", "md5", 4, &hash), PX_E_INTERNAL);
    UNIT_ERR(px_password_hash(unit_pool, "p", "x", "bcrypt", 99, &hash), PX_E_INTERNAL);
    UNIT_OK(px_password_verify(unit_pool, "p", "x", "*0", "bcrypt", 4, &match, &rehash));
    ck_assert(!match);
    UNIT_OK(px_password_verify(unit_pool, "p", "x", "", "bcrypt", 4, &match, &rehash));
    ck_assert(!match);
    UNIT_ERR(px_password_verify(unit_pool, "p", "x", NULL, "md5", 4, &match, &rehash),
             PX_E_INTERNAL);
}
END_TEST

/* An unknown user must cost what a known one costs. */
START_TEST(no_enumeration_by_time)
{
    const char *hash;
    bool match;
    bool rehash;
    int64_t start;
    int64_t known;
    int64_t unknown;
    UNIT_OK(px_password_hash(unit_pool, "p", "x", "bcrypt", 10, &hash));
    start = px_monotonic();
    UNIT_OK(px_password_verify(unit_pool, "p", "y", hash, "bcrypt", 10, &match, &rehash));
    known = px_monotonic() - start;
    start = px_monotonic();
    UNIT_OK(px_password_verify(unit_pool, "p", "y", NULL, "bcrypt", 10, &match, &rehash));
    unknown = px_monotonic() - start;
    ck_assert_int_gt(unknown * 5, known);
    ck_assert_int_gt(known * 5, unknown);
}
END_TEST

static atomic_int served;
static atomic_int refused;

static void *hash_once(void *arg)
{
    apr_pool_t *pool;
    const char *hash;
    px_err *err;
    (void)arg;
    apr_pool_create(&pool, NULL);
    err = px_password_hash(pool, "p", "x", "bcrypt", 9, &hash);
    if (!err) {
        served++;
    } else if (err->id == PX_E_UNAVAILABLE && err->retry_after > 0) {
        refused++;
    }
    apr_pool_destroy(pool);
    return NULL;
}

START_TEST(gate_refuses_the_flood)
{
    pthread_t threads[60];
    for (int i = 0; i < 60; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, hash_once, NULL), 0);
    }
    for (int i = 0; i < 60; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_int_eq(served + refused, 60);
    ck_assert_int_ge(served, 22);       /* two at work and twenty waiting */
    ck_assert_int_gt(refused, 0);
}
END_TEST

int main(void)
{
    TCase *tc = unit_begin("crypto");
    tcase_add_test(tc, digests);
    tcase_add_test(tc, equality);
    tcase_add_test(tc, subkeys_differ);
    tcase_add_test(tc, sealing);
    tcase_add_test(tc, random_differs);
    tcase_add_test(tc, passwords);
    tcase_add_test(tc, no_enumeration_by_time);
    tcase_add_test(tc, gate_refuses_the_flood);
    return unit_run();
}
