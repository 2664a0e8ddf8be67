/* Sealing: AES-256-GCM with a random nonce, as base64url text. */
#include "crypto.h"

#include "id.h"
#include <openssl/evp.h>
#include <limits.h>
#include <string.h>

#define NONCE_LEN 12
#define TAG_LEN 16

/* OpenSSL takes int lengths; nothing sealed here comes near. */
static bool too_long(size_t len)
{
    return len > INT_MAX / 2;
}

static bool encrypt(EVP_CIPHER_CTX *ctx, const unsigned char *key, unsigned char *blob,
                    const char *aad, const void *data, size_t len)
{
    unsigned char *text = blob + NONCE_LEN;
    int n;
    return EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, blob) == 1
        && EVP_EncryptUpdate(ctx, NULL, &n, (const unsigned char *)aad, (int)strlen(aad)) == 1
        && EVP_EncryptUpdate(ctx, text, &n, data, (int)len) == 1
        && EVP_EncryptFinal_ex(ctx, text + len, &n) == 1
        && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN, text + len) == 1;
}

static bool decrypt(EVP_CIPHER_CTX *ctx, const unsigned char *key, unsigned char *blob,
                    const char *aad, unsigned char *out, size_t len)
{
    unsigned char *text = blob + NONCE_LEN;
    int n;
    return EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, blob) == 1
        && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN, text + len) == 1
        && EVP_DecryptUpdate(ctx, NULL, &n, (const unsigned char *)aad, (int)strlen(aad)) == 1
        && EVP_DecryptUpdate(ctx, out, &n, text, (int)len) == 1
        && EVP_DecryptFinal_ex(ctx, out + len, &n) == 1;
}

const char *px_seal(apr_pool_t *pool, const unsigned char key[32], const char *aad,
                    const void *data, size_t len)
{
    unsigned char *blob;
    EVP_CIPHER_CTX *ctx;
    bool ok;
    if (too_long(len) || too_long(strlen(aad))) {
        return NULL;
    }
    ctx = EVP_CIPHER_CTX_new();
    blob = apr_palloc(pool, NONCE_LEN + len + TAG_LEN);
    px_random(blob, NONCE_LEN);
    ok = ctx && encrypt(ctx, key, blob, aad, len ? data : "", len);
    EVP_CIPHER_CTX_free(ctx);
    return ok ? px_b64url(pool, blob, NONCE_LEN + len + TAG_LEN) : NULL;
}

unsigned char *px_unseal(apr_pool_t *pool, const unsigned char key[32], const char *aad,
                         const char *sealed, size_t *len)
{
    size_t blob_len;
    unsigned char *blob = px_b64url_decode(pool, sealed, strlen(sealed), &blob_len);
    unsigned char *out;
    EVP_CIPHER_CTX *ctx;
    bool ok;
    if (!blob || blob_len < NONCE_LEN + TAG_LEN || too_long(blob_len) || too_long(strlen(aad))) {
        return NULL;
    }
    *len = blob_len - NONCE_LEN - TAG_LEN;
    ctx = EVP_CIPHER_CTX_new();
    out = apr_palloc(pool, *len + 1);
    ok = ctx && decrypt(ctx, key, blob, aad, out, *len);
    EVP_CIPHER_CTX_free(ctx);
    out[*len] = '\0';
    return ok ? out : NULL;
}
