/* The host side of plugins: options, configtest, registry, selection, the operation driver,
 * storage. */
#include "unit.h"
#include "unit_folder.h"
#include "net_fake.h"
#include "base/clock.h"
#include "plugin/plugin.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

static const char *folder;

static const char *plugin_file(const char *name)
{
    return apr_pstrcat(unit_pool, PLUGIN_DIR, "/", name, ".so", NULL);
}

static const char *broken_file(const char *name)
{
    return apr_pstrcat(unit_pool, BROKEN_DIR, "/", name, ".so", NULL);
}

static const char *work_folder(void)
{
    folder = unit_folder();
    return folder;
}

/* name, value, name, value, NULL */
static px_plugin_section *section_of(const char *name, const char *file, ...)
{
    px_plugin_section *section = apr_pcalloc(unit_pool, sizeof *section);
    px_plugin_option **tail = &section->options;
    const char *option;
    va_list args;
    int line = 11;

    section->name = name;
    section->file = file;
    section->conf_file = "test.conf";
    section->conf_line = 10;
    va_start(args, file);
    while ((option = va_arg(args, const char *)) != NULL) {
        *tail = apr_pcalloc(unit_pool, sizeof **tail);
        (*tail)->name = option;
        (*tail)->value = va_arg(args, const char *);
        (*tail)->file = "test.conf";
        (*tail)->line = line++;
        tail = &(*tail)->next;
    }
    va_end(args);
    return section;
}

/* ---- options ---- */

static const char *const modes[] = { "fast", "fine", NULL };
static const pxs_option table[] = {
    { "ApiKey", PXS_OPT_SECRET, 1, NULL, 0, 0, NULL, "s" },
    { "Count", PXS_OPT_INTEGER, 0, "3", 1, 10, NULL, "s" },
    { "Cache", PXS_OPT_BOOLEAN, 0, "On", 0, 0, NULL, "s" },
    { "Timeout", PXS_OPT_DURATION, 0, "30s", 1000, 60000, NULL, "s" },
    { "Limit", PXS_OPT_SIZE, 0, NULL, 0, 0, NULL, "s" },
    { "BaseURL", PXS_OPT_URL, 0, "https://api.example.com", 0, 0, NULL, "s" },
    { "Mode", PXS_OPT_ENUM, 0, "fast", 0, 0, modes, "s" },
    { "Model", PXS_OPT_STRING, 0, NULL, 0, 0, NULL, "s" },
};
static const px_plugin_info info = { .kind = PXS_KIND_AI, .name = "ai_x", .option_count = 8,
                                     .options = table };

START_TEST(parses_options)
{
    pxs_value *v;
    px_buf *faults = px_buf_make(unit_pool, 64);
    px_plugin_section *s = section_of("x", "ai_x.so", "apikey", "inline:sesame", "Timeout", "500ms",
                                      NULL);

    ck_assert(!px_plugin_options(unit_pool, &info, s, false, true, &v, faults));
    ck_assert_str_eq(faults->data, "test.conf:12: Timeout of plugin x must be between 1000 and 60000 "
                                   "milliseconds, not \"500ms\"\n");
    s = section_of("x", "ai_x.so", "APIKEY", "inline:sesame", "Timeout", "45s", "Limit", "10M",
                   "Mode", "Fine", "Cache", "off", NULL);
    ck_assert(px_plugin_options(unit_pool, &info, s, false, true, &v, faults));
    ck_assert_str_eq(v[0].text, "sesame");
    ck_assert_int_eq(v[1].number, 3);
    ck_assert_int_eq(v[2].number, 0);
    ck_assert_int_eq(v[3].number, 45000);
    ck_assert_int_eq(v[4].number, 10485760);
    ck_assert_str_eq(v[5].text, "https://api.example.com");
    ck_assert_int_eq(v[6].number, 1);
    ck_assert_uint_eq(v[7].is_set, 0);
    ck_assert(px_plugin_options(unit_pool, &info, s, false, false, &v, faults));
    ck_assert_str_eq(v[0].text, "");            /* not resolved: the value is not looked at */
}
END_TEST

static const struct { const char *name, *value, *sentence; } wrong[] = {
    { "Count", "0", "must be between 1 and 10, not \"0\"" },
    { "Count", "11", "must be between 1 and 10" },
    { "Count", "3x", "must be a whole number" },
    { "Count", "99999999999999999999", "must be a whole number" },
    { "Cache", "yes", "must be On or Off" },
    { "Timeout", "soon", "must be a duration" },
    { "Limit", "big", "must be a size" },
    { "BaseURL", "api.example.com", "must be an absolute http, https or file URL" },
    { "BaseURL", "ftp://example.com/", "must be an absolute http" },
    { "BaseURL", "https:///x", "must be an absolute http" },
    { "BaseURL", "https://a b/", "must be a URL without spaces" },
    { "Mode", "slow", "must be one of: fast, fine" },
    { "Modal", "x", "has no option Modal. Did you mean Model?" },
    { "APIURL", "x", "has no option APIURL." },
    { "Zebra", "x", "plugin x (ai_x) has no option Zebra.\n" },
    { "ApiKey", "again", "is given twice" },
};

START_TEST(refuses_wrong_options)
{
    px_buf *faults = px_buf_make(unit_pool, 64);
    px_plugin_section *s = section_of("x", "ai_x.so", "ApiKey", "inline:k", wrong[_i].name,
                                      wrong[_i].value, NULL);

    ck_assert(!px_plugin_options(unit_pool, &info, s, false, true, NULL, faults));
    ck_assert_msg(strncmp(faults->data, "test.conf:12: ", 14) == 0, "%s", faults->data);
    ck_assert_msg(strstr(faults->data, wrong[_i].sentence) != NULL, "%s", faults->data);
    ck_assert_ptr_eq(strchr(faults->data, '\n'), faults->data + faults->len - 1);
}
END_TEST

START_TEST(wants_required_options_and_safe_secrets)
{
    px_buf *faults = px_buf_make(unit_pool, 64);
    px_plugin_section *s = section_of("x", "ai_x.so", NULL);

    ck_assert(!px_plugin_options(unit_pool, &info, s, false, true, NULL, faults));
    ck_assert_str_eq(faults->data, "test.conf:10: plugin x (ai_x) needs the option ApiKey\n");
    faults = px_buf_make(unit_pool, 64);
    s = section_of("x", "ai_x.so", "ApiKey", "inline:sesame", NULL);
    ck_assert(!px_plugin_options(unit_pool, &info, s, true, true, NULL, faults));
    ck_assert_ptr_null(strstr(faults->data, "sesame"));
    faults = px_buf_make(unit_pool, 64);
    s = section_of("x", "ai_x.so", "ApiKey", "file:/nonexistent/key", NULL);
    ck_assert(!px_plugin_options(unit_pool, &info, s, false, true, NULL, faults));
    ck_assert_msg(strncmp(faults->data, "test.conf:11: ApiKey of plugin x", 32) == 0, "%s",
                  faults->data);
}
END_TEST

/* ---- configtest, registry, selection ---- */

static px_settings *settings_with(px_plugin_section *sections[], int count)
{
    px_settings *s = px_settings_make(unit_pool);

    for (int i = 0; i < count; i++) {
        px_plugin_section *added = px_settings_add_plugin(s, sections[i]->name, sections[i]->file,
                                                          sections[i]->conf_file,
                                                          sections[i]->conf_line);
        ck_assert_ptr_nonnull(added);
        added->options = sections[i]->options;
    }
    return s;
}

static void set_text(px_settings *s, px_setting_id id, const char *text)
{
    s->value[id].text = text;
    s->value[id].secret = text;
    s->value[id].given = true;
}

static void add_chain(px_settings *s, const char *operation, const char *a, const char *b)
{
    const char *words[] = { operation, a, b };

    ck_assert_ptr_null(px_settings_add(s, "PixShiftProviders", b ? 3 : 2, words, "test.conf", 50));
}

START_TEST(configtest_finds_what_does_not_fit)
{
    px_plugin_section *sections[] = {
        section_of("disk", plugin_file("storage_fs"), "Root", "/tmp/x", NULL),
        section_of("bad", broken_file("b_major"), NULL),
        section_of("good", broken_file("b_good"), NULL),
    };
    px_settings *s = settings_with(sections, 3);
    px_buf *faults = px_buf_make(unit_pool, 64);

    add_chain(s, "generation", "good", "disk");
    add_chain(s, "chat", "good", "ghost");
    set_text(s, PX_S_STORAGE, "good");
    set_text(s, PX_S_MAIL, "nobody");
    ck_assert(!px_plugins_check(unit_pool, s, faults));
    ck_assert_ptr_nonnull(strstr(faults->data, "test.conf:10: plugin bad cannot be used: "));
    ck_assert_ptr_nonnull(strstr(faults->data, "built for ABI major 2"));
    ck_assert_ptr_nonnull(strstr(faults->data,
                                 "test.conf:50: PixShiftProviders generation names disk, "
                                               "which is no ai plugin\n"));
    ck_assert_ptr_nonnull(strstr(faults->data,
                                 "PixShiftProviders chat names good, whose plugin b_good "
                                               "cannot do that"));
    ck_assert_ptr_nonnull(strstr(faults->data, "names ghost, but there is no"));
    ck_assert_ptr_nonnull(strstr(faults->data, "PixShiftStorage names good, whose plugin b_good"));
    ck_assert_ptr_nonnull(strstr(faults->data, "PixShiftMail names nobody"));
}
END_TEST

START_TEST(configtest_passes_what_fits)
{
    px_plugin_section *sections[] = {
        section_of("disk", plugin_file("storage_fs"), "Root", "/tmp/x", NULL),
        section_of("good", broken_file("b_good"), NULL),
        section_of("box", plugin_file("message_outbox"), "Folder", "/tmp/y", NULL),
    };
    px_settings *s = settings_with(sections, 3);
    px_buf *faults = px_buf_make(unit_pool, 64);

    add_chain(s, "generation", "good", NULL);
    set_text(s, PX_S_STORAGE, "disk");
    set_text(s, PX_S_MAIL, "box");
    set_text(s, PX_S_SMS, "box");
    ck_assert_msg(px_plugins_check(unit_pool, s, faults), "%s", faults->data);
    ck_assert_uint_eq(faults->len, 0);
}
END_TEST

/* Before privileges are dropped: the value moves into the settings, the reference stays visible. */
START_TEST(takes_resolved_secrets)
{
    px_plugin_section *sections[] = { section_of("painter", broken_file("b_secret"), "Key",
                                                 "env:PX_TEST_KEY", "Name", "x", NULL) };
    px_settings *s = settings_with(sections, 1);
    px_plugin_option *key = s->plugins->options;
    pxs_value *v;

    setenv("PX_TEST_KEY", "sesame", 1);
    UNIT_OK(px_settings_resolve_option(s, key));
    unsetenv("PX_TEST_KEY");
    ck_assert_str_eq(key->reference, "env:PX_TEST_KEY");
    ck_assert_str_eq(key->next->value, "x");
    px_plugin_info *described;
    ck_assert_ptr_null(px_plugin_describe(unit_pool, sections[0]->file, false, &described));
    ck_assert(px_plugin_options(unit_pool, described, s->plugins, true, true, &v, NULL));
    ck_assert_str_eq(v[1].text, "sesame");
}
END_TEST

static px_registry *open_registry(px_settings *s, unsigned kinds)
{
    px_registry *registry = NULL;

    UNIT_OK(px_registry_open(unit_pool, s, kinds, &registry));
    return registry;
}

START_TEST(opens_only_the_kinds_asked_for)
{
    px_plugin_section *sections[] = {
        section_of("disk", plugin_file("storage_fs"), "Root", "/tmp/x", NULL),
        section_of("good", broken_file("b_good"), NULL),
    };
    px_settings *s = settings_with(sections, 2);
    px_registry *registry = open_registry(s, 1u << PXS_KIND_STORAGE);
    px_instance *disk = px_registry_find(registry, "disk");
    px_instance *good = px_registry_find(registry, "good");
    int count;

    ck_assert_ptr_nonnull(px_instance_ops(disk));
    ck_assert_str_eq(px_instance_file_root(disk), "/tmp/x");
    ck_assert_int_eq(px_instance_kind(disk), PXS_KIND_STORAGE);
    ck_assert_ptr_nonnull(px_instance_values(disk, &count));
    ck_assert_int_eq(count, 2);
    ck_assert_ptr_null(px_instance_ops(good));
    ck_assert_uint_eq(px_instance_caps(good), PXS_AI_GENERATE);
    ck_assert(!px_instance_blocking(good));
    ck_assert_ptr_null(px_registry_find(registry, "ghost"));
    ck_assert_ptr_null(px_registry_storage(registry));
    set_text(s, PX_S_STORAGE, "disk");
    ck_assert_ptr_eq(px_registry_storage(registry), disk);
    ck_assert_int_eq(px_registry_count(registry), 2);
}
END_TEST

START_TEST(registry_refuses_with_a_sentence)
{
    px_plugin_section *sections[] = { section_of("sulky", broken_file("b_refuses"), NULL) };
    px_settings *s = settings_with(sections, 1);
    px_registry *registry = NULL;
    px_err *err = px_registry_open(unit_pool, s, 1u << PXS_KIND_AI, &registry);

    ck_assert_ptr_nonnull(err);
    ck_assert_ptr_nonnull(strstr(err->cause, "plugin sulky ("));
    ck_assert_ptr_nonnull(strstr(err->cause, "it does not open: no reason given"));
}
END_TEST

static px_net *open_net(void)
{
    px_net_config config = { .spool_dir = "/tmp" };
    px_net *net;

    UNIT_OK(px_net_open(unit_pool, &config, &net));
    return net;
}

START_TEST(selects_in_chain_order)
{
    px_plugin_section *sections[] = {
        section_of("one", broken_file("b_good"), NULL),
        section_of("two", broken_file("b_longer"), NULL),
        section_of("disk", plugin_file("storage_fs"), "Root", "/tmp/x", NULL),
    };
    px_settings *s = settings_with(sections, 3);
    px_registry *registry = open_registry(s, 0);
    px_net *net = open_net();
    px_instance **list;
    int count;

    UNIT_OK(px_registry_select(registry, net, unit_pool, "generation", 0, &list, &count));
    ck_assert_int_eq(count, 2);                 /* no chain: in order of the sections */
    ck_assert_str_eq(px_instance_name(list[0]), "one");
    add_chain(s, "generation", "two", "one");
    UNIT_OK(px_registry_select(registry, net, unit_pool, "generation", 0, &list, &count));
    ck_assert_int_eq(count, 2);
    ck_assert_str_eq(px_instance_name(list[0]), "two");
    for (int i = 0; i < 5; i++) {
        px_net_breaker_report(net, "two", false);
    }
    UNIT_OK(px_registry_select(registry, net, unit_pool, "generation", 0, &list, &count));
    ck_assert_str_eq(px_instance_name(list[0]), "one");
    ck_assert_str_eq(px_instance_name(list[1]), "two");
    UNIT_OK(px_registry_select(registry, net, unit_pool, "generation", PXS_AI_MASK, &list, &count));
    ck_assert_int_eq(count, 0);
    UNIT_OK(px_registry_select(registry, net, unit_pool, "tryon", 0, &list, &count));
    ck_assert_int_eq(count, 0);
}
END_TEST

START_TEST(failure_classes)
{
    ck_assert(!px_fail_allows_fallback(PXS_FAIL_REFUSED));
    ck_assert(!px_fail_allows_fallback(PXS_FAIL_BAD_REQUEST));
    ck_assert(px_fail_allows_fallback(PXS_FAIL_AUTH));
    ck_assert(px_fail_allows_fallback(PXS_FAIL_QUOTA));
    ck_assert(px_fail_allows_fallback(PXS_FAIL_RATE));
    ck_assert(px_fail_allows_fallback(PXS_FAIL_UNAVAILABLE));
    ck_assert(px_fail_allows_fallback(PXS_FAIL_MALFORMED));
    ck_assert(px_fail_allows_fallback(PXS_FAIL_UNSUPPORTED));
    ck_assert(px_fail_allows_retry(PXS_FAIL_RATE));
    ck_assert(px_fail_allows_retry(PXS_FAIL_UNAVAILABLE));
    ck_assert(!px_fail_allows_retry(PXS_FAIL_TIMEOUT));
    ck_assert(!px_fail_allows_retry(PXS_FAIL_REFUSED));
    ck_assert_str_eq(px_fail_name(PXS_FAIL_REFUSED), "refused");
    ck_assert_str_eq(px_fail_name((pxs_fail_class)99), "unknown");
    pxs_fail fail = { PXS_FAIL_REFUSED, "policy", 0 };
    UNIT_ERR(px_fail_error(unit_pool, &fail, "v"), PX_E_CONTENT_REFUSED);
    fail = (pxs_fail){ PXS_FAIL_RATE, NULL, 1500 };
    px_err *err = px_fail_error(unit_pool, &fail, "v");
    ck_assert_int_eq(err->id, PX_E_PROVIDER);
    ck_assert_int_eq(err->retry_after, 2);
}
END_TEST

/* ---- the operation driver ---- */

static px_instance *open_steps(const char *base)
{
    px_plugin_section *sections[] = { section_of("steps", broken_file("b_steps"), "Name", base,
                                                 NULL) };
    px_registry *registry = open_registry(settings_with(sections, 1), 1u << PXS_KIND_AI);

    return px_registry_find(registry, "steps");
}

typedef struct {
    px_op *op;
    int sends, ends;
    pxs_step step;
    bool refuse;
    char emitted[64];
} record;

static px_err *before_send(void *baton, const pxs_call *call)
{
    record *r = baton;

    ck_assert_ptr_nonnull(call->exchange.url);
    r->sends++;
    return r->refuse ? px_error(unit_pool, PX_E_UNAVAILABLE, NULL, "no attempt row") : NULL;
}

static void on_finished(void *baton, px_op *op, pxs_step step)
{
    record *r = baton;

    r->op = op;
    r->step = step;
    r->ends++;
}

static void on_emit(void *baton, const char *text, size_t len)
{
    strncat(((record *)baton)->emitted, text, len);
}

static px_op_fn *run_of(px_instance *instance)
{
    return (px_op_fn *)(void *)((const pxs_ai_ops *)px_instance_ops(instance))->run;
}

static void drive(px_net *net, record *r, int ends)
{
    for (int i = 0; i < 200 && r->ends < ends; i++) {
        UNIT_OK(px_net_perform(net, NULL, 0, 100));
    }
    ck_assert_int_eq(r->ends, ends);
}

static px_op *start(px_net *net, px_instance *instance, const char *prompt, record *r,
                    pxs_ai_result *result)
{
    pxs_ai_request *request = apr_pcalloc(unit_pool, sizeof *request);
    px_op_events events = { before_send, on_finished, on_emit, r, "idem-7" };
    px_op *op = NULL;

    request->size = sizeof *request;
    request->prompt = prompt;
    memset(r, 0, sizeof *r);
    memset(result, 0, sizeof *result);
    UNIT_OK(px_op_start(unit_pool, net, instance, run_of(instance), request, result, NULL, &events,
                        &op));
    return op;
}

static const char *base_url(void)
{
    return apr_psprintf(unit_pool, "http://127.0.0.1:%d", net_fake_start());
}

START_TEST(drives_an_operation)
{
    px_net *net = open_net();
    px_instance *instance = open_steps(base_url());
    pxs_ai_result result;
    record r;

    start(net, instance, "two", &r, &result);
    drive(net, &r, 1);
    ck_assert_int_eq(r.step, PXS_DONE);
    ck_assert_int_eq(r.sends, 2);
    ck_assert_int_eq(net_fake_requests(), 2);
    ck_assert_ptr_nonnull(strstr(result.text, "Idempotency-Key: idem-7"));
    start(net, instance, "pure", &r, &result);
    ck_assert_int_eq(r.ends, 1);                /* at once */
    ck_assert_str_eq(result.text, "pure");
    start(net, instance, "fail", &r, &result);
    drive(net, &r, 1);
    ck_assert_int_eq(r.step, PXS_FAIL);
    ck_assert_uint_eq(px_op_fail(r.op)->klass, PXS_FAIL_NOT_FOUND);
    ck_assert_str_eq(px_op_fail(r.op)->message, "status 404");
    start(net, instance, "stream", &r, &result);
    drive(net, &r, 1);
    ck_assert_int_eq(r.step, PXS_DONE);
    ck_assert_str_eq(r.emitted, "piece0piece1piece2");
}
END_TEST

START_TEST(keeps_files_of_replies_until_the_end)
{
    px_net *net = open_net();
    px_instance *instance = open_steps(base_url());
    pxs_ai_result result;
    record r;
    apr_pool_t *outer = unit_pool;
    char path[256];

    apr_pool_create(&unit_pool, outer);
    start(net, instance, "file", &r, &result);
    drive(net, &r, 1);
    ck_assert_int_eq(r.step, PXS_DONE);
    ck_assert_uint_eq(result.image.len, 100000);
    snprintf(path, sizeof path, "%s", result.image.path);
    ck_assert_int_eq(access(path, R_OK), 0);
    apr_pool_destroy(unit_pool);
    unit_pool = outer;
    ck_assert_int_ne(access(path, R_OK), 0);
}
END_TEST

START_TEST(waits_and_resumes)
{
    px_net *net = open_net();
    px_instance *instance = open_steps(base_url());
    pxs_ai_request request = { .size = sizeof request, .prompt = "wait" };
    pxs_ai_result result;
    px_op_events events;
    record r;
    px_op *op = start(net, instance, "wait", &r, &result);

    drive(net, &r, 1);
    ck_assert_int_eq(r.step, PXS_WAIT);
    ck_assert_uint_eq(px_op_call(op)->wait_ms, 1234);
    ck_assert_str_eq(px_op_call(op)->token, "job-1");
    ck_assert_uint_eq(px_op_call(op)->phase, 1);
    ck_assert_str_eq(px_op_call(op)->remote_id, "job-1");
    /* another process takes it up */
    events = (px_op_events){ before_send, on_finished, NULL, &r, NULL };
    UNIT_OK(px_op_prepare(unit_pool, net, instance, run_of(instance), &request, &result, NULL,
                          &events, &op));
    ck_assert_int_eq(r.ends, 1);
    UNIT_OK(px_op_resume(op, 1, "job-1"));
    drive(net, &r, 2);
    ck_assert_int_eq(r.step, PXS_DONE);
    ck_assert_str_eq(result.text, "job-1 done");
}
END_TEST

START_TEST(stops_when_told)
{
    px_net *net = open_net();
    px_instance *instance = open_steps(base_url());
    pxs_ai_result result;
    record r;
    px_op *op;

    op = start(net, instance, "two", &r, &result);
    px_op_cancel(op);
    for (int i = 0; i < 5; i++) {
        UNIT_OK(px_net_perform(net, NULL, 0, 20));
    }
    ck_assert_int_eq(r.ends, 0);
    ck_assert_int_eq(px_net_running(net), 0);
    pxs_ai_request request = { .size = sizeof request, .prompt = "two" };
    px_op_events events = { before_send, on_finished, on_emit, &r, NULL };
    memset(&r, 0, sizeof r);
    r.refuse = true;
    UNIT_OK(px_op_start(unit_pool, net, instance, run_of(instance), &request, &result, NULL,
                        &events,
                        &op));
    ck_assert_int_eq(r.step, PXS_FAIL);
    ck_assert_str_eq(px_op_fail(op)->message, "no attempt row");
    ck_assert_int_eq(net_fake_requests(), 0);
}
END_TEST

START_TEST(ai_plugins_have_no_files)
{
    px_net *net = open_net();
    px_instance *instance = open_steps("file:///etc");
    pxs_ai_result result;
    record r;
    px_op *op = start(net, instance, "fail", &r, &result);

    ck_assert_int_eq(r.step, PXS_FAIL);
    ck_assert_uint_eq(px_op_fail(op)->klass, PXS_FAIL_INTERNAL);
    ck_assert_str_eq(px_op_fail(op)->message, "a file: URL is not allowed here");
}
END_TEST

START_TEST(runs_blocking)
{
    px_net *net = open_net();
    px_instance *instance = open_steps(base_url());
    pxs_ai_request request = { .size = sizeof request, .prompt = "two" };
    pxs_ai_result result = { .size = sizeof result };

    UNIT_OK(px_op_run(unit_pool, net, instance, run_of(instance), &request, &result, NULL));
    ck_assert_ptr_nonnull(strstr(result.text, "/echo"));
    request.prompt = "wait";
    UNIT_ERR(px_op_run(unit_pool, net, instance, run_of(instance), &request, &result, NULL),
             PX_E_PROVIDER);
    request.prompt = "fail";
    UNIT_ERR(px_op_run(unit_pool, net, instance, run_of(instance), &request, &result, NULL),
             PX_E_NOT_FOUND);
}
END_TEST

/* ---- storage ---- */

static px_app *storage_app(void)
{
    px_app *app = apr_pcalloc(unit_pool, sizeof *app);
    const char *root = apr_pstrcat(unit_pool, work_folder(), "/the store", NULL);
    px_plugin_section *sections[] = { section_of("disk", plugin_file("storage_fs"), "Root", root,
                                                 NULL) };
    px_settings *s = settings_with(sections, 1);

    mkdir(root, 0700);
    set_text(s, PX_S_STORAGE, "disk");
    set_text(s, PX_S_SECRET, "0123456789abcdef0123456789abcdef");
    s->value[PX_S_URL_LIFETIME].number = 900000;
    app->pool = unit_pool;
    app->settings = s;
    app->net = open_net();
    app->plugins = open_registry(s, 1u << PXS_KIND_STORAGE);
    return app;
}

START_TEST(stores_files)
{
    px_app *app = storage_app();
    const char *source = apr_pstrcat(unit_pool, folder, "/source", NULL);
    const char *key = "uploads/u1/i1.jpg";
    const char *path;
    uint64_t len;
    bool temporary = true;
    size_t got;
    int fd = open(source, O_CREAT | O_WRONLY, 0600);

    ck_assert_int_eq(write(fd, "JPEG", 4), 4);
    close(fd);
    UNIT_ERR(px_storage_get_file(app, app->net, unit_pool, key, &path, &len, &temporary),
             PX_E_NOT_FOUND);
    UNIT_OK(px_storage_put_file(app, app->net, unit_pool, key, "image/jpeg", source, 4));
    UNIT_OK(px_storage_get_file(app, app->net, unit_pool, key, &path, &len, &temporary));
    ck_assert_uint_eq(len, 4);
    ck_assert(!temporary);
    ck_assert_str_eq(unit_read(path, &got), "JPEG");
    ck_assert_ptr_nonnull(strstr(path, "/the store/uploads/u1/i1.jpg"));
    UNIT_OK(px_storage_delete(app, app->net, unit_pool, key));
    UNIT_OK(px_storage_delete(app, app->net, unit_pool, key));
    UNIT_ERR(px_storage_get_file(app, app->net, unit_pool, key, &path, &len, &temporary),
             PX_E_NOT_FOUND);
    UNIT_ERR(px_storage_put_file(app, app->net, unit_pool, "../x", "t", source, 4), PX_E_NOT_FOUND);
}
END_TEST

START_TEST(says_outage_when_the_disk_fails)
{
    px_app *app = storage_app();
    const char *source = apr_pstrcat(unit_pool, folder, "/source", NULL);
    const char *blocker = apr_pstrcat(unit_pool, folder, "/the store/uploads", NULL);
    int fd = open(source, O_CREAT | O_WRONLY, 0600);

    close(fd);
    close(open(blocker, O_CREAT | O_WRONLY, 0600));      /* a file where a folder is needed */
    UNIT_ERR(px_storage_put_file(app, app->net, unit_pool, "uploads/u/i.jpg", "t", source, 0),
             PX_E_UNAVAILABLE);
}
END_TEST

START_TEST(judges_keys)
{
    static const char *const bad[] = { "", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/.", "a b",
                                       "a\\b", "ä", "a%2e" };
    char longest[514];

    ck_assert(px_storage_key_fine("uploads/u-1/i_1.jpg"));
    ck_assert(px_storage_key_fine("a..b/.hidden"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(!px_storage_key_fine(bad[i]), "%s passed", bad[i]);
    }
    memset(longest, 'a', 513);
    longest[513] = '\0';
    ck_assert(!px_storage_key_fine(longest));
    ck_assert(px_storage_key_fine(longest + 1));
    ck_assert(!px_storage_key_fine(NULL));
}
END_TEST

START_TEST(signs_urls)
{
    px_app *app = storage_app();
    const char *key = "transformations/u1/t1.jpg";
    const char *user = NULL;
    const char *url;
    char *query;

    UNIT_OK(px_storage_url(app, app->net, unit_pool, key, "u1", "my hat.jpg", &url));
    ck_assert_ptr_nonnull(strstr(url, "/api/files/transformations/u1/t1.jpg?expires="));
    query = apr_pstrdup(unit_pool, strchr(url, '?') + 1);
    UNIT_OK(px_storage_url_verify(app, unit_pool, key, query, &user));
    ck_assert_str_eq(user, "u1");
    ck_assert_str_eq(px_storage_url_name(unit_pool, query), "my hat.jpg");
    UNIT_ERR(px_storage_url_verify(app, unit_pool, "transformations/u1/t2.jpg", query, &user),
             PX_E_AUTH_FORBIDDEN);
    for (char *at = query; *at; at++) {         /* no byte may be changed */
        char keep = *at;
        *at = keep == '1' ? '2' : '1';
        px_err *err = px_storage_url_verify(app, unit_pool, key, query, &user);
        ck_assert_msg(err && err->id == PX_E_AUTH_FORBIDDEN, "%s was accepted", query);
        *at = keep;
    }
    UNIT_ERR(px_storage_url_verify(app, unit_pool, key, apr_pstrcat(unit_pool, query, "&user=u2",
                                                                    NULL), &user),
             PX_E_AUTH_FORBIDDEN);
    UNIT_ERR(px_storage_url_verify(app, unit_pool, key, NULL, &user), PX_E_AUTH_FORBIDDEN);
    ((px_settings *)(uintptr_t)app->settings)->value[PX_S_URL_LIFETIME].number = -1000;
    UNIT_OK(px_storage_url(app, app->net, unit_pool, key, "u1", NULL, &url));
    UNIT_ERR(px_storage_url_verify(app, unit_pool, key, strchr(url, '?') + 1, &user),
             PX_E_AUTH_FORBIDDEN);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

int main(void)
{
    TCase *tc = unit_begin("plugin");

    tcase_add_test(tc, parses_options);
    tcase_add_loop_test(tc, refuses_wrong_options, 0, COUNT(wrong));
    tcase_add_test(tc, wants_required_options_and_safe_secrets);
    tc = unit_case("registry");
    tcase_add_test(tc, configtest_finds_what_does_not_fit);
    tcase_add_test(tc, configtest_passes_what_fits);
    tcase_add_test(tc, takes_resolved_secrets);
    tcase_add_test(tc, opens_only_the_kinds_asked_for);
    tcase_add_test(tc, registry_refuses_with_a_sentence);
    tcase_add_test(tc, selects_in_chain_order);
    tcase_add_test(tc, failure_classes);
    tc = unit_case("operation");
    tcase_add_test(tc, drives_an_operation);
    tcase_add_test(tc, keeps_files_of_replies_until_the_end);
    tcase_add_test(tc, waits_and_resumes);
    tcase_add_test(tc, stops_when_told);
    tcase_add_test(tc, ai_plugins_have_no_files);
    tcase_add_test(tc, runs_blocking);
    tc = unit_case("storage");
    tcase_add_test(tc, stores_files);
    tcase_add_test(tc, says_outage_when_the_disk_fails);
    tcase_add_test(tc, judges_keys);
    tcase_add_test(tc, signs_urls);
    return unit_run();
}
