/* The engine: lists of transfers around one curl-multi handle. */
#include "net_internal.h"
#include "base/clock.h"
#include "base/log.h"

#include <apr_strings.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_start(void)
{
    curl_global_init(CURL_GLOBAL_ALL);
}

void px_transfer_move(px_transfer *t, px_transfer_list *list)
{
    if (t->list) {
        *(t->prev ? &t->prev->next : &t->list->first) = t->next;
        *(t->next ? &t->next->prev : &t->list->last) = t->prev;
        t->list->count--;
    }
    t->list = list;
    t->prev = t->next = NULL;
    if (list) {
        t->prev = list->last;
        *(list->last ? &list->last->next : &list->first) = t;
        list->last = t;
        list->count++;
    }
}

/* Frees what is not in the pool; the transfer may not be used afterwards. */
static void end_transfer(px_transfer *t)
{
    if (t->net) {
        px_attempt_release(t);
        px_transfer_move(t, NULL);
        t->net = NULL;
    }
    t->state = PX_T_ENDED;
    px_sink_reset(&t->sink);
}

static apr_status_t on_transfer_pool(void *data)
{
    end_transfer(data);
    return APR_SUCCESS;
}

/* Transfers whose pool is not a child of ours may outlive the engine: they lose it here. */
static apr_status_t on_net_pool(void *data)
{
    px_net *net = data;
    px_transfer_list *lists[] = { &net->running, &net->waiting, &net->ready };

    for (int i = 0; i < 3; i++) {
        while (lists[i]->first) {
            end_transfer(lists[i]->first);
        }
    }
    while (net->idle->nelts > 0) {
        curl_easy_cleanup(*(CURL **)apr_array_pop(net->idle));
    }
    curl_multi_cleanup(net->multi);
    return APR_SUCCESS;
}

static void copy_config(px_net *net, const px_net_config *config)
{
    px_net_config *c = &net->config;

    *c = *config;
    c->spool_dir = config->spool_dir ? apr_pstrdup(net->pool, config->spool_dir) : NULL;
    c->ca_file = config->ca_file ? apr_pstrdup(net->pool, config->ca_file) : NULL;
    c->user_agent = apr_pstrdup(net->pool, config->user_agent ? config->user_agent : "PixShift");
    c->max_transfers = config->max_transfers ? config->max_transfers : 1024;
    c->default_timeout_ms = config->default_timeout_ms ? config->default_timeout_ms : 30000;
    c->connect_timeout_ms = config->connect_timeout_ms ? config->connect_timeout_ms : 3000;
    c->default_reply_limit = config->default_reply_limit ? config->default_reply_limit : 1048576;
}

px_err *px_net_open(apr_pool_t *pool, const px_net_config *config, px_net **out)
{
    px_net *net = apr_pcalloc(pool, sizeof *net);
    px_err *err;

    pthread_once(&curl_once, curl_start);
    apr_pool_create(&net->pool, pool);
    copy_config(net, config);
    err = px_guard_parse_allow(net->pool, config->egress_allow, &net->allow, &net->allow_count);
    if (err) {
        return err;
    }
    net->idle = apr_array_make(net->pool, 64, sizeof(CURL *));
    net->multi = curl_multi_init();
    if (!net->multi) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS3005", "out of memory");
    }
    curl_multi_setopt(net->multi, CURLMOPT_MAXCONNECTS, 64L);
    apr_pool_cleanup_register(net->pool, net, on_net_pool, apr_pool_cleanup_null);
    *out = net;
    return NULL;
}

static const char *copy_text(apr_pool_t *pool, const char *text)
{
    return text ? apr_pstrdup(pool, text) : NULL;
}

static px_transfer *make_transfer(px_net *net, apr_pool_t *parent, const pxs_exchange *exchange,
                                  const px_net_options *options)
{
    apr_pool_t *pool;
    px_transfer *t;
    uint64_t limit = exchange->reply_limit ? exchange->reply_limit
                                           : net->config.default_reply_limit;

    if (exchange->public_target && limit > PX_NET_PUBLIC_REPLY_MAX) {
        limit = PX_NET_PUBLIC_REPLY_MAX;
    }
    apr_pool_create(&pool, parent);
    t = apr_pcalloc(pool, sizeof *t);
    t->net = net;
    t->pool = pool;
    t->exchange = exchange;
    if (options) {
        t->options = *options;
        t->options.name = copy_text(pool, options->name);
        t->options.file_root = copy_text(pool, options->file_root);
        t->options.request_id = copy_text(pool, options->request_id);
    }
    if (t->options.attempts < 1) {
        t->options.attempts = 1;
    }
    t->url = exchange->url;
    t->body.fd = -1;
    px_sink_init(&t->sink, pool, net->config.spool_dir, limit, exchange->reply_to_file != 0);
    apr_pool_pre_cleanup_register(pool, t, on_transfer_pool);
    return t;
}

/* Starts (or starts again) the exchange; what cannot be sent ends at once with a failure. */
static px_err *begin(px_transfer *t)
{
    px_err *err;

    t->attempt++;
    t->started_usec = px_monotonic();
    t->redirects = 0;
    t->foreign_host = false;
    t->url = t->exchange->url;
    if (px_file_is(t->url)) {
        err = px_file_perform(t);
        if (!err && t->state != PX_T_READY) {
            t->state = PX_T_READY;
            px_transfer_move(t, &t->net->ready);
        }
        return err;
    }
    if (t->exchange->public_target && px_guard_url_fault(t->url, false, t->net->allow_count > 0)) {
        px_transfer_fail(t, PXS_FAIL_UNAVAILABLE);
        return NULL;
    }
    if (!px_breaker_enter(t->net, t->options.name)) {
        px_transfer_fail(t, PXS_FAIL_UNAVAILABLE);
        return NULL;
    }
    return px_attempt_start(t);
}

px_err *px_transfer_start(px_net *net, apr_pool_t *pool, const pxs_exchange *exchange,
                          const px_net_options *options, px_net_done *done, void *baton,
                          px_transfer **transfer)
{
    apr_pool_t *error_pool = pool ? pool : net->pool;
    px_transfer *t;
    px_err *err = px_exchange_check(error_pool, exchange);

    if (err) {
        return err;
    }
    if (px_net_running(net) >= net->config.max_transfers) {
        return px_error(error_pool, PX_E_UNAVAILABLE, "PXS3009", "%d transfers are under way",
                        px_net_running(net));
    }
    t = make_transfer(net, pool ? pool : net->pool, exchange, options);
    t->own_pool = pool == NULL;
    t->done = done;
    t->baton = baton;
    err = begin(t);
    if (err) {
        err = px_error(error_pool, err->id, err->log_id ? "PXS3004" : NULL, "%s",
                       err->cause ? err->cause : err->text);
        apr_pool_destroy(t->pool);
        return err;
    }
    if (transfer) {
        *transfer = t;
    }
    return NULL;
}

px_err *px_net_start(px_net *net, const pxs_exchange *exchange, const px_net_options *options,
                     px_net_done *done, void *baton, px_transfer **transfer)
{
    return px_transfer_start(net, NULL, exchange, options, done, baton, transfer);
}

px_err *px_net_start_in(px_net *net, apr_pool_t *pool, const pxs_exchange *exchange,
                        const px_net_options *options, px_net_done *done, void *baton,
                        px_transfer **transfer)
{
    return px_transfer_start(net, pool, exchange, options, done, baton, transfer);
}

/* From inside a callback of curl the handle must stay; perform() sweeps it up. */
void px_net_cancel(px_net *net, px_transfer *t)
{
    t->canceled = true;
    if (!net->in_curl) {
        apr_pool_destroy(t->pool);
    }
}

int px_net_running(px_net *net)
{
    return net->running.count + net->waiting.count + net->ready.count;
}

void px_net_wakeup(px_net *net)
{
    curl_multi_wakeup(net->multi);
}

/* ---- the loop ---- */

static void start_due(px_net *net)
{
    int64_t now = px_monotonic();
    px_transfer *next;

    for (px_transfer *t = net->waiting.first; t; t = next) {
        next = t->next;
        if (t->due_usec <= now && begin(t) != NULL) {
            px_transfer_fail(t, PXS_FAIL_UNAVAILABLE);
        }
    }
}

static int bounded_timeout(const px_net *net, int timeout_ms)
{
    int64_t now = px_monotonic();

    if (net->ready.first) {
        return 0;
    }
    for (const px_transfer *t = net->waiting.first; t; t = t->next) {
        int64_t left = (t->due_usec - now + 999) / 1000;
        if (left < timeout_ms) {
            timeout_ms = left > 0 ? (int)left : 0;
        }
    }
    return timeout_ms;
}

static px_err *wait_for_events(px_net *net, px_net_fd *fds, int count, int timeout_ms)
{
    struct curl_waitfd few[16];
    struct curl_waitfd *wait = few;
    apr_pool_t *scratch = NULL;
    CURLMcode code;

    if (count > 16) {
        apr_pool_create(&scratch, net->pool);
        wait = apr_palloc(scratch, sizeof *wait * (size_t)count);
    }
    for (int i = 0; i < count; i++) {
        wait[i].fd = fds[i].fd;
        wait[i].events = (short)((fds[i].events & POLLIN ? CURL_WAIT_POLLIN : 0)
                                 | (fds[i].events & POLLOUT ? CURL_WAIT_POLLOUT : 0));
        wait[i].revents = 0;
    }
    code = curl_multi_poll(net->multi, count ? wait : NULL, (unsigned)count,
                           bounded_timeout(net, timeout_ms), NULL);
    for (int i = 0; i < count; i++) {
        fds[i].revents = (short)((wait[i].revents & CURL_WAIT_POLLIN ? POLLIN : 0)
                                 | (wait[i].revents & CURL_WAIT_POLLOUT ? POLLOUT : 0));
    }
    if (scratch) {
        apr_pool_destroy(scratch);
    }
    return code == CURLM_OK ? NULL
                            : px_error(net->pool, PX_E_UNAVAILABLE, "PXS3005", "curl: %s",
                                       curl_multi_strerror(code));
}

/* Curl drops its note of a finished handle when that is removed, so one at a time. */
static void collect_finished(px_net *net)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(net->multi, &left)) != NULL) {
        char *private = NULL;
        px_transfer *t;
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        t = (px_transfer *)(void *)private;
        if (t->canceled) {
            apr_pool_destroy(t->pool);
        } else {
            px_attempt_finish(t, message->data.result);
        }
    }
}

static void sweep_canceled(px_net *net)
{
    px_transfer *next;

    for (px_transfer *t = net->running.first; t; t = next) {
        next = t->next;
        if (t->canceled) {
            apr_pool_destroy(t->pool);
        }
    }
}

void px_transfer_hand_over(px_transfer *t)
{
    apr_pool_t *own = t->own_pool ? t->pool : NULL;

    px_transfer_move(t, NULL);
    t->state = PX_T_ENDED;
    t->net = NULL;
    t->done(t->baton, &t->reply.pub);
    if (own) {
        apr_pool_destroy(own);
    }
}

static void deliver(px_net *net)
{
    int budget = net->ready.count;      /* what the callbacks start waits for the next round */

    while (budget-- > 0 && net->ready.first) {
        px_transfer_hand_over(net->ready.first);
    }
}

px_err *px_net_perform(px_net *net, px_net_fd *fds, int fd_count, int timeout_ms)
{
    int running = 0;
    CURLMcode code;
    px_err *err;

    start_due(net);
    err = wait_for_events(net, fds, fd_count, timeout_ms);
    if (err) {
        return err;
    }
    start_due(net);
    net->in_curl = true;
    code = curl_multi_perform(net->multi, &running);
    net->in_curl = false;
    if (code != CURLM_OK) {
        return px_error(net->pool, PX_E_UNAVAILABLE, "PXS3005", "curl: %s",
                        curl_multi_strerror(code));
    }
    collect_finished(net);
    sweep_canceled(net);
    deliver(net);
    return NULL;
}
