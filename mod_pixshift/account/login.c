/* Address and password, under the limits of RELIABILITY §2: ten wrong passwords in a row slow an
 * account name down (30 s, doubling to an hour; whether the account exists or not), thirty in a
 * quarter of an hour an address.  Unknown accounts cost the same work and give the same answer. */
#include "account_internal.h"

#include "account_store.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "cache/cache.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <string.h>

#define IP_FAILURES 30
#define IP_WINDOW_MS (15 * 60 * 1000)

/* An IPv6 client owns a /64 at least: one address of it counts for all. */
static const char *ip_key(px_req *req)
{
    struct in6_addr six;
    const char *ip = req->client_ip ? req->client_ip : "unknown";

    if (inet_pton(AF_INET6, ip, &six) == 1 && !IN6_IS_ADDR_V4MAPPED(&six)) {
        ip = px_hex(req->pool, &six, 8);
    }
    return apr_pstrcat(req->pool, "login:ip:", ip, NULL);
}

/* Names an account in the table of failures without showing whose it is. */
static px_err *subject_of(px_req *req, const char *email, const char **subject)
{
    const account_secrets *secrets;
    unsigned char mac[PX_SHA256_LEN];
    px_err *err = account_secrets_get(req->app, req->pool, &secrets);

    if (err) {
        return err;
    }
    px_hmac_sha256(secrets->subject_key, sizeof secrets->subject_key, email, strlen(email), mac);
    *subject = px_hex(req->pool, mac, sizeof mac);
    return NULL;
}

static px_err *slow_down(px_req *req, int64_t wait_ms)
{
    px_err *err = px_error_say(req->pool, PX_E_RATE_LIMITED,
                               "Too many failed attempts. Please wait before the next one.");

    err->retry_after = wait_ms < 1000 ? 1 : (int)((wait_ms + 999) / 1000);
    px_count(req->app->cache, PX_C_RATE_LIMITED, 1);
    return px_err_with_number(err, "retry_after", err->retry_after);
}

static px_err *check_address(px_req *req, int64_t cost)
{
    px_rate_verdict verdict;
    px_err *err;

    if (!req->app->cache) {
        return NULL;
    }
    err = px_rate_take(req->app->cache, ip_key(req), IP_FAILURES, IP_WINDOW_MS, cost, &verdict);
    if (err) {
        return err;
    }
    if (cost == 0 && (!verdict.allowed || verdict.remaining < 1)) {
        px_log(PX_LOG_NOTICE, "PXS7011",
               "logins from %s are refused for a while: too many failures",
               req->client_ip ? req->client_ip : "?");
        return slow_down(req, verdict.retry_after_ms > 0 ? verdict.retry_after_ms
                                                         : IP_WINDOW_MS / IP_FAILURES);
    }
    return NULL;
}

static px_err *failed(px_req *req, const char *subject, int failures)
{
    px_err *err = check_address(req, 1);

    if (!err) {
        err = account_store_login_failed(req->app->db, req->pool, subject);
    }
    if (failures + 1 == 10 || failures + 1 == 100) {
        px_log(PX_LOG_NOTICE, "PXS7012",
               "%d failed logins in a row for one account (%.12s), last from %s", failures + 1,
               subject, req->client_ip ? req->client_ip : "?");
    }
    return err ? err : px_error_say(req->pool, PX_E_AUTH_INVALID,
                                    "The email address or the password is not right.");
}

px_err *account_login_check(px_req *req, const char *email, const char *password, px_user **user)
{
    const char *address = account_email_key(req->pool, email);
    const char *subject, *rehashed;
    account_login_row row = {0};
    bool match;
    px_err *err;

    if ((err = subject_of(req, address, &subject)) != NULL || (err = check_address(req, 0)) != NULL
        || (err = account_store_login(req->app->db, req->pool, address, subject, &row)) != NULL) {
        return err;
    }
    if (row.blocked_until > px_now()) {
        return slow_down(req, (row.blocked_until - px_now()) / 1000);
    }
    err = account_password_check(req->app, req->pool, password, row.password_hash, &match,
                                 &rehashed);
    if (err) {
        return err;
    }
    if (!match || !row.user || !row.user->is_active) {
        return failed(req, subject, row.failures);
    }
    if (row.user->is_suspended) {
        return px_error(req->pool, PX_E_ACCOUNT_SUSPENDED, NULL, NULL);
    }
    *user = row.user;
    (*user)->last_login = px_now();
    return account_store_login_passed(req->app->db, req->pool, subject, (*user)->id, rehashed);
}
