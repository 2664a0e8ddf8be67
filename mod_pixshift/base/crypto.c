/* Digests, MACs, randomness and sub-keys over OpenSSL 3. */
#include "crypto.h"

#include "id.h"
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A digest that silently stayed zero would accept forgeries: better no process than that one. */
static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "pixshift: %s failed; the process ends here\n", what);
        abort();
    }
}

void px_sha256(const void *data, size_t len, unsigned char out[PX_SHA256_LEN])
{
    must(EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL) == 1, "SHA-256");
}

const char *px_sha256_hex(apr_pool_t *pool, const void *data, size_t len)
{
    unsigned char digest[PX_SHA256_LEN];
    px_sha256(data, len, digest);
    return px_hex(pool, digest, sizeof(digest));
}

void px_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                    unsigned char out[PX_SHA256_LEN])
{
    /* A NULL key would mean "the key of before" to OpenSSL. */
    must(HMAC(EVP_sha256(), key_len ? key : "", (int)key_len, data, len, out, NULL) != NULL,
         "HMAC-SHA256");
}

bool px_equal_ct(const void *a, size_t a_len, const void *b, size_t b_len)
{
    return a_len == b_len && CRYPTO_memcmp(a, b, a_len) == 0;
}

void px_random(void *out, size_t len)
{
    unsigned char *at = out;
    while (len > 0) {
        int step = len > 1 << 20 ? 1 << 20 : (int)len;
        must(RAND_bytes(at, step) == 1, "the random generator");
        at += step;
        len -= (size_t)step;
    }
}

void px_derive_key(const char *secret, const char *purpose, unsigned char out[32])
{
    char digest[] = "SHA256";
    OSSL_PARAM params[4];
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    must(ctx != NULL, "HKDF");
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)secret,
                                                  strlen(secret));
    params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)purpose,
                                                  strlen(purpose));
    params[3] = OSSL_PARAM_construct_end();
    must(EVP_KDF_derive(ctx, out, 32, params) == 1, "HKDF");
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}
