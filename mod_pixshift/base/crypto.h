/* Cryptography over OpenSSL 3 and libxcrypt; nothing invented here.  Any thread. */
#ifndef PX_BASE_CRYPTO_H
#define PX_BASE_CRYPTO_H

#include "error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PX_SHA256_LEN 32

void px_sha256(const void *data, size_t len, unsigned char out[PX_SHA256_LEN]);
const char *px_sha256_hex(apr_pool_t *pool, const void *data, size_t len);
void px_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                    unsigned char out[PX_SHA256_LEN]);
/* Constant time in the length of the inputs; false when the lengths differ. */
bool px_equal_ct(const void *a, size_t a_len, const void *b, size_t b_len);
/* Fills with CSPRNG bytes; aborts the process when the system has none (fail closed). */
void px_random(void *out, size_t len);
/* A sub-key for one purpose: HKDF-SHA256 over the master secret, info = purpose. */
void px_derive_key(const char *secret, const char *purpose, unsigned char out[32]);

/* AES-256-GCM: nonce(12) || ciphertext || tag(16), base64url. `aad` binds the context. */
const char *px_seal(apr_pool_t *pool, const unsigned char key[32], const char *aad,
                    const void *data, size_t len);
/* NULL when forged or malformed. */
unsigned char *px_unseal(apr_pool_t *pool, const unsigned char key[32], const char *aad,
                         const char *sealed, size_t *len);

/* Passwords: crypt(3) over base64(HMAC-SHA256(pepper, password)), so that length, NUL and the
 * 72-byte cut of bcrypt do not matter. `scheme` = "bcrypt" (cost 12) or "yescrypt". 50-400 ms of
 * CPU: at most 2 at once per process, a queue of 20 (10 s at most), then UNAVAILABLE. */
px_err *px_password_hash(apr_pool_t *pool, const char *pepper, const char *password,
                         const char *scheme, int cost, const char **hash);
/* *match tells the verdict; a NULL or unreadable hash does the same work and never matches (no
 * enumeration by time). *rehash is set when the stored form is weaker than scheme/cost. */
px_err *px_password_verify(apr_pool_t *pool, const char *pepper, const char *password,
                           const char *hash, const char *scheme, int cost, bool *match,
                           bool *rehash);

#endif
