/* The inside of a key table.  Private to base/jwt*.c. */
#ifndef PX_BASE_JWT_KEYS_H
#define PX_BASE_JWT_KEYS_H

#include "jwt.h"
#include <cjose/cjose.h>

typedef struct px_jwt_key {
    const char *kid;
    cjose_jwk_t *jwk;
    struct px_jwt_key *next;
} px_jwt_key;

struct px_jwt_keys {
    apr_pool_t *pool;
    const char *issuer;
    const char *audience;
    px_jwt_key *first;      /* the one that signs */
};

/* NULL for an unknown or malformed kid. */
const px_jwt_key *px_jwt_keys_find(const px_jwt_keys *keys, const char *kid);

#endif
