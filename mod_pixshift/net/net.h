/* Outbound calls: one engine on curl-multi for event loops, and a blocking driver over the same
 * code for sub-second calls on request threads (storage on a local disk, a token exchange).
 *
 * It performs pxs_exchange structures (include/pixshift/plugin.h): bodies stream from memory,
 * files and base64 without a second copy, replies stream to memory (bounded), a file or on_data.
 * Schemes http, https and, for storage and message plugins only, file (atomic local objects
 * below an allowed root). Retries with back-off and jitter for idempotent exchanges, honouring
 * Retry-After; one circuit breaker per name (5 failures in 30 s open it, half-open probe); SSRF
 * guard at the socket (CURLOPT_OPENSOCKETFUNCTION, RELIABILITY §2) for public targets; TLS ≥ 1.2
 * always verified. One px_net belongs to one thread; make one per thread that needs it.  Secrets
 * in headers are never logged. */
#ifndef PX_NET_NET_H
#define PX_NET_NET_H

#include "base/error.h"
#include <pixshift/plugin.h>
#include <stdbool.h>

typedef struct px_net px_net;
typedef struct px_transfer px_transfer;

typedef struct {
    const char *spool_dir;          /* for reply_to_file */
    const char *ca_file;            /* NULL = system */
    const char *egress_allow;       /* CIDRs open to public targets although private (tests) */
    const char *user_agent;
    int max_transfers;              /* 0 = 1024 */
    int default_timeout_ms;         /* 0 = 30 000 */
    int connect_timeout_ms;         /* 0 = 3 000 */
    uint64_t default_reply_limit;   /* 0 = 1 MiB */
} px_net_config;

/* What the caller adds to an exchange. */
typedef struct {
    const char *name;               /* breaker, metrics and log: the plugin instance's name */
    int attempts;                   /* in all, ≥ 1; default 1. Only idempotent exchanges repeat */
    int backoff_ms;                 /* first pause, doubled each time; default 1000 */
    const char *file_root;          /* file: URLs must stay below this; NULL = file: refused */
    const char *request_id;         /* for the log */
    void *call;                     /* pxs_call passed to on_data */
} px_net_options;

px_err *px_net_open(apr_pool_t *pool, const px_net_config *config, px_net **out);

/* Starts a transfer; done runs from px_net_perform with a reply that lives until done returns
 * (reply->path is handed over: the receiver unlinks it).  The exchange and what it points to
 * must live until then. */
typedef void px_net_done(void *baton, const pxs_reply *reply);
px_err *px_net_start(px_net *net, const pxs_exchange *exchange, const px_net_options *options,
                     px_net_done *done, void *baton, px_transfer **transfer);
void px_net_cancel(px_net *net, px_transfer *transfer);     /* done is not called */

/* As px_net_start, but the transfer and its reply live until `pool` is destroyed (which cancels a
 * transfer under way). */
px_err *px_net_start_in(px_net *net, apr_pool_t *pool, const pxs_exchange *exchange,
                        const px_net_options *options, px_net_done *done, void *baton,
                        px_transfer **transfer);

/* Whether reply->path is a spool file that the receiver must unlink.  False for a file: GET with
 * reply_to_file: the path is then the object itself.  Only for replies that this engine made. */
bool px_net_reply_temporary(const pxs_reply *reply);

/* Waits up to timeout_ms for the engine or one of `fds`, then runs what is ready. */
typedef struct { int fd; short events; short revents; } px_net_fd;  /* POLLIN/POLLOUT */
px_err *px_net_perform(px_net *net, px_net_fd *fds, int fd_count, int timeout_ms);
void px_net_wakeup(px_net *net);            /* any thread: ends a wait */
int px_net_running(px_net *net);

/* The blocking driver: performs one exchange on this thread; the reply lives in `pool`. */
px_err *px_net_call(px_net *net, apr_pool_t *pool, const pxs_exchange *exchange,
                    const px_net_options *options, const pxs_reply **reply);

/* True when the breaker of `name` lets a call through now. */
bool px_net_breaker_closed(px_net *net, const char *name);
void px_net_breaker_report(px_net *net, const char *name, bool success);

/* The SSRF rule for one address text ("10.0.0.1", "::1"): true = allowed for public targets. */
struct sockaddr;
bool px_net_address_public(const struct sockaddr *address);
/* Early check of a URL from outside: scheme, userinfo, port allow-list. NULL = fine, else a
 * sentence. */
const char *px_net_url_fault(const char *url, bool https_only);
/* The same for URLs that this engine will fetch: where egress exceptions are configured (tests),
 * plain http and any port pass, because the exception decides at the socket. */
const char *px_net_url_fault_for(const px_net *net, const char *url, bool https_only);
/* Connections to addresses that are not public, refused since the start: for metrics. */
uint64_t px_net_blocked_count(const px_net *net);
/* How often a breaker opened since the start: for metrics. */
uint64_t px_net_opened_count(const px_net *net);

#endif
