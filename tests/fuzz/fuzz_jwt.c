/* Token verification.  An input with a header line "S" is first signed with the right key, so that
 * the checks behind the signature are reached: "S" header "\n" payload. */
#include "base/crypto.h"
#include "base/id.h"
#include "base/jwt.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define SECRET "0123456789abcdef0123456789abcdef"
#define NOW 1795255872000000LL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *sign(apr_pool_t *pool, const uint8_t *data, size_t size)
{
    const uint8_t *line = memchr(data, '\n', size);
    size_t head = line ? (size_t)(line - data) : size;
    size_t body = line ? size - head - 1 : 0;
    unsigned char mac[PX_SHA256_LEN];
    const char *input = apr_pstrcat(pool, px_b64url(pool, data, head), ".",
                                    px_b64url(pool, line ? line + 1 : data, body), NULL);
    px_hmac_sha256(SECRET, 32, input, strlen(input), mac);
    return apr_pstrcat(pool, input, ".", px_b64url(pool, mac, sizeof(mac)), NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    static px_jwt_keys *keys;
    apr_pool_t *pool;
    px_jwt_claims claims;
    bool own = size > 0 && data[0] == 'S';
    const char *token;
    px_err *err;
    if (!root) {
        apr_initialize();
        atexit(apr_terminate);      /* leak checks do not look into pools */
        apr_pool_create(&root, NULL);
        keys = px_jwt_keys_make(root, "https://px.example", "pixshift");
        if (px_jwt_keys_add(keys, "k1", SECRET, 32)) {
            abort();
        }
    }
    apr_pool_create(&pool, root);
    token = own ? sign(pool, data + 1, size - 1)
                : apr_pstrmemdup(pool, (const char *)data, size);
    err = px_jwt_verify(pool, keys, token, NOW, &claims);
    if (!err && (!claims.sub || !claims.sid || !claims.jti || claims.exp + 60 <= NOW / 1000000)) {
        abort();
    }
    if (err && err->id != PX_E_AUTH_INVALID && err->id != PX_E_AUTH_EXPIRED) {
        abort();
    }
    apr_pool_destroy(pool);
    return 0;
}
