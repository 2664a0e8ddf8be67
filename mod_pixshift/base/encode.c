/* hex, base64 and base64url; the decoders accept the one canonical spelling only. */
#include "id.h"

#include <apr_strings.h>
#include <string.h>

static const char url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char std_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const char *px_hex(apr_pool_t *pool, const void *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *in = data;
    char *out = apr_palloc(pool, len * 2 + 1);
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * len] = '\0';
    return out;
}

static const char *encode(apr_pool_t *pool, const void *data, size_t len, const char *alphabet,
                          bool pad)
{
    const unsigned char *in = data;
    char *out = apr_palloc(pool, len / 3 * 4 + 5);
    char *at = out;
    for (; len >= 3; in += 3, len -= 3) {
        *at++ = alphabet[in[0] >> 2];
        *at++ = alphabet[(in[0] & 3) << 4 | in[1] >> 4];
        *at++ = alphabet[(in[1] & 15) << 2 | in[2] >> 6];
        *at++ = alphabet[in[2] & 63];
    }
    if (len) {
        unsigned second = len == 2 ? in[1] : 0;
        *at++ = alphabet[in[0] >> 2];
        *at++ = alphabet[(in[0] & 3) << 4 | second >> 4];
        if (len == 2) {
            *at++ = alphabet[(second & 15) << 2];
        }
        for (size_t i = len; pad && i < 3; i++) {
            *at++ = '=';
        }
    }
    *at = '\0';
    return out;
}

const char *px_b64url(apr_pool_t *pool, const void *data, size_t len)
{
    return encode(pool, data, len, url_alphabet, false);
}

const char *px_b64(apr_pool_t *pool, const void *data, size_t len)
{
    return encode(pool, data, len, std_alphabet, true);
}

/* Filled at load time so that decoding needs no lock and no first-use check. */
static signed char url_values[256];
static signed char std_values[256];

static void __attribute__((constructor)) fill_tables(void)
{
    memset(url_values, -1, sizeof(url_values));
    memset(std_values, -1, sizeof(std_values));
    for (int i = 0; i < 64; i++) {
        url_values[(unsigned char)url_alphabet[i]] = (signed char)i;
        std_values[(unsigned char)std_alphabet[i]] = (signed char)i;
    }
}

/* Decodes text without padding; refuses one odd character and trailing bits that are not zero. */
static unsigned char *decode(apr_pool_t *pool, const char *text, size_t text_len,
                             const signed char *values, size_t *len)
{
    unsigned char *out;
    size_t used = 0;
    unsigned bits = 0;
    unsigned held = 0;
    if (text_len % 4 == 1) {
        return NULL;
    }
    out = apr_palloc(pool, text_len / 4 * 3 + 3);
    for (size_t i = 0; i < text_len; i++) {
        int value = values[(unsigned char)text[i]];
        if (value < 0) {
            return NULL;
        }
        bits = (bits << 6 | (unsigned)value) & 0xffffff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[used++] = (unsigned char)(bits >> held);
        }
    }
    if (bits & ((1u << held) - 1)) {
        return NULL;
    }
    out[used] = '\0';
    *len = used;
    return out;
}

unsigned char *px_b64url_decode(apr_pool_t *pool, const char *text, size_t text_len, size_t *len)
{
    return decode(pool, text, text_len, url_values, len);
}

unsigned char *px_b64_decode(apr_pool_t *pool, const char *text, size_t text_len, size_t *len)
{
    size_t pad = 0;
    if (text_len % 4 != 0) {
        return NULL;
    }
    while (pad < 2 && pad < text_len && text[text_len - 1 - pad] == '=') {
        pad++;
    }
    return decode(pool, text, text_len - pad, std_values, len);
}
