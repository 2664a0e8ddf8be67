/* From an exchange to an easy handle, and from a finished easy handle to a reply. */
#include "net_internal.h"
#include "base/clock.h"
#include "base/log.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>
#include <strings.h>

/* ---- checks of what a plugin filled in ---- */

static bool plain_text(const char *text, const char *also_forbidden)
{
    if (!text) {
        return false;
    }
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if ((*p < ' ' && *p != '\t') || *p == 0x7f || strchr(also_forbidden, *p)) {
            return false;
        }
    }
    return true;
}

static bool method_fine(const char *method)
{
    size_t len = method ? strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") : 0;

    return len > 0 && len <= 16 && method[len] == '\0' && strcmp(method, "CONNECT") != 0;
}

/* Framing is the host's: a plugin that could write these headers could smuggle requests. */
static bool header_fine(const pxs_header *header)
{
    return plain_text(header->name, " \t:") && header->name[0] && plain_text(header->value, "")
           && strcasecmp(header->name, "content-length") != 0
           && strcasecmp(header->name, "transfer-encoding") != 0
           && strcasecmp(header->name, "connection") != 0;
}

px_err *px_exchange_check(apr_pool_t *pool, const pxs_exchange *exchange)
{
    if (!method_fine(exchange->method)) {
        return px_error(pool, PX_E_INTERNAL, "PXS3004", "the exchange has no valid method");
    }
    if (!plain_text(exchange->url, " ") || strlen(exchange->url) > 16384) {
        return px_error(pool, PX_E_INTERNAL, "PXS3004", "the exchange has no valid URL");
    }
    for (uint32_t i = 0; i < exchange->header_count; i++) {
        if (!header_fine(&exchange->headers[i])) {
            return px_error(pool, PX_E_INTERNAL, "PXS3004",
                            "header %u of the exchange is not valid",
                            i + 1);
        }
    }
    if (exchange->idempotency_key && !plain_text(exchange->idempotency_key, "")) {
        return px_error(pool, PX_E_INTERNAL, "PXS3004", "the idempotency key is not valid");
    }
    if (exchange->piece_count && exchange->part_count) {
        return px_error(pool, PX_E_INTERNAL, "PXS3004", "the exchange has both pieces and parts");
    }
    return NULL;
}

/* ---- curl's callbacks ---- */

static size_t on_body(char *buffer, size_t size, size_t count, void *baton)
{
    ssize_t n = px_body_read(baton, buffer, size * count);

    return n < 0 ? CURL_READFUNC_ABORT : (size_t)n;
}

static int on_seek(void *baton, curl_off_t offset, int origin)
{
    if (offset != 0 || origin != SEEK_SET) {
        return CURL_SEEKFUNC_CANTSEEK;
    }
    px_body_rewind(baton);
    return CURL_SEEKFUNC_OK;
}

static void on_body_free(void *baton)
{
    px_body_rewind(baton);              /* closes a file */
}

static long status_of(CURL *easy)
{
    long status = 0;

    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static bool is_success(long status)
{
    return status >= 200 && status <= 299;
}

static size_t on_reply(char *data, size_t size, size_t count, void *baton)
{
    px_transfer *t = baton;
    size_t len = size * count;
    bool success = is_success(status_of(t->easy));

    if (t->canceled) {
        return 0;
    }
    t->sink.to_file = success && t->exchange->reply_to_file;
    if (!success || !t->exchange->on_data) {
        return px_sink_write(&t->sink, data, len) ? len : 0;
    }
    t->sink.streamed = true;
    t->sink.len += len;
    if (t->sink.len > t->sink.limit) {
        t->sink.too_large = true;
        return 0;
    }
    if (t->exchange->on_data(t->options.call, data, len) != 0) {
        t->sink.cut = true;
        return 0;
    }
    return t->canceled ? 0 : len;
}

static size_t on_header(char *line, size_t size, size_t count, void *baton)
{
    px_transfer *t = baton;

    return px_sink_header(&t->sink, line, size * count) ? size * count : 0;
}

/* ---- setting up ---- */

static px_err *add_header(px_transfer *t, const char *line)
{
    struct curl_slist *longer = curl_slist_append(t->header_list, line);

    if (!longer) {
        return px_error(t->pool, PX_E_UNAVAILABLE, "PXS3005", "out of memory");
    }
    t->header_list = longer;
    return NULL;
}

static bool follows_host(const px_transfer *t, const pxs_header *header)
{
    return !t->foreign_host
           || (!header->secret && strcasecmp(header->name, "authorization") != 0
               && strcasecmp(header->name, "cookie") != 0
               && strcasecmp(header->name, "host") != 0);
}

static px_err *set_headers(px_transfer *t)
{
    const pxs_exchange *x = t->exchange;
    px_err *err = add_header(t, "Expect:");     /* no pause for 100-continue before large bodies */

    for (uint32_t i = 0; i < x->header_count && !err; i++) {
        const pxs_header *h = &x->headers[i];
        if (follows_host(t, h)) {
            err = add_header(t, h->value[0] ? apr_pstrcat(t->pool, h->name, ": ", h->value, NULL)
                                            : apr_pstrcat(t->pool, h->name, ";", NULL));
        }
    }
    if (!err && x->idempotency_key && !t->foreign_host) {
        err = add_header(t, apr_pstrcat(t->pool, "Idempotency-Key: ", x->idempotency_key, NULL));
    }
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->header_list);
    return err;
}

static px_err *add_part(px_transfer *t, const pxs_part *part)
{
    curl_mimepart *mp = curl_mime_addpart(t->mime);
    px_body *body = apr_pcalloc(t->pool, sizeof *body);
    px_err *err = px_body_init(t->pool, body, &part->content, 1);

    if (err) {
        return err;
    }
    if (!mp || curl_mime_name(mp, part->name) != CURLE_OK
        || curl_mime_data_cb(mp, (curl_off_t)body->len, on_body, on_seek, on_body_free,
                             body) != CURLE_OK
        || (part->filename && curl_mime_filename(mp, part->filename) != CURLE_OK)
        || (part->content_type && curl_mime_type(mp, part->content_type) != CURLE_OK)) {
        return px_error(t->pool, PX_E_UNAVAILABLE, "PXS3005", "out of memory");
    }
    return NULL;
}

static px_err *set_parts(px_transfer *t)
{
    px_err *err = NULL;

    t->mime = curl_mime_init(t->easy);
    if (!t->mime) {
        return px_error(t->pool, PX_E_UNAVAILABLE, "PXS3005", "out of memory");
    }
    for (uint32_t i = 0; i < t->exchange->part_count && !err; i++) {
        err = add_part(t, &t->exchange->parts[i]);
    }
    curl_easy_setopt(t->easy, CURLOPT_MIMEPOST, t->mime);
    curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, t->exchange->method);
    return err;
}

static px_err *set_pieces(px_transfer *t)
{
    px_err *err = px_body_init(t->pool, &t->body, t->exchange->pieces, t->exchange->piece_count);

    curl_easy_setopt(t->easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, t->exchange->method);
    curl_easy_setopt(t->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->body.len);
    curl_easy_setopt(t->easy, CURLOPT_READFUNCTION, on_body);
    curl_easy_setopt(t->easy, CURLOPT_READDATA, &t->body);
    curl_easy_setopt(t->easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(t->easy, CURLOPT_SEEKDATA, &t->body);
    return err;
}

static px_err *set_body(px_transfer *t)
{
    const char *method = t->exchange->method;

    if (t->exchange->part_count) {
        return set_parts(t);
    }
    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(t->easy, CURLOPT_NOBODY, 1L);
        return NULL;
    }
    if (t->exchange->piece_count || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0
        || strcmp(method, "PATCH") == 0) {
        return set_pieces(t);           /* Content-Length: 0 when there are none */
    }
    curl_easy_setopt(t->easy, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, method);
    return NULL;
}

/* Redirects of one attempt share its time. */
static long time_left_ms(const px_transfer *t)
{
    int64_t limit = t->exchange->timeout_ms ? t->exchange->timeout_ms
                                            : (uint32_t)t->net->config.default_timeout_ms;
    int64_t left;

    if (t->exchange->public_target && limit > PX_NET_PUBLIC_TIMEOUT_MS) {
        limit = PX_NET_PUBLIC_TIMEOUT_MS;
    }
    left = limit - (px_monotonic() - t->started_usec) / 1000;
    return left > 1 ? (long)left : 1;
}

static void set_safety(px_transfer *t)
{
    CURL *easy = t->easy;

    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    /* px_attempt_finish does it, with checks */
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (t->net->config.ca_file) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, t->net->config.ca_file);
    }
    px_guard_install(t);
    /* Curl sends a request again by itself when a kept connection turns out dead; for calls that
     * create something that would be a blind repetition. */
    if (!px_exchange_idempotent(t->exchange) && !t->exchange->idempotency_key) {
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    }
}

static void set_common(px_transfer *t)
{
    CURL *easy = t->easy;

    curl_easy_setopt(easy, CURLOPT_URL, t->url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->curl_error);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, t->net->config.user_agent);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_reply);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    if (strcmp(t->exchange->method, "HEAD") != 0) {
        curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)t->sink.limit);
    }
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 32768L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)t->net->config.connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, time_left_ms(t));
}

px_err *px_attempt_start(px_transfer *t)
{
    px_err *err;
    CURL **spare = apr_array_pop(t->net->idle);

    t->easy = spare ? *spare : curl_easy_init();
    if (!t->easy) {
        return px_error(t->pool, PX_E_UNAVAILABLE, "PXS3005", "out of memory");
    }
    t->curl_error[0] = '\0';
    set_common(t);
    set_safety(t);
    err = set_body(t);
    if (!err) {
        err = set_headers(t);
    }
    if (!err && curl_multi_add_handle(t->net->multi, t->easy) != CURLM_OK) {
        err = px_error(t->pool, PX_E_UNAVAILABLE, "PXS3005", "curl took no further transfer");
    }
    if (err) {
        px_attempt_release(t);
        return err;
    }
    px_transfer_move(t, &t->net->running);
    t->state = PX_T_RUNNING;
    return NULL;
}

void px_attempt_release(px_transfer *t)
{
    if (!t->easy) {
        return;
    }
    curl_multi_remove_handle(t->net->multi, t->easy);
    curl_easy_reset(t->easy);           /* keeps connections and caches, forgets pointers */
    APR_ARRAY_PUSH(t->net->idle, CURL *) = t->easy;
    t->easy = NULL;
    curl_slist_free_all(t->header_list);
    t->header_list = NULL;
    curl_mime_free(t->mime);
    t->mime = NULL;
    if (t->body.pieces) {
        px_body_rewind(&t->body);       /* closes a file */
    }
}

/* ---- the end of an attempt ---- */

/* Once request bytes are out, nobody knows whether the other side acted: that is TIMEOUT for calls
 * that create something. */
static pxs_fail_class classify(const px_transfer *t, CURLcode code)
{
    curl_off_t sent_usec = 0;

    if (t->sink.too_large || code == CURLE_FILESIZE_EXCEEDED || code == CURLE_WEIRD_SERVER_REPLY) {
        return PXS_FAIL_MALFORMED;
    }
    if (t->blocked || t->sink.write_failed) {
        return PXS_FAIL_UNAVAILABLE;
    }
    curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_usec);
    if (sent_usec == 0) {
        return PXS_FAIL_UNAVAILABLE;
    }
    return code == CURLE_OPERATION_TIMEDOUT || !px_exchange_idempotent(t->exchange)
               ? PXS_FAIL_TIMEOUT : PXS_FAIL_UNAVAILABLE;
}

static void log_attempt(const px_transfer *t, long status, CURLcode code)
{
    px_log(status ? PX_LOG_DEBUG : PX_LOG_INFO, status ? "PXS3006" : "PXS3007",
           "%s %s: status %ld, attempt %d, %" APR_INT64_T_FMT " ms, request %s%s%s",
           t->options.name ? t->options.name : "net", t->exchange->method, status, t->attempt,
           (apr_int64_t)((px_monotonic() - t->started_usec) / 1000),
           t->options.request_id ? t->options.request_id : "-", status ? "" : ": ",
           status ? "" : t->exchange->public_target ? "no reply"
                       : t->curl_error[0] ? t->curl_error : curl_easy_strerror(code));
}

static bool same_origin(const char *a, const char *b)
{
    static const CURLUPart parts[] = { CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT };
    CURLU *left = curl_url();
    CURLU *right = curl_url();
    bool same = left && right && curl_url_set(left, CURLUPART_URL, a, 0) == CURLUE_OK
                && curl_url_set(right, CURLUPART_URL, b, 0) == CURLUE_OK;

    for (size_t i = 0; i < 3 && same; i++) {
        char *x = NULL;
        char *y = NULL;
        same = curl_url_get(left, parts[i], &x, CURLU_DEFAULT_PORT) == CURLUE_OK
               && curl_url_get(right, parts[i], &y, CURLU_DEFAULT_PORT) == CURLUE_OK
               && strcasecmp(x, y) == 0;
        curl_free(x);
        curl_free(y);
    }
    curl_url_cleanup(left);
    curl_url_cleanup(right);
    return same;
}

/* Where to go on, or NULL: only public fetches follow, three times at most, never from TLS to plain
 * text. */
static const char *redirect_target(px_transfer *t, long status)
{
    const char *method = t->exchange->method;
    char *url = NULL;
    bool moved = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;

    if (!moved || !t->exchange->public_target || t->redirects >= PX_NET_PUBLIC_REDIRECTS
        || (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)) {
        return NULL;
    }
    curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &url);
    if (!url || px_guard_url_fault(url, strncasecmp(t->url, "https:", 6) == 0, true)) {
        return NULL;
    }
    return apr_pstrdup(t->pool, url);
}

static bool try_again(px_transfer *t)
{
    px_err *err = px_attempt_start(t);

    if (err) {
        px_log(PX_LOG_WARN, "PXS3005", "%s", err->cause ? err->cause : err->text);
    }
    return err == NULL;
}

static bool follow(px_transfer *t, const char *target)
{
    if (!same_origin(t->url, target)) {
        t->foreign_host = true;
    }
    t->url = target;
    t->redirects++;
    px_attempt_release(t);
    px_sink_reset(&t->sink);
    return try_again(t);
}

/* What we blocked, could not read or could not store says nothing about the other side's health;
 * neither does "too many requests". */
static void report(px_transfer *t, long status, CURLcode code)
{
    if (t->blocked || t->canceled || t->sink.write_failed || status == 429
        || code == CURLE_ABORTED_BY_CALLBACK || code == CURLE_UNSUPPORTED_PROTOCOL) {
        return;
    }
    px_net_breaker_report(t->net, t->options.name, status > 0 && status < 500);
}

void px_transfer_fail(px_transfer *t, pxs_fail_class klass)
{
    px_attempt_release(t);
    px_sink_reset(&t->sink);
    memset(&t->reply, 0, sizeof t->reply);
    t->reply.pub.failure = klass;
    t->state = PX_T_READY;
    px_transfer_move(t, &t->net->ready);
}

static bool arrange_retry(px_transfer *t, long status, bool permanent)
{
    int64_t pause = px_retry_pause_ms(t, status, permanent);

    if (pause < 0) {
        return false;
    }
    px_log(PX_LOG_INFO, "PXS3008", "%s: attempt %d ended with status %ld, next in %" APR_INT64_T_FMT
           " ms", t->options.name ? t->options.name : "net", t->attempt, status,
           (apr_int64_t)pause);
    px_attempt_release(t);
    px_sink_reset(&t->sink);
    t->due_usec = px_monotonic() + pause * 1000;
    t->state = PX_T_WAITING;
    px_transfer_move(t, &t->net->waiting);
    return true;
}

bool px_attempt_finish(px_transfer *t, CURLcode code)
{
    bool fine = code == CURLE_OK || (t->sink.cut && code == CURLE_WRITE_ERROR);
    long status = fine ? status_of(t->easy) : 0;
    pxs_fail_class klass = fine ? 0 : classify(t, code);
    const char *target = redirect_target(t, status);

    log_attempt(t, status, code);
    if (target) {
        if (follow(t, target)) {
            return false;
        }
        px_transfer_fail(t, PXS_FAIL_UNAVAILABLE);
        return true;
    }
    report(t, status, code);
    if (arrange_retry(t, status, klass == PXS_FAIL_MALFORMED || t->blocked
                                     || t->sink.write_failed)) {
        return false;
    }
    px_attempt_release(t);
    if (status == 0) {
        px_transfer_fail(t, klass ? klass : PXS_FAIL_UNAVAILABLE);
        return true;
    }
    t->sink.to_file = is_success(status) && t->exchange->reply_to_file && !t->exchange->on_data;
    t->reply.pub.status = (int32_t)status;
    t->reply.temporary = true;
    if (!px_sink_finish(&t->sink, &t->reply.pub)) {
        px_transfer_fail(t, PXS_FAIL_UNAVAILABLE);
        return true;
    }
    t->state = PX_T_READY;
    px_transfer_move(t, &t->net->ready);
    return true;
}
