/* The strict RFC 8259 check: one pass, explicit stack, fixed tables, no allocation. */
#include "json.h"
#include "json_string.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_DEPTH 32
#define DEFAULT_VALUES 100000
#define BUCKETS 1024            /* power of two */
#define NO_ENTRY UINT16_MAX
#define NUMBER_TEXT_MAX 512     /* digits beyond this carry no meaning and cost json-c time */
#define MAGNITUDE_MAX 307       /* 9.99e307 is the largest decimal that surely fits a double */

typedef enum {
    AT_VALUE,           /* a value must follow */
    AT_FIRST_ELEMENT,   /* a value or ']' */
    AT_FIRST_KEY,       /* a key or '}' */
    AT_KEY,             /* a key */
    AFTER_VALUE,        /* ',' or the end of the container, or the end of the text */
    AT_END,
    FAULT
} step;

/* A key of an object that is still open.  Entries are a stack: an object's end pops its own, so
 * the chains never hold anything from a closed object. */
typedef struct {
    uint64_t hash;
    const char *raw;
    size_t raw_len;
    uint16_t older;         /* next older entry of the same bucket */
    uint8_t level;          /* depth of the object that the key belongs to */
} key_entry;

typedef struct {
    const char *text;
    size_t len;
    size_t at;
    px_json_limits limits;
    px_json_stats *stats;
    const char *fault;
    unsigned depth;
    bool is_object[PX_JSON_DEPTH_MAX + 1];
    unsigned key_mark[PX_JSON_DEPTH_MAX + 1];   /* entries that were there when the level began */
    unsigned keys;
    uint16_t bucket[BUCKETS];
    key_entry key[PX_JSON_OPEN_MEMBERS];
} checker;

static step fail(checker *c, size_t at, const char *sentence)
{
    c->fault = sentence;
    c->stats->error_at = at;
    return FAULT;
}

static unsigned bucket_of(const checker *c, uint64_t hash)
{
    /* The level goes in so that the same key on many levels does not fill one chain. */
    return (unsigned)((hash + c->depth * 0x9e3779b97f4a7c15u) >> 40) & (BUCKETS - 1);
}

static step remember_key(checker *c, const px_json_string *s)
{
    unsigned b = bucket_of(c, s->hash);
    key_entry *entry;
    for (uint16_t i = c->bucket[b]; i != NO_ENTRY; i = c->key[i].older) {
        const key_entry *old = &c->key[i];
        if (old->hash == s->hash && old->level == c->depth
            && px_json_string_equal(old->raw, old->raw_len, s->raw, s->raw_len)) {
            return fail(c, (size_t)(s->raw - c->text) - 1, "An object has the same key twice.");
        }
    }
    if (c->keys == PX_JSON_OPEN_MEMBERS) {
        return fail(c, c->at, "An object has too many members.");
    }
    entry = &c->key[c->keys];
    entry->hash = s->hash;
    entry->raw = s->raw;
    entry->raw_len = s->raw_len;
    entry->level = (uint8_t)c->depth;
    entry->older = c->bucket[b];
    c->bucket[b] = (uint16_t)c->keys++;
    return AT_VALUE;
}

static step open_container(checker *c, bool object)
{
    if (c->depth >= c->limits.max_depth) {
        return fail(c, c->at, "The JSON is nested too deeply.");
    }
    c->at++;
    c->depth++;
    if (c->depth > c->stats->depth) {
        c->stats->depth = c->depth;
    }
    c->is_object[c->depth] = object;
    c->key_mark[c->depth] = c->keys;
    return object ? AT_FIRST_KEY : AT_FIRST_ELEMENT;
}

static step close_container(checker *c)
{
    while (c->keys > c->key_mark[c->depth]) {
        const key_entry *entry = &c->key[--c->keys];
        c->bucket[bucket_of(c, entry->hash)] = entry->older;    /* newest first: always the head */
    }
    c->at++;
    c->depth--;
    return AFTER_VALUE;
}

static step read_string(checker *c, bool is_key, px_json_string *out)
{
    size_t where = c->at;
    const char *fault = px_json_string_scan(c->text, c->len, c->at, is_key, out, &where);
    if (fault) {
        return fail(c, where, fault);
    }
    if (c->limits.max_string && out->raw_len > c->limits.max_string) {
        return fail(c, c->at, "A string is too long.");
    }
    c->stats->string_bytes += out->decoded_len;
    c->stats->nuls += out->nuls;
    c->stats->pairs += out->pairs;
    c->at += out->raw_len + 2;
    return AFTER_VALUE;
}

static char peek(const checker *c)
{
    return c->at < c->len ? c->text[c->at] : '\0';
}

static bool digit_here(const checker *c)
{
    char ch = peek(c);
    return ch >= '0' && ch <= '9';
}

static size_t skip_digits(checker *c)
{
    size_t start = c->at;
    while (digit_here(c)) {
        c->at++;
    }
    return c->at - start;
}

/* The decimal exponent of the first digit that is not zero; a zero has magnitude 0. */
static long magnitude(const char *digits, size_t whole, const char *fraction, size_t places)
{
    if (digits[0] != '0') {
        return (long)whole - 1;
    }
    for (size_t i = 0; i < places; i++) {
        if (fraction[i] != '0') {
            return -(long)i - 1;
        }
    }
    return -100000;     /* zero: no exponent can make it large */
}

static bool fits_int64(const char *digits, size_t count, bool negative)
{
    int64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        int digit = digits[i] - '0';
        if (__builtin_mul_overflow(value, (int64_t)10, &value)
            || __builtin_add_overflow(value, (int64_t)(negative ? -digit : digit), &value)) {
            return false;
        }
    }
    return true;
}

/* Exponent digits behind 'e'; saturates far outside of what a double can hold. */
static bool read_exponent(checker *c, long *exponent)
{
    bool negative;
    c->at++;
    negative = peek(c) == '-';
    if (negative || peek(c) == '+') {
        c->at++;
    }
    if (!digit_here(c)) {
        return false;
    }
    for (*exponent = 0; digit_here(c); c->at++) {
        if (*exponent < 50000) {
            *exponent = *exponent * 10 + (peek(c) - '0');
        }
    }
    if (negative) {
        *exponent = -*exponent;
    }
    return true;
}

static step read_number(checker *c)
{
    size_t start = c->at;
    bool negative = peek(c) == '-';
    const char *digits;
    const char *fraction;
    size_t whole;
    size_t places = 0;
    long exponent = 0;
    bool integer = true;
    c->at += negative;
    digits = fraction = c->text + c->at;
    whole = skip_digits(c);
    if (whole == 0 || (whole > 1 && digits[0] == '0')) {
        return fail(c, start, "A number is malformed.");
    }
    if (peek(c) == '.') {
        integer = false;
        c->at++;
        fraction = c->text + c->at;
        places = skip_digits(c);
        if (places == 0) {
            return fail(c, start, "A number has no digit behind its point.");
        }
    }
    if (peek(c) == 'e' || peek(c) == 'E') {
        integer = false;
        if (!read_exponent(c, &exponent)) {
            return fail(c, start, "A number has no digit in its exponent.");
        }
    }
    if (integer && !fits_int64(digits, whole, negative)) {
        return fail(c, start, "A whole number does not fit 64 bits.");
    }
    if (c->at - start > NUMBER_TEXT_MAX
        || magnitude(digits, whole, fraction, places) + exponent > MAGNITUDE_MAX) {
        return fail(c, start, "A number is too large.");
    }
    return AFTER_VALUE;
}

static step read_word(checker *c, const char *word)
{
    size_t size = strlen(word);
    if (c->len - c->at < size || memcmp(c->text + c->at, word, size) != 0) {
        return fail(c, c->at, "A value is not JSON.");
    }
    c->at += size;
    return AFTER_VALUE;
}

static step read_value(checker *c)
{
    px_json_string s;
    if (c->at >= c->len) {
        return fail(c, c->at, "The text ends where a value must follow.");
    }
    if (++c->stats->values > c->limits.max_values) {
        return fail(c, c->at, "The JSON has too many values.");
    }
    if (c->depth > 0 && !c->is_object[c->depth]) {
        c->stats->elements++;
    }
    switch (peek(c)) {
    case '{': return open_container(c, true);
    case '[': return open_container(c, false);
    case '"':
        c->stats->strings++;
        return read_string(c, false, &s);
    case 't': return read_word(c, "true");
    case 'f': return read_word(c, "false");
    case 'n': return read_word(c, "null");
    default: break;
    }
    if (peek(c) == '-' || digit_here(c)) {
        return read_number(c);
    }
    return fail(c, c->at, "A value is not JSON.");
}

static void skip_space(checker *c)
{
    while (c->at < c->len) {
        char ch = c->text[c->at];
        if (ch != ' ' && ch != '\t' && ch != '\n' && ch != '\r') {
            return;
        }
        c->at++;
    }
}

static step read_key(checker *c)
{
    px_json_string s;
    if (peek(c) != '"') {
        return fail(c, c->at, "An object's key must be a string.");
    }
    if (read_string(c, true, &s) == FAULT) {
        return FAULT;
    }
    if (!c->limits.allow_duplicates && remember_key(c, &s) == FAULT) {
        return FAULT;
    }
    c->stats->members++;
    skip_space(c);
    if (peek(c) != ':') {
        return fail(c, c->at, "A colon is missing behind a key.");
    }
    c->at++;
    return AT_VALUE;
}

static step after_value(checker *c)
{
    bool object;
    if (c->depth == 0) {
        return c->at == c->len ? AT_END
                               : fail(c, c->at, "Something follows the end of the JSON text.");
    }
    if (c->at >= c->len) {
        return fail(c, c->at, "The text ends inside an object or an array.");
    }
    object = c->is_object[c->depth];
    if (peek(c) == ',') {
        c->at++;
        return object ? AT_KEY : AT_VALUE;
    }
    if (peek(c) == (object ? '}' : ']')) {
        return close_container(c);
    }
    return fail(c, c->at, "A comma or the end of the object or array is missing.");
}

static step next_step(checker *c, step now)
{
    skip_space(c);
    switch (now) {
    case AT_FIRST_ELEMENT: return peek(c) == ']' ? close_container(c) : read_value(c);
    case AT_VALUE: return read_value(c);
    case AT_FIRST_KEY: return peek(c) == '}' ? close_container(c) : read_key(c);
    case AT_KEY: return read_key(c);
    default: return after_value(c);
    }
}

const char *px_json_check(const char *text, size_t len, const px_json_limits *limits,
                          px_json_stats *stats)
{
    /* About 170 KiB of stack, of which only `bucket` and what the text needs is touched. */
    checker c;
    px_json_stats own = {0};
    step now = AT_VALUE;
    c.text = text;
    c.len = len;
    c.at = 0;
    c.limits.max_depth = limits && limits->max_depth ? limits->max_depth : DEFAULT_DEPTH;
    c.limits.max_values = limits && limits->max_values ? limits->max_values : DEFAULT_VALUES;
    c.limits.max_string = limits ? limits->max_string : 0;
    c.limits.allow_duplicates = limits && limits->allow_duplicates;
    if (c.limits.max_depth > PX_JSON_DEPTH_MAX) {
        c.limits.max_depth = PX_JSON_DEPTH_MAX;
    }
    c.stats = stats ? stats : &own;
    memset(c.stats, 0, sizeof(*c.stats));
    c.fault = NULL;
    c.depth = 0;
    c.keys = 0;
    memset(c.bucket, 0xff, sizeof(c.bucket));
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        fail(&c, 0, "The text begins with a byte order mark.");
        return c.fault;
    }
    while (now != AT_END && now != FAULT) {
        now = next_step(&c, now);
    }
    return now == FAULT ? c.fault : NULL;
}
