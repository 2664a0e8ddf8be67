/* Finds, orders and reads migration files. */
#include "migrate_files.h"

#include "base/buf.h"
#include "base/crypto.h"
#include <apr_file_info.h>
#include <apr_file_io.h>
#include <apr_strings.h>
#include <apr_tables.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_FILE (4 * 1024 * 1024)

px_err *migration_file_read(apr_pool_t *pool, const char *path, const char **sql)
{
    apr_file_t *file;
    apr_finfo_t info;
    apr_status_t st;
    char *text;

    st = apr_file_open(&file, path, APR_READ | APR_BUFFERED, APR_OS_DEFAULT, pool);
    if (st != APR_SUCCESS) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS2020", "cannot open %s (%d)", path, st);
    }
    st = apr_file_info_get(&info, APR_FINFO_SIZE, file);
    if (st != APR_SUCCESS || info.size > LARGEST_FILE) {
        apr_file_close(file);
        return px_error(pool, PX_E_UNAVAILABLE, "PXS2020", "%s is no usable migration", path);
    }
    text = apr_pcalloc(pool, (apr_size_t)info.size + 1);
    st = apr_file_read_full(file, text, (apr_size_t)info.size, NULL);
    apr_file_close(file);
    if ((st != APR_SUCCESS && info.size > 0) || !px_utf8_valid(text, (size_t)info.size)) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS2020", "%s cannot be read as UTF-8", path);
    }
    *sql = text;
    return NULL;
}

/* "0003_credit.up.sql" -> 3, "credit" */
static bool parse_name(apr_pool_t *pool, const char *file, int *version, const char **name)
{
    static const char suffix[] = ".up.sql";
    size_t len = strlen(file);
    const char *mark = strchr(file, '_');
    long long number;

    if (!mark || len <= sizeof suffix - 1 || strcmp(file + len - sizeof suffix + 1, suffix) != 0
        || !px_parse_int(apr_pstrmemdup(pool, file, (apr_size_t)(mark - file)), 1, 999999,
                         &number)) {
        return false;
    }
    *version = (int)number;
    *name = apr_pstrmemdup(pool, mark + 1, len - (size_t)(mark + 1 - file) - (sizeof suffix - 1));
    return **name != '\0';
}

static int by_version(const void *a, const void *b)
{
    return ((const migration_file *)a)->version - ((const migration_file *)b)->version;
}

static px_err *describe(apr_pool_t *pool, const char *dir, const char *file, migration_file *m)
{
    const char *sql;
    px_err *err;

    m->up = apr_pstrcat(pool, dir, "/", file, NULL);
    m->down = apr_pstrcat(pool, apr_pstrndup(pool, m->up, strlen(m->up) - strlen(".up.sql")),
                          ".down.sql", NULL);
    err = migration_file_read(pool, m->up, &sql);
    if (!err) {
        m->sha256 = px_sha256_hex(pool, sql, strlen(sql));
    }
    return err;
}

px_err *migration_files_list(apr_pool_t *pool, const char *dir, migration_file **list, int *count)
{
    apr_array_header_t *found = apr_array_make(pool, 16, sizeof(migration_file));
    apr_dir_t *d;
    apr_finfo_t info;
    apr_status_t st = apr_dir_open(&d, dir, pool);
    px_err *err = NULL;
    int i;

    if (st != APR_SUCCESS) {
        return px_error(pool, PX_E_UNAVAILABLE, "PXS2020", "cannot open the folder %s (%d)", dir,
                        st);
    }
    while (!err && (st = apr_dir_read(&info, APR_FINFO_NAME, d)) == APR_SUCCESS) {
        migration_file m = { 0 };
        if (parse_name(pool, info.name, &m.version, &m.name)) {
            err = describe(pool, dir, apr_pstrdup(pool, info.name), &m);
            APR_ARRAY_PUSH(found, migration_file) = m;
        }
    }
    apr_dir_close(d);
    if (err) {
        return err;
    }
    *list = (migration_file *)found->elts;
    *count = found->nelts;
    qsort(*list, (size_t)*count, sizeof **list, by_version);
    for (i = 1; i < *count; i++) {
        if ((*list)[i].version == (*list)[i - 1].version) {
            return px_error(pool, PX_E_UNAVAILABLE, "PXS2020", "two migrations have number %d",
                            (*list)[i].version);
        }
    }
    return *count ? NULL : px_error(pool, PX_E_UNAVAILABLE, "PXS2020", "no migrations in %s", dir);
}
