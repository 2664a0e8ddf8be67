/* Identifiers: UUIDv7, random tokens, base62 and its checksum. */
#include "id.h"

#include "clock.h"
#include "crc32.h"
#include "crypto.h"
#include <apr_strings.h>
#include <string.h>

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const char *px_uuid7(apr_pool_t *pool)
{
    unsigned char b[16];
    uint64_t ms = (uint64_t)px_now() / 1000;
    const char *hex;
    px_random(b + 6, 10);
    for (int i = 0; i < 6; i++) {
        b[i] = (unsigned char)(ms >> (40 - 8 * i));
    }
    b[6] = (unsigned char)(0x70 | (b[6] & 0x0f));
    b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
    hex = px_hex(pool, b, sizeof(b));
    return apr_psprintf(pool, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
                        hex + 20);
}

bool px_uuid_valid(const char *text)
{
    if (!text || strlen(text) != PX_UUID_LEN) {
        return false;
    }
    for (int i = 0; i < PX_UUID_LEN; i++) {
        char c = text[i];
        bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (hyphen ? c != '-' : !hex) {
            return false;
        }
    }
    return true;
}

const char *px_token(apr_pool_t *pool, size_t bytes)
{
    unsigned char *random = apr_palloc(pool, bytes + 1);
    px_random(random, bytes);
    return px_b64url(pool, random, bytes);
}

const char *px_base62_random(apr_pool_t *pool, size_t count)
{
    char *out = apr_palloc(pool, count + 1);
    size_t used = 0;
    while (used < count) {
        unsigned char random[64];
        px_random(random, sizeof(random));
        for (size_t i = 0; i < sizeof(random) && used < count; i++) {
            if (random[i] < 62 * 4) {       /* the rest would favour the first digits */
                out[used++] = base62[random[i] % 62];
            }
        }
    }
    out[count] = '\0';
    return out;
}

const char *px_crc32_base62(apr_pool_t *pool, const char *text, size_t len)
{
    char *out = apr_palloc(pool, 7);
    uint32_t crc = px_crc32(0, text, len);
    for (int i = 5; i >= 0; i--) {
        out[i] = base62[crc % 62];
        crc /= 62;
    }
    out[6] = '\0';
    return out;
}
