/* Saying things to an admin, and asking. */
#include "ctl.h"

#include "base/buf.h"

#include <apr_strings.h>
#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define FILE_MAX 65536
#define PASSWORD_MAX 1100

int ctl_fail(const px_err *err)
{
    bool more = err->cause && strcmp(err->cause, err->text) != 0;

    fprintf(stderr, "pixshiftctl: %s\n", err->text);
    for (const px_err_detail *d = err->details; d; d = d->next) {
        if (!d->text) {
            fprintf(stderr, "  %s: %lld\n", d->key, d->number);
        } else if (strcmp(d->key, "field") != 0 && strcmp(d->key, "reason") != 0) {
            fprintf(stderr, "  %s: %s\n", d->key, d->text);
        }
    }
    if (more) {
        fprintf(stderr, "  %s%s%s\n", err->log_id ? err->log_id : "", err->log_id ? ": " : "",
                err->cause);
    }
    return CTL_FAILED;
}

int ctl_say_error(const char *fmt, ...)
{
    va_list args;

    fputs("pixshiftctl: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return CTL_FAILED;
}

bool ctl_number(const char *what, const char *text, int64_t min, int64_t max, int64_t *out)
{
    long long value;

    if (!px_parse_int(text, min, max, &value)) {
        ctl_say_error("%s must be a whole number from %lld to %lld, not '%s'", what, (long long)min,
                      (long long)max, text);
        return false;
    }
    *out = value;
    return true;
}

px_err *ctl_read_file(apr_pool_t *pool, const char *path, const char **text)
{
    FILE *file = fopen(path, "re");
    char *data = apr_palloc(pool, FILE_MAX + 1);
    size_t len;

    if (!file) {
        return px_error_say(pool, PX_E_VALIDATION, "%s cannot be read: %s", path, strerror(errno));
    }
    len = fread(data, 1, FILE_MAX, file);
    fclose(file);
    while (len > 0 && (data[len - 1] == '\n' || data[len - 1] == '\r')) {
        len--;
    }
    data[len] = '\0';
    if (strlen(data) != len) {
        return px_error_say(pool, PX_E_VALIDATION, "%s is not a text file", path);
    }
    *text = data;
    return NULL;
}

static bool read_line(char *line, size_t size)
{
    size_t len;

    if (!fgets(line, (int)size, stdin)) {
        return false;
    }
    len = strcspn(line, "\r\n");
    line[len] = '\0';
    return len > 0;
}

/* Without echo. */
static bool ask(const char *prompt, char *line, size_t size)
{
    struct termios shown, hidden;
    bool done;

    if (tcgetattr(STDIN_FILENO, &shown) != 0) {
        return false;
    }
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    fputs(prompt, stderr);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    done = read_line(line, size);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    fputc('\n', stderr);
    return done;
}

px_err *ctl_read_password(ctl *c, const char **password)
{
    char first[PASSWORD_MAX], second[PASSWORD_MAX];

    if (c->option[CTL_O_PASSWORD_FILE]) {
        return ctl_read_file(c->pool, c->option[CTL_O_PASSWORD_FILE], password);
    }
    if (!isatty(STDIN_FILENO)) {
        if (!read_line(first, sizeof first)) {
            return px_error_say(c->pool, PX_E_VALIDATION,
                                "no password: give --password-file, or one line on standard input");
        }
        *password = apr_pstrdup(c->pool, first);
        return NULL;
    }
    if (!ask("Password: ", first, sizeof first) || !ask("Again: ", second, sizeof second)) {
        return px_error_say(c->pool, PX_E_VALIDATION, "no password was given");
    }
    if (strcmp(first, second) != 0) {
        return px_error_say(c->pool, PX_E_VALIDATION, "the two passwords differ");
    }
    *password = apr_pstrdup(c->pool, first);
    return NULL;
}

const char *ctl_actor(apr_pool_t *pool)
{
    struct passwd entry, *found = NULL;
    char buffer[4096];

    if (getpwuid_r(getuid(), &entry, buffer, sizeof buffer, &found) == 0 && found) {
        return apr_pstrcat(pool, "ctl:", found->pw_name, NULL);
    }
    return apr_psprintf(pool, "ctl:%ld", (long)getuid());
}
