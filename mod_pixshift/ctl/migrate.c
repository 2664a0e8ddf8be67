/* pixshiftctl migrate */
#include "ctl.h"

#include "base/clock.h"
#include "credit/credit.h"
#include "db/migrate.h"

#include <stdio.h>

static void print_line(void *baton, const char *line)
{
    (void)baton;
    puts(line);
}

static int print_status(ctl *c, const char *sql_dir)
{
    px_migration *list;
    int count, missing = 0;
    px_err *err = px_migrate_status(c->app.db, c->pool, sql_dir, &list, &count);

    if (err) {
        return ctl_fail(err);
    }
    for (int i = 0; i < count; i++) {
        printf("%04d %-16s %s\n", list[i].version, list[i].name,
               !list[i].applied ? "not applied"
               : list[i].changed ? "applied, but the file has changed since"
                                 : px_time_iso(c->pool, list[i].applied_at));
        missing += !list[i].applied;
    }
    if (missing) {
        printf("%d of %d not applied\n", missing, count);
    }
    return missing ? CTL_FAILED : CTL_OK;
}

/* The ledger reads from the database what is given away; the configuration says it. */
static px_err *write_profile(ctl *c)
{
    return px_credit_apply_settings(c->app.db, c->pool, c->settings);
}

int ctl_migrate(ctl *c)
{
    const char *sql_dir = c->option[CTL_O_SQL_DIR] ? c->option[CTL_O_SQL_DIR] : PX_SQLDIR;
    int64_t target = -1;
    bool configured = c->option[CTL_O_CONF] || c->option[CTL_O_SETTINGS]
        || !c->option[CTL_O_DATABASE];
    px_err *err = NULL;

    if (c->option[CTL_O_DOWN] && !ctl_number("--down", c->option[CTL_O_DOWN], 0, 9999, &target)) {
        return CTL_USAGE;
    }
    if (configured
        && ((err = ctl_load_settings(c)) != NULL || (err = ctl_resolve_secrets(c)) != NULL)) {
        return ctl_fail(err);
    }
    if ((err = ctl_open_db(c, false)) != NULL) {
        return ctl_fail(err);
    }
    if (c->option[CTL_O_STATUS]) {
        return print_status(c, sql_dir);
    }
    err = px_migrate(c->app.db, c->pool, sql_dir, (int)target, c->option[CTL_O_APP_ROLE],
                     print_line, NULL);
    if (!err && configured && target < 0) {
        err = write_profile(c);
    }
    if (err) {
        return ctl_fail(err);
    }
    puts(target < 0 ? "the schema is up to date" : "done");
    return CTL_OK;
}
