/* Rate limits per address, API key and user, as PixShiftRateLimit says (config/ fills in the
 * defaults of 004 L7.6).  Any number of policies can apply; the answer's headers tell about all of
 * them, and X-RateLimit-* about the one that is nearest to its end.  (Limits with unit `jobs` are
 * counted where jobs are made.) */
#include "http_internal.h"

#include "base/clock.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <string.h>

/* IPv6 clients own a /64 at least; one address of it counts for all. */
static const char *ip_subject(px_req *req)
{
    struct in6_addr six;
    char text[INET6_ADDRSTRLEN];
    const char *ip = req->client_ip ? req->client_ip : "unknown";
    if (inet_pton(AF_INET6, ip, &six) != 1) {
        return ip;
    }
    if (IN6_IS_ADDR_V4MAPPED(&six)) {
        return inet_ntop(AF_INET, &six.s6_addr[12], text, sizeof(text))
                   ? apr_pstrdup(req->pool, text)
                   : ip;
    }
    memset(&six.s6_addr[8], 0, 8);
    return inet_ntop(AF_INET6, &six, text, sizeof(text)) ? apr_pstrcat(req->pool, text, "/64", NULL)
                                                         : ip;
}

static px_err *refusal(px_req *req, const px_rate_rule *rule, const px_rate_verdict *v)
{
    px_err *err = px_error(req->pool, PX_E_RATE_LIMITED, NULL, NULL);
    err->retry_after = (int)((v->retry_after_ms + 999) / 1000);
    if (err->retry_after < 1) {
        err->retry_after = 1;
    }
    px_count(req->app->cache, PX_C_RATE_LIMITED, 1);
    px_err_with(err, "policy", rule->name);
    px_err_with_number(err, "limit", v->limit);
    return px_err_with_number(err, "retry_after", err->retry_after);
}

static px_err *apply(px_req *req, const px_rate_rule *rule, const char *subject)
{
    struct px_http_state *state = px_http_state(req);
    char key[PX_CACHE_KEY_MAX];
    px_http_policy policy;
    px_err *err;
    if (rule->limit <= 0 || state->policy_count >= PX_HTTP_POLICIES) {
        return NULL;
    }
    apr_snprintf(key, sizeof(key), "rl:%s:%s", rule->name, subject);
    policy.name = rule->name;
    policy.window_ms = rule->window_ms;
    err = px_rate_take(req->app->cache, key, rule->limit, rule->window_ms, 1, &policy.verdict);
    if (err) {
        return err;
    }
    state->policies[state->policy_count++] = policy;
    return policy.verdict.allowed ? NULL : refusal(req, rule, &policy.verdict);
}

/* All request policies of one kind of subject. */
static px_err *apply_all(px_req *req, const char *kind, const char *subject)
{
    const px_rate_rule *rule = req->app->settings ? req->app->settings->rates : NULL;
    if (!req->app->cache) {
        return NULL;            /* only where a host runs without a cache, as unit tests do */
    }
    for (; rule; rule = rule->next) {
        if (strcmp(rule->subject, kind) == 0 && strcmp(rule->unit, "requests") == 0) {
            px_err *err = apply(req, rule, subject);
            if (err) {
                return err;
            }
        }
    }
    return NULL;
}

px_err *px_guard_rate_ip(px_req *req)
{
    if (req->route && (req->route->flags & PX_ROUTE_NO_RATE)) {
        return NULL;
    }
    return apply_all(req, "ip", ip_subject(req));
}

px_err *px_guard_rate_who(px_req *req)
{
    px_err *err = NULL;
    if (!req->who || (req->route->flags & PX_ROUTE_NO_RATE)) {
        return NULL;
    }
    if (req->who->key_id) {
        err = apply_all(req, "key", req->who->key_id);
    }
    return err ? err : apply_all(req, "user", req->who->user_id);
}

/* The policy for X-RateLimit-*: the refusing one, else the one with the smallest share left. */
static const px_http_policy *nearest(const struct px_http_state *state)
{
    const px_http_policy *best = NULL;
    for (int i = 0; i < state->policy_count; i++) {
        const px_http_policy *p = &state->policies[i];
        if (!p->verdict.allowed) {
            return p;
        }
        if (!best || p->verdict.remaining * best->verdict.limit <
                         best->verdict.remaining * p->verdict.limit) {
            best = p;
        }
    }
    return best;
}

static int64_t seconds_up(int64_t ms)
{
    return (ms + 999) / 1000;
}

/* X-RateLimit-Reset is a Unix time, as in most APIs; RateLimit counts seconds (the IETF draft). */
void px_rate_headers(px_req *req, apr_table_t *headers)
{
    const struct px_http_state *state = req->state;
    const px_http_policy *p = state ? nearest(state) : NULL;
    const char *limits = NULL, *policies = NULL;
    if (!p) {
        return;
    }
    apr_table_setn(headers, "X-RateLimit-Limit",
                   apr_psprintf(req->pool, "%" APR_INT64_T_FMT, p->verdict.limit));
    apr_table_setn(headers, "X-RateLimit-Remaining",
                   apr_psprintf(req->pool, "%" APR_INT64_T_FMT, p->verdict.remaining));
    apr_table_setn(headers, "X-RateLimit-Reset",
                   apr_psprintf(req->pool, "%" APR_INT64_T_FMT,
                                (px_now() + p->verdict.reset_ms * 1000 + 999999) / 1000000));
    for (int i = 0; i < state->policy_count; i++) {
        p = &state->policies[i];
        limits = apr_psprintf(req->pool, "%s%s\"%s\";r=%" APR_INT64_T_FMT ";t=%" APR_INT64_T_FMT,
                              limits ? limits : "", limits ? ", " : "", p->name,
                              p->verdict.remaining, seconds_up(p->verdict.reset_ms));
        policies = apr_psprintf(req->pool, "%s%s\"%s\";q=%" APR_INT64_T_FMT ";w=%" APR_INT64_T_FMT,
                                policies ? policies : "", policies ? ", " : "", p->name,
                                p->verdict.limit, seconds_up(p->window_ms));
    }
    apr_table_setn(headers, "RateLimit", limits);
    apr_table_setn(headers, "RateLimit-Policy", policies);
}
