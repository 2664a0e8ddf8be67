/* Accounts: the rules of making, finding and changing them. */
#include "account_internal.h"

#include "account_store.h"
#include "admin/audit.h"
#include "base/buf.h"
#include "base/id.h"
#include "config/settings.h"
#include "webhook/outbox.h"

#include <apr_strings.h>
#include <string.h>

#define DEFAULT_KEY_NAME "Default API Key"

const char *account_email_key(apr_pool_t *pool, const char *email)
{
    char *key = apr_pstrdup(pool, px_trim(pool, email));

    for (char *p = key; *p; p++) {
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    }
    return key;
}

/* ---- password hashes ---- */

static const char *scheme_of(const px_app *app)
{
    return px_set_int(app->settings, PX_S_PASSWORD_SCHEME) == 1 ? "yescrypt" : "bcrypt";
}

/* bcrypt's cost is a power of two; yescrypt's scale ends at 11. */
static int cost_of(const px_app *app)
{
    int cost = (int)px_set_int(app->settings, PX_S_PASSWORD_COST);

    return px_set_int(app->settings, PX_S_PASSWORD_SCHEME) == 1 && cost > 11 ? 11 : cost;
}

px_err *account_password_hash(const px_app *app, apr_pool_t *pool, const char *password,
                              const char **hash)
{
    const account_secrets *secrets;
    px_err *err = account_secrets_get(app, pool, &secrets);

    return err ? err : px_password_hash(pool, secrets->pepper, password, scheme_of(app),
                                        cost_of(app), hash);
}

px_err *account_password_check(const px_app *app, apr_pool_t *pool, const char *password,
                               const char *hash, bool *match, const char **rehashed)
{
    const account_secrets *secrets;
    bool weak = false;
    px_err *err = account_secrets_get(app, pool, &secrets);

    *rehashed = NULL;
    *match = false;
    if (!err) {
        err = px_password_verify(pool, secrets->pepper, password, hash, scheme_of(app),
                                 cost_of(app), match, &weak);
    }
    if (err || !*match || !weak) {
        return err;
    }
    return px_password_hash(pool, secrets->pepper, password, scheme_of(app), cost_of(app),
                            rehashed);
}

/* ---- making ---- */

px_err *account_new_check(const px_app *app, apr_pool_t *pool, account_new *in)
{
    int64_t min = px_set_int(app->settings, PX_S_PASSWORD_MIN);
    const char *fault;

    in->email = account_email_key(pool, in->email);
    fault = px_password_fault(pool, in->password, in->email, min);
    if (fault) {
        return px_error_field(pool, "password", "%s", fault);
    }
    return account_password_hash(app, pool, in->password, &in->hash);
}

static px_err *announce(px_conn *conn, apr_pool_t *pool, const char *user_id)
{
    px_jw *w = px_jw_make(pool, PX_SPELL_SNAKE);

    px_jw_object(w, NULL);
    px_jw_str(w, "user_id", user_id);
    px_jw_end_object(w);
    return px_outbox_add(conn, pool, apr_pstrcat(pool, "user:", user_id, ":registered", NULL),
                         "user.registered", user_id, w->buf->data);
}

px_err *account_new_write(px_conn *conn, apr_pool_t *pool, account_new *in)
{
    px_err *err = account_store_insert(conn, pool, in->email, in->hash, in->first_name,
                                       in->last_name, in->signs_in, &in->user_id);

    if (err || (err = px_credit_init_user(conn, pool, in->user_id)) != NULL
        || (err = announce(conn, pool, in->user_id)) != NULL || !in->with_key) {
        return err;
    }
    return account_key_add(conn, pool, in->user_id, DEFAULT_KEY_NAME, in->test_mode_key,
                           &in->api_key, &in->key_id);
}

static px_err *create_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    return account_new_write(conn, pool, baton);
}

px_err *px_account_create(const px_app *app, apr_pool_t *pool, const char *email,
                          const char *password, const char *first_name, const char *last_name,
                          const char **user_id)
{
    account_new in = {.email = email, .password = password, .first_name = first_name,
                      .last_name = last_name};
    px_err *err = account_new_check(app, pool, &in);

    if (!err) {
        err = px_db_tx(app->db, pool, create_body, &in);
    }
    *user_id = in.user_id;
    return err;
}

/* ---- finding ---- */

px_err *px_user_find(const px_app *app, apr_pool_t *pool, const char *id_or_email, px_user **out)
{
    bool is_id = px_uuid_valid(id_or_email);
    px_err *err = account_store_find(app->db, pool, is_id ? id_or_email : NULL,
                                     account_email_key(pool, id_or_email), out);

    return err || *out ? err : px_error_say(pool, PX_E_NOT_FOUND, "There is no such user.");
}

px_err *px_user_lock(px_conn *conn, apr_pool_t *pool, const char *id, px_user **out)
{
    px_err *err = px_uuid_valid(id) ? account_store_lock(conn, pool, id, out) : NULL;

    if (!px_uuid_valid(id) || (!err && !*out)) {
        return px_error_say(pool, PX_E_NOT_FOUND, "There is no such user.");
    }
    return err;
}

px_err *px_account_lookup(const px_app *app, apr_pool_t *pool, const char *user_id_or_email,
                          px_principal **who)
{
    px_user *user;
    px_err *err = px_user_find(app, pool, user_id_or_email, &user);

    if (err) {
        return err;
    }
    *who = apr_pcalloc(pool, sizeof **who);
    (*who)->user_id = user->id;
    (*who)->email = user->email;
    (*who)->role = user->role;
    (*who)->admin_scope = user->admin_scope;
    (*who)->tier = user->pricing_tier;
    return NULL;
}

px_err *px_user_list(const px_app *app, apr_pool_t *pool, const px_user_filter *filter,
                     px_user **list, int *count, int64_t *total)
{
    const char *role = NULL, *entitlement = NULL;
    const char *search = filter->search ? account_email_key(pool, filter->search) : NULL;
    px_role_wish wish;

    if (filter->role) {
        if (!px_role_parse(filter->role, &wish)) {
            return px_error_field(pool, "role", "it is not a role.");
        }
        role = wish.role == PX_ROLE_ADMIN ? "admin" : "user";
        entitlement = wish.sets_entitlement ? wish.entitlement : NULL;
    }
    return account_store_list(app->db, pool, role, entitlement, search, filter->limit,
                              filter->offset, list, count, total);
}

/* ---- changing ---- */

bool px_role_parse(const char *word, px_role_wish *wish)
{
    static const struct { const char *word; px_role role; const char *entitlement; } words[] = {
        {"ADMIN", PX_ROLE_ADMIN, NULL}, {"GUEST", PX_ROLE_USER, NULL},
        {"admin", PX_ROLE_ADMIN, NULL}, {"user", PX_ROLE_USER, NULL},
        {"free", PX_ROLE_USER, "free"}, {"paid", PX_ROLE_USER, "paid"},
        {"subscriber", PX_ROLE_USER, "subscriber"},
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i].word, word) == 0) {
            wish->role = words[i].role;
            wish->entitlement = words[i].entitlement;
            wish->sets_entitlement = words[i].entitlement != NULL;
            return true;
        }
    }
    return false;
}

static px_err *check_scope(apr_pool_t *pool, const char *scope)
{
    if (strcmp(scope, "super") == 0 || strcmp(scope, "support") == 0
        || strcmp(scope, "finance") == 0) {
        return NULL;
    }
    return px_error_field(pool, "admin_scope", "it must be one of: super support finance.");
}

/* The words free, paid and subscriber say nothing about being an admin, yet nobody who is called
 * one of them shall go on having an admin's rights. */
px_err *px_user_set_role(px_conn *conn, apr_pool_t *pool, const char *id, const px_role_wish *wish,
                         const char *admin_scope, int64_t entitlement_until)
{
    bool admin = wish->role == PX_ROLE_ADMIN;
    const char *scope = admin ? (admin_scope ? admin_scope : "super") : NULL;
    px_err *err = scope ? check_scope(pool, scope) : NULL;

    if (!err) {
        err = account_store_set_role(conn, pool, id, admin ? "admin" : "user", scope);
    }
    if (err || !wish->sets_entitlement) {
        return err;
    }
    return account_store_set_entitlement(conn, pool, id, wish->entitlement, entitlement_until);
}

px_err *px_user_end_logins(px_conn *conn, apr_pool_t *pool, const char *id)
{
    return account_store_end_logins(conn, pool, id);
}

px_err *px_user_set_suspended(px_conn *conn, apr_pool_t *pool, const char *id, bool suspended,
                              const char *reason)
{
    px_err *err = account_store_set_suspended(conn, pool, id, suspended, reason);

    return err || !suspended ? err : account_store_end_logins(conn, pool, id);
}

void px_user_forget(const px_app *app, apr_pool_t *pool, const char *id)
{
    account_cache_cut(app, pool, id);
}

typedef struct { const char *id, *hash, *actor; } password_change;

static px_err *password_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    const password_change *change = baton;
    px_audit_actor actor = {.name = change->actor};
    px_err *err = account_store_set_password(conn, pool, change->id, change->hash);

    if (!err) {
        err = account_store_end_logins(conn, pool, change->id);
    }
    return err || !change->actor ? err : px_audit_put(conn, pool, &actor, "user.password.update",
                                                      "USER", change->id, NULL, NULL);
}

px_err *px_user_set_password(const px_app *app, apr_pool_t *pool, const char *id,
                             const char *password, const char *actor)
{
    password_change change = {.id = id, .actor = actor};
    px_err *err = account_password_hash(app, pool, password, &change.hash);

    if (!err) {
        err = px_db_tx(app->db, pool, password_body, &change);
        account_cache_cut(app, pool, id);
    }
    return err;
}

static const char *role_json(apr_pool_t *pool, bool admin, const char *scope)
{
    px_jw *w = px_jw_make(pool, PX_SPELL_SNAKE);

    px_jw_object(w, NULL);
    px_jw_str(w, "role", admin ? "admin" : "user");
    px_jw_str(w, "admin_scope", admin ? scope : NULL);
    px_jw_end_object(w);
    return w->buf->data;
}

typedef struct {
    const char *user_id, *scope, *actor;
    bool admin;
} role_change;

static px_err *role_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    const role_change *in = baton;
    px_role_wish wish = {.role = in->admin ? PX_ROLE_ADMIN : PX_ROLE_USER};
    px_audit_actor actor = {.name = in->actor};
    px_user *user;
    px_err *err = px_user_lock(conn, pool, in->user_id, &user);

    if (err || (err = px_user_set_role(conn, pool, user->id, &wish, in->scope, 0)) != NULL) {
        return err;
    }
    return px_audit_put(conn, pool, &actor, "user.role.update", "USER", user->id,
                        role_json(pool, user->role == PX_ROLE_ADMIN, user->admin_scope),
                        role_json(pool, in->admin, in->scope));
}

px_err *px_account_set_role(const px_app *app, apr_pool_t *pool, const char *user_id,
                            px_role role, const char *admin_scope, const char *actor)
{
    role_change in = {.user_id = user_id, .admin = role == PX_ROLE_ADMIN, .actor = actor,
                      .scope = admin_scope ? admin_scope : "super"};
    px_err *err = px_db_tx(app->db, pool, role_body, &in);

    account_cache_cut(app, pool, user_id);
    return err;
}

px_err *px_account_purge(const px_app *app, apr_pool_t *pool, int64_t *removed)
{
    return account_store_purge(app->db, pool, removed);
}

/* ---- projection (C-3, C-5) ---- */

const char *px_user_role_word(px_dialect dialect, const px_user *user)
{
    bool admin = user->role == PX_ROLE_ADMIN;

    if (dialect == PX_DIALECT_PIXSHIFT) {
        return admin ? "ADMIN" : "GUEST";
    }
    if (admin) {
        return "admin";
    }
    return user->entitlement && strcmp(user->entitlement, "free") != 0 ? "paid" : "free";
}

static const char *provider_word(px_dialect dialect, const char *provider)
{
    static const char *const words[][2] = {{"google", "GMAIL"}, {"facebook", "FACEBOOK"},
                                           {"sms", "MOBILE"}, {"email", "EMAIL"}};

    for (size_t i = 0; dialect == PX_DIALECT_PIXSHIFT && i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i][0], provider) == 0) {
            return words[i][1];
        }
    }
    return provider;
}

void px_user_write(px_req *req, px_jw *w, const char *key, const px_user *user,
                   const px_balance *balance)
{
    px_jw_object(w, key);
    px_jw_str(w, "id", user->id);
    px_jw_str(w, "email", user->email);
    px_jw_str(w, "phone", user->phone);
    px_jw_str(w, "first_name", user->first_name);
    px_jw_str(w, "last_name", user->last_name);
    px_jw_str(w, "profile_picture", user->profile_picture);
    px_jw_str(w, "role", px_user_role_word(req->dialect, user));
    if (user->role == PX_ROLE_ADMIN) {
        px_jw_str(w, "admin_scope", user->admin_scope);
    }
    px_jw_str(w, "entitlement", user->entitlement);
    px_jw_str(w, "auth_provider", provider_word(req->dialect, user->auth_provider));
    px_jw_str(w, "pricing_tier", user->pricing_tier);
    if (balance) {
        px_jw_int(w, "free_tier_used", balance->lifetime_free_used);
        px_jw_int(w, "credits", balance->paid);
        px_jw_int(w, "daily_free_credits", balance->daily_free);
    }
    px_jw_bool(w, "is_active", user->is_active);
    px_jw_bool(w, "is_email_verified", user->is_email_verified);
    px_jw_bool(w, "is_suspended", user->is_suspended);
    px_jw_time(w, "created_at", user->created_at);
    px_jw_time(w, "last_login", user->last_login);
    px_jw_end_object(w);
}
