/* What every unit test shares: APR start, a pool per test, px_err assertions, the shared folder.
 * Included by exactly one C file per program, so everything here is static. */
#ifndef PX_TESTS_UNIT_H
#define PX_TESTS_UNIT_H

#include "base/error.h"
#include <apr_general.h>
#include <apr_pools.h>
#include <apr_strings.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNIT_UNUSED __attribute__((unused))

static apr_pool_t *unit_pool;
static Suite *unit_suite;

static void unit_setup(void)
{
    apr_initialize();
    apr_pool_create(&unit_pool, NULL);
}

static void unit_teardown(void)
{
    apr_pool_destroy(unit_pool);
    unit_pool = NULL;
}

/* A further test case (group) of the running suite. */
static UNIT_UNUSED TCase *unit_case(const char *name)
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, unit_setup, unit_teardown);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(unit_suite, tc);
    return tc;
}

static UNIT_UNUSED TCase *unit_begin(const char *name)
{
    unit_suite = suite_create(name);
    return unit_case(name);
}

static UNIT_UNUSED int unit_run(void)
{
    SRunner *runner = srunner_create(unit_suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define UNIT_OK(call)                                                                         \
    do {                                                                                      \
        px_err *unit_err_ = (call);                                                           \
        if (unit_err_) {                                                                      \
            ck_abort_msg("%s: %s: %s (%s)", #call, px_err_info(unit_err_->id)->name,          \
                         unit_err_->text, unit_err_->cause ? unit_err_->cause : "no cause");  \
        }                                                                                     \
    } while (0)

#define UNIT_ERR(call, want)                                                                  \
    do {                                                                                      \
        px_err *unit_err_ = (call);                                                           \
        ck_assert_msg(unit_err_ != NULL, "%s: no error", #call);                              \
        ck_assert_msg(unit_err_->id == (want), "%s: got %s, wanted %s", #call,                \
                      px_err_info(unit_err_->id)->name, px_err_info(want)->name);             \
    } while (0)

/* A file or folder of the shared vectors, or NULL when it is not at hand. */
static UNIT_UNUSED const char *unit_shared(const char *path)
{
    const char *root = getenv("PIXSHIFT_SHARED");
    const char *srcdir = getenv("srcdir");
    const char *found;
    if (!root) {
        root = apr_pstrcat(unit_pool, srcdir ? srcdir : ".", "/../shared", NULL);
    }
    found = apr_pstrcat(unit_pool, root, "/", path, NULL);
    return access(found, R_OK) == 0 ? found : NULL;
}

/* A whole file, NUL added; NULL when it cannot be read. */
static UNIT_UNUSED char *unit_read(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    char *data;
    long size;
    *len = 0;
    if (!f) {
        return NULL;
    }
    fseek(f, 0, SEEK_END);
    size = ftell(f);
    rewind(f);
    data = apr_palloc(unit_pool, (apr_size_t)size + 1);
    *len = fread(data, 1, (size_t)size, f);
    data[*len] = '\0';
    fclose(f);
    return data;
}

#endif
