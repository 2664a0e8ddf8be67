/* The strict JSON check, the parser above it and the writer. */
#include "unit.h"

#include "base/json.h"
#include <dirent.h>

static const char *check(const char *text)
{
    px_json_stats stats;
    return px_json_check(text, strlen(text), NULL, &stats);
}

static const char *const good[] = {
    "0", "-0", "-1", "1.5", "1e5", "1E-5", "1.0e+2", "0.1", "\"\"", "\"a\"", "true", "false",
    "null", "[]", "{}", " [ ] ", "[1,2,3]", "{\"a\":1,\"b\":[{}]}", "[[],{}]",
    "\"\\u00e9\\n\\\"\\/\"",
    "\"\\ud83d\\ude00\"", "\"\xc3\xa9\xf0\x9f\x98\x80\"", "9223372036854775807",
    "-9223372036854775808", "9.99e307", "0e999", "0.000e400", "1e-999",
    "{\"a\":{\"a\":{\"a\":1}}}", "[{\"a\":1},{\"a\":1}]", "{\"a\":1,\"A\":2,\"\":3}",
    "\"\x7f\"", "[\"\\u0000\"]", "\t\r\n1\n",
};

static const char *const bad[] = {
    "", " ", "[", "]", "{", "}", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
    "{,}", "{a:1}", "{'a':1}", "{\"a\" 1}", "{\"a\":1 \"b\":2}", "{1:2}", "01", "-01", "1.", ".5",
    "+1", "2.e3", "1e", "1e+", "-", "--1", "0x10", "NaN", "Infinity", "-Infinity", "tru", "True",
    "nul", "truefalse", "1 2", "[1]]", "\"", "\"a", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"",
    "\"\n\"", "\"\t\"", "\"\x01\"", "'a'", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"",
    "\"\\ud800x\"", "\"\\ud800\\ud800\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xff\"",
    "\"\xe2\x82\"", "\"\xf4\x90\x80\x80\"", "\xef\xbb\xbf[]", "9223372036854775808",
    "-9223372036854775809", "1e308", "1e400", "123456789e300", "{\"a\":1,\"a\":2}",
    "{\"a\":1,\"\\u0061\":2}", "{\"b\":{\"a\":1},\"b\":2}", "{\"\\u00e9\":1,\"\xc3\xa9\":2}",
    "{\"\":1,\"\":2}", "/*c*/1", "[1]//", "[1}", "{\"a\":1]", "\f1", "\xc2\xa0" "1",
    "[\"a\",\n4\n,1,",
};

START_TEST(accepts_own_cases)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        const char *fault = check(good[i]);
        ck_assert_msg(!fault, "case %zu <%s> was refused: %s", i, good[i], fault);
    }
}
END_TEST

START_TEST(refuses_own_cases)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        ck_assert_msg(check(bad[i]) != NULL, "case %zu <%s> was accepted", i, bad[i]);
    }
}
END_TEST

START_TEST(refuses_nul_bytes)
{
    px_json_stats stats;
    ck_assert_ptr_nonnull(px_json_check("[1]\0", 4, NULL, &stats));
    ck_assert_ptr_nonnull(px_json_check("\"\0\"", 3, NULL, &stats));
    ck_assert_ptr_nonnull(px_json_check("\0", 1, NULL, &stats));
}
END_TEST

/* Every prefix of a good text is bad, and the check never looks behind its end (ASan sees it). */
START_TEST(refuses_every_prefix)
{
    const char *text = "{\"k\\u00e9\":[1,-2.5e3,\"\\ud83d\\ude00\",{\"x\":null}],\"t\":true}";
    size_t len = strlen(text);
    ck_assert_ptr_null(check(text));
    for (size_t i = 0; i < len; i++) {
        char *part = malloc(i + 1);
        px_json_stats stats;
        memcpy(part, text, i);
        ck_assert_msg(px_json_check(part, i, NULL, &stats) != NULL, "prefix %zu", i);
        ck_assert_uint_le(stats.error_at, i);
        free(part);
    }
}
END_TEST

START_TEST(counts)
{
    px_json_stats s;
    const char *text = "{\"a\":[1,\"x\\u00e9\",null],\"bb\":{\"c\":\"\"}}";
    ck_assert_ptr_null(px_json_check(text, strlen(text), NULL, &s));
    ck_assert_uint_eq(s.values, 7);
    ck_assert_uint_eq(s.members, 3);
    ck_assert_uint_eq(s.elements, 3);
    ck_assert_uint_eq(s.strings, 2);
    ck_assert_uint_eq(s.string_bytes, 1 + 2 + 1 + 3);
    ck_assert_uint_eq(s.depth, 2);
    ck_assert_uint_eq(s.nuls, 0);
}
END_TEST

START_TEST(keeps_limits)
{
    px_json_stats s;
    px_json_limits limits = {.max_depth = 3, .max_values = 5, .max_string = 4};
    char deep[200];
    ck_assert_ptr_null(px_json_check("[[[1]]]", 7, &limits, &s));
    ck_assert_str_eq(px_json_check("[[[[]]]]", 8, &limits, &s), "The JSON is nested too deeply.");
    ck_assert_uint_eq(s.error_at, 3);
    ck_assert_str_eq(px_json_check("[1,2,3,4,5]", 11, &limits, &s),
                     "The JSON has too many values.");
    ck_assert_ptr_null(px_json_check("\"abcd\"", 6, &limits, &s));
    ck_assert_str_eq(px_json_check("\"abcde\"", 7, &limits, &s), "A string is too long.");
    memset(deep, '[', sizeof(deep));
    limits.max_depth = 100000;      /* cut to the hard bound */
    limits.max_values = 100000;
    ck_assert_str_eq(px_json_check(deep, sizeof(deep), &limits, &s),
                     "The JSON is nested too deeply.");
    ck_assert_uint_eq(s.error_at, PX_JSON_DEPTH_MAX);
}
END_TEST

static const char *object_with(int members, bool repeat_first)
{
    px_buf *b = px_buf_make(unit_pool, 100000);
    px_buf_puts(b, "{");
    for (int i = 0; i < members; i++) {
        px_buf_printf(b, "%s\"key%d\":%d", i ? "," : "", i, i);
    }
    px_buf_puts(b, repeat_first ? ",\"key0\":1}" : "}");
    return b->data;
}

START_TEST(finds_duplicates_in_large_objects)
{
    ck_assert_ptr_null(check(object_with(PX_JSON_OPEN_MEMBERS, false)));
    ck_assert_str_eq(check(object_with(PX_JSON_OPEN_MEMBERS - 1, true)),
                     "An object has the same key twice.");
    ck_assert_str_eq(check(object_with(PX_JSON_OPEN_MEMBERS + 1, false)),
                     "An object has too many members.");
}
END_TEST

/* Popping the keys of closed objects keeps the table usable without end. */
START_TEST(closed_objects_free_their_keys)
{
    px_buf *b = px_buf_make(unit_pool, 1 << 20);
    px_buf_puts(b, "[");
    for (int i = 0; i < 20000; i++) {
        px_buf_printf(b, "%s{\"a\":{\"a\":1},\"b\":2}", i ? "," : "");
    }
    px_buf_puts(b, "]");
    ck_assert_ptr_null(check(b->data));
}
END_TEST

/* Runs a folder of the public suite; returns how many files were there. */
static int run_suite(const char *folder, char kind, bool want_good)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int count = 0;
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL) {
        size_t len;
        char *text;
        px_json_stats stats;
        px_json_limits limits = {.allow_duplicates = true};
        const char *fault;
        if (entry->d_name[0] != kind || entry->d_name[1] != '_') {
            continue;
        }
        text = unit_read(apr_pstrcat(unit_pool, folder, "/", entry->d_name, NULL), &len);
        ck_assert_ptr_nonnull(text);
        fault = px_json_check(text, len, &limits, &stats);
        if (kind != 'i') {
            ck_assert_msg((fault == NULL) == want_good, "%s: %s", entry->d_name,
                          fault ? fault : "accepted");
        }
        if (px_json_check(text, len, NULL, &stats) != NULL) {
            /* By default the suite's two texts with repeated keys are refused, nothing else. */
            ck_assert_msg(fault || strstr(entry->d_name, "object_duplicated_key"), "%s",
                          entry->d_name);
        } else {
            /* What the check accepts json-c must accept too, with the same counts. */
            json_object *tree;
            px_err *err = px_json_parse(unit_pool, text, len, NULL, &tree);
            ck_assert_msg(!err || stats.nuls, "%s: %s", entry->d_name,
                          err ? (err->cause ? err->cause : err->text) : "");
        }
        count++;
    }
    closedir(dir);
    return count;
}

START_TEST(public_suite)
{
    const char *folder = unit_shared("vectors/json-parsing");
    if (!folder) {
        return;
    }
    ck_assert_int_eq(run_suite(folder, 'n', false), 188);
    ck_assert_int_eq(run_suite(folder, 'y', true), 95);
    ck_assert_int_gt(run_suite(folder, 'i', false), 0);
}
END_TEST

START_TEST(parses_and_gets)
{
    const char *text = "{\"s\":\"x\",\"i\":9223372036854775807,\"b\":true,\"n\":null,\"d\":1.5,"
                       "\"o\":{\"k\":\"v\"}}";
    json_object *tree;
    UNIT_OK(px_json_parse(unit_pool, text, strlen(text), NULL, &tree));
    ck_assert_str_eq(px_json_str(tree, "s"), "x");
    ck_assert_ptr_null(px_json_str(tree, "i"));
    ck_assert_ptr_null(px_json_str(tree, "none"));
    ck_assert_int_eq(px_json_int(tree, "i", 0), INT64_MAX);
    ck_assert_int_eq(px_json_int(tree, "s", -7), -7);
    ck_assert_int_eq(px_json_int(tree, "d", -7), -7);
    ck_assert(px_json_bool(tree, "b", false));
    ck_assert(px_json_bool(tree, "s", true));
    ck_assert_str_eq(px_json_str(px_json_get(tree, "o"), "k"), "v");
    ck_assert_ptr_null(px_json_get(NULL, "k"));
    ck_assert_ptr_null(px_json_get(px_json_get(tree, "s"), "k"));
}
END_TEST

/* json-c 0.16 alone makes U+FFFD of the escaped forms of U+1DE00 and its neighbours. */
START_TEST(escaped_pairs_survive)
{
    const char *text = "{\"\\ud836\\uDE00\":\"a\\\\\\ud837\\ude00\\\\ud836\\ud83d\\ude00\"}";
    json_object *tree;
    UNIT_OK(px_json_parse(unit_pool, text, strlen(text), NULL, &tree));
    ck_assert_str_eq(px_json_str(tree, "\xf0\x9d\xa8\x80"),
                     "a\\\xf0\x9d\xb8\x80\\ud836\xf0\x9f\x98\x80");
}
END_TEST

START_TEST(parse_names_the_fault)
{
    json_object *tree;
    px_err *err = px_json_parse(unit_pool, "{\"a\":01}", 8, NULL, &tree);
    ck_assert_ptr_nonnull(err);
    ck_assert_int_eq(err->id, PX_E_VALIDATION);
    ck_assert_str_eq(err->text, "The JSON is not valid at byte 5: A number is malformed.");
    ck_assert_str_eq(err->details->key, "reason");
    ck_assert_int_eq(err->details->next->number, 5);
    ck_assert_ptr_null(tree);
    UNIT_ERR(px_json_parse(unit_pool, "\"a\\u0000b\"", 10, NULL, &tree), PX_E_VALIDATION);
    UNIT_ERR(px_json_parse(unit_pool, "{\"a\\u0000b\":1}", 14, NULL, &tree), PX_E_VALIDATION);
    UNIT_OK(px_json_parse(unit_pool, "null", 4, NULL, &tree));
    ck_assert_ptr_null(tree);
    UNIT_OK(px_json_parse(unit_pool, "12345", 3, NULL, &tree));     /* not NUL-terminated */
    ck_assert_int_eq(json_object_get_int64(tree), 123);
}
END_TEST

START_TEST(writes)
{
    px_jw *w = px_jw_make(unit_pool, PX_SPELL_CAMEL);
    px_jw_object(w, NULL);
    px_jw_str(w, "first_name", "A\"\\\n\x01" "\xc3\xa9");
    px_jw_str(w, "no_text", NULL);
    px_jw_int(w, "min_int", INT64_MIN);
    px_jw_bool(w, "is_on", true);
    px_jw_decimal(w, "price", "0.99");
    px_jw_array(w, "list_of");
    px_jw_int(w, NULL, 1);
    px_jw_object(w, NULL);
    px_jw_end_object(w);
    px_jw_raw(w, NULL, "{\"kept_as_is\":1}");
    px_jw_end_array(w);
    px_jw_time(w, "created_at", 1795255872345678);
    px_jw_time(w, "deleted_at", 0);
    px_jw_end_object(w);
    ck_assert_str_eq(w->buf->data,
                     "{\"firstName\":\"A\\\"\\\\\\n\\u0001\xc3\xa9\",\"noText\":null,"
                     "\"minInt\":-9223372036854775808,\"isOn\":true,\"price\":0.99,"
                     "\"listOf\":[1,{},{\"kept_as_is\":1}],"
                     "\"createdAt\":\"2026-11-21T10:11:12.345Z\",\"deletedAt\":null}");
    ck_assert_ptr_null(check(w->buf->data));
}
END_TEST

START_TEST(writes_snake_and_repairs_utf8)
{
    px_jw *w = px_jw_make(unit_pool, PX_SPELL_SNAKE);
    px_jw_object(w, NULL);
    px_jw_strn(w, "a_b", "x\xff\xe2\x82y\0z", 7);
    px_jw_end_object(w);
    ck_assert_str_eq(w->buf->data,
                     "{\"a_b\":\"x\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdy\\u0000z\"}");
    ck_assert_ptr_null(check(w->buf->data));
}
END_TEST

int main(void)
{
    TCase *tc = unit_begin("json");
    tcase_add_test(tc, accepts_own_cases);
    tcase_add_test(tc, refuses_own_cases);
    tcase_add_test(tc, refuses_nul_bytes);
    tcase_add_test(tc, refuses_every_prefix);
    tcase_add_test(tc, counts);
    tcase_add_test(tc, keeps_limits);
    tcase_add_test(tc, finds_duplicates_in_large_objects);
    tcase_add_test(tc, closed_objects_free_their_keys);
    tcase_add_test(tc, public_suite);
    tcase_add_test(tc, parses_and_gets);
    tcase_add_test(tc, escaped_pairs_survive);
    tcase_add_test(tc, parse_names_the_fault);
    tcase_add_test(tc, writes);
    tcase_add_test(tc, writes_snake_and_repairs_utf8);
    return unit_run();
}
