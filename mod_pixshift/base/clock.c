/* The one clock, and the test clock that moves it. */
#include "clock.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"

#define REREAD_USEC 50000

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *test_file;           /* NULL without test clock; set once */
static _Atomic int64_t offset;
static _Atomic int64_t read_at = INT64_MIN / 2;

static int64_t usec_of(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void find_test_file(void)
{
    const char *name = getenv("PIXSHIFT_TEST_CLOCK");
    if (name && *name) {
        test_file = name;
    }
}

/* A missing file is offset 0.  A file that is being rewritten (empty or half a number) keeps the
 * last value: the writer should rename, but a test must not jump when it does not. */
static void reread(void)
{
    char text[64];
    long long value;
    ssize_t got;
    int fd = open(test_file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT) {
            atomic_store(&offset, 0);
        }
        return;
    }
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    while (got > 0 && (text[got - 1] == '\n' || text[got - 1] == ' ')) {
        got--;
    }
    if (got > 0) {
        const char *digits = text;
        text[got] = '\0';
        digits += *digits == '+';
        if (px_parse_int(digits, INT64_MIN / 4, INT64_MAX / 4, &value)) {
            atomic_store(&offset, value);
        }
    }
}

int64_t px_clock_offset(void)
{
    int64_t now;
    int64_t last;
    pthread_once(&once, find_test_file);
    if (!test_file) {
        return 0;
    }
    now = px_monotonic();
    last = atomic_load(&read_at);
    /* One thread re-reads, the others go on with what is there. */
    if (now - last >= REREAD_USEC && atomic_compare_exchange_strong(&read_at, &last, now)) {
        reread();
    }
    return atomic_load(&offset);
}

int64_t px_now(void)
{
    return usec_of(CLOCK_REALTIME) + px_clock_offset();
}

bool px_clock_is_test(void)
{
    pthread_once(&once, find_test_file);
    return test_file != NULL;
}

int64_t px_monotonic(void)
{
    return usec_of(CLOCK_MONOTONIC);
}

/* Splits into calendar time and the microseconds of the second, also before 1970. */
static int64_t split(int64_t usec, struct tm *tm)
{
    int64_t fraction = usec % 1000000;
    time_t seconds;
    fraction += fraction < 0 ? 1000000 : 0;
    seconds = (time_t)((usec - fraction) / 1000000);
    if (!gmtime_r(&seconds, tm)) {      /* a year that does not fit an int */
        seconds = 0;
        gmtime_r(&seconds, tm);
    }
    return fraction;
}

const char *px_time_iso(apr_pool_t *pool, int64_t usec)
{
    struct tm tm;
    int64_t fraction = split(usec, &tm);
    return apr_psprintf(pool, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
                        tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                        (int)(fraction / 1000));
}

const char *px_time_http(apr_pool_t *pool, int64_t usec)
{
    /* Not strftime: the names must not follow the locale. */
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm;
    split(usec, &tm);
    return apr_psprintf(pool, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + 3 * tm.tm_wday,
                        tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour,
                        tm.tm_min, tm.tm_sec);
}
