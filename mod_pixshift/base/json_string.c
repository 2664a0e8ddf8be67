/* Raw JSON strings: escapes, UTF-8, hashing and comparing after unescaping. */
#include "json_string.h"
#include "buf.h"

#include <string.h>
#include <sys/auxv.h>

/* Reads one unescaped piece (a byte or an escape) after another. */
typedef struct {
    const char *at;
    const char *end;
    unsigned char piece[4];     /* UTF-8 of the piece just read */
    size_t size;
} reader;

static int hex4(const char *s, const char *end)
{
    int value = 0;
    if (end - s < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        char c = s[i];
        int digit;
        if (c >= '0' && c <= '9') {
            digit = c - '0';
        } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
            digit = (c | 0x20) - 'a' + 10;
        } else {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

static void put_utf8(reader *r, unsigned code)
{
    unsigned char *out = r->piece;
    if (code < 0x80) {
        out[0] = (unsigned char)code;
        r->size = 1;
    } else if (code < 0x800) {
        out[0] = (unsigned char)(0xc0 | code >> 6);
        out[1] = (unsigned char)(0x80 | (code & 0x3f));
        r->size = 2;
    } else if (code < 0x10000) {
        out[0] = (unsigned char)(0xe0 | code >> 12);
        out[1] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (unsigned char)(0x80 | (code & 0x3f));
        r->size = 3;
    } else {
        out[0] = (unsigned char)(0xf0 | code >> 18);
        out[1] = (unsigned char)(0x80 | (code >> 12 & 0x3f));
        out[2] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
        out[3] = (unsigned char)(0x80 | (code & 0x3f));
        r->size = 4;
    }
}

/* r->at stands behind "\u". */
static const char *read_unicode(reader *r)
{
    int high = hex4(r->at, r->end);
    int low;
    if (high < 0) {
        return "A \\u escape needs four hexadecimal digits.";
    }
    r->at += 4;
    if (high >= 0xdc00 && high <= 0xdfff) {
        return "A low surrogate stands alone.";
    }
    if (high < 0xd800 || high > 0xdbff) {
        put_utf8(r, (unsigned)high);
        return NULL;
    }
    if (r->end - r->at < 6 || r->at[0] != '\\' || r->at[1] != 'u') {
        return "A high surrogate stands alone.";
    }
    low = hex4(r->at + 2, r->end);
    if (low < 0xdc00 || low > 0xdfff) {
        return "A high surrogate stands alone.";
    }
    r->at += 6;
    put_utf8(r, 0x10000u + (((unsigned)high & 0x3ff) << 10) + ((unsigned)low & 0x3ff));
    return NULL;
}

/* r->at stands behind the backslash. */
static const char *read_escape(reader *r)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    const char *found;
    if (r->at >= r->end) {
        return "The text ends inside a string.";
    }
    if (*r->at == 'u') {
        r->at++;
        return read_unicode(r);
    }
    found = *r->at ? strchr(names, *r->at) : NULL;
    if (!found) {
        return "A string holds an unknown escape.";
    }
    r->at++;
    put_utf8(r, (unsigned char)values[found - names]);
    return NULL;
}

/* Raw bytes are taken one at a time: the whole string is checked for UTF-8 once. */
static const char *read_piece(reader *r)
{
    unsigned char c = (unsigned char)*r->at;
    if (c == '\\') {
        r->at++;
        return read_escape(r);
    }
    if (c < 0x20) {
        return "A string holds a raw control character.";
    }
    r->at++;
    r->piece[0] = c;
    r->size = 1;
    return NULL;
}

/* Keyed by the 16 random bytes that the kernel gives every process (no system call), so that nobody
 * outside can choose colliding keys. */
static uint64_t hash_seed(void)
{
    const void *random = (const void *)getauxval(AT_RANDOM);
    uint64_t seed = 0x9e3779b97f4a7c15u;
    if (random) {
        memcpy(&seed, random, sizeof(seed));
    }
    return seed;
}

static uint64_t hash_byte(uint64_t hash, unsigned char c)
{
    hash = (hash ^ c) * 0x9fb21c651e98df25u;
    return hash ^ hash >> 32;
}

/* Bytes at the start that are neither quote, backslash nor control character. */
static size_t plain_run(const char *s, const char *end)
{
    const char *at = s;
    while (at < end && (unsigned char)*at >= 0x20 && *at != '"' && *at != '\\') {
        at++;
    }
    return (size_t)(at - s);
}

const char *px_json_string_scan(const char *text, size_t len, size_t at, bool is_key,
                                px_json_string *out, size_t *error_at)
{
    reader r = {.at = text + at + 1, .end = text + len};
    const char *fault = NULL;
    out->raw = r.at;
    out->decoded_len = out->nuls = out->pairs = 0;
    out->hash = hash_seed();
    for (;;) {
        const char *piece;
        if (!is_key) {
            size_t run = plain_run(r.at, r.end);
            out->decoded_len += run;
            r.at += run;
        }
        if (r.at >= r.end || *r.at == '"') {
            break;
        }
        piece = r.at;
        fault = read_piece(&r);
        if (fault) {
            *error_at = (size_t)(piece - text);
            return fault;
        }
        for (size_t i = 0; is_key && i < r.size; i++) {
            out->hash = hash_byte(out->hash, r.piece[i]);
        }
        out->nuls += r.size == 1 && r.piece[0] == 0;
        out->pairs += r.size == 4;      /* raw bytes are pieces of one */
        out->decoded_len += r.size;
    }
    if (r.at >= r.end) {
        *error_at = len;
        return "The text ends inside a string.";
    }
    out->raw_len = (size_t)(r.at - out->raw);
    if (!px_utf8_valid(out->raw, out->raw_len)) {
        *error_at = at;
        return "A string is not valid UTF-8.";
    }
    return NULL;
}

size_t px_json_unescape_pairs(const char *text, size_t len, char *out)
{
    reader r = {.at = text, .end = text + len};
    size_t used = 0;
    while (r.at < r.end) {
        const char *start = r.at++;
        if (*start == '\\') {
            read_escape(&r);        /* backslashes stand in strings only */
        }
        if (*start == '\\' && r.size == 4) {
            memcpy(out + used, r.piece, 4);
            used += 4;
        } else {
            memcpy(out + used, start, (size_t)(r.at - start));
            used += (size_t)(r.at - start);
        }
    }
    return used;
}

bool px_json_string_equal(const char *a, size_t a_len, const char *b, size_t b_len)
{
    reader ra = {.at = a, .end = a + a_len};
    reader rb = {.at = b, .end = b + b_len};
    size_t ia = 0;
    size_t ib = 0;
    for (;;) {
        /* Refill each side when its piece is used up; a piece never has size 0. */
        if (ia == ra.size) {
            ra.size = ia = 0;
            if (ra.at < ra.end) {
                read_piece(&ra);
            }
        }
        if (ib == rb.size) {
            rb.size = ib = 0;
            if (rb.at < rb.end) {
                read_piece(&rb);
            }
        }
        if (!ra.size || !rb.size) {
            return ra.size == rb.size;
        }
        if (ra.piece[ia++] != rb.piece[ib++]) {
            return false;
        }
    }
}
