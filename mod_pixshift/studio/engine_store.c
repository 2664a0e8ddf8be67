#include "engine_store.h"
#include "array_text.h"

#include "base/failpoint.h"
#include <apr_hash.h>
#include <apr_strings.h>
#include <string.h>

/* ---- the worker itself ---- */

px_err *px_engine_store_register(px_db *db, apr_pool_t *pool, const char *worker, const char *host,
                                 int pid, int64_t *lock_key)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows,
                              "INSERT INTO pixshift.workers (id, host, pid, started_at)"
                              " VALUES ($1::uuid, $2, $3::int, pixshift.now())"
                              " ON CONFLICT (id) DO UPDATE SET pid = excluded.pid RETURNING lock_key",
                              "ssi", worker, host, pid);
    if (!err) {
        *lock_key = px_rows_int(rows, 0, 0);
    }
    return err;
}

px_err *px_engine_store_stopped(px_db *db, apr_pool_t *pool, const char *worker)
{
    return px_db_query(db, pool, NULL, "UPDATE pixshift.workers SET stopped_at = pixshift.now()"
                       " WHERE id = $1::uuid", "s", worker);
}

const char *px_engine_store_lock_sql(apr_pool_t *pool, int64_t lock_key)
{
    /* A former connection that the server has not noticed to be gone may still hold it: wait a little. */
    return apr_psprintf(pool, "SET lock_timeout = '5s'; SELECT pg_advisory_lock(pixshift.worker_class(),"
                        " %" APR_INT64_T_FMT ")", (apr_int64_t)lock_key);
}

/* ---- leases ---- */

static void read_claim(const px_rows *rows, int i, px_claim *c)
{
    c->id = px_rows_str(rows, i, 0);
    c->user_id = px_rows_str(rows, i, 1);
    c->operation = px_rows_str(rows, i, 2);
    c->params = px_rows_str(rows, i, 3);
    c->prompt = px_rows_str(rows, i, 4);
    c->inputs = px_rows_str(rows, i, 5);
    c->retention = px_rows_str(rows, i, 6);
    c->cost = px_rows_int(rows, i, 7);
    c->token = px_rows_str(rows, i, 8);
    c->lease = (int)px_rows_int(rows, i, 9);
    c->attempt = (int)px_rows_int(rows, i, 10);
    c->max_attempts = (int)px_rows_int(rows, i, 11);
    c->retry = (int)px_rows_int(rows, i, 12);
    c->deadline = px_rows_int(rows, i, 13);
    c->request_id = px_rows_str(rows, i, 14);
    c->open_provider = px_rows_str(rows, i, 15);
    c->open_phase = (int)px_rows_int(rows, i, 16);
    c->open_token = px_rows_str(rows, i, 17);
    c->open_resume = px_rows_int(rows, i, 18);
}

px_err *px_engine_store_claim(px_db *db, apr_pool_t *pool, const char *worker, int limit,
                              int64_t lease_ms, px_claim **list, int *count)
{
    px_rows *rows;
    /* In parentheses, so that it is not repeated blindly when the connection breaks: the first claim may
     * have been carried out; the next heartbeat gives its leases back. */
    px_err *err = px_db_query(db, pool, &rows, "(SELECT * FROM pixshift.job_claim($1::uuid, $2::int,"
                              " $3::bigint))", "sil", worker, limit, lease_ms);
    *count = 0;
    if (err) {
        return err;
    }
    *count = px_rows_count(rows);
    *list = apr_pcalloc(pool, sizeof(px_claim) * (size_t)(*count + 1));
    for (int i = 0; i < *count; i++) {
        read_claim(rows, i, &(*list)[i]);
    }
    return NULL;
}

px_err *px_engine_store_heartbeat(px_db *db, apr_pool_t *pool, const char *worker, int64_t lease_ms,
                                  px_lease **list, int *count)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows, "SELECT * FROM pixshift.job_heartbeat($1::uuid,"
                              " $2::bigint)", "sl", worker, lease_ms);
    if (err) {
        return err;
    }
    *count = px_rows_count(rows);
    *list = apr_pcalloc(pool, sizeof(px_lease) * (size_t)(*count + 1));
    for (int i = 0; i < *count; i++) {
        px_lease *lease = &(*list)[i];
        lease->id = px_rows_str(rows, i, 0);
        lease->token = px_rows_str(rows, i, 1);
        lease->cancel = px_rows_bool(rows, i, 2);
    }
    return NULL;
}

px_err *px_engine_store_reap(px_db *db, apr_pool_t *pool, const char *worker, px_reaped *reaped)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows, "SELECT * FROM pixshift.job_reap($1::uuid, 500)", "s",
                              worker);
    if (!err) {
        reaped->rescued = (int)px_rows_int(rows, 0, 0);
        reaped->dead = (int)px_rows_int(rows, 0, 1);
        reaped->expired = (int)px_rows_int(rows, 0, 2);
    }
    return err;
}

/* ---- tries at providers ---- */

px_err *px_engine_store_try(px_db *db, apr_pool_t *pool, const char *job, const char *token,
                            const char *provider, bool again, int *attempt)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows, "(SELECT pixshift.attempt_begin($1::uuid, $2::uuid, $3,"
                              " $4::boolean))", "sssb", job, token, provider, again);
    if (!err) {
        *attempt = (int)px_rows_int(rows, 0, 0);
    }
    return err;
}

px_err *px_engine_store_note(px_db *db, apr_pool_t *pool, const char *job, const char *token, int phase,
                             const char *memory, const char *remote_id, int64_t wait_ms, bool *held)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows, "SELECT pixshift.attempt_note($1::uuid, $2::uuid, $3::int,"
                              " $4, $5, $6::bigint)", "ssissl", job, token, phase, memory, remote_id,
                              wait_ms);
    if (!err) {
        *held = px_rows_bool(rows, 0, 0);
    }
    return err;
}

static const char try_end_sql[] =
    "SELECT pixshift.attempt_end($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],"
    " $7::bigint[])";

typedef struct { const char *jobs, *tokens, *outcomes, *messages, *remotes, *models, *costs; } try_arrays;

static void spell_tries(apr_pool_t *pool, const px_try_end *list, int count, try_arrays *a)
{
    px_buf *text[6], *costs = px_array_make(pool, count);
    for (int k = 0; k < 6; k++) {
        text[k] = px_array_make(pool, count);
    }
    for (int i = 0; i < count; i++) {
        const px_try_end *t = &list[i];
        const char *const words[6] = {t->job, t->token, t->outcome, t->message, t->remote_id, t->model};
        for (int k = 0; k < 6; k++) {
            px_array_text(text[k], words[k]);
        }
        px_array_int(costs, t->cost_micro_usd);
    }
    a->jobs = px_array_end(text[0]);
    a->tokens = px_array_end(text[1]);
    a->outcomes = px_array_end(text[2]);
    a->messages = px_array_end(text[3]);
    a->remotes = px_array_end(text[4]);
    a->models = px_array_end(text[5]);
    a->costs = px_array_end(costs);
}

px_err *px_engine_store_try_end(px_db *db, apr_pool_t *pool, const px_try_end *list, int count)
{
    try_arrays a;
    spell_tries(pool, list, count, &a);
    return px_db_query(db, pool, NULL, try_end_sql, "sssssss", a.jobs, a.tokens, a.outcomes, a.messages,
                       a.remotes, a.models, a.costs);
}

/* ---- ends ---- */

typedef struct {
    const px_ending *list;
    int count;
    bool *ended;
    int try_count;
    try_arrays tries;
    const char *ids, *tokens, *states, *images, *codes, *messages, *dead;
} finish_args;

static void spell_endings(apr_pool_t *pool, const px_ending *list, int count, finish_args *a)
{
    px_buf *text[6], *dead = px_array_make(pool, count);
    for (int k = 0; k < 6; k++) {
        text[k] = px_array_make(pool, count);
    }
    for (int i = 0; i < count; i++) {
        const px_ending *e = &list[i];
        const char *const words[6] = {e->id, e->token, e->state, e->image_id, e->code, e->message};
        for (int k = 0; k < 6; k++) {
            px_array_text(text[k], words[k]);
        }
        px_array_bool(dead, e->dead);
    }
    a->ids = px_array_end(text[0]);
    a->tokens = px_array_end(text[1]);
    a->states = px_array_end(text[2]);
    a->images = px_array_end(text[3]);
    a->codes = px_array_end(text[4]);
    a->messages = px_array_end(text[5]);
    a->dead = px_array_end(dead);
}

/* Through a hash: the answer comes in another order. */
static void mark_ended(apr_pool_t *pool, const finish_args *a, const px_rows *rows)
{
    apr_hash_t *found = apr_hash_make(pool);
    for (int i = 0; i < px_rows_count(rows); i++) {
        apr_hash_set(found, px_rows_str(rows, i, 0), APR_HASH_KEY_STRING, "");
    }
    for (int i = 0; i < a->count; i++) {
        a->ended[i] = apr_hash_get(found, a->list[i].id, APR_HASH_KEY_STRING) != NULL;
    }
}

static px_err *finish_body(px_conn *conn, apr_pool_t *pool, void *baton)
{
    const finish_args *a = baton;
    const try_arrays *t = &a->tries;
    px_rows *rows;
    px_err *err = NULL;
    if (a->try_count > 0) {
        err = px_conn_query(conn, pool, NULL, try_end_sql, "sssssss", t->jobs, t->tokens, t->outcomes,
                            t->messages, t->remotes, t->models, t->costs);
    }
    if (!err) {
        err = px_conn_query(conn, pool, &rows, "SELECT pixshift.job_finish($1::uuid[], $2::uuid[],"
                            " $3::text[], $4::uuid[], $5::text[], $6::text[], $7::boolean[])", "sssssss",
                            a->ids, a->tokens, a->states, a->images, a->codes, a->messages, a->dead);
    }
    if (err) {
        return err;
    }
    mark_ended(pool, a, rows);
    if (px_failpoint("cm09_finish_open")) {
        return px_error(pool, PX_E_UNAVAILABLE, NULL, "fail-point cm09_finish_open");
    }
    return NULL;
}

px_err *px_engine_store_finish(px_db *db, apr_pool_t *pool, const px_try_end *tries, int try_count,
                               const px_ending *list, int count, bool *ended)
{
    finish_args a = {.list = list, .count = count, .ended = ended, .try_count = try_count};
    spell_tries(pool, tries, try_count, &a.tries);
    spell_endings(pool, list, count, &a);
    return px_db_tx(db, pool, finish_body, &a);
}

px_err *px_engine_store_requeue(px_db *db, apr_pool_t *pool, const char *const *ids,
                                const char *const *tokens, const int64_t *delays_ms, int count)
{
    px_buf *id = px_array_make(pool, count), *token = px_array_make(pool, count),
           *delay = px_array_make(pool, count);
    for (int i = 0; i < count; i++) {
        px_array_text(id, ids[i]);
        px_array_text(token, tokens[i]);
        px_array_int(delay, delays_ms[i]);
    }
    return px_db_query(db, pool, NULL, "SELECT pixshift.job_requeue($1::uuid[], $2::uuid[],"
                       " $3::bigint[])", "sss", px_array_end(id), px_array_end(token),
                       px_array_end(delay));
}

/* ---- images ---- */

/* An hour is long enough to store an object; a row that stays pending is swept with what it names. */
static const char new_images_sql[] =
    "INSERT INTO pixshift.images (id, user_id, kind, job_id, key, mime, sha256, retention, width,"
    " height, bytes, lifetime_ms, delete_after)"
    " SELECT x.id, x.owner, x.kind, x.job, x.key, x.mime, x.sha, x.retention, x.w, x.h, x.bytes,"
    " nullif(x.life, -1), pixshift.now() + interval '1 hour'"
    " FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[],"
    " $8::text[], $9::int[], $10::int[], $11::bigint[], $12::bigint[])"
    " AS x (id, owner, kind, job, key, mime, sha, retention, w, h, bytes, life)"
    " ON CONFLICT (id) DO NOTHING";

px_err *px_engine_store_new_images(px_db *db, apr_pool_t *pool, const px_new_image *list, int count)
{
    px_buf *text[8], *numbers[4];
    const char *args[12];
    for (int k = 0; k < 12; k++) {
        *(k < 8 ? &text[k] : &numbers[k - 8]) = px_array_make(pool, count);
    }
    for (int i = 0; i < count; i++) {
        const px_new_image *n = &list[i];
        const char *const words[8] = {n->id, n->user_id, n->kind, n->job_id, n->key, n->mime, n->sha256,
                                      n->retention};
        const int64_t amounts[4] = {n->width, n->height, n->bytes, n->lifetime_ms};
        for (int k = 0; k < 8; k++) {
            px_array_text(text[k], words[k]);
        }
        for (int k = 0; k < 4; k++) {
            px_array_int(numbers[k], amounts[k]);
        }
    }
    for (int k = 0; k < 12; k++) {
        args[k] = px_array_end(k < 8 ? text[k] : numbers[k - 8]);
    }
    return px_db_query(db, pool, NULL, new_images_sql, "ssssssssssss", args[0], args[1], args[2], args[3],
                       args[4], args[5], args[6], args[7], args[8], args[9], args[10], args[11]);
}

px_err *px_engine_store_due_images(px_db *db, apr_pool_t *pool, int limit, const char ***ids,
                                   const char ***keys, int *count)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows, "SELECT id, key FROM pixshift.images"
                              " WHERE deleted_at IS NULL AND delete_after <= pixshift.now()"
                              " ORDER BY delete_after LIMIT $1::int", "i", limit);
    *count = 0;
    if (err) {
        return err;
    }
    *count = px_rows_count(rows);
    *ids = apr_pcalloc(pool, sizeof(char *) * (size_t)(*count + 1));
    *keys = apr_pcalloc(pool, sizeof(char *) * (size_t)(*count + 1));
    for (int i = 0; i < *count; i++) {
        (*ids)[i] = px_rows_str(rows, i, 0);
        (*keys)[i] = px_rows_str(rows, i, 1);
    }
    return NULL;
}

px_err *px_engine_store_deleted(px_db *db, apr_pool_t *pool, const char *const *ids, int count)
{
    px_buf *array = px_array_make(pool, count);
    for (int i = 0; i < count; i++) {
        px_array_text(array, ids[i]);
    }
    return px_db_query(db, pool, NULL, "UPDATE pixshift.images SET state = 'deleted',"
                       " deleted_at = pixshift.now() WHERE id = ANY ($1::uuid[]) AND deleted_at IS NULL",
                       "s", px_array_end(array));
}

px_err *px_engine_store_purge(px_db *db, apr_pool_t *pool, int64_t *removed)
{
    px_rows *rows;
    px_err *err = px_db_query(db, pool, &rows, "SELECT pixshift.studio_purge(1000)", "");
    if (!err) {
        *removed = px_rows_int(rows, 0, 0);
    }
    return err;
}
