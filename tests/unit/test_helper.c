/* The image helper: its verbs, its limits, what a crash does and does not do, and ai_local in it.
 */
#include "unit.h"

#include "base/log.h"
#include "image/helper.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

static px_helper *helper;

static void quiet(void *baton, px_log_level level, const char *line)
{
    (void)baton, (void)level, (void)line;
}

static void start(const px_helper_config *config)
{
    px_helper_config c = config ? *config : (px_helper_config){ 0 };
    c.program = HELPER_PROGRAM;
    px_log_set_sink(quiet, NULL);
    UNIT_OK(px_helper_start(unit_pool, &c, &helper));
}

static int memfd(const void *data, size_t len)
{
    int fd = -1;
    UNIT_OK(px_helper_memfd(unit_pool, data, len, &fd));
    return fd;
}

static px_helper_result run(const px_helper_task *task)
{
    px_helper_result result;
    UNIT_OK(px_helper_run_sync(unit_pool, helper, task, &result));
    return result;
}

static px_helper_result run_verb(px_helper_verb verb, int input, int output, const char *format,
                                 unsigned max_side)
{
    px_helper_task task = { .verb = verb, .inputs = { input }, .input_count = 1, .output = output,
                            .format = format, .max_side = max_side, .quality = 80 };
    return run(&task);
}

/* One operation of ai_local; the output is a new memfd. */
static px_helper_result local(uint32_t operation, const char *prompt, const pxs_param *params,
                              unsigned param_count, const pxs_image *images, const int *fds,
                              unsigned count, int *output)
{
    static const pxs_value values[2] = { { 1, "1024", 1024 }, { 1, "90", 90 } };
    pxs_ai_request request = { .size = sizeof request, .operation = operation, .prompt = prompt,
                               .params = params, .param_count = param_count, .images = images,
                               .image_count = count };
    px_helper_task task = { .verb = PX_HELPER_PLUGIN, .input_count = count, .plugin = LOCAL_PLUGIN,
                            .values = values, .value_count = 2, .request = &request };
    for (unsigned i = 0; i < count; i++)
        task.inputs[i] = fds[i];
    task.output = *output = memfd(NULL, 0);
    return run(&task);
}

/* A picture to work on: what ai_local draws from a prompt, as PNG. */
static int drawn(const char *width, const char *height)
{
    const pxs_param params[] = { { "width", width }, { "height", height } };
    int fd;
    px_helper_result r = local(PXS_AI_GENERATE, "a quiet morning", params, 2, NULL, NULL, 0, &fd);
    ck_assert_msg(r.status == PX_HELPER_OK, "%s", r.reason);
    return fd;
}

static px_helper_result bad(const char *what)
{
    pxs_ai_request request = { .size = sizeof request, .operation = PXS_AI_EDIT, .prompt = what };
    px_helper_task task = { .verb = PX_HELPER_PLUGIN, .plugin = BAD_PLUGIN, .request = &request };
    task.output = memfd(NULL, 0);
    task.wall_ms = strcmp(what, "sleep") == 0 ? 700 : 30000;   /* a busy machine is no fault */
    px_helper_result r = run(&task);
    close(task.output);
    return r;
}

static unsigned open_fds(int pid)
{
    DIR *dir = opendir(apr_psprintf(unit_pool, "/proc/%d/fd", pid));
    unsigned count = 0;
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* Bytes of a file and where they differ from another's: pictures that a filter left alone. */
static bool same(int a, int b)
{
    char *x, *y;
    size_t x_len, y_len;
    UNIT_OK(px_helper_read_all(unit_pool, a, 64 << 20, &x, &x_len));
    UNIT_OK(px_helper_read_all(unit_pool, b, 64 << 20, &y, &y_len));
    return x_len == y_len && memcmp(x, y, x_len) == 0;
}

/* ---- verbs ---- */

START_TEST(prepares_and_encodes)
{
    start(NULL);
    int png = drawn("320", "200"), out = memfd(NULL, 0);
    px_helper_result r = run_verb(PX_HELPER_PROBE, png, -1, NULL, 0);
    ck_assert_int_eq(r.status, PX_HELPER_OK);
    ck_assert_uint_eq(r.width, 320);
    ck_assert_uint_eq(r.height, 200);
    ck_assert_str_eq(r.mime, "image/png");
    static const char *const formats[] = { "jpg", "png", "webp" };
    static const char *const mimes[] = { "image/jpeg", "image/png", "image/webp" };
    for (int i = 0; i < 3; i++) {
        r = run_verb(PX_HELPER_PREPARE, png, out, formats[i], 100);
        ck_assert_msg(r.status == PX_HELPER_OK, "%s", r.reason);
        ck_assert_str_eq(r.mime, mimes[i]);
        ck_assert_uint_eq(r.width, 100);
        ck_assert_uint_eq(r.height, 63);
        px_helper_result again = run_verb(PX_HELPER_PROBE, out, -1, NULL, 0);
        ck_assert_uint_eq(again.width, 100);
        ck_assert_str_eq(again.mime, mimes[i]);
        int encoded = memfd(NULL, 0);
        r = run_verb(PX_HELPER_ENCODE, out, encoded, "webp", 0);
        ck_assert_uint_eq(r.width, 100);
        ck_assert_str_eq(r.mime, "image/webp");
        close(encoded);
    }
    px_helper_stop(helper);
}
END_TEST

/* An EXIF block with the orientation "turned right" and a comment that must not survive. */
static const unsigned char exif[] =
    "\xff\xe1\x00\x22" "Exif\0\0" "MM\0*\0\0\0\x08" "\0\x01" "\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    "\0\0\0\0" "\xff\xfe\x00\x08secret";

START_TEST(orients_and_strips)
{
    start(NULL);
    int out = memfd(NULL, 0);
    char *jpeg, *made;
    size_t len, made_len, exif_len = sizeof exif - 1;
    ck_assert_int_eq(run_verb(PX_HELPER_ENCODE, drawn("160", "80"), out, "jpg", 0).status,
                     PX_HELPER_OK);
    UNIT_OK(px_helper_read_all(unit_pool, out, 1 << 20, &jpeg, &len));
    char *with = apr_palloc(unit_pool, len + exif_len);
    memcpy(with, jpeg, 2);
    memcpy(with + 2, exif, exif_len);
    memcpy(with + 2 + exif_len, jpeg + 2, len - 2);
    for (int i = 0; i < 3; i++) {
        static const char *const formats[] = { "jpg", "png", "webp" };
        static const char *const marks[] = { "secret", "Exif", "EXIF", "eXIf", "ICCP", "iCCP" };
        px_helper_result r = run_verb(PX_HELPER_PREPARE, memfd(with, len + exif_len), out,
                                      formats[i], 0);
        ck_assert_msg(r.status == PX_HELPER_OK, "%s", r.reason);
        ck_assert_uint_eq(r.width, 80);
        ck_assert_uint_eq(r.height, 160);
        UNIT_OK(px_helper_read_all(unit_pool, out, 1 << 20, &made, &made_len));
        for (size_t k = 0; k < sizeof marks / sizeof *marks; k++)
            ck_assert_msg(!memmem(made, made_len, marks[k], strlen(marks[k])), "%s in %s",
                          marks[k], formats[i]);
    }
    px_helper_stop(helper);
}
END_TEST

START_TEST(refuses_broken_images)
{
    start(NULL);
    int out = memfd(NULL, 0);
    char *jpeg;
    size_t len;
    ck_assert_int_eq(run_verb(PX_HELPER_ENCODE, drawn("400", "300"), out, "jpg", 0).status,
                     PX_HELPER_OK);
    UNIT_OK(px_helper_read_all(unit_pool, out, 1 << 20, &jpeg, &len));
    const struct {
        const void *data;
        size_t len;
    } cases[] = { { jpeg, len / 2 }, { jpeg, 20 }, { "GIF89a\1\0\1\0\0\0\0;", 14 }, { "<svg/>", 6 },
                  { "\x89PNG\r\n\x1a\n\x3f\xff\xff\xffIHDR", 16 }, { "x", 1 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = memfd(cases[i].data, cases[i].len);
        for (px_helper_verb verb = PX_HELPER_PROBE; verb <= PX_HELPER_ENCODE; verb++) {
            px_helper_result r = run_verb(verb, fd, out, "png", 0);
            ck_assert_msg(r.status == PX_HELPER_FAILED, "case %zu: status %d %s", i, r.status,
                          r.reason);
            ck_assert_int_ne(r.reason[0], '\0');
            ck_assert_uint_eq(r.fail_class, PXS_FAIL_MALFORMED);
        }
    }
    px_helper_task task = { .verb = PX_HELPER_PROBE, .inputs = { drawn("400", "300") },
                            .input_count = 1, .max_pixels = 1000 };
    px_helper_result r = run(&task);
    ck_assert_int_eq(r.status, PX_HELPER_FAILED);
    ck_assert_ptr_nonnull(strstr(r.reason, "400x300"));
    px_helper_stop(helper);
}
END_TEST

/* ---- limits ---- */

START_TEST(reports_every_bad_end)
{
    px_helper_config config = { .cpu_s = 3, .memory = 512u << 20 };
    start(&config);
    int pid = px_helper_pid(helper);
    static const struct {
        const char *what;
        px_helper_status status;
        uint32_t klass;
        const char *reason;
    } cases[] = {
#ifdef __SANITIZE_ADDRESS__         /* it turns signals into exits and needs all address space */
        { "crash", PX_HELPER_CRASHED, PXS_FAIL_INTERNAL, "without a result" },
#else
        { "crash", PX_HELPER_CRASHED, PXS_FAIL_INTERNAL, "signal 11" },
        { "memory", PX_HELPER_CRASHED, PXS_FAIL_INTERNAL, "signal 6" },
#endif
        { "spin", PX_HELPER_TIMEOUT, PXS_FAIL_TIMEOUT, "3 s of CPU" },
        { "sleep", PX_HELPER_TIMEOUT, PXS_FAIL_TIMEOUT, "700 ms" },
        { "exit", PX_HELPER_CRASHED, PXS_FAIL_INTERNAL, "without a result" },
        { "much", PX_HELPER_FAILED, PXS_FAIL_INTERNAL, "file limit holds" },
        { "refuse", PX_HELPER_FAILED, PXS_FAIL_REFUSED, "not this PXS9999" },
        { "send", PX_HELPER_FAILED, PXS_FAIL_INTERNAL, "exchange" },
        { "wait", PX_HELPER_FAILED, PXS_FAIL_MALFORMED, "no image" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        px_helper_result r = bad(cases[i].what);
        ck_assert_msg(r.status == cases[i].status, "%s: status %d: %s", cases[i].what, r.status,
                      r.reason);
        ck_assert_uint_eq(r.fail_class, cases[i].klass);
        ck_assert_msg(strstr(r.reason, cases[i].reason) != NULL, "%s: %s", cases[i].what, r.reason);
    }
    ck_assert_int_eq((int)bad("refuse").retry_ms, 1500);
    ck_assert_int_eq(px_helper_pid(helper), pid);
    px_helper_stop(helper);
}
END_TEST

START_TEST(keeps_children_in)
{
    start(NULL);
    px_helper_result r = bad("escape");
    /* Only what this system can enforce is promised. */
    const char *can = px_helper_sandbox(helper);
    if (strstr(can, "seccomp") && strstr(can, "landlock"))
        ck_assert_str_eq(r.reason, "kept");
    ck_assert_int_ne(access("/tmp/pixshift-escaped", F_OK), 0);
    px_helper_stop(helper);
}
END_TEST

START_TEST(refuses_what_is_no_plugin)
{
    pxs_ai_request request = { .size = sizeof request, .operation = PXS_AI_EDIT };
    px_helper_task task = { .verb = PX_HELPER_PLUGIN, .plugin = "/nonexistent.so",
                            .request = &request };
    start(NULL);
    task.output = memfd(NULL, 0);
    ck_assert_int_eq(run(&task).status, PX_HELPER_FAILED);
    task.plugin = BAD_PLUGIN;
    task.value_count = 1;
    task.values = &(pxs_value){ 1, "x", 0 };
    px_helper_result r = run(&task);
    ck_assert_ptr_nonnull(strstr(r.reason, "option table"));
    task.request = NULL;
    UNIT_ERR(px_helper_submit(unit_pool, helper, &task, NULL, NULL), PX_E_INTERNAL);
    px_helper_stop(helper);
}
END_TEST

/* ---- many tasks, death of the program ---- */

START_TEST(leaks_no_files)
{
    start(NULL);
    int png = drawn("64", "64"), out = memfd(NULL, 0);
    nanosleep(&(struct timespec){ 0, 200000000 }, NULL);
    unsigned ours = open_fds(getpid()), its = open_fds(px_helper_pid(helper));
    for (int i = 0; i < 50; i++) {
        px_helper_verb verb = i % 2 ? PX_HELPER_PROBE : PX_HELPER_ENCODE;
        ck_assert_int_eq(run_verb(verb, png, out, "jpg", 0).status, PX_HELPER_OK);
    }
    ck_assert_uint_eq(open_fds(getpid()), ours);
    /* The last child may not be collected yet. */
    for (int i = 0; i < 200 && open_fds(px_helper_pid(helper)) != its; i++)
        nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
    ck_assert_uint_eq(open_fds(px_helper_pid(helper)), its);
    px_helper_stop(helper);
}
END_TEST

typedef struct {
    unsigned done, ok, lost, largest;
} tally;

static void count(void *baton, const px_helper_result *result)
{
    tally *t = baton;
    t->done++;
    t->ok += result->status == PX_HELPER_OK;
    t->lost += result->status == PX_HELPER_LOST;
}

static void turn(void)
{
    struct pollfd polled = { .fd = px_helper_fd(helper), .events = POLLIN };
    poll(&polled, 1, px_helper_timeout_ms(helper));
    px_helper_process(helper);
}

START_TEST(survives_the_death_of_the_program)
{
    start(NULL);
    px_helper_task task = { .verb = PX_HELPER_PROBE, .inputs = { drawn("900", "900") },
                            .input_count = 1 };
    tally t = { 0 };
    int first = px_helper_pid(helper);
    for (int i = 0; i < 20; i++)
        UNIT_OK(px_helper_submit(unit_pool, helper, &task, count, &t));
    ck_assert_uint_eq(px_helper_pending(helper), 20);
    while (t.done < 5)
        turn();
    kill(first, SIGKILL);
    while (px_helper_pending(helper))
        turn();
    ck_assert_uint_eq(t.ok, 20);
    ck_assert_int_ne(px_helper_pid(helper), first);
    px_helper_stop(helper);
}
END_TEST

START_TEST(gives_up_on_a_program_that_keeps_dying)
{
    pxs_ai_request request = { .size = sizeof request, .operation = PXS_AI_EDIT,
                               .prompt = "sleep" };
    px_helper_task task = { .verb = PX_HELPER_PLUGIN, .plugin = BAD_PLUGIN, .request = &request };
    tally t = { 0 };
    start(NULL);
    task.output = memfd(NULL, 0);
    UNIT_OK(px_helper_submit(unit_pool, helper, &task, count, &t));
    for (int life = 0; life < 2; life++) {
        kill(px_helper_pid(helper), SIGKILL);
        int dead = px_helper_pid(helper);
        while (px_helper_pid(helper) == dead || (px_helper_pid(helper) == 0 && !t.done))
            turn();
    }
    ck_assert_uint_eq(t.lost, 1);
    px_helper_stop(helper);
    px_helper_config config = { .program = "/nonexistent/pixshift-helper" };
    UNIT_ERR(px_helper_start(unit_pool, &config, &helper), PX_E_UNAVAILABLE);
}
END_TEST

START_TEST(stopping_ends_what_is_pending)
{
    px_helper_config config = { .max_queue = 3, .max_tasks = 1 };
    pxs_ai_request request = { .size = sizeof request, .operation = PXS_AI_EDIT,
                               .prompt = "sleep" };
    px_helper_task task = { .verb = PX_HELPER_PLUGIN, .plugin = BAD_PLUGIN, .request = &request };
    tally t = { 0 };
    start(&config);
    task.output = memfd(NULL, 0);
    for (int i = 0; i < 4; i++)
        UNIT_OK(px_helper_submit(unit_pool, helper, &task, count, &t));
    UNIT_ERR(px_helper_submit(unit_pool, helper, &task, count, &t), PX_E_UNAVAILABLE);
    ck_assert_uint_eq(t.done, 0);
    px_helper_stop(helper);
    ck_assert_uint_eq(t.lost, 4);
}
END_TEST

/* ---- ai_local ---- */

static const char *const prompts[] = {
    "something nice", "make it sepia", "pencil sketch", "a comic poster", "vivid colours",
    "film noir", "blur the background", "watercolour", "oil painting", "with a golden crown",
    "warm", "cold",
};

START_TEST(local_edits)
{
    start(NULL);
    int png = drawn("240", "180"), out, plain = -1;
    pxs_image image = { .role = "input", .mime = "image/png" };
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        px_helper_result r = local(PXS_AI_EDIT, prompts[i], NULL, 0, &image, &png, 1, &out);
        ck_assert_msg(r.status == PX_HELPER_OK, "%s: %s", prompts[i], r.reason);
        ck_assert_uint_eq(r.width, 240);
        ck_assert_uint_eq(r.height, 180);
        ck_assert_str_eq(r.model, "pixshift-local-1");
        ck_assert_int_eq((int)r.cost_micro_usd, 0);
        ck_assert_int_eq(run_verb(PX_HELPER_PROBE, out, -1, NULL, 0).status, PX_HELPER_OK);
        ck_assert(!same(out, png));
        /* Each effect is its own: none is the default one under another name. */
        if (i == 0)
            plain = out;
        else
            ck_assert_msg(!same(out, plain), "%s", prompts[i]);
    }
    px_helper_stop(helper);
}
END_TEST

START_TEST(local_composes)
{
    start(NULL);
    int fds[3] = { drawn("300", "400"), drawn("200", "200"), drawn("150", "300") }, out, both;
    static const pxs_image images[] = { { .role = "person" }, { .role = "top" },
                                        { .role = "bottom" } };
    px_helper_result r = local(PXS_AI_COMPOSE, "", NULL, 0, images, fds, 2, &out);
    ck_assert_msg(r.status == PX_HELPER_OK, "%s", r.reason);
    ck_assert_uint_eq(r.width, 300);
    ck_assert(!same(out, fds[0]));
    r = local(PXS_AI_COMPOSE, "", NULL, 0, images, fds, 3, &both);
    ck_assert_msg(r.status == PX_HELPER_OK, "%s", r.reason);
    ck_assert(!same(out, both));
    r = local(PXS_AI_COMPOSE, "", NULL, 0, images, fds, 1, &out);
    ck_assert_int_eq(r.status, PX_HELPER_FAILED);
    ck_assert_uint_eq(r.fail_class, PXS_FAIL_BAD_REQUEST);
    px_helper_stop(helper);
}
END_TEST

START_TEST(local_generates)
{
    static const pxs_param size[] = { { "width", "256" }, { "height", "144" } };
    static const char *const scenes[] = { "a quiet morning", "neon city at night", "a forest <b>&",
                                          "an island in the sea",
                                          "\xc3\xa9t\xc3\xa9 \xe6\x98\x9f" };
    int out, other = -1;
    start(NULL);
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        px_helper_result r = local(PXS_AI_GENERATE, scenes[i], size, 2, NULL, NULL, 0, &out);
        ck_assert_msg(r.status == PX_HELPER_OK, "%s: %s", scenes[i], r.reason);
        ck_assert_uint_eq(r.width, 256);
        ck_assert_uint_eq(r.height, 144);
        ck_assert(i == 0 || !same(out, other));
        other = out;
    }
    ck_assert_int_eq(local(PXS_AI_GENERATE, "", NULL, 0, NULL, NULL, 0, &out).status,
                     PX_HELPER_FAILED);
    ck_assert_uint_eq(local(PXS_AI_CHAT, "x", NULL, 0, NULL, NULL, 0, &out).fail_class,
                      PXS_FAIL_UNSUPPORTED);
    px_helper_stop(helper);
}
END_TEST

START_TEST(local_enhances)
{
    static const char *const modes[] = { "standard", "enhanced", "gentle", "portrait", "product" };
    static const char *const scales[] = { "2", "4", "8" };
    pxs_image image = { .role = "input", .mime = "image/png" };
    int out;
    start(NULL);
    int png = drawn("100", "70");
    for (int i = 0; i < 15; i++) {
        const pxs_param params[] = { { "scale", scales[i % 3] }, { "mode", modes[i / 3] },
                                     { "format", i % 2 ? "webp" : "png" } };
        px_helper_result r = local(PXS_AI_ENHANCE, "", params, 3, &image, &png, 1, &out);
        ck_assert_msg(r.status == PX_HELPER_OK, "%s: %s", modes[i / 3], r.reason);
        ck_assert_uint_eq(r.width, 100u * (2u << (i % 3)));
        ck_assert_uint_eq(r.height, 70u * (2u << (i % 3)));
        ck_assert_str_eq(r.mime, i % 2 ? "image/webp" : "image/png");
        close(out);
    }
    const pxs_param wrong[] = { { "mode", "dazzling" } };
    ck_assert_uint_eq(local(PXS_AI_ENHANCE, "", wrong, 1, &image, &png, 1, &out).fail_class,
                      PXS_FAIL_BAD_REQUEST);
    px_helper_stop(helper);
}
END_TEST

/* Real photographs, when they are at hand. */
START_TEST(reads_photographs)
{
    static const char *const files[] = { "astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg",
                                         "hubble_deep_field.jpg" };
    start(NULL);
    int out = memfd(NULL, 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = unit_shared(apr_pstrcat(unit_pool, "samples/", files[i], NULL));
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0)
            continue;
        px_helper_result r = run_verb(PX_HELPER_PREPARE, fd, out, "webp", 200);
        ck_assert_msg(r.status == PX_HELPER_OK, "%s: %s", files[i], r.reason);
        ck_assert_uint_eq(r.width > r.height ? r.width : r.height, 200);
        close(fd);
    }
    const char *broken = unit_shared("samples/truncated.jpg");
    if (broken) {
        int fd = open(broken, O_RDONLY | O_CLOEXEC);
        ck_assert_int_eq(run_verb(PX_HELPER_PROBE, fd, -1, NULL, 0).status, PX_HELPER_FAILED);
        close(fd);
    }
    px_helper_stop(helper);
}
END_TEST

int main(void)
{
    TCase *tc = unit_begin("helper");
    tcase_add_test(tc, prepares_and_encodes);
    tcase_add_test(tc, orients_and_strips);
    tcase_add_test(tc, refuses_broken_images);
    tcase_add_test(tc, reads_photographs);
    tc = unit_case("limits");
    tcase_add_test(tc, reports_every_bad_end);
    tcase_add_test(tc, keeps_children_in);
    tcase_add_test(tc, refuses_what_is_no_plugin);
    tc = unit_case("program");
    tcase_add_test(tc, leaks_no_files);
    tcase_add_test(tc, survives_the_death_of_the_program);
    tcase_add_test(tc, gives_up_on_a_program_that_keeps_dying);
    tcase_add_test(tc, stopping_ends_what_is_pending);
    tc = unit_case("ai_local");
    tcase_add_test(tc, local_edits);
    tcase_add_test(tc, local_composes);
    tcase_add_test(tc, local_generates);
    tcase_add_test(tc, local_enhances);
    return unit_run();
}
