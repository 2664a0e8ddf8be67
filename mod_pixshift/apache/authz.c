/* AuthType PixShift for any Location: the session cookie, token or API key of PixShift says who
 * asks; Require pixshift-user and pixshift-role decide. Back ends behind ProxyPass and CGI
 * programs see the user in the environment. */
#include "host.h"
#include "account/account.h"

#include <apr_strings.h>
#include <mod_auth.h>

#define AUTH_TYPE "PixShift"

/* All kinds of credential; no scope: what a key may do in the API is not what it opens here. */
static const px_route guard_route = {.method = "GET", .pattern = "", .creds = PX_CRED_ANY};

static const char *role_name(px_role role)
{
    return role == PX_ROLE_ADMIN ? "admin" : "user";
}

static void export_user(request_rec *r, const px_principal *who)
{
    apr_table_t *env = r->subprocess_env;
    apr_table_setn(env, "PIXSHIFT_USER", who->user_id);
    apr_table_setn(env, "PIXSHIFT_ROLE", role_name(who->role));
    if (who->email) {
        apr_table_setn(env, "PIXSHIFT_EMAIL", who->email);
    }
    if (who->tier) {
        apr_table_setn(env, "PIXSHIFT_TIER", who->tier);
    }
    if (who->key_id) {
        apr_table_setn(env, "PIXSHIFT_KEY", who->key_id);
    }
    apr_table_setn(r->notes, "pixshift-user", who->user_id);
    r->user = apr_pstrdup(r->pool, who->user_id);
    r->ap_auth_type = apr_pstrdup(r->pool, AUTH_TYPE);
    ap_set_module_config(r->request_config, &pixshift_module, (void *)who);
}

static int challenge(request_rec *r, const char *auth_type)
{
    if (strcasecmp(auth_type, AUTH_TYPE) != 0) {
        return DECLINED;
    }
    apr_table_setn(r->err_headers_out,
                   r->proxyreq == PROXYREQ_PROXY ? "Proxy-Authenticate" : "WWW-Authenticate",
                   apr_psprintf(r->pool, "Bearer realm=\"%s\"",
                                ap_auth_name(r) ? ap_auth_name(r) : "pixshift"));
    return OK;
}

static int failure_status(const px_err *err)
{
    int status = px_err_info(err->id)->status;
    return status == HTTP_UNAUTHORIZED || status == HTTP_FORBIDDEN || status == HTTP_BAD_REQUEST
                   || status == HTTP_SERVICE_UNAVAILABLE
               ? status : HTTP_INTERNAL_SERVER_ERROR;
}

static int authenticate(request_rec *r)
{
    const char *type = ap_auth_type(r);
    px_host *host = px_host_get();
    px_principal *who = NULL;
    px_req *req;
    px_err *err;
    if (!type || strcasecmp(type, AUTH_TYPE) != 0) {
        return DECLINED;
    }
    if (!host || !host->app) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if ((err = px_req_make(r, host, &req)) == NULL) {
        req->route = &guard_route;
        err = px_account_authenticate(req, &who);
    }
    if (err && px_err_info(err->id)->status != HTTP_UNAUTHORIZED) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "%s: AuthType PixShift: %s",
                      err->log_id ? err->log_id : "PXS5150", err->cause ? err->cause : err->text);
    }
    if (err || !who) {
        int status = err ? failure_status(err) : HTTP_UNAUTHORIZED;
        if (status == HTTP_UNAUTHORIZED) {
            challenge(r, AUTH_TYPE);
        }
        return status;
    }
    export_user(r, who);
    return OK;
}

/* ---- Require --------------------------------------------------------------------------------- */

static const px_principal *principal_of(request_rec *r)
{
    return ap_get_module_config(r->request_config, &pixshift_module);
}

/* Require pixshift-user            anybody who is signed in
 * Require pixshift-user ID|E-MAIL… */
static authz_status require_user(request_rec *r, const char *line, const void *parsed)
{
    const px_principal *who = principal_of(r);
    const char *word;
    (void)parsed;
    if (!r->user || !who) {
        return AUTHZ_DENIED_NO_USER;
    }
    if (!*line) {
        return AUTHZ_GRANTED;
    }
    while (*(word = ap_getword_conf(r->pool, &line))) {
        if (strcasecmp(word, who->user_id) == 0
            || (who->email && strcasecmp(word, who->email) == 0)) {
            return AUTHZ_GRANTED;
        }
    }
    return AUTHZ_DENIED;
}

static authz_status require_role(request_rec *r, const char *line, const void *parsed)
{
    const px_principal *who = principal_of(r);
    const char *word;
    (void)parsed;
    if (!r->user || !who) {
        return AUTHZ_DENIED_NO_USER;
    }
    while (*(word = ap_getword_conf(r->pool, &line))) {
        if (strcasecmp(word, role_name(who->role)) == 0) {
            return AUTHZ_GRANTED;
        }
    }
    return AUTHZ_DENIED;
}

static const char *parse_role(cmd_parms *cmd, const char *line, const void **parsed)
{
    const char *word;
    int count = 0;
    *parsed = NULL;
    while (*(word = ap_getword_conf(cmd->temp_pool, &line))) {
        count++;
        if (strcasecmp(word, "admin") != 0 && strcasecmp(word, "user") != 0) {
            return apr_psprintf(cmd->pool, "Require pixshift-role: '%s' is not admin or user",
                                word);
        }
    }
    return count > 0 ? NULL : "Require pixshift-role wants admin or user";
}

static const authz_provider user_provider = {require_user, NULL};
static const authz_provider role_provider = {require_role, parse_role};

void px_authz_register(apr_pool_t *pool)
{
    ap_hook_check_authn(authenticate, NULL, NULL, APR_HOOK_MIDDLE, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_note_auth_failure(challenge, NULL, NULL, APR_HOOK_MIDDLE);
    ap_register_auth_provider(pool, AUTHZ_PROVIDER_GROUP, "pixshift-user", AUTHZ_PROVIDER_VERSION,
                              &user_provider, AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(pool, AUTHZ_PROVIDER_GROUP, "pixshift-role", AUTHZ_PROVIDER_VERSION,
                              &role_provider, AP_AUTH_INTERNAL_PER_CONF);
}
