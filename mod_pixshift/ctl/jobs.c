/* pixshiftctl jobs … */
#include "ctl.h"

#include "account/user.h"
#include "base/clock.h"
#include "base/json.h"
#include "studio/job_admin.h"

#include <stdio.h>
#include <string.h>

static const char *const states[] = {"queued", "waiting_payment", "running", "succeeded", "failed",
                                     "canceled", "expired", "dead"};

static bool state_known(const char *state)
{
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        if (strcmp(states[i], state) == 0) {
            return true;
        }
    }
    return false;
}

static void print_row(ctl *c, const px_job_admin_row *job)
{
    printf("%s  %s  %-14s %-10s %3lld  %s%s%s%s%s\n", job->id,
           px_time_iso(c->pool, job->created_at),
           job->operation, job->dead ? "dead" : job->state, (long long)job->cost,
           job->email ? job->email : job->user_id, job->provider ? "  " : "",
           job->provider ? job->provider : "", job->error_code ? "  " : "",
           job->error_code ? job->error_code : "");
}

static void write_row(px_jw *w, const px_job_admin_row *job)
{
    px_jw_object(w, NULL);
    px_jw_str(w, "id", job->id);
    px_jw_str(w, "user_id", job->user_id);
    px_jw_str(w, "email", job->email);
    px_jw_str(w, "operation", job->operation);
    px_jw_str(w, "state", job->state);
    px_jw_bool(w, "dead", job->dead);
    px_jw_str(w, "provider", job->provider);
    px_jw_str(w, "error_code", job->error_code);
    px_jw_str(w, "error_message", job->error_message);
    px_jw_int(w, "cost", job->cost);
    px_jw_int(w, "attempt", job->attempt);
    px_jw_int(w, "claims", job->claims);
    px_jw_int(w, "retry_count", job->retry_count);
    px_jw_time(w, "created_at", job->created_at);
    px_jw_time(w, "completed_at", job->completed_at);
    px_jw_end_object(w);
}

static void print_list(ctl *c, const px_job_admin_row *list, int count)
{
    px_jw *w = px_jw_make(c->pool, PX_SPELL_SNAKE);

    if (!c->option[CTL_O_JSON]) {
        for (int i = 0; i < count; i++) {
            print_row(c, &list[i]);
        }
        return;
    }
    px_jw_array(w, NULL);
    for (int i = 0; i < count; i++) {
        write_row(w, &list[i]);
    }
    px_jw_end_array(w);
    puts(w->buf->data);
}

int ctl_jobs_list(ctl *c)
{
    const char *state = c->option[CTL_O_STATE], *user_id = NULL;
    px_job_admin_row *list;
    int64_t limit = 50;
    px_user *user;
    px_err *err = NULL;
    int count;

    if (state && !state_known(state)) {
        ctl_say_error("there is no state '%s'; see 'pixshiftctl jobs list --help'", state);
        return CTL_USAGE;
    }
    if (c->option[CTL_O_LIMIT]
        && !ctl_number("--limit", c->option[CTL_O_LIMIT], 1, 10000, &limit)) {
        return CTL_USAGE;
    }
    if (c->option[CTL_O_USER]) {
        err = px_user_find(&c->app, c->pool, c->option[CTL_O_USER], &user);
        user_id = err ? NULL : user->id;
    }
    if (err
        || (err = px_job_admin_list(c->app.db, c->pool, state, user_id, limit, &list,
                                    &count)) != NULL) {
        return ctl_fail(err);
    }
    print_list(c, list, count);
    return CTL_OK;
}

int ctl_jobs_retry(ctl *c)
{
    int64_t deadline = px_set_int(c->settings, PX_S_JOB_DEADLINE);
    int code = CTL_OK;

    for (int i = 0; i < c->arg_count; i++) {
        px_err *err = px_job_admin_retry(c->app.db, c->pool, c->args[i], deadline);
        if (err) {
            code = ctl_fail(err);
        } else {
            printf("%s is queued again\n", c->args[i]);
        }
    }
    return code;
}
