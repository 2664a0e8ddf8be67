/* pixshiftctl user … */
#include "ctl.h"

#include "account/account.h"
#include "account/user.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

static bool scope_known(const char *scope)
{
    return strcmp(scope, "super") == 0 || strcmp(scope, "support") == 0
        || strcmp(scope, "finance") == 0;
}

static bool check_scope(const ctl *c)
{
    if (c->option[CTL_O_ADMIN] && !scope_known(c->option[CTL_O_ADMIN])) {
        ctl_say_error("--admin takes super, support or finance, not '%s'", c->option[CTL_O_ADMIN]);
        return false;
    }
    return true;
}

static bool looks_like_address(const char *text)
{
    const char *at = strchr(text, '@');

    return at && at != text && strchr(at + 1, '.') && !strpbrk(text, " \t\"<>,;")
        && strlen(text) <= 254;
}

static int print_key(ctl *c, const char *user_id)
{
    const char *key, *key_id;
    px_err *err = px_account_create_key(&c->app, c->pool, user_id, "Default API Key", false, &key,
                                        &key_id);
    if (err) {
        return ctl_fail(err);
    }
    printf("API key %s (shown only now)\n", key);
    return CTL_OK;
}

int ctl_user_create(ctl *c)
{
    const char *password, *id;
    px_err *err;

    if (!check_scope(c)) {
        return CTL_USAGE;
    }
    if (!looks_like_address(c->args[0])) {
        return ctl_say_error("'%s' is no email address", c->args[0]);
    }
    if ((err = ctl_read_password(c, &password)) != NULL
        || (err = px_account_create(&c->app, c->pool, c->args[0], password,
                                    c->option[CTL_O_FIRST_NAME], c->option[CTL_O_LAST_NAME],
                                    &id)) != NULL) {
        return ctl_fail(err);
    }
    if (c->option[CTL_O_ADMIN]
        && (err = px_account_set_role(&c->app, c->pool, id, PX_ROLE_ADMIN, c->option[CTL_O_ADMIN],
                                      ctl_actor(c->pool))) != NULL) {
        ctl_say_error("the account was made, but it is no admin yet; use 'user role'");
        return ctl_fail(err);
    }
    printf("%s %s%s%s\n", id, c->args[0], c->option[CTL_O_ADMIN] ? " admin " : "",
           c->option[CTL_O_ADMIN] ? c->option[CTL_O_ADMIN] : "");
    return c->option[CTL_O_KEY] ? print_key(c, id) : CTL_OK;
}

int ctl_user_role(ctl *c)
{
    bool admin = strcmp(c->args[1], "admin") == 0;
    const char *scope = c->option[CTL_O_ADMIN] ? c->option[CTL_O_ADMIN] : "super";
    px_user *user;
    px_err *err;

    if (!check_scope(c)) {
        return CTL_USAGE;
    }
    if (!admin && strcmp(c->args[1], "user") != 0) {
        ctl_say_error("the role is admin or user, not '%s'", c->args[1]);
        return CTL_USAGE;
    }
    if ((err = px_user_find(&c->app, c->pool, c->args[0], &user)) != NULL
        || (err = px_account_set_role(&c->app, c->pool, user->id,
                                      admin ? PX_ROLE_ADMIN : PX_ROLE_USER, scope,
                                      ctl_actor(c->pool))) != NULL) {
        return ctl_fail(err);
    }
    printf("%s is %s%s\n", c->args[0], admin ? "admin " : "user", admin ? scope : "");
    return CTL_OK;
}

int ctl_user_password(ctl *c)
{
    int64_t min = px_set_int(c->settings, PX_S_PASSWORD_MIN);
    const char *password, *fault;
    px_user *user;
    px_err *err;

    if ((err = px_user_find(&c->app, c->pool, c->args[0], &user)) != NULL
        || (err = ctl_read_password(c, &password)) != NULL) {
        return ctl_fail(err);
    }
    fault = px_password_fault(c->pool, password, user->email, min);
    if (fault) {
        return ctl_say_error("this password cannot be used: %s", fault);
    }
    if ((err = px_user_set_password(&c->app, c->pool, user->id, password,
                                    ctl_actor(c->pool))) != NULL) {
        return ctl_fail(err);
    }
    puts("the password is set, all logins of the user are ended");
    return CTL_OK;
}

static void line(const char *name, const char *value)
{
    if (value) {
        printf("%-14s %s\n", name, value);
    }
}

int ctl_user_show(ctl *c)
{
    px_user *user;
    px_err *err = px_user_find(&c->app, c->pool, c->args[0], &user);

    if (err) {
        return ctl_fail(err);
    }
    line("id", user->id);
    line("email", user->email);
    line("phone", user->phone);
    line("first name", user->first_name);
    line("last name", user->last_name);
    line("role", user->role == PX_ROLE_ADMIN ? "admin" : "user");
    line("admin scope", user->admin_scope);
    line("entitlement", user->entitlement);
    line("pricing tier", user->pricing_tier);
    line("provider", user->auth_provider);
    line("suspended", user->is_suspended ? "yes" : NULL);
    line("created", px_time_iso(c->pool, user->created_at));
    line("last login", user->last_login ? px_time_iso(c->pool, user->last_login) : "never");
    return CTL_OK;
}
