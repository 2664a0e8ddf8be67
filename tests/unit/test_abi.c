/* Broken plugins: describing or checking each gives a sentence that names its fault, and the
 * process that asks lives on.  BROKEN_DIR holds what tests/plugins/broken/ was built to. */
#include "unit.h"
#include "unit_folder.h"
#include "plugin/conform.h"

#include <fcntl.h>
#include <sys/stat.h>

static const char *path_of(const char *name)
{
    return apr_pstrcat(unit_pool, BROKEN_DIR, "/", name, ".so", NULL);
}

static const struct { const char *name, *sentence; } refused[] = {
    { "b_magic", "bad magic 0xdeadbeef" },
    { "b_major", "ABI major 2, this host speaks 1" },
    { "b_symbol", "symbol pixshift_plugin is missing" },
    { "b_short", "the ai ops table is too short" },
    { "b_missing", "operation missing: run" },
    { "b_options", "bad option table: option Mode is an enum without choices" },
    { "b_default", "the default of option Quality does not fit" },
    { "b_constructor", "it crashed (signal 6" },
    { "b_hang", "it hung" },
};

START_TEST(describe_names_the_fault)
{
    px_plugin_info *info;
    const char *fault = px_plugin_describe(unit_pool, path_of(refused[_i].name), false, &info);

    ck_assert_msg(fault != NULL, "%s was accepted", refused[_i].name);
    ck_assert_msg(strstr(fault, refused[_i].sentence) != NULL, "%s: %s", refused[_i].name, fault);
    ck_assert_ptr_null(info);
}
END_TEST

START_TEST(check_names_the_fault_of_the_descriptor)
{
    px_buf *report = px_buf_make(unit_pool, 256);

    ck_assert(!px_plugin_conformance(unit_pool, path_of(refused[_i].name), NULL, report));
    ck_assert_msg(strstr(report->data, refused[_i].sentence) != NULL, "%s", report->data);
}
END_TEST

static const struct { const char *name, *sentence; } misbehaving[] = {
    { "b_open", "while opening an instance" },
    { "b_refuses", "open fails without a sentence" },
    { "b_run", "it crashed (signal 11, Segmentation fault) while reply 1 cut to 0 of" },
    { "b_overread", "while reply 1 cut to" },
    { "b_loop", "it hung" },
    { "b_endless", "it asks for exchange 2" },
    { "b_step", "it returned the unknown step 17" },
    { "b_stale", "does it keep pointers to option values" },
    { "b_leak", "it leaks memory" },
    { "b_close", "while closing NULL" },
};

/* With a case of its own: rubbish is then told from what the plugin expects. */
static const char *case_folder(void)
{
    static const char text[] =
        "{\"operation\":\"generate\",\"request\":{\"prompt\":\"x\"},\"exchanges\":[{\"reply\":{\"body\":"
        "\"{\\\"image\\\":\\\"0123456789012345678901234567890123456789012345678901234567890\\\"}\"}}],"
        "\"result\":{}}";
    char *folder = unit_folder();
    int fd = open(apr_pstrcat(unit_pool, folder, "/case.json", NULL), O_CREAT | O_WRONLY, 0600);
    ck_assert_int_eq(write(fd, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    close(fd);
    return folder;
}

START_TEST(check_names_misbehaviour)
{
    px_buf *report = px_buf_make(unit_pool, 256);
    const char *name = misbehaving[_i].name;

#ifdef __SANITIZE_ADDRESS__
    if (strcmp(name, "b_leak") == 0) {
        return;                         /* the sanitizer's allocator keeps no count */
    }
#endif
    px_conform_limit_ms = 1500;
    ck_assert(!px_plugin_conformance(unit_pool, path_of(name), case_folder(), report));
    ck_assert_msg(strstr(report->data, misbehaving[_i].sentence) != NULL, "%s: %s", name,
                  report->data);
}
END_TEST

/* Without cases every exchange is answered, so only the number of steps can stop it. */
START_TEST(endless_plugins_are_stopped)
{
    px_buf *report = px_buf_make(unit_pool, 256);

    ck_assert(!px_plugin_conformance(unit_pool, path_of("b_endless"), NULL, report));
    ck_assert_msg(strstr(report->data, "it does not come to an end") != NULL, "%s", report->data);
}
END_TEST

START_TEST(good_plugins_pass)
{
    static const char *const names[] = { "b_good", "b_longer" };

    for (int i = 0; i < 2; i++) {
        px_buf *report = px_buf_make(unit_pool, 256);
        px_plugin_info *info;
        ck_assert_msg(px_plugin_conformance(unit_pool, path_of(names[i]), case_folder(), report),
                      "%s", report->data);
        report = px_buf_make(unit_pool, 256);
        ck_assert_msg(px_plugin_conformance(unit_pool, path_of(names[i]), NULL, report), "%s",
                      report->data);
        ck_assert_ptr_null(px_plugin_describe(unit_pool, path_of(names[i]), false, &info));
        ck_assert_str_eq(info->name, names[i]);
        ck_assert_int_eq(info->option_count, 2);
        ck_assert_str_eq(info->options[1].name, "Quality");
        ck_assert_int_eq(info->options[1].max, 100);
    }
}
END_TEST

/* The bundled plugins with their recorded cases. */
START_TEST(bundled_plugins_pass)
{
    static const char *const names[] = { "storage_fs", "message_outbox" };

    for (int i = 0; i < 2; i++) {
        px_buf *report = px_buf_make(unit_pool, 256);
        const char *file = apr_pstrcat(unit_pool, PLUGIN_DIR, "/", names[i], ".so", NULL);
        const char *cases = apr_pstrcat(unit_pool, PLUGIN_SRC, "/", names[i], "/cases", NULL);
        ck_assert_msg(px_plugin_conformance(unit_pool, file, cases, report), "%s", report->data);
    }
}
END_TEST

START_TEST(files_are_looked_at_before_loading)
{
    const char *folder = case_folder();
    const char *link = apr_pstrcat(unit_pool, folder, "/b_good.so", NULL);
    const char *renamed = apr_pstrcat(unit_pool, folder, "/other.so", NULL);
    px_plugin_info *info;
    const char *fault;

    fault = px_plugin_describe(unit_pool, path_of("absent"), false, &info);
    ck_assert_ptr_nonnull(strstr(fault, "cannot be opened: No such file"));
    fault = px_plugin_describe(unit_pool, apr_pstrcat(unit_pool, folder, "/case.json", NULL), false,
                               &info);
    ck_assert_str_eq(fault, "it is not a shared object");
    fault = px_plugin_describe(unit_pool, folder, false, &info);
    ck_assert_str_eq(fault, "it is not a regular file");
    ck_assert_int_eq(symlink(path_of("b_good"), link), 0);
    fault = px_plugin_describe(unit_pool, link, false, &info);
    ck_assert_str_eq(fault, "the file is a symbolic link");
    size_t len;
    char *data = unit_read(path_of("b_good"), &len);
    int fd = open(renamed, O_CREAT | O_WRONLY, 0755);
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    close(fd);
    fault = px_plugin_describe(unit_pool, renamed, false, &info);
    ck_assert_str_eq(fault, "the plugin calls itself \"b_good\", so its file must be b_good.so");
}
END_TEST

/* Production: nobody but root may be able to exchange the file. */
START_TEST(strict_mode_wants_safe_owners)
{
    char *folder = unit_folder();
    const char *copy;
    px_plugin_info *info;
    const char *fault;
    size_t len;
    char *data = unit_read(path_of("b_good"), &len);
    int fd;

    copy = apr_pstrcat(unit_pool, folder, "/b_good.so", NULL);
    fd = open(copy, O_CREAT | O_WRONLY, 0755);
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    fchmod(fd, 0777);
    close(fd);
    fault = px_plugin_describe(unit_pool, copy, true, &info);
    ck_assert_ptr_nonnull(fault);
    ck_assert_str_eq(fault, "its file is not owned by root or others may write to it");
    chmod(copy, 0755);
    fault = px_plugin_describe(unit_pool, copy, true, &info);
    ck_assert_ptr_nonnull(fault);       /* root or not, /tmp may be written by everybody */
    ck_assert_ptr_nonnull(strstr(fault, "others may write to it"));
    ck_assert_ptr_null(px_plugin_describe(unit_pool, copy, false, &info));
    if (getuid() == 0 && chdir("/var/lib") == 0 && mkdir("px-test-abi", 0755) == 0) {
        /* folders and file of root: fine, also through a link among the folders */
        const char *safe = "/var/lib/px-test-abi/b_good.so";
        fd = open(safe, O_CREAT | O_WRONLY, 0644);
        ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
        close(fd);
        fault = px_plugin_describe(unit_pool, safe, true, &info);
        const char *link = apr_pstrcat(unit_pool, folder, "/link", NULL);
        ck_assert_int_eq(symlink("/var/lib/px-test-abi", link), 0);
        const char *by_link = px_plugin_describe(unit_pool, apr_pstrcat(unit_pool, link,
                                                                        "/b_good.so", NULL), true,
                                                 &info);
        unlink(safe);
        rmdir("/var/lib/px-test-abi");
        ck_assert_msg(fault == NULL, "%s", fault);
        ck_assert_msg(by_link == NULL, "%s", by_link);
    }
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

int main(void)
{
    TCase *tc = unit_begin("abi");

    tcase_add_loop_test(tc, describe_names_the_fault, 0, COUNT(refused));
    tcase_add_loop_test(tc, check_names_the_fault_of_the_descriptor, 0, COUNT(refused));
    tcase_add_loop_test(tc, check_names_misbehaviour, 0, COUNT(misbehaving));
    tcase_add_test(tc, endless_plugins_are_stopped);
    tcase_add_test(tc, good_plugins_pass);
    tcase_add_test(tc, bundled_plugins_pass);
    tcase_add_test(tc, files_are_looked_at_before_loading);
    tcase_add_test(tc, strict_mode_wants_safe_owners);
    return unit_run();
}
