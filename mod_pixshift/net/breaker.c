/* Circuit breakers: 5 failures within 30 s open one, for 30 s nothing is sent, then one probe goes
 * through and decides.  Kept per px_net: each process finds out for itself. */
#include "net_internal.h"
#include "base/clock.h"
#include "base/log.h"

#include <apr_strings.h>
#include <string.h>

#define FAILURES 5

int64_t px_breaker_window_usec = 30 * (int64_t)1000000;

struct px_breaker {
    const char *name;
    int64_t failed[FAILURES];   /* ring of the latest failures, 0 = none */
    int at;
    int64_t opened_usec;        /* 0 = closed */
    int64_t probe_usec;         /* when the half-open probe left; 0 = none under way */
    struct px_breaker *next;
};

static px_breaker *find(px_net *net, const char *name, bool make)
{
    px_breaker *breaker;

    for (breaker = net->breakers; breaker; breaker = breaker->next) {
        if (strcmp(breaker->name, name) == 0) {
            return breaker;
        }
    }
    if (make) {
        breaker = apr_pcalloc(net->pool, sizeof *breaker);
        breaker->name = apr_pstrdup(net->pool, name);
        breaker->next = net->breakers;
        net->breakers = breaker;
    }
    return breaker;
}

/* A probe that never reported (cancelled) is forgotten after another window. */
static bool lets_through(const px_breaker *breaker, int64_t now)
{
    if (!breaker || breaker->opened_usec == 0) {
        return true;
    }
    return now - breaker->opened_usec >= px_breaker_window_usec
           && (breaker->probe_usec == 0 || now - breaker->probe_usec >= px_breaker_window_usec);
}

bool px_net_breaker_closed(px_net *net, const char *name)
{
    return !name || lets_through(find(net, name, false), px_monotonic());
}

bool px_breaker_enter(px_net *net, const char *name)
{
    px_breaker *breaker = name ? find(net, name, false) : NULL;
    int64_t now = px_monotonic();

    if (!lets_through(breaker, now)) {
        return false;
    }
    if (breaker && breaker->opened_usec) {
        breaker->probe_usec = now;
    }
    return true;
}

static void note_failure(px_net *net, px_breaker *breaker, int64_t now)
{
    int seconds = (int)(px_breaker_window_usec / 1000000);
    int64_t oldest;

    breaker->failed[breaker->at] = now;
    breaker->at = (breaker->at + 1) % FAILURES;
    oldest = breaker->failed[breaker->at];
    if (breaker->opened_usec && breaker->probe_usec) {
        breaker->opened_usec = now;         /* the probe failed: another pause */
        breaker->probe_usec = 0;
    } else if (breaker->opened_usec) {
        return;                             /* sent before it opened: tells nothing new */
    } else if (oldest && now - oldest <= px_breaker_window_usec) {
        breaker->opened_usec = now;
        net->opened++;
        px_log(PX_LOG_WARN, "PXS3010", "%s failed %d times within %d s: nothing is sent for %d s",
               breaker->name, FAILURES, seconds, seconds);
    }
}

void px_net_breaker_report(px_net *net, const char *name, bool success)
{
    px_breaker *breaker = name ? find(net, name, !success) : NULL;

    if (!breaker) {
        return;
    }
    if (!success) {
        note_failure(net, breaker, px_monotonic());
        return;
    }
    if (breaker->opened_usec) {
        px_log(PX_LOG_NOTICE, "PXS3011", "%s answers again", name);
    }
    memset(breaker->failed, 0, sizeof breaker->failed);
    breaker->opened_usec = breaker->probe_usec = 0;
}

uint64_t px_net_opened_count(const px_net *net)
{
    return net->opened;
}
