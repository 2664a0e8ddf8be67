/* When an exchange is sent again: idempotent ones only, after a failure without a reply or a status
 * that promises better luck later, with doubling pauses and jitter; Retry-After wins. */
#include "net_internal.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/crypto.h"

#include <apr_date.h>
#include <string.h>

/* A longer wish is the caller's to plan (its job queue survives a restart, a timer here does
 * not). */
#define PAUSE_MAX_MS 60000

bool px_exchange_idempotent(const pxs_exchange *exchange)
{
    return exchange->idempotent || strcmp(exchange->method, "GET") == 0
           || strcmp(exchange->method, "HEAD") == 0;
}

int64_t px_retry_after_ms(const char *value, int64_t now_usec)
{
    long long seconds;
    apr_time_t when;

    if (!value) {
        return -1;
    }
    if (px_parse_int(value, 0, 31536000, &seconds)) {
        return seconds * 1000;
    }
    when = apr_date_parse_http(value);
    if (when == 0) {
        return -1;
    }
    return when > now_usec ? (when - now_usec) / 1000 : 0;
}

static bool status_retries(long status)
{
    return status == 408 || status == 425 || status == 429 || status == 500 || status == 502
           || status == 503 || status == 504;
}

/* 80 % to 120 %, so that callers who failed together do not come back together. */
static int64_t jitter(int64_t ms)
{
    uint32_t random;

    px_random(&random, sizeof random);
    return ms * 4 / 5 + (int64_t)(random % 1024) * ms * 2 / 5 / 1024;
}

int64_t px_retry_pause_ms(const px_transfer *t, long status, bool permanent)
{
    int64_t pause = t->options.backoff_ms > 0 ? t->options.backoff_ms : 1000;
    int64_t wish;

    if (permanent || t->attempt >= t->options.attempts || !px_exchange_idempotent(t->exchange)
        || t->sink.streamed || (status != 0 && !status_retries(status))) {
        return -1;
    }
    for (int i = 1; i < t->attempt && pause < PAUSE_MAX_MS; i++) {
        pause *= 2;
    }
    pause = jitter(pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS);
    wish = px_retry_after_ms(px_sink_find_header(&t->sink, "retry-after"), px_now());
    if (wish > PAUSE_MAX_MS) {
        return -1;
    }
    return wish > pause ? wish : pause;
}
