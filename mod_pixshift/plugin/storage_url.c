/* URLs of objects for browsers.  A storage that signs its own is asked for one; for the others
 * we sign method, key, expiry, user and download name with a key derived from the master secret,
 * and GET /api/files/{key} serves the object. */
#include "plugin_internal.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/id.h"

#include <apr_strings.h>
#include <string.h>

/* "file-url" names the purpose: a signature is good for nothing else. */
static px_err *sign(const px_app *app, apr_pool_t *pool, const char *key, const char *expires,
                    const char *user, const char *name, const char **signature)
{
    const char *secret = px_set_str(app->settings, PX_S_SECRET);
    const char *text = apr_pstrcat(pool, "GET\n", key, "\n", expires, "\n", user, "\n", name, NULL);
    unsigned char derived[32];
    unsigned char mac[PX_SHA256_LEN];

    if (!secret || !secret[0]) {
        return px_error(pool, PX_E_INTERNAL, "PXS3112", "PixShiftSecret is not set");
    }
    px_derive_key(secret, "file-url", derived);
    px_hmac_sha256(derived, sizeof derived, text, strlen(text), mac);
    *signature = px_b64url(pool, mac, sizeof mac);
    return NULL;
}

static const char *base_url(const px_app *app, apr_pool_t *pool)
{
    const char *base = px_set_str(app->settings, PX_S_BASE_URL);
    size_t len = base ? strlen(base) : 0;

    while (len > 0 && base[len - 1] == '/') {
        len--;
    }
    return len ? apr_pstrmemdup(pool, base, len) : "";
}

static px_err *own_url(const px_app *app, apr_pool_t *pool, const char *key, const char *user,
                       const char *name, const char **url)
{
    int64_t lifetime = px_set_int(app->settings, PX_S_URL_LIFETIME);
    const char *expires = apr_psprintf(pool, "%" APR_INT64_T_FMT,
                                       (apr_int64_t)(px_now() / 1000000 + lifetime / 1000));
    const char *signature;
    px_err *err = sign(app, pool, key, expires, user, name, &signature);

    if (err) {
        return err;
    }
    *url = apr_pstrcat(pool, base_url(app, pool), "/api/files/", key, "?expires=", expires,
                       "&user=",
                       px_url_encode(pool, user), name[0] ? "&name=" : "",
                       px_url_encode(pool, name), "&signature=", signature, NULL);
    return NULL;
}

static px_err *plugin_url(const px_app *app, px_net *net, apr_pool_t *pool, px_instance *instance,
                          const char *key, const char *name, const char **url)
{
    const pxs_storage_ops *ops = instance->ops;
    pxs_storage_request request = {
        .size = sizeof request, .key = key, .range_first = -1, .range_last = -1,
        .expires_s = (uint32_t)(px_set_int(app->settings, PX_S_URL_LIFETIME) / 1000),
        .download_name = name[0] ? name : NULL
    };
    pxs_storage_result result = { .size = sizeof result };
    px_err *err = px_op_run(pool, net, instance, (px_op_fn *)(void *)ops->sign_url, &request,
                            &result, NULL);

    if (!err && !result.url) {
        err = px_error(pool, PX_E_UNAVAILABLE, "PXS3111", "plugin %s delivered no URL",
                       px_instance_name(instance));
    }
    *url = err ? NULL : apr_pstrdup(pool, result.url);
    return err;
}

px_err *px_storage_url(const px_app *app, px_net *net, apr_pool_t *pool, const char *key,
                       const char *user_id, const char *download_name, const char **url)
{
    px_instance *instance = app->plugins ? px_registry_storage(app->plugins) : NULL;
    const char *name = download_name ? download_name : "";

    if (!px_storage_key_fine(key)) {
        return px_error(pool, PX_E_NOT_FOUND, NULL, NULL);
    }
    if (instance && instance->ops && (px_instance_caps(instance) & PXS_STORAGE_SIGN_URL)) {
        return plugin_url(app, net, pool, instance, key, name, url);
    }
    return own_url(app, pool, key, user_id ? user_id : "", name, url);
}

/* ---- verifying ---- */

/* The decoded value of a parameter; "" when absent; NULL when malformed or given twice. */
static const char *parameter(apr_pool_t *pool, const char *query, const char *name)
{
    size_t name_len = strlen(name);
    const char *found = "";
    bool seen = false;

    while (query && *query) {
        size_t len = strcspn(query, "&");
        if (len > name_len && strncmp(query, name, name_len) == 0 && query[name_len] == '=') {
            if (seen) {
                return NULL;
            }
            seen = true;
            found = px_url_decode(pool, query + name_len + 1, len - name_len - 1, true);
        }
        query += len + (query[len] == '&');
    }
    return found;
}

static px_err *forbidden(apr_pool_t *pool)
{
    return px_error(pool, PX_E_AUTH_FORBIDDEN, NULL, NULL);
}

px_err *px_storage_url_verify(const px_app *app, apr_pool_t *pool, const char *key,
                              const char *query, const char **user_id)
{
    const char *expires = parameter(pool, query, "expires");
    const char *user = parameter(pool, query, "user");
    const char *name = parameter(pool, query, "name");
    const char *given = parameter(pool, query, "signature");
    const char *wanted;
    long long until;
    px_err *err;

    if (!px_storage_key_fine(key) || !expires || !user || !name || !given
        || !px_parse_int(expires, 0, INT64_MAX / 1000000, &until)) {
        return forbidden(pool);
    }
    err = sign(app, pool, key, expires, user, name, &wanted);
    if (err) {
        return err;
    }
    if (!px_equal_ct(wanted, strlen(wanted), given, strlen(given))
        || px_now() / 1000000 >= until) {
        return forbidden(pool);
    }
    *user_id = user;
    return NULL;
}

const char *px_storage_url_name(apr_pool_t *pool, const char *query)
{
    const char *name = parameter(pool, query, "name");

    return name && name[0] ? name : NULL;
}
