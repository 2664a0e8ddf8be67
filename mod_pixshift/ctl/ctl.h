/* pixshiftctl: what its files share. One thread, one pool; everything lives until the program
 * ends. Results go to standard output, everything else to standard error. */
#ifndef PX_CTL_CTL_H
#define PX_CTL_CTL_H

#include "base/error.h"
#include "config/app.h"
#include "config/settings.h"

#include <stdbool.h>
#include <stdint.h>

/* Exit codes */
enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

/* Every option of every command; a command names those that it takes. */
#define CTL_OPTIONS(X) \
    X(CONF, "-f", "FILE") X(HTTPD, "--httpd", "PROGRAM") X(SETTINGS, "-c", "FILE") \
    X(DATABASE, "--database", "CONNINFO") X(HELP, "--help", NULL) X(VERSION, "--version", NULL) \
    X(DOWN, "--down", "VERSION") X(STATUS, "--status", NULL) X(APP_ROLE, "--app-role", "ROLE") \
    X(SQL_DIR, "--sql-dir", "FOLDER") X(ADMIN, "--admin", "SCOPE") \
    X(PASSWORD_FILE, "--password-file", "FILE") X(FIRST_NAME, "--first-name", "NAME") \
    X(LAST_NAME, "--last-name", "NAME") X(KEY, "--key", NULL) X(NOTE, "--note", "TEXT") \
    X(DAYS, "--days", "N") X(ONCE, "--once", "KEY") X(STATE, "--state", "STATE") \
    X(USER, "--user", "USER") X(LIMIT, "--limit", "N") X(JSON, "--json", NULL) \
    X(CASES, "--cases", "FOLDER")

typedef enum {
#define X(id, name, value) CTL_O_##id,
    CTL_OPTIONS(X)
#undef X
    CTL_O_COUNT
} ctl_option;

typedef struct {
    apr_pool_t *pool;
    const char *option[CTL_O_COUNT];    /* value, "" for a switch; NULL = not given */
    const char **args;                  /* what follows the command's words */
    int arg_count;
    px_settings *settings;              /* NULL unless the command needs them */
    px_app app;
} ctl;

/* What a command wants before it runs. */
enum {
    CTL_NEEDS_SETTINGS = 1u << 0,
    CTL_NEEDS_SECRETS = 1u << 1,        /* resolved; implies settings */
    CTL_NEEDS_DB = 1u << 2              /* connected, schema checked; implies secrets */
};

typedef struct {
    const char *words;                  /* "user create" */
    const char *usage;                  /* "EMAIL [--admin SCOPE]" */
    const char *summary;
    const char *help;                   /* paragraphs, or NULL */
    int min_args, max_args;
    uint64_t options;                   /* bits of ctl_option, besides the global ones */
    unsigned needs;
    int (*run)(ctl *c);
} ctl_command;

#define CTL_BIT(id) (UINT64_C(1) << CTL_O_##id)

/* commands.c */
extern const ctl_command ctl_commands[];

/* config.c: settings from httpd's configuration (-f), exported settings (-c, PIXSHIFT_CONFIG). */
px_err *ctl_load_settings(ctl *c);
px_err *ctl_resolve_secrets(ctl *c);
/* Opens app.db for the settings; `checked` wants the schema that this program was built for. */
px_err *ctl_open_db(ctl *c, bool checked);

/* output.c */
/* "pixshiftctl: …" on standard error; returns CTL_FAILED. */
int ctl_fail(const px_err *err);
int ctl_say_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Whole number from min to max, else a sentence on standard error and false. */
bool ctl_number(const char *what, const char *text, int64_t min, int64_t max, int64_t *out);
/* A file's first line, or the whole of it up to 64 KiB without the line end behind it. */
px_err *ctl_read_file(apr_pool_t *pool, const char *path, const char **text);
/* From --password-file, else asked for twice on the terminal, else one line of standard input. */
px_err *ctl_read_password(ctl *c, const char **password);
/* "ctl:<login name>": who did it, for the audit log. */
const char *ctl_actor(apr_pool_t *pool);

/* The commands */
int ctl_migrate(ctl *c);
int ctl_doctor(ctl *c);
int ctl_user_create(ctl *c);
int ctl_user_role(ctl *c);
int ctl_user_password(ctl *c);
int ctl_user_show(ctl *c);
int ctl_credits_show(ctl *c);
int ctl_credits_grant(ctl *c);
int ctl_ledger_verify(ctl *c);
int ctl_jobs_list(ctl *c);
int ctl_jobs_retry(ctl *c);
int ctl_plugin_list(ctl *c);
int ctl_plugin_show(ctl *c);
int ctl_plugin_check(ctl *c);
int ctl_config_export(ctl *c);

#endif
