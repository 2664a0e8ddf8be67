/* Loading a plugin: the file is opened once, checked through the descriptor and loaded through the
 * same descriptor, so it cannot be swapped in between. */
#include "plugin_internal.h"

#include <apr_strings.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool others_write(const struct stat *st)
{
    return st->st_uid != 0 || (st->st_mode & (S_IWGRP | S_IWOTH));
}

/* Production: nobody but root may be able to put another file in place. */
static const char *ownership_fault(apr_pool_t *pool, const char *path, const struct stat *file)
{
    char *folder = apr_pstrdup(pool, path);
    struct stat st;

    if (others_write(file)) {
        return "its file is not owned by root or others may write to it";
    }
    for (char *slash = strrchr(folder, '/'); slash; slash = strrchr(folder, '/')) {
        *slash = '\0';
        if (lstat(folder[0] ? folder : "/", &st) != 0) {
            return apr_psprintf(pool, "%s: %s", folder, strerror(errno));
        }
        if (others_write(&st)) {
            return apr_psprintf(pool, "the folder %s is not owned by root or others may write to "
                                "it",
                                folder[0] ? folder : "/");
        }
    }
    return NULL;
}

/* The path without links in its folders, so that the folders looked at are the ones that count. */
static const char *without_links(apr_pool_t *pool, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *folder = !slash ? "." : slash == path ? "/"
                                      : apr_pstrmemdup(pool, path, (apr_size_t)(slash - path));
    char *real = realpath(folder, NULL);
    const char *joined = path;

    if (real) {
        joined = apr_pstrcat(pool, strcmp(real, "/") == 0 ? "" : real, "/",
                             slash ? slash + 1 : path, NULL);
        free(real);
    }
    return joined;
}

static const char *open_checked(apr_pool_t *pool, const char *given, bool strict, int *out)
{
    const char *path = without_links(pool, given);
    char magic[4] = "";
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    const char *fault = NULL;

    if (fd < 0) {
        return errno == ELOOP ? "the file is a symbolic link"
                              : apr_psprintf(pool, "the file cannot be opened: %s",
                                             strerror(errno));
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        fault = "it is not a regular file";
    } else if (pread(fd, magic, 4, 0) != 4 || memcmp(magic, "\177ELF", 4) != 0) {
        fault = "it is not a shared object";
    } else if (strict) {
        fault = given[0] == '/' ? ownership_fault(pool, path, &st) : "its path is not absolute";
    }
    if (fault) {
        close(fd);
        return fault;
    }
    *out = fd;
    return NULL;
}

/* An object that stays loaded after dlclose is known to the loader under the number of its
 * descriptor: that number must then never name another file. */
static void unload(px_plugin *plugin)
{
    char name[64];
    void *still;

    apr_snprintf(name, sizeof name, "/proc/self/fd/%d", plugin->fd);
    if (plugin->dl) {
        dlclose(plugin->dl);
    }
    still = dlopen(name, RTLD_NOLOAD | RTLD_LAZY);
    if (still) {
        dlclose(still);
        return;
    }
    close(plugin->fd);
}

static apr_status_t on_pool(void *data)
{
    unload(data);
    return APR_SUCCESS;
}

/* dlerror's text names the descriptor: show the file's path instead. */
static const char *loader_sentence(apr_pool_t *pool, const char *name)
{
    const char *text = dlerror();

    text = text ? text : "the loader gives no reason";
    if (strncmp(text, name, strlen(name)) == 0) {
        text += strlen(name);
        text += strspn(text, ": ");
    }
    return apr_psprintf(pool, "it cannot be loaded: %s", text);
}

static const char *resolve(apr_pool_t *pool, px_plugin *plugin)
{
    const pxs_plugin *(*entry)(void);
    char name[64];
    void *symbol;

    apr_snprintf(name, sizeof name, "/proc/self/fd/%d", plugin->fd);
    plugin->dl = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!plugin->dl) {
        return loader_sentence(pool, name);
    }
    symbol = dlsym(plugin->dl, "pixshift_plugin");
    if (!symbol) {
        return "the symbol pixshift_plugin is missing";
    }
    memcpy(&entry, &symbol, sizeof entry);
    plugin->descriptor = entry();
    return px_descriptor_fault(pool, plugin->descriptor, plugin->path);
}

const char *px_plugin_load(apr_pool_t *pool, const char *path, bool strict, px_plugin **out)
{
    px_plugin *plugin = apr_pcalloc(pool, sizeof *plugin);
    const char *fault = open_checked(pool, path, strict, &plugin->fd);

    *out = NULL;
    if (fault) {
        return fault;
    }
    plugin->path = apr_pstrdup(pool, path);
    fault = resolve(pool, plugin);
    if (fault) {
        fault = apr_pstrdup(pool, fault);
        unload(plugin);
        return fault;
    }
    apr_pool_cleanup_register(pool, plugin, on_pool, apr_pool_cleanup_null);
    *out = plugin;
    return NULL;
}

const pxs_plugin *px_plugin_descriptor(const px_plugin *plugin)
{
    return plugin->descriptor;
}
