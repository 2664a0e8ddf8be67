/* Access tokens that this product issues to itself: JWS compact, HS256, `typ: at+jwt` (RFC 9068),
 * signed and verified by cjose after checks of our own.  One algorithm is pinned; nothing in a
 * token can choose another, a key by address, or an extension.
 *
 * A key table is filled at start by one thread and only read afterwards; then any thread may issue
 * and verify.  It lives as long as its pool.  No I/O. */
#ifndef PX_BASE_JWT_H
#define PX_BASE_JWT_H

#include "error.h"
#include <stddef.h>
#include <stdint.h>

#define PX_JWT_MAX_LEN 4096         /* bytes of a whole token */
#define PX_JWT_KID_MAX 64           /* of [A-Za-z0-9_-] */
#define PX_JWT_KEY_MIN 32           /* bytes of a secret (RFC 7518 §3.2) */
#define PX_JWT_SKEW_SECONDS 60

typedef struct px_jwt_keys px_jwt_keys;

/* Times are seconds since 1970 (NumericDate). */
typedef struct {
    const char *sub;        /* user id; required */
    const char *sid;        /* session id; required */
    const char *jti;        /* token id; px_jwt_issue makes one when NULL */
    int64_t iat;
    int64_t nbf;            /* px_jwt_issue takes iat when 0 */
    int64_t exp;
} px_jwt_claims;

/* An empty table for one issuer and audience (both required, compared exactly). */
px_jwt_keys *px_jwt_keys_make(apr_pool_t *pool, const char *issuer, const char *audience);

/* Adds a key. The first one signs; all verify, so a rotation adds the new key in front and keeps
 * the old one until its last token has expired.  INTERNAL when the kid is malformed or taken or
 * the secret is short. */
px_err *px_jwt_keys_add(px_jwt_keys *keys, const char *kid, const void *secret, size_t secret_len);

px_err *px_jwt_issue(apr_pool_t *pool, const px_jwt_keys *keys, const px_jwt_claims *claims,
                     const char **token);

/* Verifies everything: form, header, signature, issuer, audience, times (60 s of skew). `now` is
 * px_now().  AUTH_INVALID for whatever is wrong, AUTH_EXPIRED only for a genuine token past its
 * `exp`; the reason is in the error's `cause` (never in the reply). */
px_err *px_jwt_verify(apr_pool_t *pool, const px_jwt_keys *keys, const char *token, int64_t now,
                      px_jwt_claims *claims);

/* The signature layer alone: form, header, key and MAC of a compact HS256 JWS.  `typ` NULL = any or
 * none.  *payload is a copy in the pool with a NUL behind. */
px_err *px_jws_open(apr_pool_t *pool, const px_jwt_keys *keys, const char *token, const char *typ,
                    const char **payload, size_t *payload_len);

#endif
