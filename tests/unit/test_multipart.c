/* http/: the streaming multipart reader, ordinary and hostile bodies. */
#include "unit_http.h"

#include <dirent.h>
#include <sys/stat.h>

#define BOUNDARY "----px"
#define TYPE "multipart/form-data; boundary=" BOUNDARY
#define CD "Content-Disposition: form-data; "
#define FIELD(name, value) "--" BOUNDARY "\r\n" CD "name=\"" name "\"\r\n\r\n" value "\r\n"
#define FILEPART(name, file, value) \
    "--" BOUNDARY "\r\n" CD "name=\"" name "\"; filename=\"" file "\"\r\nContent-Type: image/png\r\n\r\n" value "\r\n"
#define END "--" BOUNDARY "--\r\n"

static px_app *app;

static void begin(void)
{
    const char *const directives[] = {"PixShiftStateDir", unit_state_dir, NULL};
    app = unit_app(directives);
}

static px_err *read_typed(const char *type, const char *data, size_t len, size_t step, px_form **form)
{
    px_req *req = unit_send(unit_req(app, "POST", "/x"), type, data, len);
    ((unit_body *)req->host)->step = step;
    *form = NULL;
    return px_multipart_read(req, 1000000, 2, form);
}

static px_form *good(const char *text)
{
    px_form *form;
    UNIT_OK(read_typed(TYPE, text, strlen(text), 0, &form));
    return form;
}

static void bad(const char *text)
{
    px_form *form;
    px_err *err = read_typed(TYPE, text, strlen(text), 0, &form);
    ck_assert_msg(err != NULL, "accepted: %s", text);
    ck_assert_msg(err->id == PX_E_VALIDATION, "%s: %s", px_err_info(err->id)->name, text);
}

static int spool_count(void)
{
    const char *path = apr_pstrcat(unit_pool, unit_state_dir, "/spool", NULL);
    DIR *dir = opendir(path);
    int n = 0;
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        n += e->d_name[0] != '.';
    }
    if (dir) {
        closedir(dir);
    }
    return n;
}

START_TEST(fields_and_files)
{
    px_form *form;
    struct stat st;
    size_t len;
    char *data;
    begin();
    form = good(FIELD("mode", "full") FILEPART("user_image", "a.png", "PNG\r\n--") FIELD("n", "") END);
    ck_assert_int_eq(form->count, 3);
    ck_assert_str_eq(px_form_find(form, "mode")->value, "full");
    ck_assert_str_eq(px_form_find(form, "n")->value, "");
    ck_assert_ptr_null(px_form_find(form, "nothing"));
    ck_assert_ptr_null(px_form_find(NULL, "nothing"));
    px_part *file = px_form_find(form, "user_image");
    ck_assert_str_eq(file->filename, "a.png");
    ck_assert_str_eq(file->content_type, "image/png");
    ck_assert_uint_eq(file->file_len, 7);
    ck_assert_int_eq(stat(file->file, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    data = unit_read(file->file, &len);
    ck_assert_mem_eq(data, "PNG\r\n--", 7);
    ck_assert_str_eq(file->sha256, px_sha256_hex(unit_pool, "PNG\r\n--", 7));
    ck_assert_int_eq(spool_count(), 1);
}
END_TEST

START_TEST(files_go_with_the_pool)
{
    apr_pool_t *outer = unit_pool;
    begin();
    apr_pool_create(&unit_pool, outer);
    good(FILEPART("a", "a", "1") FILEPART("b", "b", "2") END);
    ck_assert_int_eq(spool_count(), 2);
    apr_pool_destroy(unit_pool);
    unit_pool = outer;
    ck_assert_int_eq(spool_count(), 0);
}
END_TEST

/* Every split of the input, and every piece size, gives the same parts. */
START_TEST(splits_do_not_matter)
{
    const char text[] = "preamble\r\n" FIELD("a", "--\r\n----p\r\n--" BOUNDARY "\t\r\nx") END "epilogue";
    const char fine[] = "preamble\r\n" FIELD("a", "-\r\n--\r\n----p\r\n-") FILEPART("f", "x", "\r\n--" "----p") END "epilogue";
    px_form *form;
    begin();
    for (size_t step = 1; step < sizeof(fine); step++) {
        UNIT_OK(read_typed(TYPE, fine, sizeof(fine) - 1, step, &form));
        ck_assert_int_eq(form->count, 2);
        ck_assert_str_eq(px_form_find(form, "a")->value, "-\r\n--\r\n----p\r\n-");
        ck_assert_uint_eq(px_form_find(form, "f")->file_len, 9);
    }
    bad(text);          /* a delimiter inside: what follows is no part */
}
END_TEST

/* The boundary at every offset of the window, over several windows. */
START_TEST(boundary_at_each_offset)
{
    size_t window = 131072, head = strlen(FILEPART("f", "x", "")) - 2;
    char *text = apr_palloc(unit_pool, 3 * window);
    begin();
    for (size_t shift = 0; shift < 64; shift++) {
        size_t fill = 2 * window - head - shift, at;
        px_form *form;
        at = (size_t)apr_snprintf(text, head + 1, "%s", FILEPART("f", "x", ""));
        memset(text + at, '\r', fill);          /* the worst byte: every one may begin a delimiter */
        at += fill;
        memcpy(text + at, "\r\n" END, strlen("\r\n" END));
        at += strlen("\r\n" END);
        for (size_t step = 0; step < 8000; step += 4099) {
            UNIT_OK(read_typed(TYPE, text, at, step, &form));
            ck_assert_uint_eq(px_form_find(form, "f")->file_len, fill);
            ck_assert_str_eq(px_form_find(form, "f")->sha256,
                             px_sha256_hex(unit_pool, text + head, fill));
        }
    }
}
END_TEST

/* The reader hands on what it has at 64 KiB: that border at every offset of a form, by a
 * preamble of the right length and a body that comes byte by byte. */
START_TEST(border_at_each_offset)
{
    const char form_text[] = "\r\n" FIELD("a", "-\r\n--\r\n----p\r\n-") FILEPART("f", "x", "\r\n--" "----p") END;
    size_t border = 65536, len = sizeof(form_text) - 1;
    char *text = apr_palloc(unit_pool, border + len + 4);
    begin();
    memset(text, 'p', border + len + 4);
    for (size_t inside = 0; inside <= len + 4; inside++) {
        size_t before = border + 2 - inside;
        px_form *form;
        memcpy(text + before, form_text, len);
        UNIT_OK(read_typed(TYPE, text, before + len, 1, &form));
        ck_assert_int_eq(form->count, 2);
        ck_assert_str_eq(px_form_find(form, "a")->value, "-\r\n--\r\n----p\r\n-");
        ck_assert_uint_eq(px_form_find(form, "f")->file_len, 9);
        memset(text + before, 'p', len);
    }
}
END_TEST

START_TEST(cut_bodies_are_refused)
{
    const char text[] = FIELD("a", "1") FILEPART("f", "x", "data") END;
    px_form *form;
    begin();
    for (size_t len = 0; len < sizeof(text) - 3; len++) {
        UNIT_ERR(read_typed(TYPE, text, len, 0, &form), PX_E_VALIDATION);
        UNIT_ERR(read_typed(TYPE, text, len, 7, &form), PX_E_VALIDATION);
    }
    UNIT_OK(read_typed(TYPE, text, sizeof(text) - 3, 0, &form));    /* the last CRLF may be missing */
}
END_TEST

START_TEST(boundary_parameter)
{
    static const struct { const char *type; bool good; } cases[] = {
        {"multipart/form-data; boundary=" BOUNDARY, true},
        {"multipart/form-data; boundary=\"" BOUNDARY "\"", true},
        {"multipart/form-data;boundary=" BOUNDARY "; charset=utf-8", true},
        {"multipart/form-data; charset=utf-8; BOUNDARY=" BOUNDARY, true},
        {"multipart/form-data", false},
        {"multipart/form-data; boundary=", false},
        {"multipart/form-data; boundary=\"\"", false},
        {"multipart/form-data; boundary=\"" BOUNDARY, false},
        {"multipart/form-data; boundary=a; boundary=b", false},
        {"multipart/form-data; boundary=\"a \"", false},
        {"multipart/form-data; boundary=\"a\x01\"", false},
        {"multipart/form-data; boundary=a\xc3\xa9", false},
        {"multipart/form-data; boundary=1234567890123456789012345678901234567890123456789012345678901234567890x",
         false},
    };
    const char text[] = FIELD("a", "1") END;
    px_form *form;
    begin();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        px_err *err = read_typed(cases[i].type, text, sizeof(text) - 1, 0, &form);
        ck_assert_msg((err == NULL) == cases[i].good, "%s: %s", cases[i].type, err ? err->text : "accepted");
    }
    /* 70 characters, and one with spaces and colons in quotes. */
    const char spaced[] = "--a b:c'?\r\n" CD "name=x\r\n\r\n1\r\n--a b:c'?--";
    UNIT_OK(read_typed("multipart/form-data; boundary=\"a b:c'?\"", spaced, sizeof(spaced) - 1, 0, &form));
    ck_assert_str_eq(px_form_find(form, "x")->value, "1");
}
END_TEST

START_TEST(part_headers)
{
    begin();
#define PART(headers) "--" BOUNDARY "\r\n" headers "\r\n\r\nv\r\n" END
    good(PART("content-disposition:form-data;name=a"));
    good(PART(CD "name=\"a\"; filename=\"C:\\dir\\x.png\"\r\nX-Other: y"));
    good(PART("Content-Type: text/plain\r\n" CD "name=\"a\";"));
    good(PART("Content-Transfer-Encoding: binary\r\n" CD "name=\"a\""));
    bad(PART("Content-Type: text/plain"));                      /* no disposition */
    bad("--" BOUNDARY "\r\n\r\nv\r\n" END);
    bad(PART("Content-Disposition: attachment; name=\"a\""));
    bad(PART(CD "filename=\"a\""));
    bad(PART(CD "name=\"\""));
    bad(PART(CD "name=\"a\"; name=\"b\""));
    bad(PART(CD "name=\"a\r\n"));
    bad(PART(CD "name=\"a"));
    bad(PART(CD "name=\"a\" filename=\"b\""));
    bad(PART(CD "name=\"a\"\r\n" CD "name=\"b\""));
    bad(PART(CD "name=\"a\"\r\nContent-Type: multipart/mixed; boundary=b"));
    bad(PART(CD "name=\"a\"\r\nContent-Type: MULTIPART/form-data"));
    bad(PART(CD "name=\"a\"\r\nContent-Transfer-Encoding: base64"));
    bad(PART(CD "name=\"a\"\r\n folded: line"));
    bad(PART(CD "name=\"a\"\r\nno colon"));
    bad(PART(CD "name=\"a\"\nX: bare line feed"));
    bad(PART(CD "name=\"a\"\rX: bare return"));
    bad(PART(CD "name=\"a\x01\""));
    bad(PART(CD "name=\"a\xff\""));
    bad("--" BOUNDARY "\n" CD "name=\"a\"\n\nv\n" END);          /* line feeds alone */
    bad("--" BOUNDARY "x\r\n" CD "name=\"a\"\r\n\r\nv\r\n" END);
    good("--" BOUNDARY " \t \r\n" CD "name=\"a\"\r\n\r\nv\r\n" END);
    bad(apr_psprintf(unit_pool, "--" BOUNDARY "%65s\r\n" CD "name=\"a\"\r\n\r\nv\r\n" END, ""));
}
END_TEST

START_TEST(names)
{
    px_form *form;
    char name[300];
    begin();
    form = good("--" BOUNDARY "\r\n" CD "name=\"a\\\"b\\\\c\"; filename=\"../../etc/passwd\"\r\n\r\nv\r\n" END);
    ck_assert_str_eq(form->parts->name, "a\"b\\c");
    ck_assert_str_eq(form->parts->filename, "passwd");
    form = good("--" BOUNDARY "\r\n" CD "name=\"a\"; filename=\"C:\\dir\\x.png\"\r\n\r\nv\r\n" END);
    ck_assert_str_eq(form->parts->filename, "x.png");
    form = good("--" BOUNDARY "\r\n" CD "name=\"a;b=c\"\r\n\r\nv\r\n" END);
    ck_assert_str_eq(form->parts->name, "a;b=c");
    form = good(FILEPART("empty", "", "") FIELD("b", "1") END);     /* a file input left empty */
    ck_assert_int_eq(form->count, 1);
    memset(name, 'n', sizeof(name));
    name[256] = '\0';
    bad(apr_pstrcat(unit_pool, "--" BOUNDARY "\r\n" CD "name=\"", name, "\"\r\n\r\nv\r\n" END, NULL));
    name[255] = '\0';
    good(apr_pstrcat(unit_pool, "--" BOUNDARY "\r\n" CD "name=\"", name, "\"\r\n\r\nv\r\n" END, NULL));
}
END_TEST

START_TEST(limits)
{
    px_buf *body = px_buf_make(unit_pool, 1024);
    char *big = apr_palloc(unit_pool, 1000001);
    px_form *form;
    begin();
    for (int i = 0; i < 20; i++) {
        px_buf_printf(body, "--" BOUNDARY "\r\n" CD "name=\"f%d\"\r\n\r\n%d\r\n", i, i);
    }
    good(apr_pstrcat(unit_pool, body->data, END, NULL));
    bad(apr_pstrcat(unit_pool, body->data, FIELD("f20", "20") END, NULL));
    bad(FILEPART("a", "a", "1") FILEPART("b", "b", "2") FILEPART("c", "c", "3") END);
    memset(big, 'x', 1000001);
    big[8192] = '\0';
    bad(apr_pstrcat(unit_pool, "--" BOUNDARY "\r\n" CD "name=a\r\nX: ", big, "\r\n\r\nv\r\n" END, NULL));
    big[8192] = 'x';
    big[65537] = '\0';
    bad(apr_pstrcat(unit_pool, FIELD("a", ""), "--" BOUNDARY "\r\n" CD "name=\"b\"\r\n\r\n", big, "\r\n" END, NULL));
    big[65537] = 'x';
    /* A file of exactly the limit passes, a byte more does not. */
    const char *head = "--" BOUNDARY "\r\n" CD "name=\"f\"; filename=\"f\"\r\n\r\n";
    for (int more = 0; more < 2; more++) {
        body->len = 0;
        px_buf_puts(body, head);
        px_buf_add(body, big, (size_t)(1000000 + more));
        px_buf_puts(body, "\r\n" END);
        px_err *err = read_typed(TYPE, body->data, body->len, 0, &form);
        ck_assert(more ? err && err->id == PX_E_FILE_TOO_LARGE : !err);
    }
}
END_TEST

/* What is behind the last boundary is read, but not without end. */
START_TEST(an_endless_epilogue_is_refused)
{
    size_t len = 3000000;
    char *text = apr_palloc(unit_pool, len);
    px_form *form;
    begin();
    memset(text, 'e', len);
    memcpy(text, FIELD("a", "1") END, strlen(FIELD("a", "1") END));
    UNIT_ERR(read_typed(TYPE, text, len, 0, &form), PX_E_FILE_TOO_LARGE);
}
END_TEST

START_TEST(digest_ignores_the_boundary)
{
    px_form *form;
    px_req *one, *two, *other;
    begin();
    one = unit_send(unit_req(app, "POST", "/x"), "multipart/form-data; boundary=b1",
                    "--b1\r\n" CD "name=a\r\n\r\n1\r\n--b1--", strlen("--b1\r\n" CD "name=a\r\n\r\n1\r\n--b1--"));
    two = unit_send(unit_req(app, "POST", "/x"), "multipart/form-data; boundary=b2",
                    "--b2\r\n" CD "name=\"a\"\r\n\r\n1\r\n--b2--", strlen("--b2\r\n" CD "name=\"a\"\r\n\r\n1\r\n--b2--"));
    other = unit_send(unit_req(app, "POST", "/x"), "multipart/form-data; boundary=b2",
                      "--b2\r\n" CD "name=\"a\"\r\n\r\n2\r\n--b2--", strlen("--b2\r\n" CD "name=\"a\"\r\n\r\n2\r\n--b2--"));
    UNIT_OK(px_multipart_read(one, 1000, 1, &form));
    UNIT_OK(px_multipart_read(two, 1000, 1, &form));
    UNIT_OK(px_multipart_read(other, 1000, 1, &form));
    ck_assert_str_eq(one->body_digest, two->body_digest);
    ck_assert_str_ne(one->body_digest, other->body_digest);
}
END_TEST

START_TEST(a_missing_folder_is_our_fault)
{
    const char *const directives[] = {"PixShiftStateDir", "/nonexistent/pixshift", NULL};
    const char text[] = FILEPART("f", "x", "data") END;
    px_form *form;
    app = unit_app(directives);
    UNIT_ERR(read_typed(TYPE, text, sizeof(text) - 1, 0, &form), PX_E_UNAVAILABLE);
}
END_TEST

START_TEST(old_spool_files_are_swept)
{
    const char *old, *young;
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    int fd;
    begin();
    px_req *req = unit_req(app, "GET", "/x");
    UNIT_OK(px_spool_create(req, &old, &fd));
    ck_assert_int_eq(futimens(fd, times), 0);
    close(fd);
    UNIT_OK(px_spool_create(req, &young, &fd));
    close(fd);
    px_spool_sweep(app, unit_pool);
    ck_assert_int_ne(access(old, F_OK), 0);
    ck_assert_int_eq(access(young, F_OK), 0);
}
END_TEST

int main(void)
{
    TCase *tc = unit_begin("multipart");
    const char *spool;
    int result;
    snprintf(unit_state_dir, sizeof(unit_state_dir), "/tmp/pixshift-multipart.XXXXXX");
    if (!mkdtemp(unit_state_dir)) {
        return EXIT_FAILURE;
    }
    tcase_add_test(tc, fields_and_files);
    tcase_add_test(tc, files_go_with_the_pool);
    tcase_add_test(tc, splits_do_not_matter);
    tcase_add_test(tc, boundary_at_each_offset);
    tcase_add_test(tc, border_at_each_offset);
    tcase_add_test(tc, cut_bodies_are_refused);
    tcase_add_test(tc, boundary_parameter);
    tcase_add_test(tc, part_headers);
    tcase_add_test(tc, names);
    tcase_add_test(tc, limits);
    tcase_add_test(tc, an_endless_epilogue_is_refused);
    tcase_add_test(tc, digest_ignores_the_boundary);
    tcase_add_test(tc, a_missing_folder_is_our_fault);
    tcase_add_test(tc, old_spool_files_are_swept);
    result = unit_run();
    apr_initialize();
    apr_pool_create(&unit_pool, NULL);
    spool = apr_pstrcat(unit_pool, unit_state_dir, "/spool", NULL);
    rmdir(spool);
    rmdir(unit_state_dir);
    return result;
}
