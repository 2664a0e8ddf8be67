/* What a credential stands for, kept in the shared cache for some seconds, so that an
 * authenticated request usually asks no database.
 *
 * An entry is void as soon as its user was cut (logout, suspension, new password or role): the
 * cut is a time stamp per user in the same cache, and an entry looked up before it is not
 * believed. On other machines, and when the stamp was evicted, ACCOUNT_CACHE_MS bounds the
 * delay. */
#include "account_internal.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "cache/cache.h"

#include <apr_strings.h>
#include <string.h>

#define FORMAT "1"
#define SEPARATOR '\x1f'
#define FIELDS 15
/* Longer than any entry that it makes void. */
#define CUT_MS (ACCOUNT_CACHE_MS * 12)

const char *account_cache_key(apr_pool_t *pool, char kind, const char *id)
{
    char prefix[] = {'a', 'c', ':', kind, ':', '\0'};

    return apr_pstrcat(pool, prefix, id, NULL);
}

/* ---- as text ---- */

static void add(px_buf *buf, const char *text)
{
    /* An absent value is one NUL-less mark that no value can be. */
    px_buf_puts(buf, text ? text : "\x1e");
    px_buf_add(buf, &(char){SEPARATOR}, 1);
}

static void add_int(px_buf *buf, int64_t number)
{
    px_buf_printf(buf, "%lld%c", (long long)number, SEPARATOR);
}

const char *account_record_pack(apr_pool_t *pool, const account_record *record, size_t *len)
{
    px_buf *buf = px_buf_make(pool, 320);
    const px_principal *who = &record->who;

    add(buf, FORMAT);
    add(buf, who->user_id);
    add(buf, who->email);
    add_int(buf, who->role);
    add(buf, who->admin_scope);
    add_int(buf, who->scopes);
    add(buf, who->session_id);
    add(buf, who->key_id);
    add_int(buf, who->test_mode);
    add(buf, who->tier);
    add(buf, who->csrf);
    add_int(buf, record->looked_up);
    add_int(buf, record->valid_until);
    add_int(buf, record->started);
    add_int(buf, record->last_used);
    *len = buf->len;
    return buf->data;
}

static bool split(apr_pool_t *pool, const char *text, size_t len, const char *field[FIELDS])
{
    char *copy = apr_pstrmemdup(pool, text, len);
    int n = 0;

    for (char *p = copy, *end; n < FIELDS && (end = strchr(p, SEPARATOR)) != NULL; p = end + 1) {
        *end = '\0';
        field[n++] = strcmp(p, "\x1e") == 0 ? NULL : p;
    }
    return n == FIELDS && field[0] && strcmp(field[0], FORMAT) == 0;
}

static int64_t number(const char *text)
{
    long long value;

    return text && px_parse_int(text, INT64_MIN, INT64_MAX, &value) ? value : 0;
}

account_record *account_record_unpack(apr_pool_t *pool, const char *text, size_t len)
{
    const char *field[FIELDS];
    account_record *record;

    if (!split(pool, text, len, field) || !field[1]) {
        return NULL;
    }
    record = apr_pcalloc(pool, sizeof *record);
    record->who.user_id = field[1];
    record->who.email = field[2];
    record->who.role = (px_role)number(field[3]);
    record->who.admin_scope = field[4];
    record->who.scopes = (unsigned)number(field[5]);
    record->who.session_id = field[6];
    record->who.key_id = field[7];
    record->who.test_mode = number(field[8]) != 0;
    record->who.tier = field[9];
    record->who.csrf = field[10];
    record->looked_up = number(field[11]);
    record->valid_until = number(field[12]);
    record->started = number(field[13]);
    record->last_used = number(field[14]);
    return record;
}

/* ---- in the cache ---- */

static const char *cut_key(apr_pool_t *pool, const char *user_id)
{
    return account_cache_key(pool, 'n', user_id);
}

/* Also refuses entries from a clock that has been turned since. */
static bool fresh(const account_record *record)
{
    int64_t now = px_now();

    return record->looked_up <= now && now - record->looked_up <= ACCOUNT_CACHE_MS * 1000;
}

px_err *account_cache_get(const px_app *app, apr_pool_t *pool, const char *key,
                          account_record **out)
{
    const char *value;
    size_t len;
    account_record *record;
    px_err *err;

    *out = NULL;
    if (!app->cache || (err = px_cache_get(app->cache, pool, key, &value, &len)) != NULL) {
        return app->cache ? err : NULL;
    }
    record = value ? account_record_unpack(pool, value, len) : NULL;
    if (!record || !fresh(record)) {
        return NULL;
    }
    err = px_cache_get(app->cache, pool, cut_key(pool, record->who.user_id), &value, &len);
    if (!err && (!value || record->looked_up > number(value))) {
        *out = record;
    }
    return err;
}

void account_cache_put(const px_app *app, apr_pool_t *pool, const char *key,
                       const account_record *record)
{
    const char *text;
    size_t len;

    if (app->cache) {
        text = account_record_pack(pool, record, &len);
        (void)px_cache_set(app->cache, pool, key, text, len, ACCOUNT_CACHE_MS);
    }
}

void account_cache_cut(const px_app *app, apr_pool_t *pool, const char *user_id)
{
    const char *now = apr_psprintf(pool, "%" APR_INT64_T_FMT, (apr_int64_t)px_now());
    px_err *err;

    if (!app->cache) {
        return;
    }
    err = px_cache_set(app->cache, pool, cut_key(pool, user_id), now, strlen(now), CUT_MS);
    if (err) {
        px_log(PX_LOG_WARN, "PXS7014",
               "the cache did not take a cut: user %s may stay signed in for %d more seconds (%s)",
               user_id, ACCOUNT_CACHE_MS / 1000,
               err->cause ? err->cause : err->text);
    }
}
