/* API keys: adding them, and counting their use without a write per request. */
#include "key_store.h"

#include "base/clock.h"
#include "base/log.h"
#include "cache/cache.h"

#include <apr_strings.h>
#include <string.h>

#define KEYS_PER_USER 100
#define USED_EVERY_US 60000000
/* Uses wait in the cache until the minute is over; a day covers keys that pause. */
#define USES_KEPT_MS (24 * 3600 * 1000)

px_err *account_key_add(px_conn *conn, apr_pool_t *pool, const char *user_id, const char *name,
                        bool test_mode, const char **key, const char **key_id)
{
    unsigned char hash[PX_SHA256_LEN];
    int64_t active;
    px_err *err = key_store_count(conn, pool, user_id, &active);

    if (err) {
        return err;
    }
    if (active >= KEYS_PER_USER) {
        return px_error_say(pool, PX_E_CONFLICT,
                            "An account can have %d API keys. Delete one first.", KEYS_PER_USER);
    }
    *key = account_key_make(pool, test_mode);
    px_sha256(*key, ACCOUNT_KEY_LEN, hash);
    return key_store_insert(conn, pool, user_id, name, account_key_prefix(pool, *key), hash,
                            account_scopes_array(pool, PX_SCOPE_DEFAULT_KEY), test_mode, 0, key_id);
}

typedef struct {
    const char *user_id, *name, *key, *key_id;
    bool test_mode;
} key_request;

static px_err *create_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    key_request *in = baton;

    return account_key_add(conn, pool, in->user_id, in->name, in->test_mode, &in->key, &in->key_id);
}

px_err *px_account_create_key(const px_app *app, apr_pool_t *pool, const char *user_id,
                              const char *name, bool test_mode, const char **key,
                              const char **key_id)
{
    key_request in = {.user_id = user_id, .name = name, .test_mode = test_mode};
    px_err *err = px_db_tx(app->db, pool, create_body, &in);

    *key = in.key;
    *key_id = in.key_id;
    return err;
}

/* Whoever wins the minute writes all uses counted so far and takes them off the counter. */
static void write_uses(const px_app *app, apr_pool_t *pool, const char *key_id, const char *counter,
                       int64_t uses)
{
    bool taken = false;
    int64_t left;
    px_err *err = key_store_used(app->db, pool, key_id, uses, &taken);

    if (!err && taken && app->cache) {
        err = px_cache_add(app->cache, pool, counter, -uses, USES_KEPT_MS, &left);
    }
    if (err) {
        px_log(PX_LOG_WARN, "PXS7015", "the use of API key %s was not recorded: %s", key_id,
               err->cause ? err->cause : err->text);
    }
}

void account_key_used(const px_app *app, apr_pool_t *pool, const account_record *record,
                      bool looked_up)
{
    const char *counter = account_cache_key(pool, 'u', record->who.key_id);
    int64_t uses = 1;

    if (app->cache && px_cache_add(app->cache, pool, counter, 1, USES_KEPT_MS, &uses) != NULL) {
        uses = 1;
    }
    if (looked_up && px_now() - record->last_used >= USED_EVERY_US) {
        write_uses(app, pool, record->who.key_id, counter, uses);
    }
}
