/* Errors, log lines, buffers, text, encodings, ids, time, money, fail-points. */
#include "unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "base/log.h"
#include "base/money.h"
#include <sys/stat.h>
#include <sys/wait.h>

START_TEST(error_table_is_sound)
{
    for (int i = 0; i < PX_E_COUNT; i++) {
        const px_err_row *row = px_err_info((px_err_id)i);
        ck_assert_int_eq(row->id, i);
        ck_assert(row->status >= 400 && row->status < 600);
        ck_assert(row->v1_status >= 400 && row->v1_status < 600);
        ck_assert_int_eq(row->text[strlen(row->text) - 1], '.');
    }
    ck_assert_str_eq(px_err_info(PX_E_FILE_TOO_LARGE)->name, "FILE_TOO_LARGE");
    ck_assert_str_eq(px_err_info(PX_E_FILE_TOO_LARGE)->v1_code, "IMAGE_TOO_LARGE");
    ck_assert_int_eq(px_err_info(PX_E_FILE_TOO_LARGE)->v1_status, 413);
    ck_assert_int_eq(px_err_info((px_err_id)9999)->id, PX_E_INTERNAL);
    ck_assert_int_eq(px_err_info((px_err_id)-1)->id, PX_E_INTERNAL);
}
END_TEST

START_TEST(errors_carry_details)
{
    px_err *err = px_error(unit_pool, PX_E_INTERNAL, "PXS9999", "lost %lld of %zu", 3LL,
                           sizeof(int));
    ck_assert_str_eq(err->cause, "lost 3 of 4");
    ck_assert_uint_eq(strlen(px_error_say(unit_pool, PX_E_INTERNAL, "%0500d", 1)->text), 500);
    ck_assert_str_eq(err->log_id, "PXS9999");
    ck_assert_str_eq(err->text, px_err_info(PX_E_INTERNAL)->text);
    err = px_error(unit_pool, PX_E_NOT_FOUND, NULL, NULL);
    ck_assert_ptr_null(err->cause);
    err = px_error_field(unit_pool, "email", "It has no @.");
    ck_assert_int_eq(err->id, PX_E_VALIDATION);
    ck_assert_str_eq(err->details->key, "field");
    ck_assert_str_eq(err->details->text, "email");
    ck_assert_str_eq(err->details->next->text, "It has no @.");
    err = px_err_with_number(px_err_with(err, "a", "b"), "n", 7);
    ck_assert_str_eq(err->details->next->next->key, "a");
    ck_assert_int_eq(err->details->next->next->next->number, 7);
    ck_assert_ptr_null(err->details->next->next->next->text);
}
END_TEST

static char log_line[9000];
static px_log_level log_seen;

static void keep_line(void *baton, px_log_level level, const char *line)
{
    (*(int *)baton)++;
    log_seen = level;
    snprintf(log_line, sizeof(log_line), "%s", line);
}

START_TEST(log_escapes_and_filters)
{
    int calls = 0;
    char *huge = apr_palloc(unit_pool, 100000);
    px_log_set_sink(keep_line, &calls);
    px_log(PX_LOG_WARN, "PXS9998", "a\nb\rc\x1b[31m\\ %s", "\xc3\xa9");
    ck_assert_str_eq(log_line, "PXS9998: a\\nb\\rc\\x1b[31m\\\\ \xc3\xa9");
    ck_assert_int_eq(log_seen, PX_LOG_WARN);
    px_log(PX_LOG_DEBUG, "PXS9998", "dropped");
    ck_assert_int_eq(calls, 1);
    px_log_set_level(PX_LOG_DEBUG);
    memset(huge, '\n', 99999);
    huge[99999] = '\0';
    px_log(PX_LOG_DEBUG, "PXS9998", "%s", huge);
    ck_assert_int_eq(calls, 2);
    ck_assert_uint_lt(strlen(log_line), 9000);
    px_log_set_sink(NULL, NULL);
}
END_TEST

START_TEST(buffer_grows)
{
    px_buf *b = px_buf_make(unit_pool, 0);
    for (int i = 0; i < 1000; i++) {
        px_buf_printf(b, "%d,", i);
    }
    px_buf_puts(b, "end");
    px_buf_add(b, "\0x", 2);
    ck_assert_uint_eq(b->len, 10 * 2 + 90 * 3 + 900 * 4 + 5);
    ck_assert_int_eq(strncmp(b->data, "0,1,2,", 6), 0);
    ck_assert_int_eq(b->data[b->len], 0);
}
END_TEST

START_TEST(utf8)
{
    ck_assert(px_utf8_valid("", 0));
    ck_assert(px_utf8_valid("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10));
    ck_assert(!px_utf8_valid("a\0b", 3));
    ck_assert(!px_utf8_valid("\xc0\x80", 2));
    ck_assert(!px_utf8_valid("\xe0\x80\x80", 3));
    ck_assert(!px_utf8_valid("\xed\xa0\x80", 3));
    ck_assert(!px_utf8_valid("\xf5\x80\x80\x80", 4));
    ck_assert(!px_utf8_valid("\xf0\x9f\x98", 3));
    ck_assert(!px_utf8_valid("\x80", 1));
    ck_assert_uint_eq(px_utf8_length("a\xc3\xa9\xf0\x9f\x98\x80", 7), 3);
}
END_TEST

START_TEST(numbers_and_units)
{
    long long n = 0;
    ck_assert(px_parse_int("-5", -5, 5, &n) && n == -5);
    ck_assert(px_parse_int("9223372036854775807", 0, INT64_MAX, &n) && n == INT64_MAX);
    ck_assert(px_parse_int("-9223372036854775808", INT64_MIN, 0, &n) && n == INT64_MIN);
    ck_assert(!px_parse_int("9223372036854775808", INT64_MIN, INT64_MAX, &n));
    const char *const wrong[] = {"", "-", "+1", " 1", "1 ", "1x", "0x1", "6", "1.0", NULL};
    for (int i = 0; i < 9; i++) {
        ck_assert_msg(!px_parse_int(wrong[i], -5, 5, &n), "%s", wrong[i]);
    }
    ck_assert(!px_parse_int(NULL, 0, 1, &n));
    ck_assert(px_parse_duration_ms("90", &n) && n == 90000);
    ck_assert(px_parse_duration_ms("500ms", &n) && n == 500);
    ck_assert(px_parse_duration_ms("15min", &n) && n == 900000);
    ck_assert(px_parse_duration_ms("2h", &n) && n == 7200000);
    ck_assert(px_parse_duration_ms("30d", &n) && n == 2592000000LL);
    ck_assert(!px_parse_duration_ms("30y", &n));
    ck_assert(!px_parse_duration_ms("-1s", &n));
    ck_assert(!px_parse_duration_ms("9223372036854775807d", &n));
    ck_assert(px_parse_size("1048576", &n) && n == 1048576);
    ck_assert(px_parse_size("64K", &n) && n == 65536);
    ck_assert(px_parse_size("10m", &n) && n == 10485760);
    ck_assert(px_parse_size("1G", &n) && n == 1073741824);
    ck_assert(!px_parse_size("1T", &n));
    ck_assert(!px_parse_size("K", &n));
}
END_TEST

START_TEST(text_helpers)
{
    ck_assert_str_eq(px_trim(unit_pool, " \t a b\r\n"), "a b");
    ck_assert_str_eq(px_trim(unit_pool, "  "), "");
    ck_assert_str_eq(px_url_decode(unit_pool, "a%20b+c", 7, true), "a b c");
    ck_assert_str_eq(px_url_decode(unit_pool, "a%20b+c", 7, false), "a b+c");
    ck_assert_ptr_null(px_url_decode(unit_pool, "%0", 2, false));
    ck_assert_ptr_null(px_url_decode(unit_pool, "%00", 3, false));
    ck_assert_ptr_null(px_url_decode(unit_pool, "%zz", 3, false));
    ck_assert_ptr_null(px_url_decode(unit_pool, "%ff", 3, false));
    ck_assert_str_eq(px_url_encode(unit_pool, "a b/\xc3\xa9~"), "a%20b%2F%C3%A9~");
    ck_assert_str_eq(px_camel(unit_pool, "created_at"), "createdAt");
    ck_assert_str_eq(px_camel(unit_pool, "_id"), "_id");
    ck_assert_str_eq(px_camel(unit_pool, "line_1_a_"), "line1A_");
    ck_assert_str_eq(px_html_escape(unit_pool, "<a href='\"&'>"),
                     "&lt;a href=&#39;&quot;&amp;&#39;&gt;");
}
END_TEST

static const char *lookup(void *baton, const char *name)
{
    return strcmp(name, "name") == 0 ? baton : NULL;
}

START_TEST(template)
{
    char value[] = "A&B";
    ck_assert_str_eq(px_template_render(unit_pool, "Hi {{name}}{{ gone }}, {{ name }} {{x", true,
                                        lookup, value),
                     "Hi A&amp;B, A&amp;B {{x");
    ck_assert_str_eq(px_template_render(unit_pool, "{{name}}", false, lookup, value), "A&B");
}
END_TEST

START_TEST(encodings)
{
    size_t len;
    static const struct { const char *plain, *b64, *url; } rows[] = {
        {"", "", ""}, {"f", "Zg==", "Zg"}, {"fo", "Zm8=", "Zm8"}, {"foo", "Zm9v", "Zm9v"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"}, {"\xff\xfe\xfd\xfc", "//79/A==", "__79_A"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        size_t size = strlen(rows[i].plain);
        ck_assert_str_eq(px_b64(unit_pool, rows[i].plain, size), rows[i].b64);
        ck_assert_str_eq(px_b64url(unit_pool, rows[i].plain, size), rows[i].url);
        ck_assert_str_eq((char *)px_b64_decode(unit_pool, rows[i].b64, strlen(rows[i].b64), &len),
                         rows[i].plain);
        ck_assert_uint_eq(len, size);
        ck_assert_str_eq((char *)px_b64url_decode(unit_pool, rows[i].url, strlen(rows[i].url),
                                                  &len), rows[i].plain);
        ck_assert_uint_eq(len, size);
    }
    static const char *const wrong[] = {"Z", "Zg", "Zh==", "Zg=", "Zg===", "Zm9=", "Z===", "====",
                                        "Zg==Zg==", "Zm 9v", "Zm9v\n", "Zm-_", "=Zm9"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        ck_assert_msg(!px_b64_decode(unit_pool, wrong[i], strlen(wrong[i]), &len), "%s", wrong[i]);
    }
    static const char *const wrong_url[] = {"Z", "Zg==", "Zh", "Zm9", "Zm+/", "Zg\0A"};
    for (size_t i = 0; i < 5; i++) {
        ck_assert_msg(!px_b64url_decode(unit_pool, wrong_url[i], strlen(wrong_url[i]), &len), "%s",
                      wrong_url[i]);
    }
    ck_assert_ptr_null(px_b64url_decode(unit_pool, wrong_url[5], 4, &len));
    ck_assert_str_eq(px_hex(unit_pool, "\x00\xab\xff", 3), "00abff");
}
END_TEST

START_TEST(identifiers)
{
    const char *a = px_uuid7(unit_pool);
    const char *b = px_uuid7(unit_pool);
    ck_assert(px_uuid_valid(a));
    ck_assert_int_eq(a[14], '7');
    ck_assert(strchr("89ab", a[19]) != NULL);
    ck_assert_str_ne(a, b);
    ck_assert_int_le(strncmp(a, b, 8), 0);
    long long ms = strtoll(apr_pstrcat(unit_pool, apr_pstrmemdup(unit_pool, a, 8),
                                       apr_pstrmemdup(unit_pool, a + 9, 4), NULL), NULL, 16);
    ck_assert_int_le(llabs(ms - px_now() / 1000), 5000);
    ck_assert(px_uuid_valid("00000000-0000-0000-0000-00000000000F"));
    ck_assert(!px_uuid_valid("00000000-0000-0000-0000-00000000000g"));
    ck_assert(!px_uuid_valid("00000000-0000-0000-0000-00000000000"));
    ck_assert(!px_uuid_valid("0000000000-00-0000-0000-000000000000"));
    ck_assert(!px_uuid_valid(""));
    ck_assert(!px_uuid_valid(NULL));
    ck_assert_uint_eq(strlen(px_token(unit_pool, 32)), 43);
    const char *r = px_base62_random(unit_pool, 30);
    ck_assert_uint_eq(strlen(r), 30);
    for (; *r; r++) {
        ck_assert((*r >= '0' && *r <= '9') || (*r >= 'A' && *r <= 'Z') || (*r >= 'a' && *r <= 'z'));
    }
    /* CRC-32("123456789") = cbf43926 = 3421780262 */
    ck_assert_str_eq(px_crc32_base62(unit_pool, "123456789", 9), "3jZRME");
    ck_assert_str_eq(px_crc32_base62(unit_pool, "", 0), "000000");
}
END_TEST

START_TEST(time_text)
{
    ck_assert_str_eq(px_time_iso(unit_pool, 1795255872345678), "2026-11-21T10:11:12.345Z");
    ck_assert_str_eq(px_time_iso(unit_pool, -1), "1969-12-31T23:59:59.999Z");
    ck_assert_str_eq(px_time_http(unit_pool, 1795255872345678), "Sat, 21 Nov 2026 10:11:12 GMT");
    ck_assert_int_ge(px_monotonic(), 0);
    ck_assert_int_eq(px_clock_offset(), 0);
    ck_assert(!px_clock_is_test());
}
END_TEST

static void put_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

START_TEST(test_clock_moves)
{
    char path[] = "/tmp/pixshift-clock-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    setenv("PIXSHIFT_TEST_CLOCK", path, 1);
    put_text(path, "86400000000\n");
    ck_assert(px_clock_is_test());
    ck_assert_int_eq(px_clock_offset(), 86400000000LL);
    put_text(path, "-5");
    usleep(60000);
    ck_assert_int_eq(px_clock_offset(), -5);
    put_text(path, "");         /* half-written: the last value stays */
    usleep(60000);
    ck_assert_int_eq(px_clock_offset(), -5);
    unlink(path);
    usleep(60000);
    ck_assert_int_eq(px_clock_offset(), 0);
}
END_TEST

START_TEST(money)
{
    int64_t minor;
    ck_assert_int_eq(px_currency_digits("USD"), 2);
    ck_assert_int_eq(px_currency_digits("INR"), 2);
    ck_assert_int_eq(px_currency_digits("JPY"), 0);
    ck_assert_int_eq(px_currency_digits("KWD"), 3);
    ck_assert_int_eq(px_currency_digits("usd"), -1);
    ck_assert_int_eq(px_currency_digits("XXX"), -1);
    ck_assert_int_eq(px_currency_digits("D E"), -1);
    ck_assert_int_eq(px_currency_digits(NULL), -1);
    ck_assert_str_eq(px_money_text(unit_pool, 99, "USD"), "0.99");
    ck_assert_str_eq(px_money_text(unit_pool, -5, "USD"), "-0.05");
    ck_assert_str_eq(px_money_text(unit_pool, 1234, "JPY"), "1234");
    ck_assert_str_eq(px_money_text(unit_pool, 1, "KWD"), "0.001");
    ck_assert_str_eq(px_money_text(unit_pool, INT64_MIN, "USD"), "-92233720368547758.08");
    ck_assert_ptr_null(px_money_text(unit_pool, 1, "ABC"));
    ck_assert(px_money_parse("0.99", "USD", &minor) && minor == 99);
    ck_assert(px_money_parse("12", "USD", &minor) && minor == 1200);
    ck_assert(px_money_parse("12.5", "USD", &minor) && minor == 1250);
    ck_assert(px_money_parse("92233720368547758.07", "USD", &minor) && minor == INT64_MAX);
    static const char *const wrong[] = {"", ".5", "1.", "-1", "+1", " 1", "1 ", "1e2", "1.234",
                                        "92233720368547758.08", "1,5", "1.2.3"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        ck_assert_msg(!px_money_parse(wrong[i], "USD", &minor), "%s", wrong[i]);
    }
    ck_assert(!px_money_parse("1.0", "JPY", &minor));
}
END_TEST

#ifdef PX_FAILPOINTS
START_TEST(failpoints_count_and_act)
{
    int64_t start;
    setenv("PIXSHIFT_FAILPOINT", "a:2:error,bad,b:1:delay:30,../x:1:error,c:x:kill", 1);
    ck_assert(px_failpoints_active());
    ck_assert(!px_failpoint("a"));
    ck_assert(px_failpoint("a"));
    ck_assert(!px_failpoint("a"));
    ck_assert(!px_failpoint("other"));
    ck_assert(!px_failpoint("../x"));
    start = px_monotonic();
    ck_assert(!px_failpoint("b"));
    ck_assert_int_ge(px_monotonic() - start, 30000);
}
END_TEST

START_TEST(failpoints_count_over_processes)
{
    char dir[] = "/tmp/pixshift-fp-XXXXXX";
    int status;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    setenv("PIXSHIFT_FAILPOINT_DIR", dir, 1);
    setenv("PIXSHIFT_FAILPOINT", "a:2:kill", 1);
    ck_assert(!px_failpoint("a"));
    pid_t pid = fork();
    if (pid == 0) {
        px_failpoint("a");      /* the second visit of all processes */
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    ck_assert(!px_failpoint("a"));
    unlink(apr_pstrcat(unit_pool, dir, "/a.count", NULL));
    rmdir(dir);
}
END_TEST
#endif

int main(void)
{
    TCase *tc = unit_begin("base");
    tcase_add_test(tc, error_table_is_sound);
    tcase_add_test(tc, errors_carry_details);
    tcase_add_test(tc, log_escapes_and_filters);
    tcase_add_test(tc, buffer_grows);
    tcase_add_test(tc, utf8);
    tcase_add_test(tc, numbers_and_units);
    tcase_add_test(tc, text_helpers);
    tcase_add_test(tc, template);
    tcase_add_test(tc, encodings);
    tcase_add_test(tc, identifiers);
    tcase_add_test(tc, time_text);
    tcase_add_test(tc, test_clock_moves);
    tcase_add_test(tc, money);
#ifdef PX_FAILPOINTS
    tcase_add_test(tc, failpoints_count_and_act);
    tcase_add_test(tc, failpoints_count_over_processes);
#endif
    return unit_run();
}
