/* API keys over HTTP (KEY-1 … KEY-3). A key's text is in the reply that makes it and nowhere
 * else. */
#include "key_store.h"

#include "base/id.h"
#include "cache/cache.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

typedef struct { const char *name; bool test_mode; } generate_in;

static const px_field generate_fields[] = {
    {"name", PX_F_STRING, false, 1, 100, NULL, offsetof(generate_in, name)},
    {"test_mode", PX_F_BOOL, false, 0, 0, NULL, offsetof(generate_in, test_mode)},
    {NULL, PX_F_STRING, false, 0, 0, NULL, 0},
};

static px_err *no_key(px_req *req)
{
    return px_error_say(req->pool, PX_E_NOT_FOUND, "You have no such API key.");
}

static void forget(px_req *req, const char *hash_hex)
{
    if (req->app->cache) {
        (void)px_cache_delete(req->app->cache, req->pool,
                              account_cache_key(req->pool, 'k', hash_hex));
    }
    /* A look-up under way may still store what it read before. */
    account_cache_cut(req->app, req->pool, req->who->user_id);
}

static void write_key(px_req *req, px_reply *reply, const char *key, const char *key_id,
                      const char *name)
{
    px_jw_object(reply->json, NULL);
    px_reply_success(req, reply);
    px_jw_str(reply->json, "api_key", key);
    px_jw_str(reply->json, "key_id", key_id);
    if (name) {
        px_jw_str(reply->json, "name", name);
    }
    px_jw_end_object(reply->json);
    apr_table_setn(reply->headers, "Cache-Control", "no-store");
}

px_err *account_key_generate_api(px_req *req, px_reply *reply)
{
    generate_in in = {"Default API Key", false};
    const char *key, *key_id;
    px_err *err = px_validate(req, generate_fields, &in);

    if (err || (err = px_account_create_key(req->app, req->pool, req->who->user_id, in.name,
                                            in.test_mode, &key, &key_id)) != NULL) {
        return err;
    }
    reply->status = 201;
    write_key(req, reply, key, key_id, in.name);
    return NULL;
}

static void write_row(px_jw *w, const key_row *key)
{
    px_jw_object(w, NULL);
    px_jw_str(w, "id", key->id);
    px_jw_str(w, "name", key->name);
    px_jw_str(w, "prefix", key->prefix);
    px_jw_array(w, "scopes");
    for (const char *p = key->scopes; p && *p; p += strcspn(p, ","), p += *p == ',') {
        px_jw_strn(w, NULL, p, strcspn(p, ","));
    }
    px_jw_end_array(w);
    px_jw_bool(w, "test_mode", key->test_mode);
    px_jw_time(w, "created_at", key->created_at);
    px_jw_time(w, "last_used", key->last_used);
    px_jw_time(w, "expires_at", key->expires_at);
    px_jw_int(w, "usage_count", key->usage_count);
    px_jw_end_object(w);
}

px_err *account_key_list_api(px_req *req, px_reply *reply)
{
    static const px_field none[] = {{NULL, PX_F_STRING, false, 0, 0, NULL, 0}};
    px_page page;
    key_row *list;
    int64_t total;
    int count;
    px_err *err = px_validate_query(req, none, NULL);

    if (err || (err = px_page_read(req, 100, &page)) != NULL
        || (err = key_store_list(req->app->db, req->pool, req->who->user_id, page.limit,
                                 page.offset, &list, &count, &total)) != NULL) {
        return err;
    }
    px_jw_object(reply->json, NULL);
    px_jw_array(reply->json, "keys");
    for (int i = 0; i < count; i++) {
        write_row(reply->json, &list[i]);
    }
    px_jw_end_array(reply->json);
    px_page_write(req, reply->json, &page, total);
    px_jw_end_object(reply->json);
    return NULL;
}

px_err *account_key_delete_api(px_req *req, px_reply *reply)
{
    const char *id = px_param(req, "keyId");
    const char *hash = NULL;
    px_err *err = px_uuid_valid(id)
        ? key_store_revoke(req->app->db, req->pool, req->who->user_id, id,
                                                       &hash) : NULL;
    if (err || !hash) {
        return err ? err : no_key(req);
    }
    forget(req, hash);
    px_jw_object(reply->json, NULL);
    px_reply_success(req, reply);
    px_jw_str(reply->json, "message", "API key deleted");
    px_jw_end_object(reply->json);
    return NULL;
}

px_err *account_key_regenerate_api(px_req *req, px_reply *reply)
{
    const char *id = px_param(req, "keyId");
    unsigned char hash[PX_SHA256_LEN];
    key_row *row = NULL;
    const char *key, *old = NULL;
    px_err *err = px_uuid_valid(id) ? key_store_find(req->app->db, req->pool, req->who->user_id, id,
                                                     &row) : NULL;
    if (err || !row) {
        return err ? err : no_key(req);
    }
    key = account_key_make(req->pool, row->test_mode);
    px_sha256(key, ACCOUNT_KEY_LEN, hash);
    err = key_store_replace(req->app->db, req->pool, req->who->user_id, id,
                            account_key_prefix(req->pool, key), hash, &old);
    if (err || !old) {
        return err ? err : no_key(req);
    }
    forget(req, old);
    write_key(req, reply, key, id, row->name);
    return NULL;
}
