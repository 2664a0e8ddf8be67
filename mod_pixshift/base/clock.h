/* Time. Every timer of the product asks here, so that the test clock moves all of them.
 * The test clock is a file named by PIXSHIFT_TEST_CLOCK holding a signed offset in microseconds
 * (decimal text; shared by every process; re-read at most every 50 ms; a missing file = 0).  It is
 * refused in production mode (config/ checks that).  Thread-safe. */
#ifndef PX_BASE_CLOCK_H
#define PX_BASE_CLOCK_H

#include <apr_pools.h>
#include <stdbool.h>
#include <stdint.h>

/* Microseconds since 1970 UTC, test offset included. */
int64_t px_now(void);
/* The test offset in microseconds (0 without test clock): SQL adds it to clock_timestamp(). */
int64_t px_clock_offset(void);
bool px_clock_is_test(void);
/* CLOCK_MONOTONIC in microseconds: for durations only; the test clock does not move it. */
int64_t px_monotonic(void);
/* "2026-11-21T10:11:12.345Z" */
const char *px_time_iso(apr_pool_t *pool, int64_t usec);
/* RFC 9110 date: "Sat, 21 Nov 2026 10:11:12 GMT" */
const char *px_time_http(apr_pool_t *pool, int64_t usec);

#endif
