/* The id of a request: the client's own when it can do no harm in logs and headers, else a UUIDv7. It
 * must be unique, not unguessable, so the random bits come from a small generator that each thread
 * seeds once from the system's: the CSPRNG would cost more than the rest of an easy request. */
#include "host.h"
#include "base/clock.h"
#include "base/crypto.h"

#include <apr_lib.h>

#define GIVEN_MAX 128

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t thread_random(void)
{
    static __thread uint64_t state;
    static __thread bool seeded;
    uint64_t z;
    if (!seeded) {
        px_random(&state, sizeof(state));
        seeded = true;
    }
    z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* 8-4-4-4-12 lower-case digits of the two halves. */
static const char *uuid_text(apr_pool_t *pool, uint64_t high, uint64_t low)
{
    static const char digits[] = "0123456789abcdef";
    char *text = apr_palloc(pool, 37);
    char *at = text;
    for (int i = 0; i < 32; i++) {
        uint64_t half = i < 16 ? high : low;
        if (i == 8 || i == 12 || i == 16 || i == 20) {
            *at++ = '-';
        }
        *at++ = digits[half >> (60 - 4 * (i & 15)) & 15];
    }
    *at = '\0';
    return text;
}

/* RFC 9562: 48 bits of milliseconds, version 7, 12 random bits; variant 10, 62 random bits. */
static const char *make(apr_pool_t *pool)
{
    uint64_t ms = (uint64_t)(px_now() / 1000) & 0xffffffffffffu;
    uint64_t high = ms << 16 | 0x7000u | (thread_random() >> 52);
    uint64_t low = 1ull << 63 | thread_random() >> 2;
    return uuid_text(pool, high, low);
}

const char *px_request_id(request_rec *r)
{
    const char *given = apr_table_get(r->headers_in, "X-Request-Id");
    size_t len = given ? strlen(given) : 0;
    bool fine = len > 0 && len <= GIVEN_MAX;
    for (size_t i = 0; fine && i < len; i++) {
        fine = apr_isalnum(given[i]) || strchr("._-", given[i]);
    }
    return fine ? given : make(r->pool);
}
