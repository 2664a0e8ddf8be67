/* cache/: rate limits, exact over processes and threads. */
#include "unit.h"

#include "base/clock.h"
#include "cache/cache.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define HOUR 3600000

static void *memory;

static px_cache *attach(int slots)
{
    px_cache *cache;
    size_t size = px_cache_shm_size(64, slots);
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    UNIT_OK(px_cache_shm_attach(unit_pool, memory, size, 64, slots, &cache));
    return cache;
}

static px_rate_verdict take(px_cache *cache, const char *key, int64_t limit, int64_t window, int64_t cost)
{
    px_rate_verdict verdict;
    UNIT_OK(px_rate_take(cache, key, limit, window, cost, &verdict));
    return verdict;
}

/* The test clock: an offset in a file, read at most every 50 ms. */
static void move_clock(int64_t seconds)
{
    FILE *f = fopen(getenv("PIXSHIFT_TEST_CLOCK"), "w");
    fprintf(f, "%lld", (long long)seconds * 1000000);
    fclose(f);
    usleep(60000);
}

START_TEST(bursts_up_to_the_limit)
{
    static const int64_t limits[] = {1, 2, 3, 7, 100, 999};
    px_cache *cache = attach(256);
    for (size_t l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
        const char *key = apr_psprintf(unit_pool, "k%d", (int)l);
        for (int64_t i = 0; i < limits[l]; i++) {
            px_rate_verdict v = take(cache, key, limits[l], HOUR, 1);
            ck_assert(v.allowed);
            ck_assert_int_eq(v.limit, limits[l]);
            ck_assert_int_ge(v.remaining, limits[l] - i - 1);
            ck_assert_int_gt(v.reset_ms, 0);
        }
        px_rate_verdict v = take(cache, key, limits[l], HOUR, 1);
        ck_assert(!v.allowed);
        ck_assert_int_eq(v.remaining, 0);
        ck_assert_int_gt(v.retry_after_ms, 0);
        ck_assert_int_le(v.retry_after_ms, HOUR / limits[l] + 1);
        ck_assert_int_le(v.reset_ms, HOUR);
    }
}
END_TEST

/* Rounding of the step must not let one more through: windows that the limit does not divide. */
START_TEST(odd_limits_are_exact)
{
    px_cache *cache = attach(4096);
    for (int64_t limit = 1; limit < 2000; limit += 37) {
        const char *key = apr_psprintf(unit_pool, "odd%d", (int)limit);
        int allowed = 0;
        for (int64_t i = 0; i < limit + 5; i++) {
            allowed += take(cache, key, limit, 86400007, 1).allowed;
        }
        ck_assert_int_eq(allowed, limit);
    }
}
END_TEST

/* The same where the step is cut most: 63 steps of 3.6 microseconds are lost between window and
 * burst. */
START_TEST(large_limits_are_exact)
{
    const int64_t limit = 999999937;
    px_cache *cache = attach(256);
    int refused = 0;
    for (int i = 0; i < 20; i++) {
        const char *key = apr_psprintf(unit_pool, "large%d", i);
        ck_assert(take(cache, key, limit, HOUR, limit).allowed);
        refused += !take(cache, key, limit, HOUR, 50).allowed;  /* unless 180 microseconds passed */
    }
    ck_assert_int_gt(refused, 0);
}
END_TEST

START_TEST(refills_evenly)
{
    px_cache *cache = attach(256);
    for (int i = 0; i < 10; i++) {
        ck_assert(take(cache, "k", 10, 1000, 1).allowed);
    }
    ck_assert(!take(cache, "k", 10, 1000, 1).allowed);
    usleep(110000);
    ck_assert(take(cache, "k", 10, 1000, 1).allowed);
    ck_assert(!take(cache, "k", 10, 1000, 1).allowed);
}
END_TEST

START_TEST(follows_the_test_clock)
{
    px_cache *cache = attach(256);
    for (int i = 0; i < 5; i++) {
        ck_assert(take(cache, "k", 5, HOUR, 1).allowed);
    }
    ck_assert(!take(cache, "k", 5, HOUR, 1).allowed);
    move_clock(3600);
    ck_assert_int_eq(take(cache, "k", 5, HOUR, 0).remaining, 5);
    ck_assert(take(cache, "k", 5, HOUR, 1).allowed);
    /* Back again: what was used in the future must not shut the key out for longer than a
     * window. */
    move_clock(0);
    ck_assert(!take(cache, "k", 5, HOUR, 1).allowed);
    ck_assert_int_le(take(cache, "k", 5, HOUR, 0).reset_ms, HOUR);
}
END_TEST

START_TEST(costs_and_looking)
{
    px_cache *cache = attach(256);
    px_rate_verdict v = take(cache, "k", 10, HOUR, 0);
    ck_assert(v.allowed);
    ck_assert_int_eq(v.remaining, 10);
    ck_assert_int_eq(take(cache, "k", 10, HOUR, 4).remaining, 6);
    ck_assert_int_eq(take(cache, "k", 10, HOUR, 0).remaining, 6);
    ck_assert(!take(cache, "k", 10, HOUR, 7).allowed);      /* takes nothing */
    ck_assert(take(cache, "k", 10, HOUR, 6).allowed);
    ck_assert(!take(cache, "other", 10, HOUR, 11).allowed);
    ck_assert(!take(cache, "other", 10, HOUR, INT64_MAX).allowed);
    ck_assert(take(cache, "other", 10, HOUR, 10).allowed);
    ck_assert(take(cache, "none", 0, HOUR, 1).allowed);     /* no limit */
    ck_assert(take(cache, "wide", 5, INT64_MAX, 5).allowed);
    ck_assert(!take(cache, "wide", 5, INT64_MAX, 1).allowed);
}
END_TEST

START_TEST(a_lower_limit_applies_at_once)
{
    px_cache *cache = attach(256);
    for (int i = 0; i < 50; i++) {
        take(cache, "k", 100, HOUR, 1);
    }
    px_rate_verdict v = take(cache, "k", 10, HOUR, 1);
    ck_assert_int_le(v.remaining, 10);
    ck_assert_int_le(v.reset_ms, HOUR);
}
END_TEST

/* Keys in use keep their slots; a key that finds none is let through and counted. */
START_TEST(a_full_table_never_forgets_active_keys)
{
    px_cache *cache = attach(16);               /* one bucket */
    for (int i = 0; i < 16; i++) {
        ck_assert(take(cache, apr_psprintf(unit_pool, "a%d", i), 1, HOUR, 1).allowed);
    }
    ck_assert(take(cache, "late", 1, HOUR, 1).allowed);
    ck_assert(take(cache, "late", 1, HOUR, 1).allowed);
    ck_assert_int_eq(px_counter_value(cache, PX_C_RATE_FULL), 2);
    for (int i = 0; i < 16; i++) {
        ck_assert(!take(cache, apr_psprintf(unit_pool, "a%d", i), 1, HOUR, 1).allowed);
    }
}
END_TEST

START_TEST(refilled_slots_are_used_again)
{
    px_cache *cache = attach(16);
    for (int i = 0; i < 16; i++) {
        take(cache, apr_psprintf(unit_pool, "a%d", i), 1, i < 8 ? 10 : HOUR, 1);
    }
    usleep(20000);
    for (int i = 0; i < 8; i++) {
        const char *key = apr_psprintf(unit_pool, "b%d", i);
        ck_assert(take(cache, key, 1, HOUR, 1).allowed);
        ck_assert(!take(cache, key, 1, HOUR, 1).allowed);
    }
    ck_assert_int_eq(px_counter_value(cache, PX_C_RATE_FULL), 0);
    ck_assert(!take(cache, "a15", 1, HOUR, 1).allowed);
}
END_TEST

/* The counter of allowed takes lives in shared memory behind the segment's back. */
static int64_t take_in_processes(px_cache *cache, int processes, int takes, int keys, int64_t limit)
{
    int64_t *allowed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int p = 0; p < processes; p++) {
        pid_t pid = fork();
        if (pid == 0) {
            for (int i = 0; i < takes; i++) {
                char key[32];
                px_rate_verdict v;
                snprintf(key, sizeof(key), "key-%d", i % keys);
                if (px_rate_take(cache, key, limit, HOUR, 1, &v)) {
                    _exit(1);
                }
                __atomic_fetch_add(allowed, v.allowed, __ATOMIC_RELAXED);
            }
            _exit(0);
        }
    }
    for (int p = 0; p < processes; p++) {
        int status;
        wait(&status);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    return *allowed;
}

START_TEST(exact_over_processes)
{
    for (int round = 0; round < 20; round++) {
        ck_assert_int_eq(take_in_processes(attach(256), 8, 125, 1, 100), 100);
    }
}
END_TEST

/* Every process meets every key for the first time at once: no key may get two slots. */
START_TEST(exact_when_keys_are_new)
{
    for (int round = 0; round < 10; round++) {
        ck_assert_int_eq(take_in_processes(attach(4096), 8, 400, 200, 1), 200);
    }
}
END_TEST

static px_cache *shared;
static int64_t thread_allowed;

static void *thread_work(void *baton)
{
    (void)baton;
    for (int i = 0; i < 4000; i++) {
        char key[32];
        px_rate_verdict v;
        snprintf(key, sizeof(key), "key-%d", i % 40);
        if (px_rate_take(shared, key, 25, HOUR, 1, &v)) {
            abort();
        }
        __atomic_fetch_add(&thread_allowed, v.allowed, __ATOMIC_RELAXED);
        /* Keys that come and go, so that slots change hands. */
        snprintf(key, sizeof(key), "gone-%d", i % 500);
        px_rate_take(shared, key, 1000000, 1, 1, &v);
    }
    return NULL;
}

START_TEST(exact_over_threads)
{
    pthread_t threads[4];
    shared = attach(256);
    thread_allowed = 0;
    for (int i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, thread_work, NULL);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_int_eq(thread_allowed, 40 * 25);
    ck_assert_int_eq(px_counter_value(shared, PX_C_RATE_FULL), 0);
}
END_TEST

int main(void)
{
    char clock_file[] = "/tmp/pixshift-rate-clock.XXXXXX";
    int fd = mkstemp(clock_file);
    int result;
    TCase *tc = unit_begin("rate");
    if (fd < 0) {
        return EXIT_FAILURE;
    }
    close(fd);
    setenv("PIXSHIFT_TEST_CLOCK", clock_file, 1);
    tcase_add_test(tc, bursts_up_to_the_limit);
    tcase_add_test(tc, odd_limits_are_exact);
    tcase_add_test(tc, large_limits_are_exact);
    tcase_add_test(tc, refills_evenly);
    tcase_add_test(tc, follows_the_test_clock);
    tcase_add_test(tc, costs_and_looking);
    tcase_add_test(tc, a_lower_limit_applies_at_once);
    tcase_add_test(tc, a_full_table_never_forgets_active_keys);
    tcase_add_test(tc, refilled_slots_are_used_again);
    tcase_add_test(tc, exact_over_processes);
    tcase_add_test(tc, exact_when_keys_are_new);
    tcase_add_test(tc, exact_over_threads);
    result = unit_run();
    unlink(clock_file);
    return result;
}
