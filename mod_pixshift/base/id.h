/* Identifiers and text encodings. All functions are pure but for randomness and the clock; any
 * thread. Results live in the pool. */
#ifndef PX_BASE_ID_H
#define PX_BASE_ID_H

#include "error.h"
#include <stdbool.h>
#include <stdint.h>

#define PX_UUID_LEN 36

/* UUIDv7 (RFC 9562): time-ordered, 74 random bits; lower-case text with hyphens. */
const char *px_uuid7(apr_pool_t *pool);
/* Canonical lower- or upper-case UUID text of any version. */
bool px_uuid_valid(const char *text);

/* `bytes` random bytes as base64url without padding (32 bytes -> 43 characters). */
const char *px_token(apr_pool_t *pool, size_t bytes);
/* `count` characters of [0-9A-Za-z], unbiased. */
const char *px_base62_random(apr_pool_t *pool, size_t count);
/* CRC-32 (IEEE) as exactly 6 base62 digits, most significant first. */
const char *px_crc32_base62(apr_pool_t *pool, const char *text, size_t len);

const char *px_hex(apr_pool_t *pool, const void *data, size_t len);   /* lower case */
const char *px_b64url(apr_pool_t *pool, const void *data, size_t len);
const char *px_b64(apr_pool_t *pool, const void *data, size_t len);
/* Strict decoders: no white space, canonical padding (b64) or none (b64url), zero trailing bits.
 * NULL when malformed. `*len` receives the decoded size; a NUL is added behind. */
unsigned char *px_b64url_decode(apr_pool_t *pool, const char *text, size_t text_len, size_t *len);
unsigned char *px_b64_decode(apr_pool_t *pool, const char *text, size_t text_len, size_t *len);

#endif
