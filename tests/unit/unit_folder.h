/* A private folder for the running test, removed with unit_pool. Include after unit.h. */
#ifndef PX_TESTS_UNIT_FOLDER_H
#define PX_TESTS_UNIT_FOLDER_H

#include <ftw.h>

static int unit_folder_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static apr_status_t unit_folder_cleanup(void *path)
{
    nftw(path, unit_folder_remove, 16, FTW_DEPTH | FTW_PHYS);
    return APR_SUCCESS;
}

static char *unit_folder(void)
{
    char *path = apr_pstrdup(unit_pool, "/tmp/px-unit-XXXXXX");

    ck_assert_ptr_nonnull(mkdtemp(path));
    apr_pool_cleanup_register(unit_pool, path, unit_folder_cleanup, apr_pool_cleanup_null);
    return path;
}

#endif
