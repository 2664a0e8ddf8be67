/* API keys as text: making, checking, naming. No I/O. */
#include "account_internal.h"

#include "base/id.h"

#include <apr_strings.h>
#include <string.h>

#define TAG_LEN 9           /* "psk_live_" */
#define RANDOM_LEN 30
#define SHOWN_LEN 8

static const char *const tags[] = {"psk_live_", "psk_test_"};

static const struct { unsigned bit; const char *name; } scopes[] = {
    {PX_SCOPE_JOBS_WRITE, "jobs:write"},
    {PX_SCOPE_JOBS_READ, "jobs:read"},
    {PX_SCOPE_CREDITS_READ, "credits:read"},
    {PX_SCOPE_CHAT, "chat"},
};

const char *account_key_make(apr_pool_t *pool, bool test_mode)
{
    const char *body = apr_pstrcat(pool, tags[test_mode], px_base62_random(pool, RANDOM_LEN), NULL);

    return apr_pstrcat(pool, body, px_crc32_base62(pool, body, TAG_LEN + RANDOM_LEN), NULL);
}

bool account_key_well_formed(apr_pool_t *pool, const char *key, bool *test_mode)
{
    size_t i;

    if (strlen(key) != ACCOUNT_KEY_LEN) {
        return false;
    }
    *test_mode = strncmp(key, tags[1], TAG_LEN) == 0;
    if (!*test_mode && strncmp(key, tags[0], TAG_LEN) != 0) {
        return false;
    }
    for (i = TAG_LEN; i < ACCOUNT_KEY_LEN; i++) {
        char c = key[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))) {
            return false;
        }
    }
    return strcmp(px_crc32_base62(pool, key, TAG_LEN + RANDOM_LEN),
                  key + TAG_LEN + RANDOM_LEN) == 0;
}

const char *account_key_prefix(apr_pool_t *pool, const char *key)
{
    return apr_pstrmemdup(pool, key, TAG_LEN + SHOWN_LEN);
}

unsigned account_scopes_parse(const char *comma_separated)
{
    unsigned bits = 0;
    const char *p = comma_separated;

    while (p && *p) {
        size_t len = strcspn(p, ",");
        for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
            if (strlen(scopes[i].name) == len && strncmp(scopes[i].name, p, len) == 0) {
                bits |= scopes[i].bit;
            }
        }
        p += len + (p[len] == ',');
    }
    return bits;
}

const char *account_scopes_array(apr_pool_t *pool, unsigned bits)
{
    const char *text = "{";

    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
        if (bits & scopes[i].bit) {
            text = apr_pstrcat(pool, text, text[1] ? "," : "", scopes[i].name, NULL);
        }
    }
    return apr_pstrcat(pool, text, "}", NULL);
}
