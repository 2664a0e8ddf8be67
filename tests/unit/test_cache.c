/* cache/: the key-value part and the counters of the shared segment. */
#include "unit.h"

#include "base/clock.h"
#include "cache/cache.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define ENTRIES 256
#define SLOTS 256

static size_t size;
static void *memory;

static px_cache *attach(void)
{
    px_cache *cache;
    size = px_cache_shm_size(ENTRIES, SLOTS);
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    UNIT_OK(px_cache_shm_attach(unit_pool, memory, size, ENTRIES, SLOTS, &cache));
    return cache;
}

static const char *get(px_cache *cache, const char *key)
{
    const char *value;
    size_t len;
    UNIT_OK(px_cache_get(cache, unit_pool, key, &value, &len));
    ck_assert(value == NULL || strlen(value) == len);
    return value;
}

static void set(px_cache *cache, const char *key, const char *value)
{
    UNIT_OK(px_cache_set(cache, unit_pool, key, value, strlen(value), 60000));
}

START_TEST(values_come_back)
{
    px_cache *cache = attach();
    char big[PX_CACHE_VALUE_MAX + 1];
    const char *value;
    size_t len;
    ck_assert_ptr_null(get(cache, "a"));
    set(cache, "a", "one");
    set(cache, "b", "two");
    ck_assert_str_eq(get(cache, "a"), "one");
    set(cache, "a", "three");
    ck_assert_str_eq(get(cache, "a"), "three");
    ck_assert_str_eq(get(cache, "b"), "two");
    UNIT_OK(px_cache_delete(cache, unit_pool, "a"));
    ck_assert_ptr_null(get(cache, "a"));
    UNIT_OK(px_cache_delete(cache, unit_pool, "a"));
    memset(big, 'x', sizeof(big));
    UNIT_OK(px_cache_set(cache, unit_pool, "big", big, PX_CACHE_VALUE_MAX, 1000));
    UNIT_OK(px_cache_get(cache, unit_pool, "big", &value, &len));
    ck_assert_uint_eq(len, PX_CACHE_VALUE_MAX);
    ck_assert_mem_eq(value, big, len);
    UNIT_OK(px_cache_set(cache, unit_pool, "empty", "", 0, 1000));
    UNIT_OK(px_cache_get(cache, unit_pool, "empty", &value, &len));
    ck_assert_ptr_nonnull(value);
    ck_assert_uint_eq(len, 0);
}
END_TEST

START_TEST(bad_arguments_are_refused)
{
    px_cache *cache = attach();
    char big[PX_CACHE_VALUE_MAX + 1] = {0};
    const char *key = apr_pstrmemdup(unit_pool, big, 0);
    char *longest = apr_palloc(unit_pool, PX_CACHE_KEY_MAX + 2);
    memset(longest, 'k', PX_CACHE_KEY_MAX + 1);
    longest[PX_CACHE_KEY_MAX + 1] = '\0';
    UNIT_ERR(px_cache_set(cache, unit_pool, key, "x", 1, 1000), PX_E_INTERNAL);
    UNIT_ERR(px_cache_set(cache, unit_pool, longest, "x", 1, 1000), PX_E_INTERNAL);
    UNIT_ERR(px_cache_set(cache, unit_pool, "k", big, sizeof(big), 1000), PX_E_INTERNAL);
    longest[PX_CACHE_KEY_MAX] = '\0';
    set(cache, longest, "fits");
    ck_assert_str_eq(get(cache, longest), "fits");
    UNIT_ERR(px_cache_shm_attach(unit_pool, memory, size - 1, ENTRIES, SLOTS, &cache), PX_E_INTERNAL);
}
END_TEST

START_TEST(values_expire)
{
    px_cache *cache = attach();
    UNIT_OK(px_cache_set(cache, unit_pool, "short", "x", 1, 20));
    UNIT_OK(px_cache_set(cache, unit_pool, "never", "x", 1, INT64_MAX));
    ck_assert_ptr_nonnull(get(cache, "short"));
    usleep(30000);
    ck_assert_ptr_null(get(cache, "short"));
    ck_assert_ptr_nonnull(get(cache, "never"));
    UNIT_OK(px_cache_set(cache, unit_pool, "never", "x", 1, 0));
    ck_assert_ptr_null(get(cache, "never"));
}
END_TEST

START_TEST(counters_add_within_their_window)
{
    px_cache *cache = attach();
    int64_t sum;
    UNIT_OK(px_cache_add(cache, unit_pool, "n", 5, 40, &sum));
    ck_assert_int_eq(sum, 5);
    UNIT_OK(px_cache_add(cache, unit_pool, "n", -7, 60000, &sum));
    ck_assert_int_eq(sum, -2);
    ck_assert_str_eq(get(cache, "n"), "-2");
    usleep(50000);                      /* the window of the first event has ended */
    UNIT_OK(px_cache_add(cache, unit_pool, "n", 1, 60000, &sum));
    ck_assert_int_eq(sum, 1);
    set(cache, "text", "12x");
    UNIT_ERR(px_cache_add(cache, unit_pool, "text", 1, 1000, &sum), PX_E_INTERNAL);
    UNIT_OK(px_cache_add(cache, unit_pool, "max", INT64_MAX, 1000, &sum));
    UNIT_ERR(px_cache_add(cache, unit_pool, "max", 1, 1000, &sum), PX_E_INTERNAL);
}
END_TEST

START_TEST(a_full_table_drops_the_oldest)
{
    px_cache *cache = attach();
    int kept = 0;
    for (int i = 0; i < 5000; i++) {
        set(cache, "hot", "stays");     /* used again and again */
        set(cache, apr_psprintf(unit_pool, "key-%d", i), "value");
    }
    ck_assert_str_eq(get(cache, "hot"), "stays");
    for (int i = 0; i < 5000; i++) {
        kept += get(cache, apr_psprintf(unit_pool, "key-%d", i)) != NULL;
    }
    ck_assert_int_gt(kept, ENTRIES / 2);
    ck_assert_int_le(kept, ENTRIES);
    ck_assert_ptr_nonnull(get(cache, "key-4999"));
}
END_TEST

START_TEST(a_block_survives_reattachment)
{
    px_cache *cache = attach();
    px_cache *again;
    set(cache, "a", "kept");
    px_count(cache, PX_C_REQUESTS, 3);
    ck_assert(px_cache_shm_fits(memory, size, ENTRIES, SLOTS));
    UNIT_OK(px_cache_shm_attach(unit_pool, memory, size, ENTRIES, SLOTS, &again));
    ck_assert_str_eq(get(again, "a"), "kept");
    ck_assert_int_eq(px_counter_value(again, PX_C_REQUESTS), 3);
    /* Another layout begins anew. */
    ck_assert(!px_cache_shm_fits(memory, size, ENTRIES / 2, SLOTS));
    UNIT_OK(px_cache_shm_attach(unit_pool, memory, size, ENTRIES / 2, SLOTS, &again));
    ck_assert_ptr_null(get(again, "a"));
    ck_assert_int_eq(px_counter_value(again, PX_C_REQUESTS), 0);
}
END_TEST

START_TEST(counters_have_names)
{
    px_cache *cache = attach();
    px_count(NULL, PX_C_REQUESTS, 1);
    px_count(cache, PX_C_STREAMS_OPEN, 2);
    px_count(cache, PX_C_STREAMS_OPEN, -1);
    ck_assert_int_eq(px_counter_value(cache, PX_C_STREAMS_OPEN), 1);
    ck_assert_int_eq(px_counter_value(NULL, PX_C_STREAMS_OPEN), 0);
    ck_assert_str_eq(px_counter_name(PX_C_REQUESTS), "pixshift_requests_total");
    for (int i = 0; i < PX_C_COUNT; i++) {
        ck_assert_uint_gt(strlen(px_counter_help((px_counter)i)), 5);
    }
}
END_TEST

static void run_children(int count, void (*work)(px_cache *, int), px_cache *cache)
{
    pid_t pids[16];
    for (int i = 0; i < count; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            work(cache, i);
            _exit(0);
        }
    }
    for (int i = 0; i < count; i++) {
        int status;
        waitpid(pids[i], &status, 0);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

static void add_many(px_cache *cache, int n)
{
    int64_t sum;
    (void)n;
    for (int i = 0; i < 2000; i++) {
        if (px_cache_add(cache, unit_pool, "shared", 1, 60000, &sum)) {
            _exit(1);
        }
        px_count(cache, PX_C_REQUESTS, 1);
    }
}

START_TEST(processes_lose_no_count)
{
    px_cache *cache = attach();
    run_children(8, add_many, cache);
    ck_assert_str_eq(get(cache, "shared"), "16000");
    ck_assert_int_eq(px_counter_value(cache, PX_C_REQUESTS), 16000);
}
END_TEST

/* A child is killed while it writes as fast as it can: sooner or later inside a lock. The others must
 * go on, and never see a torn value. */
START_TEST(a_killed_process_blocks_nobody)
{
    px_cache *cache = attach();
    for (int round = 0; round < 60; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            char value[1000];
            for (int i = 0;; i++) {
                memset(value, 'a' + i % 26, sizeof(value));
                if (px_cache_set(cache, unit_pool, "torn", value, sizeof(value), 60000)) {
                    _exit(1);
                }
            }
        }
        usleep(1000 + 137 * round % 1000);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        const char *value = get(cache, "torn");
        if (value) {
            ck_assert_uint_eq(strlen(value), 1000);
            ck_assert_uint_eq(strspn(value, (char[]){value[0], '\0'}), 1000);
        }
        set(cache, "alive", "yes");
        ck_assert_str_eq(get(cache, "alive"), "yes");
    }
}
END_TEST

static void *thread_work(void *baton)
{
    px_cache *cache = baton;
    apr_pool_t *pool;
    apr_pool_create(&pool, NULL);
    for (int i = 0; i < 3000; i++) {
        const char *key = apr_psprintf(pool, "k%d", i % 50);
        const char *value;
        size_t len;
        int64_t sum;
        if (px_cache_set(cache, pool, key, "0123456789", 10, 60000) ||
            px_cache_get(cache, pool, key, &value, &len) || (value && len != 10) ||
            px_cache_add(cache, pool, "threads", 1, 60000, &sum)) {
            abort();
        }
        px_count(cache, PX_C_REQUESTS, 1);
        apr_pool_clear(pool);
    }
    apr_pool_destroy(pool);
    return NULL;
}

START_TEST(threads_share_the_segment)
{
    px_cache *cache = attach();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, thread_work, cache);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_str_eq(get(cache, "threads"), "12000");
    ck_assert_int_eq(px_counter_value(cache, PX_C_REQUESTS), 12000);
}
END_TEST

int main(void)
{
    TCase *tc = unit_begin("cache");
    tcase_add_test(tc, values_come_back);
    tcase_add_test(tc, bad_arguments_are_refused);
    tcase_add_test(tc, values_expire);
    tcase_add_test(tc, counters_add_within_their_window);
    tcase_add_test(tc, a_full_table_drops_the_oldest);
    tcase_add_test(tc, a_block_survives_reattachment);
    tcase_add_test(tc, counters_have_names);
    tcase_add_test(tc, processes_lose_no_count);
    tcase_add_test(tc, a_killed_process_blocks_nobody);
    tcase_add_test(tc, threads_share_the_segment);
    return unit_run();
}
