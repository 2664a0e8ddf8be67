/* Accounts: users, passwords, sessions, refresh tokens, API keys, the principal behind them. */
#ifndef PX_ACCOUNT_ACCOUNT_H
#define PX_ACCOUNT_ACCOUNT_H

#include "http/http.h"

extern const px_route px_account_routes[];

/* Turns the request's credentials into a principal (px_authenticate_fn): cookie, opaque bearer, JWT
 * bearer, x-api-key; refuses several at once (AUTH_AMBIGUOUS), those that the route does not take,
 * suspended users and sessions before the user's not-before stamp. */
px_err *px_account_authenticate(px_req *req, px_principal **who);

/* For AuthType PixShift and ctl. */
px_err *px_account_lookup(const px_app *app, apr_pool_t *pool, const char *user_id_or_email,
                          px_principal **who);     /* NOT_FOUND */
px_err *px_account_create(const px_app *app, apr_pool_t *pool, const char *email,
                          const char *password, const char *first_name, const char *last_name,
                          const char **user_id);   /* with wallet and free grants; EMAIL_TAKEN */
px_err *px_account_set_role(const px_app *app, apr_pool_t *pool, const char *user_id,
                            px_role role, const char *admin_scope, const char *actor);
px_err *px_account_create_key(const px_app *app, apr_pool_t *pool, const char *user_id,
                              const char *name, bool test_mode, const char **key,
                              const char **key_id);

/* Removes sessions that nothing of can be valid any more, and old counts of failed logins; at most
 * 10 000 of each a call. The worker calls it hourly. */
px_err *px_account_purge(const px_app *app, apr_pool_t *pool, int64_t *removed);

#endif
