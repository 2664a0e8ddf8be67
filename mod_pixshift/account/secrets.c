/* Keys derived from the master secret, made once per process. */
#include "account_internal.h"

#include "base/id.h"
#include "config/settings.h"

#include <apr_strings.h>
#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static account_secrets *made;
static const char *made_from;

static px_err *make(const px_app *app, const char *master, apr_pool_t *errors)
{
    const char *base = px_set_str(app->settings, PX_S_BASE_URL);
    unsigned char key[32];
    account_secrets *secrets;
    apr_pool_t *pool;
    px_err *err;

    /* Not the application's pool: tests and ctl close that while the process goes on. */
    apr_pool_create(&pool, NULL);
    secrets = apr_pcalloc(pool, sizeof *secrets);
    px_derive_key(master, "password pepper", key);
    secrets->pepper = px_hex(pool, key, sizeof key);
    px_derive_key(master, "login failure subjects", secrets->subject_key);
    px_derive_key(master, "access tokens", key);
    secrets->jwt = px_jwt_keys_make(pool, base && *base ? base : "pixshift", "pixshift-api");
    /* The key id tells keys of different master secrets apart and says nothing about them. */
    err = px_jwt_keys_add(secrets->jwt,
                          apr_pstrndup(pool, px_sha256_hex(pool, key, sizeof key), 16), key,
                          sizeof key);
    memset(key, 0, sizeof key);
    if (err) {
        err = px_error(errors, PX_E_INTERNAL, "PXS7001", "the signing key was refused: %s",
                       err->cause ? err->cause : err->text);
        apr_pool_destroy(pool);
        return err;
    }
    made = secrets;
    made_from = apr_pstrdup(pool, master);
    return NULL;
}

px_err *account_secrets_get(const px_app *app, apr_pool_t *pool, const account_secrets **out)
{
    const char *master = px_set_str(app->settings, PX_S_SECRET);
    px_err *err = NULL;

    if (!master) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS7000", "PixShiftSecret is not set");
    }
    pthread_mutex_lock(&lock);
    if (!made || strcmp(made_from, master) != 0) {
        err = make(app, master, pool);
    }
    *out = made;
    pthread_mutex_unlock(&lock);
    return err;
}
