/* The routes of accounts, in both spellings (docs/internals/account.md). */
#include "account_internal.h"

#define PIX PX_DIALECT_PIXSHIFT
#define V1 PX_DIALECT_TRAILROOM

const px_route px_account_routes[] = {
    {"POST", "/api/auth/register", PIX, PX_CRED_NONE, 0, PX_BODY_JSON,
     PX_ROUTE_CREATES | PX_ROUTE_NO_V1_ALIAS, account_register_api,
     "Makes an account and signs it in with a browser session and tokens."},
    {"POST", "/api/auth/login", PIX, PX_CRED_NONE, 0, PX_BODY_JSON, PX_ROUTE_NO_V1_ALIAS,
     account_login_api, "Signs in with a browser session and tokens."},
    {"POST", "/api/auth/refresh", PIX, PX_CRED_NONE, 0, PX_BODY_JSON, PX_ROUTE_NO_V1_ALIAS,
     account_refresh_api, "Exchanges a refresh token for a new pair of tokens."},
    {"POST", "/api/auth/logout", PIX, PX_CRED_USER, 0, PX_BODY_NONE, PX_ROUTE_NO_V1_ALIAS,
     account_logout_api, "Ends this session with all its tokens."},
    {"GET", "/api/auth/session", PIX, PX_CRED_USER, 0, PX_BODY_NONE, 0, account_session_api,
     "Tells who is signed in, and the anti-forgery token of a cookie session."},
    {"GET", "/api/users/profile", PIX, PX_CRED_USER, 0, PX_BODY_NONE, 0, account_profile_get_api,
     "Reads the own profile with its statistics."},
    {"PUT", "/api/users/profile", PIX, PX_CRED_USER, 0, PX_BODY_JSON, 0, account_profile_put_api,
     "Changes the own profile; a changed phone number is unverified."},

    {"POST", "/api/v1/auth/register", V1, PX_CRED_NONE, 0, PX_BODY_JSON, PX_ROUTE_CREATES,
     account_register_api, "Makes an account with its free credits and an API key."},
    {"POST", "/api/v1/auth/login", V1, PX_CRED_NONE, 0, PX_BODY_JSON, 0, account_login_api,
     "Signs in and returns an access token and a refresh token."},
    {"POST", "/api/v1/auth/refresh", V1, PX_CRED_NONE, 0, PX_BODY_JSON, 0, account_refresh_api,
     "Exchanges a refresh token for a new pair of tokens."},
    {"POST", "/api/v1/auth/logout", V1, PX_CRED_USER, 0, PX_BODY_NONE, 0, account_logout_api,
     "Ends this login with all its tokens."},
    {"GET", "/api/v1/auth/me", V1, PX_CRED_USER, 0, PX_BODY_NONE, 0, account_me_api,
     "Tells who is signed in."},

    {"POST", "/api/v1/api-keys/generate", V1, PX_CRED_USER, PX_SCOPE_ACCOUNT, PX_BODY_JSON,
     PX_ROUTE_CREATES, account_key_generate_api, "Makes an API key, shown this once."},
    {"GET", "/api/v1/api-keys", V1, PX_CRED_USER, PX_SCOPE_ACCOUNT, PX_BODY_NONE, 0,
     account_key_list_api, "Lists the own API keys by prefix."},
    {"DELETE", "/api/v1/api-keys/{keyId}", V1, PX_CRED_USER, PX_SCOPE_ACCOUNT, PX_BODY_NONE, 0,
     account_key_delete_api, "Revokes an API key at once."},
    {"POST", "/api/v1/api-keys/{keyId}/regenerate", V1, PX_CRED_USER, PX_SCOPE_ACCOUNT,
     PX_BODY_NONE, 0, account_key_regenerate_api,
     "Replaces an API key's text; the old one is void at once."},

    {NULL, NULL, PIX, 0, 0, PX_BODY_NONE, 0, NULL, NULL},
};
