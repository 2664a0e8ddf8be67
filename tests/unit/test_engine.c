/* studio/: array literals for statements, pauses between tries, queues of the engine. */
#include "unit.h"

#include "studio/array_text.h"
#include "studio/engine_internal.h"

START_TEST(array_literals)
{
    px_buf *a = px_array_make(unit_pool, 4);
    px_array_text(a, "plain");
    px_array_text(a, "a \"quoted\", \\ {one}");
    px_array_text(a, NULL);
    px_array_text(a, "");
    ck_assert_str_eq(px_array_end(a), "{\"plain\",\"a \\\"quoted\\\", \\\\ {one}\",NULL,\"\"}");
    a = px_array_make(unit_pool, 3);
    px_array_int(a, -1);
    px_array_int(a, INT64_MAX);
    px_array_bool(a, true);
    px_array_bool(a, false);
    ck_assert_str_eq(px_array_end(a), "{-1,9223372036854775807,t,f}");
    ck_assert_str_eq(px_array_end(px_array_make(unit_pool, 0)), "{}");
}
END_TEST

START_TEST(pauses_double_up_to_a_minute)
{
    static const int64_t middle[] = {2000, 4000, 8000, 16000, 32000, 60000, 60000};
    for (int n = 0; n < 7; n++) {
        int64_t least = INT64_MAX, most = 0;
        for (int i = 0; i < 200; i++) {
            int64_t ms = px_work_backoff(n);
            least = ms < least ? ms : least;
            most = ms > most ? ms : most;
        }
        ck_assert_int_ge(least, middle[n] * 80 / 100);
        ck_assert_int_le(most, middle[n] * 120 / 100);
        ck_assert_int_gt(most, least);      /* those that failed together part */
    }
    ck_assert_int_le(px_work_backoff(1000), 72000);
}
END_TEST

START_TEST(queues_keep_their_order)
{
    px_work works[4];
    px_work_queue queue = {NULL, NULL, 0};
    memset(works, 0, sizeof(works));
    for (int i = 0; i < 4; i++) {
        px_queue_push(&queue, &works[i]);
    }
    ck_assert_int_eq(queue.count, 4);
    ck_assert(px_queue_remove(&queue, &works[3]));      /* the last: pushing must still work */
    ck_assert(!px_queue_remove(&queue, &works[3]));
    px_queue_push(&queue, &works[3]);
    ck_assert(px_queue_remove(&queue, &works[1]));
    ck_assert_ptr_eq(px_queue_pop(&queue), &works[0]);
    ck_assert_ptr_eq(px_queue_pop(&queue), &works[2]);
    ck_assert_ptr_eq(px_queue_pop(&queue), &works[3]);
    ck_assert_ptr_null(px_queue_pop(&queue));
    ck_assert_int_eq(queue.count, 0);
    px_queue_push(&queue, &works[2]);
    ck_assert_ptr_eq(px_queue_pop(&queue), &works[2]);
}
END_TEST

START_TEST(one_writer_per_user)
{
    px_work a, b;
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    a.job.user_id = "0199f0c2-7a3e-7abc-8def-012345678900";
    b.job.user_id = "0199f0c2-7a3e-7abc-8def-012345678901";
    ck_assert_int_eq(px_writer_of(&a), px_writer_of(&a));
    ck_assert_int_ne(px_writer_of(&a), px_writer_of(&b));
    a.job.user_id = "";
    ck_assert_int_lt(px_writer_of(&a), PX_WRITERS);
}
END_TEST

int main(void)
{
    TCase *tc = unit_begin("engine");
    tcase_add_test(tc, array_literals);
    tcase_add_test(tc, pauses_double_up_to_a_minute);
    tcase_add_test(tc, queues_keep_their_order);
    tcase_add_test(tc, one_writer_per_user);
    return unit_run();
}
