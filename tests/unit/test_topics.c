/* Topics: no wake is lost between announcing and waiting, whoever waits and however many threads
 * wake. */
#include "unit.h"
#include "apache/topics.h"

#include <apr_thread_proc.h>
#include <apr_time.h>

static px_topics *topics;

static void start(void)
{
    unit_setup();
    topics = px_topics_make(unit_pool);
}

static px_waiter *waiter_of(const char *topic)
{
    px_waiter *waiter = apr_pcalloc(unit_pool, sizeof(*waiter));
    waiter->topic = topic;
    px_topics_add(topics, waiter);
    return waiter;
}

START_TEST(wakes_its_topic_only)
{
    px_waiter *a = waiter_of("a");
    px_waiter *b = waiter_of("b");
    px_topics_attach(topics, a);
    px_topics_attach(topics, b);
    ck_assert_int_eq(px_topics_wake(topics, "a"), 1);
    ck_assert_int_eq(px_topics_wake(topics, "c"), 0);
    ck_assert_ptr_eq(px_topics_ready(topics), a);
    ck_assert_ptr_null(px_topics_ready(topics));
}
END_TEST

START_TEST(wake_before_attach_is_kept)
{
    px_waiter *a = waiter_of("a");
    px_topics_wake(topics, "a");
    ck_assert_ptr_null(px_topics_ready(topics));
    px_topics_attach(topics, a);
    ck_assert_ptr_eq(px_topics_ready(topics), a);
    ck_assert_ptr_null(px_topics_ready(topics));
}
END_TEST

START_TEST(many_wakes_are_one)
{
    px_waiter *a = waiter_of("a");
    px_topics_attach(topics, a);
    for (int i = 0; i < 5; i++) {
        px_topics_wake(topics, "a");
    }
    ck_assert_ptr_eq(px_topics_ready(topics), a);
    ck_assert_ptr_null(px_topics_ready(topics));
}
END_TEST

START_TEST(removed_waiters_are_gone)
{
    px_waiter *w[5];
    for (int i = 0; i < 5; i++) {
        w[i] = waiter_of("same");
        px_topics_attach(topics, w[i]);
    }
    ck_assert_int_eq(px_topics_wake(topics, "same"), 5);
    px_topics_remove(topics, w[4]);         /* first or last of the ready list */
    px_topics_remove(topics, w[0]);
    px_topics_remove(topics, w[2]);
    px_topics_remove(topics, w[2]);         /* twice is harmless */
    for (int i = 0; i < 2; i++) {
        px_waiter *ready = px_topics_ready(topics);
        ck_assert(ready == w[1] || ready == w[3]);
    }
    ck_assert_ptr_null(px_topics_ready(topics));
    ck_assert_int_eq(px_topics_wake(topics, "same"), 2);
    px_topics_remove(topics, w[1]);
    px_topics_remove(topics, w[3]);
    ck_assert_ptr_null(px_topics_ready(topics));
    px_topics_attach(topics, waiter_of("new"));
    ck_assert_int_eq(px_topics_wake(topics, NULL), 1);
    ck_assert_ptr_nonnull(px_topics_ready(topics));
}
END_TEST

START_TEST(blocking_wait)
{
    px_waiter *a = waiter_of("a");
    apr_time_t before = apr_time_now();
    ck_assert(!px_topics_wait(topics, a, 50000));
    ck_assert_int_ge(apr_time_now() - before, 50000);
    px_topics_wake(topics, "a");
    ck_assert(px_topics_wait(topics, a, 10000000));
    ck_assert(!px_topics_wait(topics, a, 1000));
    px_topics_close(topics);
    before = apr_time_now();
    ck_assert(!px_topics_wait(topics, a, 10000000));
    ck_assert_int_lt(apr_time_now() - before, 5000000);
}
END_TEST

#define THREADS 4
#define ROUNDS 2000

static void *APR_THREAD_FUNC waker(apr_thread_t *thread, void *baton)
{
    (void)baton;
    for (int i = 0; i < ROUNDS; i++) {
        px_topics_wake(topics, "busy");
        px_topics_wake(topics, NULL);
    }
    (void)thread;
    return NULL;        /* apr_thread_exit would leave the stack marked for ASan */
}

static void *APR_THREAD_FUNC comer(apr_thread_t *thread, void *baton)
{
    (void)baton;
    for (int i = 0; i < ROUNDS; i++) {
        px_waiter w = {.topic = "busy"};
        px_topics_add(topics, &w);
        if (i % 2) {
            px_topics_attach(topics, &w);
        } else {
            px_topics_wait(topics, &w, 100);
        }
        px_topics_remove(topics, &w);
    }
    (void)thread;
    return NULL;        /* apr_thread_exit would leave the stack marked for ASan */
}

START_TEST(threads)
{
    apr_thread_t *list[THREADS];
    apr_status_t rv;
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(apr_thread_create(&list[i], NULL, i % 2 ? waker : comer, NULL, unit_pool),
                         APR_SUCCESS);
    }
    for (int i = 0; i < THREADS; i++) {
        apr_thread_join(&rv, list[i]);
    }
    ck_assert_ptr_null(px_topics_ready(topics));
    ck_assert_int_eq(px_topics_wake(topics, NULL), 0);
}
END_TEST

int main(void)
{
    TCase *tc;
    unit_suite = suite_create("topics");
    tc = tcase_create("topics");
    tcase_add_checked_fixture(tc, start, unit_teardown);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(unit_suite, tc);
    tcase_add_test(tc, wakes_its_topic_only);
    tcase_add_test(tc, wake_before_attach_is_kept);
    tcase_add_test(tc, many_wakes_are_one);
    tcase_add_test(tc, removed_waiters_are_gone);
    tcase_add_test(tc, blocking_wait);
    tcase_add_test(tc, threads);
    return unit_run();
}
