/* SQL of jobs as requests see them; the worker's is in engine_store.c. */
#include "studio.h"

#include "array_text.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "base/json.h"
#include "cache/cache.h"
#include "config/settings.h"
#include "credit/credit.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS                                                                                      \
    "j.id, j.user_id, j.operation, j.state, j.type_id, j.prompt_used, j.params, j.inputs, "            \
    "j.retention, j.provider, j.result_image, i.key, i.mime, j.error_code, j.error_message, "           \
    "j.hold_id, j.pricing_tier_locked, j.cost, j.credits_used, j.attempt, j.claims, "                  \
    "j.processing_time_ms, pixshift.usec(j.created_at), coalesce(pixshift.usec(j.started_at), 0), "     \
    "coalesce(pixshift.usec(j.completed_at), 0), pixshift.usec(j.updated_at), "                        \
    "coalesce(pixshift.usec(i.delete_after), 0), i.state, j.cancel_requested IS NOT NULL, "             \
    "j.inputs->0->>'key'"
#define TABLES "pixshift.jobs j LEFT JOIN pixshift.images i ON i.id = j.result_image"

static void read_row(const px_rows *rows, int row, px_job *job)
{
    const char **texts[] = {
        &job->id, &job->user_id, &job->operation, &job->state, &job->type_id, &job->prompt_used,
        &job->params, &job->inputs, &job->retention, &job->provider, &job->result_image,
        &job->result_key, &job->result_mime, &job->error_code, &job->error_message,
        &job->hold_id, &job->tier};
    int64_t *numbers[] = {
        &job->cost, &job->credits_used, &job->attempt, &job->claims, &job->processing_time_ms,
        &job->created_at, &job->started_at, &job->completed_at, &job->updated_at,
        &job->result_delete_after};
    int col = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = px_rows_str(rows, row, col++);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = px_rows_int(rows, row, col++);
    job->result_state = px_rows_str(rows, row, col++);
    job->cancel_asked = px_rows_bool(rows, row, col++);
    job->first_input_key = px_rows_str(rows, row, col);
}

/* ---- creation ---- */

static const char *inputs_json(apr_pool_t *pool, const px_job_spec *spec)
{
    px_jw *w = px_jw_make(pool, PX_SPELL_SNAKE);
    px_jw_array(w, NULL);
    for (int i = 0; i < spec->input_count; i++) {
        const px_job_input *input = &spec->inputs[i];
        px_jw_object(w, NULL);
        px_jw_str(w, "role", input->role);
        if (input->url) {
            px_jw_str(w, "url", input->url);
        } else {
            px_jw_str(w, "image", input->image);
            px_jw_str(w, "key", input->key);
        }
        px_jw_end_object(w);
    }
    px_jw_end_array(w);
    return w->buf->data;
}

/* The rules that count jobs, as pixshift.job_count_rules takes them. Per user and per address; keys are
 * limited by requests. */
static const char *rules_json(px_req *req)
{
    px_jw *w = px_jw_make(req->pool, PX_SPELL_SNAKE);
    px_jw_array(w, NULL);
    for (const px_rate_rule *rule = req->app->settings->rates; rule; rule = rule->next) {
        if (strcmp(rule->unit, "jobs") != 0 || strcmp(rule->subject, "key") == 0)
            continue;
        px_jw_object(w, NULL);
        px_jw_str(w, "name", rule->name);
        px_jw_str(w, "subject", strcmp(rule->subject, "user") == 0 ? req->who->user_id : req->client_ip);
        px_jw_int(w, "limit", rule->limit);
        px_jw_int(w, "window_ms", rule->window_ms);
        px_jw_end_object(w);
    }
    px_jw_end_array(w);
    return w->buf->data;
}

static px_err *too_many(apr_pool_t *pool, const char *detail)
{
    json_object *facts;
    px_err *bad = px_json_parse(pool, detail, strlen(detail), NULL, &facts);
    if (bad)
        return bad;
    px_err *err = px_error(pool, PX_E_TOO_MANY_JOBS, NULL, NULL);
    err->retry_after = (int)px_json_int(facts, "retry_after", 5);
    px_err_with(err, "policy", px_json_get(facts, "policy") ? px_json_str(facts, "policy") : "unfinished");
    return px_err_with_number(err, "limit", px_json_int(facts, "limit", 0));
}

static px_err *explain(apr_pool_t *pool, px_err *err)
{
    const char *state = err ? px_db_err_sqlstate(err) : NULL;
    if (state && strcmp(state, "PX429") == 0)
        return too_many(pool, px_db_err_detail(err));
    return px_credit_explain(pool, err);
}

/* Refuses before a hold is made when the queue of all users is full. The count may be a second old. */
static px_err *queue_has_room(px_req *req)
{
    const char *known = NULL;
    size_t len;
    int64_t limit = px_set_int(req->app->settings, PX_S_JOBS_QUEUED);
    if (req->app->cache)
        px_cache_get(req->app->cache, req->pool, "jobs:queued", &known, &len);
    long long open = 0;
    if (!known || !px_parse_int(known, 0, INT64_MAX, &open)) {
        px_rows *rows = NULL;
        px_err *err = px_db_query(req->app->db, req->pool, &rows,
                                  "SELECT count(*) FROM (SELECT 1 FROM pixshift.jobs WHERE state IN "
                                  "('queued', 'running', 'waiting_payment') LIMIT $1::bigint) q", "l", limit);
        if (err)
            return err;
        open = px_rows_int(rows, 0, 0);
        char text[24];
        int text_len = snprintf(text, sizeof text, "%lld", open);
        if (req->app->cache)
            px_cache_set(req->app->cache, req->pool, "jobs:queued", text, (size_t)text_len, 1000);
    }
    if (open < limit)
        return NULL;
    px_err *err = px_error(req->pool, PX_E_UNAVAILABLE, "PXS6103", "the queue holds %lld jobs", open);
    err->retry_after = 10;
    return err;
}

typedef struct {
    px_req *req;
    const px_job_spec *spec;
    const char *id, *inputs, *rules;
} create_args;

/* What was sent for a job that keeps nothing goes when the job ends (UPS-1, STO-5). */
static px_err *own_inputs(px_conn *conn, apr_pool_t *pool, const px_job_spec *spec, const char *job_id)
{
    px_buf *ids = px_array_make(pool, spec->input_count);
    int count = 0;
    for (int i = 0; i < spec->input_count; i++)
        if (spec->inputs[i].sent && ++count)
            px_array_text(ids, spec->inputs[i].image);
    if (count == 0 || strcmp(spec->retention, "none") != 0)
        return NULL;
    return px_conn_query(conn, pool, NULL, "UPDATE pixshift.images SET kind = 'input', job_id = $1::uuid "
                         "WHERE id = ANY ($2::uuid[])", "ss", job_id, px_array_end(ids));
}

static px_err *create_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    create_args *args = baton;
    const px_job_spec *spec = args->spec;
    px_rows *rows = NULL;
    const px_settings *s = args->req->app->settings;
    px_err *err = px_conn_query(
        conn, pool, &rows,
        "SELECT job_id, pg_notify('pixshift_job', job_id || ' queued') FROM pixshift.job_create($1::uuid, "
        "$2::uuid, $3, $4::uuid, $5::jsonb, $6, $7::jsonb, $8, $9::bigint, $10, $11, $18, $12, "
        "$13::integer, $14::jsonb, $15::bigint, $16::integer, $17::integer)", "ssssjsjslsssijliis",
        args->id, spec->user_id, spec->operation, spec->type_id, spec->params ? spec->params : "{}",
        spec->prompt, args->inputs, spec->retention, spec->cost, spec->scope, spec->tier,
        args->req->request_id, (int)px_set_int(s, PX_S_JOBS_PER_USER), args->rules,
        px_set_int(s, PX_S_JOB_DEADLINE), (int)px_set_int(s, PX_S_JOB_ATTEMPTS),
        (int)px_set_int(s, PX_S_JOB_CLAIMS), px_idempotency_id(args->req));
    if (!err && px_rows_count(rows) > 0)
        /* Of the first creation, when this is a repetition. */
        args->id = apr_pstrdup(args->req->pool, px_rows_str(rows, 0, 0));
    if (!err)
        err = own_inputs(conn, pool, spec, args->id);
    if (!err && px_failpoint("cm03_submit_open"))
        err = px_error(pool, PX_E_UNAVAILABLE, NULL, NULL);
    return err;
}

px_err *px_job_create(px_req *req, const px_job_spec *spec, const char **job_id)
{
    create_args args = {.req = req, .spec = spec, .id = px_uuid7(req->pool)};
    px_err *err = queue_has_room(req);
    if (err)
        return err;
    args.inputs = inputs_json(req->pool, spec);
    args.rules = rules_json(req);
    err = explain(req->pool, px_db_tx(req->app->db, req->pool, create_body, &args));
    if (err)
        return err;
    *job_id = args.id;
    px_count(req->app->cache, PX_C_JOBS_CREATED, 1);
    px_count(req->app->cache, PX_C_CREDITS_HELD, spec->cost);
    apr_table_setn(req->notes, "pixshift-job", args.id);
    if (px_failpoint("cm04_submit_committed"))
        return px_error(req->pool, PX_E_UNAVAILABLE, NULL, NULL);
    return NULL;
}

px_err *px_job_redo(px_req *req, const px_job *old)
{
    const px_settings *s = req->app->settings;
    bool transformation = strcmp(old->operation, "transformation") == 0;
    px_err *err = queue_has_room(req);
    if (err)
        return err;
    err = px_db_query(req->app->db, req->pool, NULL,
                      "SELECT pixshift.job_redrive($1::uuid, NULL, $2, $3::integer, $4::jsonb, $5::bigint)",
                      "ssijl", old->id, transformation ? PX_SCOPE_TRANSFORMATION : PX_SCOPE_ANY,
                      (int)px_set_int(s, PX_S_JOBS_PER_USER), rules_json(req),
                      px_set_int(s, PX_S_JOB_DEADLINE));
    return explain(req->pool, err);
}

/* ---- reading ---- */

px_err *px_job_get(px_db *db, apr_pool_t *pool, const char *id, const char *user_id, px_job **out)
{
    px_rows *rows = NULL;
    px_err *err = px_db_query(db, pool, &rows,
                              "SELECT " COLUMNS " FROM " TABLES " WHERE j.id = $1::uuid AND "
                              "j.hidden_at IS NULL AND ($2::uuid IS NULL OR j.user_id = $2::uuid)", "ss",
                              id, user_id);
    if (err)
        return err;
    if (px_rows_count(rows) == 0)
        return px_error(pool, PX_E_NOT_FOUND, NULL, NULL);
    *out = apr_pcalloc(pool, sizeof(**out));
    read_row(rows, 0, *out);
    return NULL;
}

#define FILTER                                                                                       \
    " WHERE j.hidden_at IS NULL AND ($1::uuid IS NULL OR j.user_id = $1::uuid) AND "               \
    "($2::text IS NULL OR j.operation = $2) AND ($3::text IS NULL OR j.state = $3 OR ($3 = 'failed' " \
    "AND j.state IN ('canceled', 'expired'))) AND ($4::text IS NULL OR j.params->>'mode' = $4) "

px_err *px_job_list(px_db *db, apr_pool_t *pool, const px_job_filter *filter, const px_page *page,
                    px_job **list, int *count, int64_t *total)
{
    px_rows *rows = NULL;
    px_err *err = px_db_query(db, pool, &rows, "SELECT count(*) FROM pixshift.jobs j" FILTER, "ssss",
                              filter->user_id, filter->operation, filter->state, filter->mode);
    if (err)
        return err;
    *total = px_rows_int(rows, 0, 0);
    err = px_db_query(db, pool, &rows,
                      "SELECT " COLUMNS " FROM " TABLES FILTER
                      "ORDER BY j.created_at DESC, j.id DESC LIMIT $5::bigint OFFSET $6::bigint", "ssssll",
                      filter->user_id, filter->operation, filter->state, filter->mode, page->limit,
                      page->offset);
    if (err)
        return err;
    *count = px_rows_count(rows);
    *list = apr_pcalloc(pool, sizeof(px_job) * (size_t)(*count + 1));
    for (int i = 0; i < *count; i++)
        read_row(rows, i, &(*list)[i]);
    return NULL;
}

px_err *px_job_events(px_db *db, apr_pool_t *pool, const char *id, int64_t after, px_job_event **list,
                      int *count)
{
    px_rows *rows = NULL;
    px_err *err = px_db_query(db, pool, &rows,
                              "SELECT seq, event, data, pixshift.usec(at) FROM pixshift.job_events "
                              "WHERE job_id = $1::uuid AND seq > $2::bigint ORDER BY seq LIMIT 100", "sl", id,
                              after);
    if (err)
        return err;
    *count = px_rows_count(rows);
    *list = apr_pcalloc(pool, sizeof(px_job_event) * (size_t)(*count + 1));
    for (int i = 0; i < *count; i++)
        (*list)[i] = (px_job_event){px_rows_int(rows, i, 0), px_rows_str(rows, i, 1),
                                    px_rows_str(rows, i, 2), px_rows_int(rows, i, 3)};
    return NULL;
}

/* ---- changing ---- */

px_err *px_job_cancel(px_db *db, apr_pool_t *pool, const char *id, const char **state)
{
    px_rows *rows = NULL;
    px_err *err = px_db_query(db, pool, &rows, "SELECT pixshift.job_cancel($1::uuid, NULL)", "s", id);
    if (err)
        return explain(pool, err);
    *state = px_rows_str(rows, 0, 0);
    return NULL;
}

px_err *px_job_forget(px_db *db, apr_pool_t *pool, const char *id)
{
    return px_db_query(db, pool, NULL,
                       "UPDATE pixshift.jobs SET hidden_at = pixshift.now() WHERE id = $1::uuid", "s", id);
}
