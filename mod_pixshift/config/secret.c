/* Secret references: where a secret is kept, never the secret itself.
 *   file:/absolute/path     first line of a file that only its owner may read
 *   env:NAME                environment variable of the httpd that starts
 *   exec:/program [args]    standard output of a program (no shell)
 *   cred:name               file in systemd's $CREDENTIALS_DIRECTORY
 *   inline:VALUE            the secret itself; refused in production mode */
#include "settings_internal.h"
#include "secret_exec.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_MAX 65536
#define MASTER_MIN 32

static bool starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* ---- well-formed? ---------------------------------------------------------------------------- */

static const char *mode_fault(apr_pool_t *pool, const char *path, const struct stat *st)
{
    if (!S_ISREG(st->st_mode)) {
        return apr_psprintf(pool, "%s is not a regular file", path);
    }
    if (st->st_mode & 077) {
        return apr_psprintf(pool, "%s may be read by others (mode %04o): use 0400 or 0600", path,
                            (unsigned)(st->st_mode & 07777));
    }
    if (st->st_uid != 0 && st->st_uid != geteuid()) {
        return apr_psprintf(pool, "%s belongs to another user (uid %u)", path,
                            (unsigned)st->st_uid);
    }
    return NULL;
}

static const char *check_file(apr_pool_t *pool, const char *path)
{
    struct stat st;
    if (path[0] != '/') {
        return "file: wants an absolute path";
    }
    if (stat(path, &st) == 0) {
        return mode_fault(pool, path, &st);
    }
    /* A configtest without the right to look into the folder can say nothing. */
    return errno == ENOENT || errno == ENOTDIR ? apr_psprintf(pool, "%s does not exist", path)
                                               : NULL;
}

static const char *check_exec(apr_pool_t *pool, const char *command)
{
    size_t len = strcspn(command, " ");
    const char *program = apr_pstrmemdup(pool, command, len);
    if (program[0] != '/') {
        return "exec: wants the absolute path of a program";
    }
    if (access(program, X_OK) != 0 && errno != EACCES) {
        return apr_psprintf(pool, "%s cannot be executed", program);
    }
    return NULL;
}

static bool plain_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= 128 && name[0] != '.'
           && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
                  == len;
}

const char *px_secret_check(apr_pool_t *pool, const char *ref, bool production)
{
    if (ref[0] == PX_SECRET_WRAPPED) {
        return NULL;
    }
    if (starts(ref, "file:")) {
        return check_file(pool, ref + 5);
    }
    if (starts(ref, "env:")) {
        return plain_name(ref + 4) ? NULL : "env: wants the name of an environment variable";
    }
    if (starts(ref, "exec:")) {
        return check_exec(pool, ref + 5);
    }
    if (starts(ref, "cred:")) {
        return plain_name(ref + 5) ? NULL : "cred: wants the name of a credential";
    }
    if (starts(ref, "inline:") && ref[7]) {
        return production ? "inline secrets are refused in production mode" : NULL;
    }
    /* The text may be a secret written by mistake: it is not repeated. */
    return "wants a secret reference: file:/path, env:NAME, exec:/program or cred:name";
}

/* ---- resolving ------------------------------------------------------------------------------- */

static px_err *failed(apr_pool_t *pool, const char *ref, const char *why)
{
    return px_error(pool, PX_E_INTERNAL, "PXS5002", "the secret %s cannot be read: %s", ref, why);
}

/* Text editors and `echo` leave a line end behind the secret; it is not part of it. */
static const char *first_line(apr_pool_t *pool, const char *data, size_t len)
{
    if (len > 0 && data[len - 1] == '\n') {
        len--;
    }
    if (len > 0 && data[len - 1] == '\r') {
        len--;
    }
    if (len == 0 || memchr(data, '\0', len)) {
        return NULL;
    }
    return apr_pstrmemdup(pool, data, len);
}

static px_err *value_of(apr_pool_t *pool, const char *ref, const char *data, size_t len,
                        const char **value)
{
    *value = first_line(pool, data, len);
    return *value ? NULL : failed(pool, ref, "it is empty or holds a NUL byte");
}

static px_err *resolve_file(apr_pool_t *pool, const char *ref, const char *path, bool credential,
                            const char **value)
{
    struct stat st;
    char *data = apr_palloc(pool, SECRET_MAX + 1);
    const char *fault = NULL;
    size_t len = 0;
    ssize_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return failed(pool, ref, strerror(errno));
    }
    /* systemd guards its credentials with access lists that show up as group rights. */
    if (fstat(fd, &st) != 0) {
        fault = strerror(errno);
    } else if (!credential) {
        fault = mode_fault(pool, path, &st);
    } else if (st.st_mode & 07) {
        fault = "it may be read by everybody";
    }
    while (!fault && len <= SECRET_MAX && (got = read(fd, data + len, SECRET_MAX + 1 - len)) != 0) {
        if (got < 0 && errno != EINTR) {
            fault = strerror(errno);
        }
        len += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    if (!fault && len > SECRET_MAX) {
        fault = "it is longer than 64 KiB";
    }
    return fault ? failed(pool, ref, fault) : value_of(pool, ref, data, len, value);
}

static px_err *resolve_credential(apr_pool_t *pool, const char *ref, const char **value)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (!folder || folder[0] != '/') {
        return failed(pool, ref, "CREDENTIALS_DIRECTORY is not set");
    }
    return resolve_file(pool, ref, apr_pstrcat(pool, folder, "/", ref + 5, NULL), true, value);
}

static px_err *resolve_env(apr_pool_t *pool, const char *ref, const char **value)
{
    const char *text = getenv(ref + 4);
    if (!text) {
        return failed(pool, ref, "the environment variable is not set");
    }
    return value_of(pool, ref, text, strlen(text), value);
}

static px_err *resolve_exec(apr_pool_t *pool, const char *ref, const char **value)
{
    const char *output;
    size_t len;
    const char *fault = px_secret_exec(pool, ref + 5, SECRET_MAX, &output, &len);
    return fault ? failed(pool, ref, fault) : value_of(pool, ref, output, len, value);
}

px_err *px_secret_resolve(apr_pool_t *pool, const char *ref, const char **value)
{
    const char *fault = px_secret_check(pool, ref, false);
    if (fault) {
        return px_error(pool, PX_E_INTERNAL, "PXS5003", "a secret cannot be read: %s", fault);
    }
    if (ref[0] == PX_SECRET_WRAPPED) {
        *value = ref + 1;
        return NULL;
    }
    if (starts(ref, "file:")) {
        return resolve_file(pool, ref, ref + 5, false, value);
    }
    if (starts(ref, "env:")) {
        return resolve_env(pool, ref, value);
    }
    if (starts(ref, "exec:")) {
        return resolve_exec(pool, ref, value);
    }
    if (starts(ref, "cred:")) {
        return resolve_credential(pool, ref, value);
    }
    return value_of(pool, "inline:", ref + 7, strlen(ref + 7), value);
}

px_err *px_settings_resolve_secrets(px_settings *s)
{
    const px_setting_row *rows = px_setting_rows();
    for (int i = 0; i < PX_S_COUNT; i++) {
        px_setting *set = &s->value[i];
        px_err *err;
        if (rows[i].type != PX_SET_SECRET || !set->text || set->secret) {
            continue;
        }
        if ((err = px_secret_resolve(s->pool, set->text, &set->secret)) != NULL) {
            return err;
        }
    }
    if (s->value[PX_S_SECRET].secret && strlen(s->value[PX_S_SECRET].secret) < MASTER_MIN) {
        return px_error(s->pool, PX_E_INTERNAL, "PXS5004",
                        "PixShiftSecret must hold at least %d bytes", MASTER_MIN);
    }
    return NULL;
}

px_err *px_settings_resolve_option(px_settings *s, px_plugin_option *option)
{
    const char *value;
    px_err *err;
    if (option->reference) {
        return NULL;
    }
    if ((err = px_secret_resolve(s->pool, option->value, &value)) != NULL) {
        return err;
    }
    option->reference = option->value;
    option->value = apr_psprintf(s->pool, "%c%s", PX_SECRET_WRAPPED, value);
    return NULL;
}
