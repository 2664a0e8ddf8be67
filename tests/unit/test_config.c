/* Settings: types, substitution, lists and their shipped defaults, the rules of production mode,
 * secret references, the JSON hand-over. */
#include "unit.h"
#include "config/settings.h"
#include "base/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static px_settings *settings;
static px_buf *faults;

static void start(void)
{
    unit_setup();
    unsetenv("PIXSHIFT_TEST_CLOCK");
    unsetenv("PIXSHIFT_FAILPOINT");
    settings = px_settings_make(unit_pool);
    faults = px_buf_make(unit_pool, 256);
}

static void set(px_setting_id id, const char *text)
{
    const char *fault = px_settings_set(settings, id, text);
    ck_assert_msg(fault == NULL, "%s", fault);
}

static void refuse(px_setting_id id, const char *text, const char *part)
{
    const char *fault = px_settings_set(settings, id, text);
    ck_assert_msg(fault && strstr(fault, part), "wanted '%s', got '%s'", part,
                  fault ? fault : "no fault");
    ck_assert_msg(strstr(fault, px_setting_rows()[id].directive) != NULL, "%s", fault);
}

static const char *add(const char *line)
{
    const char *words[16];
    char *copy = apr_pstrdup(unit_pool, line);
    char *state = NULL;
    char *directive = apr_strtok(copy, " ", &state);
    int count = 0;
    for (char *word = apr_strtok(NULL, " ", &state); word; word = apr_strtok(NULL, " ", &state)) {
        words[count++] = word;
    }
    return px_settings_add(settings, directive, count, words, "test.conf", 7);
}

static void add_fine(const char *line)
{
    const char *fault = add(line);
    ck_assert_msg(fault == NULL, "%s: %s", line, fault);
}

static void add_refused(const char *line, const char *part)
{
    const char *fault = add(line);
    ck_assert_msg(fault && strstr(fault, part), "%s: got '%s'", line, fault ? fault : "no fault");
}

static const char *secret_file(const char *content, mode_t mode)
{
    char *path = apr_pstrdup(unit_pool, "/tmp/px-test-secret-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

#define MASTER "inline:0123456789abcdef0123456789abcdef"

static void complete(void)
{
    set(PX_S_ENGINE, "On");
    set(PX_S_DATABASE, "host=/run/postgresql dbname=pixshift");
    set(PX_S_SECRET, MASTER);
    set(PX_S_BASE_URL, "https://img.example.com/");
    set(PX_S_STORAGE, "disk");
}

/* ---- scalars --------------------------------------------------------------------------------- */

START_TEST(types_are_parsed)
{
    set(PX_S_DATABASE_POOL, "12");
    set(PX_S_JOB_LEASE, "45s");
    set(PX_S_WAIT_MAX, "500ms");
    set(PX_S_MAX_UPLOAD, "20M");
    set(PX_S_ENGINE, "on");
    set(PX_S_MODE, "Production");
    set(PX_S_STATE_DIR, "/srv/px");
    set(PX_S_BASE_URL, "https://img.example.com/x/");
    ck_assert_int_eq(px_set_int(settings, PX_S_DATABASE_POOL), 12);
    ck_assert_int_eq(px_set_int(settings, PX_S_JOB_LEASE), 45000);
    ck_assert_int_eq(px_set_int(settings, PX_S_WAIT_MAX), 500);
    ck_assert_int_eq(px_set_int(settings, PX_S_MAX_UPLOAD), 20 * 1048576);
    ck_assert(px_set_on(settings, PX_S_ENGINE));
    ck_assert(px_settings_production(settings));
    ck_assert_str_eq(px_set_str(settings, PX_S_MODE), "production");
    ck_assert_str_eq(px_set_str(settings, PX_S_BASE_URL), "https://img.example.com/x");
}
END_TEST

START_TEST(faults_say_what_is_wrong)
{
    refuse(PX_S_DATABASE_POOL, "0", "between 1 and 100");
    refuse(PX_S_DATABASE_POOL, "101", "between 1 and 100");
    refuse(PX_S_DATABASE_POOL, "8x", "whole number");
    refuse(PX_S_DATABASE_POOL, "99999999999999999999", "whole number");
    refuse(PX_S_JOB_LEASE, "soon", "duration");
    refuse(PX_S_JOB_LEASE, "1ms", "milliseconds");
    refuse(PX_S_MAX_UPLOAD, "10Q", "size");
    refuse(PX_S_MAX_UPLOAD, "1T", "size");
    refuse(PX_S_ENGINE, "maybe", "On or Off");
    refuse(PX_S_MODE, "test", "development|production");
    refuse(PX_S_STATE_DIR, "var", "absolute");
    refuse(PX_S_BASE_URL, "ftp://x", "http");
    refuse(PX_S_BASE_URL, "https://", "host");
    refuse(PX_S_BASE_URL, "https://u@h/", "without user");
    refuse(PX_S_STORAGE, "", "empty");
    refuse(PX_S_STORAGE, "a\nb", "control");
    refuse(PX_S_SECRET, "hunter2hunter2", "reference");
    ck_assert_ptr_null(strstr(px_settings_set(settings, PX_S_SECRET, "hunter2"), "hunter2"));
    set(PX_S_STORAGE, "disk");
    refuse(PX_S_STORAGE, "disk", "twice");
}
END_TEST

START_TEST(environment_is_substituted)
{
    setenv("PX_TEST_HOST", "db.example", 1);
    unsetenv("PX_TEST_NONE");
    set(PX_S_DATABASE, "host=${PX_TEST_HOST} dbname=x${PX_TEST_HOST}");
    ck_assert_str_eq(px_set_str(settings, PX_S_DATABASE), "host=db.example dbname=xdb.example");
    refuse(PX_S_STORAGE, "${PX_TEST_NONE}", "PX_TEST_NONE is not set");
    refuse(PX_S_STORAGE, "${", "without a name");
    refuse(PX_S_STORAGE, "${a b}", "without a name");
    setenv("PX_TEST_HOST", "a\001b", 1);
    refuse(PX_S_STORAGE, "${PX_TEST_HOST}", "control");
}
END_TEST

START_TEST(defaults_fill_in)
{
    ck_assert_msg(px_settings_finish(settings, faults), "%s", faults->data);
    for (int i = 0; i < PX_S_COUNT; i++) {
        if (px_setting_rows()[i].fallback) {
            ck_assert_ptr_nonnull(settings->value[i].text);
            ck_assert(!settings->value[i].given);
        }
    }
    ck_assert_int_eq(px_set_int(settings, PX_S_PASSWORD_COST), 12);
    ck_assert_int_eq(px_set_int(settings, PX_S_DELETE_AFTER_DOWNLOAD), 300000);
    ck_assert_ptr_nonnull(px_set_str(settings, PX_S_PLUGIN_DIR));
    ck_assert_ptr_nonnull(strstr(px_set_str(settings, PX_S_WORKER_PROGRAM), "/pixshift-worker"));
    ck_assert(!px_settings_production(settings));
}
END_TEST

/* ---- lists ----------------------------------------------------------------------------------- */

START_TEST(shipped_lists)
{
    ck_assert(px_settings_finish(settings, faults));
    ck_assert_int_eq(px_settings_cost(settings, "transformation"), 1);
    ck_assert_int_eq(px_settings_cost(settings, "transformation:sepia"), 1);
    ck_assert_int_eq(px_settings_cost(settings, "tryon:top"), 1);
    ck_assert_int_eq(px_settings_cost(settings, "tryon:full"), 2);
    ck_assert_int_eq(px_settings_cost(settings, "tryon"), -1);
    ck_assert_int_eq(px_settings_cost(settings, "enhancement:standard:8"), 2);
    ck_assert_int_eq(px_settings_cost(settings, "enhancement:enhanced:4"), 2);
    ck_assert_int_eq(px_settings_cost(settings, "enhancement:enhanced:8"), 3);
    ck_assert_int_eq(px_settings_cost(settings, "enhancement:portrait:2"), 1);
    ck_assert_int_eq(px_settings_cost(settings, "enhancement:standard:3"), -1);
    ck_assert_int_eq(px_settings_cost(settings, "chat"), -1);
    ck_assert_str_eq(px_settings_retention(settings, "transformation"), "ephemeral");
    ck_assert_str_eq(px_settings_retention(settings, "tryon"), "persistent");
    ck_assert_str_eq(settings->rates->name, "ip");
    ck_assert_int_eq(settings->rates->limit, 100);
    ck_assert_int_eq(settings->rates->window_ms, 60000);
    ck_assert_int_eq(settings->rates->next->limit, 1000);
    ck_assert_int_eq(settings->rates->next->next->limit, 50);
    ck_assert_str_eq(settings->rates->next->next->unit, "jobs");
    ck_assert_str_eq(settings->tiers->id, "basic");
    ck_assert_int_eq(settings->tiers->price_minor, 99);
    ck_assert_int_eq(settings->tiers->next->price_minor, 999);
    ck_assert_int_eq(settings->tiers->next->monthly_limit, 100);
    ck_assert_ptr_null(settings->tiers->next->next);
}
END_TEST

START_TEST(own_lists_replace_shipped_rows)
{
    add_fine("PixShiftCost tryon 3");
    add_fine("PixShiftCost enhancement:standard:8 5");
    add_fine("PixShiftRetention transformation none");
    add_fine("PixShiftRateLimit ip ip requests 7 10s");
    add_fine("PixShiftRateLimit key off");
    add_fine("PixShiftRateLimit mine user jobs 9 1d");
    add_fine("PixShiftTier gold Gold monthly 5 JPY 10");
    add_fine("PixShiftProviders transformation local gemini");
    ck_assert(px_settings_finish(settings, faults));
    ck_assert(px_settings_finish(settings, faults));
    ck_assert_int_eq(px_settings_cost(settings, "tryon:full"), 3);
    ck_assert_int_eq(px_settings_cost(settings, "enhancement:standard:8"), 5);
    ck_assert_int_eq(px_settings_cost(settings, "enhancement:standard:2"), 1);
    ck_assert_str_eq(px_settings_retention(settings, "transformation"), "none");
    ck_assert_int_eq(settings->rates->limit, 7);
    ck_assert_str_eq(settings->rates->next->name, "mine");
    ck_assert_ptr_null(settings->rates->next->next);
    ck_assert_str_eq(settings->tiers->id, "gold");
    ck_assert_int_eq(settings->tiers->price_minor, 5);
    ck_assert_ptr_null(settings->tiers->next);
    ck_assert_int_eq(px_settings_chain(settings, "transformation")->count, 2);
    ck_assert_str_eq(px_settings_chain(settings, "transformation")->names[1], "gemini");
    ck_assert_int_eq(px_settings_chain(settings, "transformation")->conf_line, 7);
    ck_assert_ptr_null(px_settings_chain(settings, "tryon"));
}
END_TEST

START_TEST(bad_lists)
{
    add_fine("PixShiftProviders tryon local");
    add_refused("PixShiftProviders tryon local", "twice");
    add_refused("PixShiftProviders dance local", "no operation");
    add_refused("PixShiftProviders chat", "at least one");
    add_refused("PixShiftProviders chat Local", "no name");
    add_refused("PixShiftProviders chat a b a", "named twice");
    add_refused("PixShiftCost tryon:top", "wants");
    add_refused("PixShiftCost tryon:top -1", "credits");
    add_refused("PixShiftCost tryon: 1", "no operation");
    add_refused("PixShiftRetention tryon forever", "persistent");
    add_refused("PixShiftRateLimit x host requests 1 1s", "ip, key or user");
    add_refused("PixShiftRateLimit x ip bytes 1 1s", "requests or jobs");
    add_refused("PixShiftRateLimit x ip requests 0 1s", "number");
    add_refused("PixShiftRateLimit x ip requests 1 1ms", "duration");
    add_refused("PixShiftTier a A per_image 0 USD", "above zero");
    add_refused("PixShiftTier a A per_image 0.999 USD", "above zero");
    add_refused("PixShiftTier a A per_image 1 XYZ", "currency");
    add_refused("PixShiftTier a A monthly 1 USD", "per month");
    add_refused("PixShiftTier a A weekly 1 USD", "per_image");
    add_refused("PixShiftNothing 1", "not a directive");
}
END_TEST

/* ---- the whole ------------------------------------------------------------------------------- */

START_TEST(required_when_on)
{
    set(PX_S_ENGINE, "On");
    px_settings_place(settings, PX_S_ENGINE, "a.conf", 3);
    ck_assert(!px_settings_finish(settings, faults));
    ck_assert_str_eq(faults->data,
                     "a.conf:3: PixShiftDatabase is required when PixShift is On\n"
                     "a.conf:3: PixShiftSecret is required when PixShift is On\n"
                     "a.conf:3: PixShiftBaseURL is required when PixShift is On\n"
                     "a.conf:3: PixShiftStorage is required when PixShift is On\n");
}
END_TEST

START_TEST(production_refuses)
{
    complete();
    set(PX_S_MODE, "production");
    set(PX_S_EGRESS_ALLOW, "127.0.0.0/8");
    set(PX_S_PASSWORD_COST, "9");
    px_settings_place(settings, PX_S_SECRET, "b.conf", 9);
    setenv("PIXSHIFT_TEST_CLOCK", "/nowhere", 1);
    setenv("PIXSHIFT_FAILPOINT", "x:1:kill", 1);
    ck_assert(!px_settings_finish(settings, faults));
    ck_assert_ptr_nonnull(strstr(faults->data, "PIXSHIFT_TEST_CLOCK"));
    ck_assert_ptr_nonnull(strstr(faults->data, "PIXSHIFT_FAILPOINT"));
    ck_assert_ptr_nonnull(strstr(faults->data, "PixShiftEgressAllow is for tests"));
    ck_assert_ptr_nonnull(strstr(faults->data, "PixShiftPasswordCost below 10"));
    ck_assert_ptr_nonnull(strstr(faults->data, "b.conf:9: PixShiftSecret: inline secrets"));
    ck_assert_ptr_null(strstr(faults->data, "0123456789"));
}
END_TEST

START_TEST(development_allows)
{
    complete();
    set(PX_S_EGRESS_ALLOW, "127.0.0.0/8 ::1/128");
    set(PX_S_PASSWORD_COST, "4");
    ck_assert_msg(px_settings_finish(settings, faults), "%s", faults->data);
}
END_TEST

START_TEST(contradictions)
{
    set(PX_S_JOB_LEASE, "10s");
    set(PX_S_JOB_HEARTBEAT, "10s");
    set(PX_S_MIN_SIDE, "6000");
    set(PX_S_REFRESH_MAX, "1d");
    set(PX_S_SESSION_IDLE, "8d");
    set(PX_S_DATABASE, "host=x password=y");
    set(PX_S_EGRESS_ALLOW, "10.0.0.0/8 nonsense");
    set(PX_S_CORS_ORIGINS, "https://a.example b.example");
    px_settings_place(settings, PX_S_MIN_SIDE, "c.conf", 4);
    ck_assert(!px_settings_finish(settings, faults));
    ck_assert_ptr_nonnull(strstr(faults->data, "PixShiftJobHeartbeat (10s) must be less than"));
    ck_assert_ptr_nonnull(strstr(faults->data, "c.conf:4: PixShiftImageMinSide (6000) must be"));
    ck_assert_ptr_nonnull(strstr(faults->data, "PixShiftRefreshTokenLifetime"));
    ck_assert_ptr_nonnull(strstr(faults->data, "PixShiftSessionIdle"));
    ck_assert_ptr_nonnull(strstr(faults->data, "PixShiftDatabasePassword"));
    ck_assert_ptr_nonnull(strstr(faults->data, "'nonsense' is not an address range"));
    ck_assert_ptr_nonnull(strstr(faults->data, "'b.example' is not an origin"));
}
END_TEST

START_TEST(database_urls_without_password)
{
    set(PX_S_DATABASE, "postgresql://u:secret@h/db");
    ck_assert(!px_settings_finish(settings, faults));
    ck_assert_ptr_null(strstr(faults->data, "secret@"));
    settings = px_settings_make(unit_pool);
    set(PX_S_DATABASE, "postgresql://u@h:5433/db");
    ck_assert(px_settings_finish(settings, faults));
}
END_TEST

START_TEST(sections_are_unique)
{
    px_settings_add_plugin(settings, "disk", "storage_fs.so", "d.conf", 1);
    px_settings_add_plugin(settings, "disk", "storage_fs.so", "d.conf", 5);
    ck_assert(!px_settings_finish(settings, faults));
    ck_assert_str_eq(faults->data, "d.conf:5: the plugin section 'disk' is given twice\n");
}
END_TEST

/* ---- secrets --------------------------------------------------------------------------------- */

static void resolves(const char *ref, const char *want)
{
    const char *value = NULL;
    UNIT_OK(px_secret_resolve(unit_pool, ref, &value));
    ck_assert_str_eq(value, want);
}

static void unresolved(const char *ref, const char *part)
{
    const char *value = NULL;
    px_err *err = px_secret_resolve(unit_pool, ref, &value);
    ck_assert_msg(err && err->cause && strstr(err->cause, part), "%s: %s", ref,
                  err ? err->cause : "no error");
}

START_TEST(secret_files)
{
    const char *good = secret_file("s3cret\n", 0400);
    const char *open_file = secret_file("s3cret\n", 0440);
    const char *empty = secret_file("\n", 0600);
    resolves(apr_pstrcat(unit_pool, "file:", good, NULL), "s3cret");
    unresolved(apr_pstrcat(unit_pool, "file:", open_file, NULL), "mode 0440");
    unresolved(apr_pstrcat(unit_pool, "file:", empty, NULL), "empty");
    unresolved("file:/nowhere/at/all", "does not exist");
    unresolved("file:relative", "absolute");
    unresolved("file:/tmp", "regular file");
    ck_assert_ptr_nonnull(px_secret_check(unit_pool, "file:/nowhere", false));
    unlink(good);
    unlink(open_file);
    unlink(empty);
}
END_TEST

START_TEST(secret_environment_and_credentials)
{
    const char *file = secret_file("from systemd", 0440);
    setenv("PX_TEST_SECRET", "from env", 1);
    resolves("env:PX_TEST_SECRET", "from env");
    unresolved("env:PX_TEST_MISSING", "not set");
    unresolved("env:A B", "name");
    setenv("CREDENTIALS_DIRECTORY", "/tmp", 1);
    resolves(apr_pstrcat(unit_pool, "cred:", file + 5, NULL), "from systemd");
    unresolved("cred:../etc/passwd", "name");
    unresolved("cred:..", "name");
    unlink(file);
}
END_TEST

START_TEST(secret_programs)
{
    resolves("exec:/bin/echo one  two", "one two");
    unresolved("exec:/bin/false", "failed");
    unresolved("exec:echo x", "absolute");
    unresolved("exec:/nowhere/prog", "cannot be executed");
    /* no shell: the metacharacters are arguments */
    resolves("exec:/bin/echo $HOME;id", "$HOME;id");
    unresolved("exec:/usr/bin/head -c 100000 /dev/zero", "too much");
}
END_TEST

START_TEST(secret_program_that_hangs)
{
    unresolved("exec:/bin/sleep 60", "5 s");
}
END_TEST

START_TEST(inline_only_outside_production)
{
    resolves("inline:x", "x");
    ck_assert_ptr_null(px_secret_check(unit_pool, "inline:x", false));
    ck_assert_ptr_nonnull(px_secret_check(unit_pool, "inline:x", true));
    ck_assert_ptr_nonnull(px_secret_check(unit_pool, "plain", false));
}
END_TEST

START_TEST(scalar_secrets)
{
    complete();
    ck_assert(px_settings_finish(settings, faults));
    ck_assert_ptr_null(px_set_str(settings, PX_S_SECRET));
    UNIT_OK(px_settings_resolve_secrets(settings));
    ck_assert_str_eq(px_set_str(settings, PX_S_SECRET), MASTER + 7);
    UNIT_OK(px_settings_resolve_secrets(settings));
    settings = px_settings_make(unit_pool);
    set(PX_S_SECRET, "inline:short");
    UNIT_ERR(px_settings_resolve_secrets(settings), PX_E_INTERNAL);
}
END_TEST

/* ---- JSON ------------------------------------------------------------------------------------ */

static px_settings *through_json(bool secrets)
{
    px_settings *copy = NULL;
    const char *json = px_settings_to_json(unit_pool, settings, secrets);
    UNIT_OK(px_settings_from_json(unit_pool, json, strlen(json), &copy));
    return copy;
}

static void fill_all(void)
{
    px_plugin_section *section;
    complete();
    section = px_settings_add_plugin(settings, "disk", "storage_fs.so", "e.conf", 11);
    ck_assert_ptr_null(px_settings_add_option(settings, section, "Root", "/srv/img", "e.conf", 12));
    ck_assert_ptr_null(
        px_settings_add_option(settings, section, "Key", "inline:plug$in\"", "e.conf", 13));
    add_fine("PixShiftProviders transformation local gemini");
    add_fine("PixShiftRateLimit key off");
    ck_assert_msg(px_settings_finish(settings, faults), "%s", faults->data);
    UNIT_OK(px_settings_resolve_secrets(settings));
    UNIT_OK(px_settings_resolve_option(settings, section->options->next));
}

START_TEST(json_carries_everything)
{
    px_settings *copy;
    const char *value;
    fill_all();
    copy = through_json(true);
    for (int i = 0; i < PX_S_COUNT; i++) {
        ck_assert_pstr_eq(copy->value[i].text, settings->value[i].text);
        ck_assert_int_eq(copy->value[i].number, settings->value[i].number);
    }
    ck_assert_str_eq(px_set_str(copy, PX_S_SECRET), MASTER + 7);
    ck_assert_str_eq(copy->plugins->name, "disk");
    ck_assert_str_eq(copy->plugins->file, "storage_fs.so");
    ck_assert_int_eq(copy->plugins->options->line, 12);
    ck_assert_ptr_null(px_secret_check(unit_pool, copy->plugins->options->next->value, true));
    UNIT_OK(px_secret_resolve(unit_pool, copy->plugins->options->next->value, &value));
    ck_assert_str_eq(value, "plug$in\"");
    ck_assert_int_eq(px_settings_chain(copy, "transformation")->count, 2);
    ck_assert_int_eq(px_settings_cost(copy, "tryon:full"), 2);
    ck_assert_str_eq(copy->rates->next->name, "user-jobs");
    ck_assert_str_eq(copy->tiers->next->description, "100 images every month.");
    ck_assert(px_settings_finish(copy, faults));
    ck_assert_ptr_null(copy->rates->next->next);
    ck_assert_str_eq(px_settings_to_json(unit_pool, copy, true),
                     px_settings_to_json(unit_pool, settings, true));
}
END_TEST

START_TEST(json_without_secrets)
{
    const char *json;
    fill_all();
    json = px_settings_to_json(unit_pool, settings, false);
    ck_assert_ptr_null(strstr(json, "\"secret"));
    /* inline: references are the secret and stay visible to nobody */
    ck_assert_ptr_null(strstr(json, "0123456789abcdef"));
    ck_assert_ptr_null(strstr(json, "plug$in"));
}
END_TEST

START_TEST(bad_json)
{
    static const char *const bad[] = {
        "", "[]", "{}", "{\"version\":2,\"settings\":{}}",
        "{\"version\":1,\"settings\":{\"PixShiftNothing\":\"x\"},\"plugins\":[],\"providers\":[],"
        "\"rate_limits\":[],\"tiers\":[],\"costs\":{},\"retention\":{}}",
        "{\"version\":1,\"settings\":{\"PixShiftDatabasePool\":\"1000\"},\"plugins\":[],"
        "\"providers\":[],\"rate_limits\":[],\"tiers\":[],\"costs\":{},\"retention\":{}}",
        "{\"version\":1,\"settings\":{},\"plugins\":[{}],\"providers\":[],\"rate_limits\":[],"
        "\"tiers\":[],\"costs\":{},\"retention\":{}}",
        "{\"version\":1,\"settings\":{},\"plugins\":[],\"providers\":[1],\"rate_limits\":[],"
        "\"tiers\":[],\"costs\":{},\"retention\":{}}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        px_settings *copy = NULL;
        ck_assert_msg(px_settings_from_json(unit_pool, bad[i], strlen(bad[i]), &copy) != NULL,
                      "%s", bad[i]);
    }
}
END_TEST

static TCase *group(const char *name)
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, start, unit_teardown);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(unit_suite, tc);
    return tc;
}

int main(void)
{
    TCase *tc;
    unit_suite = suite_create("config");
    tc = group("scalars");
    tcase_add_test(tc, types_are_parsed);
    tcase_add_test(tc, faults_say_what_is_wrong);
    tcase_add_test(tc, environment_is_substituted);
    tcase_add_test(tc, defaults_fill_in);
    tc = group("lists");
    tcase_add_test(tc, shipped_lists);
    tcase_add_test(tc, own_lists_replace_shipped_rows);
    tcase_add_test(tc, bad_lists);
    tc = group("whole");
    tcase_add_test(tc, required_when_on);
    tcase_add_test(tc, production_refuses);
    tcase_add_test(tc, development_allows);
    tcase_add_test(tc, contradictions);
    tcase_add_test(tc, database_urls_without_password);
    tcase_add_test(tc, sections_are_unique);
    tc = group("secrets");
    tcase_add_test(tc, secret_files);
    tcase_add_test(tc, secret_environment_and_credentials);
    tcase_add_test(tc, secret_programs);
    tcase_add_test(tc, secret_program_that_hangs);
    tcase_add_test(tc, inline_only_outside_production);
    tcase_add_test(tc, scalar_secrets);
    tc = group("json");
    tcase_add_test(tc, json_carries_everything);
    tcase_add_test(tc, json_without_secrets);
    tcase_add_test(tc, bad_json);
    return unit_run();
}
