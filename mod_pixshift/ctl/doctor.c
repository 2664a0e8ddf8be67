/* pixshiftctl doctor: the checks that need a database and a process table; files are in
 * doctor_files.c. */
#include "doctor.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "db/migrate.h"
#include "doctor_store.h"
#include "plugin/plugin.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Beyond this, leases and tokens of different machines disagree. */
#define CLOCK_TOLERANCE_US 2000000

static void print_line(const char *verdict, const char *what, const char *fmt, va_list args)
{
    printf("%-4s  %-14s ", verdict, what);
    vprintf(fmt, args);
    putchar('\n');
    fflush(stdout);         /* a check that forks must not print this again */
}

void doctor_ok(doctor *d, const char *what, const char *fmt, ...)
{
    va_list args;

    (void)d;
    va_start(args, fmt);
    print_line("ok", what, fmt, args);
    va_end(args);
}

void doctor_note(doctor *d, const char *what, const char *fmt, ...)
{
    va_list args;

    (void)d;
    va_start(args, fmt);
    print_line("note", what, fmt, args);
    va_end(args);
}

void doctor_fault(doctor *d, const char *what, const char *hint, const char *fmt, ...)
{
    va_list args;

    d->failed++;
    va_start(args, fmt);
    print_line("FAIL", what, fmt, args);
    va_end(args);
    printf("%21s%s\n", "-> ", hint);
    fflush(stdout);
}

static const char *why(const px_err *err)
{
    return err->cause ? err->cause : err->text;
}

/* ---- settings ---- */

static bool check_secrets(doctor *d)
{
    px_err *err = ctl_resolve_secrets(d->c);
    const char *secret = err ? NULL : px_set_str(d->c->settings, PX_S_SECRET);

    if (err) {
        doctor_fault(d, "secrets", "run as root, or give the account read access to the file", "%s",
                     why(err));
        return false;
    }
    if (!secret || strlen(secret) < 32) {
        doctor_fault(d, "secrets", "PixShiftSecret file:/path, with 'openssl rand -hex 32' in it",
                     secret ? "PixShiftSecret has less than 32 bytes"
                         : "PixShiftSecret is not set");
        return false;
    }
    doctor_ok(d, "secrets", "resolved");
    return true;
}

static void check_mode(doctor *d)
{
    bool production = px_settings_production(d->c->settings);
    const char *base = px_set_str(d->c->settings, PX_S_BASE_URL);

    if (production && (px_clock_is_test() || px_failpoints_active())) {
        doctor_fault(d, "mode", "unset PIXSHIFT_TEST_CLOCK and PIXSHIFT_FAILPOINT",
                     "production mode with a test clock or fail-points");
    } else if (production && base && strncmp(base, "https://", 8) != 0) {
        doctor_fault(d, "mode", "serve it over TLS and set PixShiftBaseURL https://...",
                     "production mode, but PixShiftBaseURL is %s", base);
    } else {
        doctor_ok(d, "mode", "%s, %s", production ? "production" : "development",
                  base ? base : "no PixShiftBaseURL");
    }
}

static void check_plugins(doctor *d)
{
    px_buf *faults = px_buf_make(d->c->pool, 256);
    int count = 0;

    for (const px_plugin_section *s = d->c->settings->plugins; s; s = s->next) {
        count++;
    }
    if (px_plugins_check(d->c->pool, d->c->settings, faults)) {
        doctor_ok(d, "plugins", "%d sections load and accept their options", count);
        return;
    }
    for (char *line = faults->data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        doctor_fault(d, "plugins", "correct the section; 'plugin show FILE' prints its options",
                     "%s", line);
    }
}

/* ---- database ---- */

static bool check_server(doctor *d, doctor_facts *facts)
{
    px_err *err = ctl_open_db(d->c, false);

    if (!err) {
        err = doctor_store_server(d->c->app.db, d->c->pool, facts);
    }
    if (err && err->log_id && strcmp(err->log_id, "PXS2011") == 0) {
        doctor_fault(d, "durability", "set synchronous_commit = on for this role and database",
                     "%s", why(err));
        return false;
    }
    if (err) {
        doctor_fault(d, "database", "is it running, and does PixShiftDatabase name it?", "%s",
                     why(err));
        return false;
    }
    doctor_ok(d, "database", "PostgreSQL %s as %s", facts->version, facts->role);
    if (strcmp(facts->fsync, "on") != 0) {
        doctor_fault(d, "durability", "set fsync = on in postgresql.conf", "fsync is off");
    } else {
        doctor_ok(d, "durability", "synchronous_commit=%s fsync=on", facts->synchronous_commit);
    }
    return true;
}

static void check_clock(doctor *d, const doctor_facts *facts)
{
    int64_t off = facts->now - (px_now() - px_clock_offset());

    if (off > CLOCK_TOLERANCE_US || off < -CLOCK_TOLERANCE_US) {
        doctor_fault(d, "clock", "run a time service (chrony, systemd-timesyncd) on both machines",
                     "the database's clock is %lld ms off", (long long)(off / 1000));
    } else {
        doctor_ok(d, "clock", "%lld ms from the database's", (long long)(off / 1000));
    }
}

static bool check_schema(doctor *d)
{
    const char *sql_dir = d->c->option[CTL_O_SQL_DIR] ? d->c->option[CTL_O_SQL_DIR] : PX_SQLDIR;
    px_migration *list;
    int count, version, applied = 0, changed = 0;
    px_err *err = px_migrate_status(d->c->app.db, d->c->pool, sql_dir, &list, &count);

    if (!err) {
        err = doctor_store_version(d->c->app.db, d->c->pool, &version);
    }
    if (err) {
        doctor_fault(d, "schema", "'pixshiftctl migrate' as the owner makes it", "%s", why(err));
        return false;
    }
    for (int i = 0; i < count; i++) {
        applied += list[i].applied;
        changed += list[i].changed;
    }
    if (applied < count || changed) {
        doctor_fault(d, "schema", "'pixshiftctl migrate --database CONNINFO' as the owner",
                     "%d of %d migrations applied, %d of them from other files", applied, count,
                     changed);
        return false;
    }
    if (version > px_schema_version()) {
        doctor_fault(d, "schema", "install the release that fits the database",
                     "version %d is newer than this program, which needs %d", version,
                     px_schema_version());
        return false;
    }
    doctor_ok(d, "schema", "version %d", px_schema_version());
    return true;
}

static void check_rights(doctor *d, const doctor_facts *facts)
{
    if (!facts->rights) {
        doctor_fault(d, "rights", "'pixshiftctl migrate --app-role ROLE' as the owner gives them",
                     "role %s may not do what the service must", facts->role);
    } else if (facts->owner) {
        doctor_note(d, "rights", "role %s owns the schema; a role of its own for the service could "
                    "not drop what protects the ledger", facts->role);
    } else {
        doctor_ok(d, "rights", "role %s has them and is not the owner", facts->role);
    }
}

static void check_profile(doctor *d, const doctor_facts *facts)
{
    const px_settings *s = d->c->settings;

    if (facts->free_lifetime == px_set_int(s, PX_S_FREE_LIFETIME)
        && facts->free_daily == px_set_int(s, PX_S_FREE_DAILY)
        && facts->free_initial == px_set_int(s, PX_S_FREE_INITIAL)) {
        doctor_ok(d, "free credits", "%lld for life, %lld a day, %lld at sign-up",
                  (long long)facts->free_lifetime, (long long)facts->free_daily,
                  (long long)facts->free_initial);
    } else {
        doctor_fault(d, "free credits", "'pixshiftctl -f ... migrate' writes them",
                     "the database has %lld, %lld and %lld, the configuration says otherwise",
                     (long long)facts->free_lifetime, (long long)facts->free_daily,
                     (long long)facts->free_initial);
    }
}

static void check_database(doctor *d)
{
    doctor_facts facts = {0};
    px_err *err;

    if (!check_server(d, &facts)) {
        return;
    }
    check_clock(d, &facts);
    if (!check_schema(d)) {
        return;
    }
    err = doctor_store_schema(d->c->app.db, d->c->pool, &facts);
    if (err) {
        doctor_fault(d, "rights", "'pixshiftctl migrate --app-role ROLE' as the owner gives them",
                     "%s", why(err));
        return;
    }
    check_rights(d, &facts);
    check_profile(d, &facts);
    if (facts.workers) {
        doctor_ok(d, "workers", "%lld alive", (long long)facts.workers);
    } else {
        doctor_note(d, "workers",
                    "none is running; jobs wait until httpd or pixshift-worker is started");
    }
}

int ctl_doctor(ctl *c)
{
    doctor d = {c, 0};

    doctor_ok(&d, "configuration", "read");
    check_mode(&d);
    if (check_secrets(&d)) {
        check_database(&d);
    }
    check_plugins(&d);
    doctor_state_folder(&d);
    doctor_storage(&d);
    doctor_helper(&d);
    printf(d.failed ? "%d checks failed\n" : "all is well\n", d.failed);
    return d.failed ? CTL_FAILED : CTL_OK;
}
