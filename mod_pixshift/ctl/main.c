/* pixshiftctl: options, help, and finding the command. */
#include "ctl.h"

#include "base/log.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <config.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#define GLOBAL (CTL_BIT(CONF) | CTL_BIT(HTTPD) | CTL_BIT(SETTINGS) | CTL_BIT(DATABASE) \
                | CTL_BIT(HELP) | CTL_BIT(VERSION))

typedef struct { const char *name, *value; } option_row;

static const option_row options[] = {
#define X(id, name, value) {name, value},
    CTL_OPTIONS(X)
#undef X
};

/* ---- help ---- */

static void overview(FILE *out)
{
    fputs("usage: pixshiftctl [-f HTTPD_CONF | -c SETTINGS_JSON] COMMAND ...\n\n", out);
    for (const ctl_command *cmd = ctl_commands; cmd->words; cmd++) {
        fprintf(out, "  %-15s %s\n", cmd->words, cmd->summary);
    }
    fputs("\nThe configuration is read by httpd itself (-f; --httpd names its program) or is what\n"
          "'config export' printed (-c, or PIXSHIFT_CONFIG in the environment). --database "
          "CONNINFO\n"
          "connects as somebody else.\n"
          "'pixshiftctl COMMAND --help' tells more about a command.\n", out);
}

static void explain(const ctl_command *cmd, FILE *out)
{
    fprintf(out, "usage: pixshiftctl [-f HTTPD_CONF | -c SETTINGS_JSON] %s%s%s\n\n%s%s\n",
            cmd->words,
            *cmd->usage ? " " : "", cmd->usage, cmd->summary, ".");
    if (cmd->help) {
        fprintf(out, "\n%s\n", cmd->help);
    }
}

/* ---- the command line ---- */

static int option_of(const char *word)
{
    if (strcmp(word, "-h") == 0) {
        return CTL_O_HELP;
    }
    for (int i = 0; i < CTL_O_COUNT; i++) {
        size_t len = strlen(options[i].name);
        if (strcmp(word, options[i].name) == 0
            || (len > 2 && strncmp(word, options[i].name, len) == 0 && word[len] == '=')) {
            return i;
        }
    }
    return -1;
}

/* "-" and "-3" are values. */
static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] && !(word[1] >= '0' && word[1] <= '9');
}

/* Takes the options out of argv; what is left goes to c->args. */
static bool read_options(ctl *c, int argc, const char *const *argv)
{
    c->args = apr_pcalloc(c->pool, (apr_size_t)(argc + 1) * sizeof *c->args);
    for (int i = 1; i < argc; i++) {
        int id = is_option(argv[i]) ? option_of(argv[i]) : -1;
        const char *equals = id >= 0 && argv[i][1] == '-' ? strchr(argv[i], '=') : NULL;

        if (id < 0 && is_option(argv[i])) {
            ctl_say_error("there is no option %s", argv[i]);
            return false;
        }
        if (id < 0) {
            c->args[c->arg_count++] = argv[i];
        } else if (c->option[id]) {
            ctl_say_error("%s is given twice", options[id].name);
            return false;
        } else if (!options[id].value) {
            c->option[id] = "";
        } else if (!equals && i + 1 >= argc) {
            ctl_say_error("%s wants a value: %s", options[id].name, options[id].value);
            return false;
        } else {
            c->option[id] = equals ? equals + 1 : argv[++i];
        }
    }
    return true;
}

/* Matches one or two words and takes them off the arguments. */
static const ctl_command *find_command(ctl *c)
{
    for (const ctl_command *cmd = ctl_commands; c->arg_count > 0 && cmd->words; cmd++) {
        const char *space = strchr(cmd->words, ' ');
        size_t first = space ? (size_t)(space - cmd->words) : strlen(cmd->words);
        int words = space ? 2 : 1;

        if (strlen(c->args[0]) == first && strncmp(c->args[0], cmd->words, first) == 0
            && (!space || (c->arg_count > 1 && strcmp(c->args[1], space + 1) == 0))) {
            c->args += words;
            c->arg_count -= words;
            return cmd;
        }
    }
    return NULL;
}

static int unknown_command(ctl *c)
{
    bool group = false;

    for (const ctl_command *cmd = ctl_commands; cmd->words; cmd++) {
        size_t len = strlen(c->args[0]);
        if (strncmp(cmd->words, c->args[0], len) == 0 && cmd->words[len] == ' ') {
            fprintf(stderr, group ? "  %s\n" : "pixshiftctl: say which of these:\n  %s\n",
                    cmd->words);
            group = true;
        }
    }
    if (!group) {
        ctl_say_error("there is no command '%s'; 'pixshiftctl --help' lists them", c->args[0]);
    }
    return CTL_USAGE;
}

static bool usable(const ctl *c, const ctl_command *cmd)
{
    for (int i = 0; i < CTL_O_COUNT; i++) {
        if (c->option[i] && !((cmd->options | GLOBAL) & (UINT64_C(1) << i))) {
            ctl_say_error("'%s' takes no %s", cmd->words, options[i].name);
            return false;
        }
    }
    if (c->arg_count < cmd->min_args || c->arg_count > cmd->max_args) {
        ctl_say_error("%s: pixshiftctl %s %s", c->arg_count < cmd->min_args ? "something is missing"
                      : "too many words", cmd->words, cmd->usage);
        return false;
    }
    return true;
}

/* ---- running ---- */

static int run(ctl *c, const ctl_command *cmd)
{
    px_err *err = NULL;

    if (cmd->needs & CTL_NEEDS_SETTINGS) {
        err = ctl_load_settings(c);
    }
    if (!err && (cmd->needs & CTL_NEEDS_SECRETS)) {
        err = ctl_resolve_secrets(c);
    }
    if (!err && (cmd->needs & CTL_NEEDS_DB)) {
        err = ctl_open_db(c, true);
    }
    return err ? ctl_fail(err) : cmd->run(c);
}

static void log_line(void *baton, px_log_level level, const char *line)
{
    (void)baton;
    (void)level;
    fprintf(stderr, "pixshiftctl: %s\n", line);
}

static int command_line(ctl *c, int argc, const char *const *argv)
{
    const ctl_command *cmd;

    if (!read_options(c, argc, argv)) {
        return CTL_USAGE;
    }
    if (c->option[CTL_O_VERSION]) {
        puts("pixshiftctl " PACKAGE_VERSION);
        return CTL_OK;
    }
    if (c->arg_count == 0) {
        overview(c->option[CTL_O_HELP] ? stdout : stderr);
        return c->option[CTL_O_HELP] ? CTL_OK : CTL_USAGE;
    }
    cmd = find_command(c);
    if (!cmd) {
        return unknown_command(c);
    }
    if (c->option[CTL_O_HELP]) {
        explain(cmd, stdout);
        return CTL_OK;
    }
    return usable(c, cmd) ? run(c, cmd) : CTL_USAGE;
}

int main(int argc, const char *const *argv)
{
    ctl c = {0};
    int code;

    apr_initialize();
    apr_pool_create(&c.pool, NULL);
    c.app.pool = c.pool;
    c.app.role = "ctl";
    signal(SIGPIPE, SIG_IGN);
    /* Secrets are in memory: no core file, no tracing by others. */
    prctl(PR_SET_DUMPABLE, 0);
    px_log_set_sink(log_line, NULL);
    px_log_set_level(PX_LOG_WARN);
    code = command_line(&c, argc, argv);
    if (fflush(stdout) != 0) {
        code = CTL_FAILED;
    }
    apr_pool_destroy(c.pool);
    apr_terminate();
    return code;
}
