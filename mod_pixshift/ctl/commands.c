/* The table of commands. */
#include "ctl.h"

#define CONFIGURATION CTL_NEEDS_SETTINGS
#define SECRETS (CTL_NEEDS_SETTINGS | CTL_NEEDS_SECRETS)
#define DATABASE (SECRETS | CTL_NEEDS_DB)

const ctl_command ctl_commands[] = {
    {"migrate",
     "[--database CONNINFO] [--down VERSION] [--status] [--app-role ROLE] [--sql-dir FOLDER]",
     "bring the database to the schema of this version",
     "Connects as --database says (the owner of the schema), else as the configuration does.\n"
     "--down VERSION takes back every migration above that number; 0 takes back all, with all\n"
     "data. --status only lists. --app-role gives the running service's role the rights that it\n"
     "needs. With a configuration, the free credits that it says are written for the ledger.",
     0, 0, CTL_BIT(DOWN) | CTL_BIT(STATUS) | CTL_BIT(APP_ROLE) | CTL_BIT(SQL_DIR), 0, ctl_migrate},
    {"doctor", "", "check everything that a running service needs",
     "One line for each check, with what to do about it. Exit code 1 when a check failed. Run as\n"
     "root, files are tried as the owner of PixShiftStateDir.",
     0, 0, CTL_BIT(SQL_DIR), CONFIGURATION, ctl_doctor},
    {"user create",
     "EMAIL [--admin SCOPE] [--password-file FILE] [--first-name NAME] [--last-name NAME] [--key]",
     "make an account",
     "SCOPE is super, support or finance. Without --password-file the password is asked for, or\n"
     "read from standard input where that is no terminal. --key makes an API key and prints it.",
     1, 1, CTL_BIT(ADMIN) | CTL_BIT(PASSWORD_FILE) | CTL_BIT(FIRST_NAME) | CTL_BIT(LAST_NAME)
     | CTL_BIT(KEY), DATABASE, ctl_user_create},
    {"user role", "USER admin|user [--admin SCOPE]", "make a user an admin, or an admin a user",
     "USER is an email address or an id. SCOPE is super (default), support or finance.\n"
     "A running server notices within five seconds.",
     2, 2, CTL_BIT(ADMIN), DATABASE, ctl_user_role},
    {"user password", "USER [--password-file FILE]",
     "set a password and end the user's logins", NULL,
     1, 1, CTL_BIT(PASSWORD_FILE), DATABASE, ctl_user_password},
    {"user show", "USER", "show an account", NULL, 1, 1, 0, DATABASE, ctl_user_show},
    {"credits show", "USER [--limit N]", "show a user's credits and latest entries", NULL,
     1, 1, CTL_BIT(LIMIT), DATABASE, ctl_credits_show},
    {"credits grant", "USER AMOUNT --note TEXT [--days N] [--once KEY]", "give a user credits",
     "The note is kept in the ledger and the audit log. --days makes them expire. The same KEY\n"
     "given to --once again grants nothing more, so that a script can be repeated.",
     2, 2, CTL_BIT(NOTE) | CTL_BIT(DAYS) | CTL_BIT(ONCE), DATABASE, ctl_credits_grant},
    {"ledger verify", "[--json]", "recompute the ledger and the audit log",
     "Checks every balance, hold and grant against its entries, and the hash chains. Changes\n"
     "nothing. Exit code 1 when something does not agree.",
     0, 0, CTL_BIT(JSON), DATABASE, ctl_ledger_verify},
    {"jobs list", "[--state STATE] [--user USER] [--limit N] [--json]", "list jobs, newest first",
     "STATE is queued, waiting_payment, running, succeeded, failed, canceled, expired, or dead\n"
     "for those that were given up.",
     0, 0, CTL_BIT(STATE) | CTL_BIT(USER) | CTL_BIT(LIMIT) | CTL_BIT(JSON), DATABASE,
     ctl_jobs_list},
    {"jobs retry", "ID...", "run failed jobs once more, with a new hold of credits", NULL,
     1, 1000, 0, DATABASE, ctl_jobs_retry},
    {"plugin list", "", "list the configured plugins", NULL,
     0, 0, 0, CONFIGURATION, ctl_plugin_list},
    {"plugin show", "FILE", "show what a plugin says of itself, with its options",
     "FILE is a path, or a name in the folder of plugins: PixShiftPluginDir with -f, else where\n"
     "the bundled ones are.",
     1, 1, 0, 0, ctl_plugin_show},
    {"plugin check", "FILE [--cases FOLDER]", "test a plugin for conformance",
     "Symbols, ABI, option table, operations with malformed and truncated replies, and every\n"
     "recorded case (*.json) of FOLDER; the default is the folder 'cases' beside FILE, if any.",
     1, 2, CTL_BIT(CASES), 0, ctl_plugin_check},
    {"config export", "", "print the effective settings as JSON, for pixshift-worker and -c",
     "Secrets are shown as the references that stand in the configuration, never as values.",
     0, 0, 0, CONFIGURATION, ctl_config_export},
    {NULL, NULL, NULL, NULL, 0, 0, 0, 0, NULL},
};
