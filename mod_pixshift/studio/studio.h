/* What the files of the studio share; nobody else includes this.
 *
 * Images: every stored object has a row that is written before the object (state pending), so that a
 * crash leaves no file that nobody knows.  Jobs: created in one statement with their hold (job_store.c);
 * everything a client sees of one is a px_job.  All structs live in the caller's pool. */
#ifndef PX_STUDIO_STUDIO_H
#define PX_STUDIO_STUDIO_H

#include "base/error.h"
#include "config/app.h"
#include "db/db.h"
#include "http/http.h"
#include "image/scan.h"
#include "net/net.h"

/* ---- images (image_store.c) ---- */
typedef struct {
    const char *id, *user_id, *job_id, *kind, *key, *mime, *sha256, *retention, *state;
    int64_t width, height, bytes;
    int64_t created_at, first_downloaded_at, delete_after;      /* usec, 0 = none */
} px_image;

/* Row in state pending, complete; id and key are the caller's. keep_ms: lifetime from the moment it is
 * ready, 0 = for good. A row that stays pending is swept after an hour. */
px_err *px_image_insert(px_db *db, apr_pool_t *pool, const px_image *image, int64_t keep_ms);
/* The object is in storage now. */
px_err *px_image_ready(px_db *db, apr_pool_t *pool, const char *id);
/* NOT_FOUND unless it exists and is ready; user_id NULL = any owner. */
px_err *px_image_get(px_db *db, apr_pool_t *pool, const char *id, const char *user_id, px_image **out);
px_err *px_image_by_key(px_db *db, apr_pool_t *pool, const char *key, px_image **out);
/* The first complete download of an ephemeral image starts its last minutes (C-15). */
px_err *px_image_downloaded(px_db *db, apr_pool_t *pool, const char *id, int64_t delete_after_ms);
/* Its owner deletes it: the sweeper removes the object at its next turn. */
px_err *px_image_condemn(px_db *db, apr_pool_t *pool, const char *id);
/* True for the first who asks: a result with retention none is given out once (C-14). */
px_err *px_image_take_once(px_db *db, apr_pool_t *pool, const char *id, bool *first);

/* ---- taking images in (intake.c) ---- */
/* Scans, stores and records one uploaded file (path) as uploads/{user}/{id}.{ext}. Refusals are those of
 * image/scan.h and are counted. `retention` decides the lifetime. */
px_err *px_intake_file(px_req *req, const char *path, uint64_t len, const char *sha256,
                       const char *retention, px_image **out);
px_err *px_intake_bytes(px_req *req, const void *data, size_t len, const char *retention, px_image **out);

/* ---- jobs (job_store.c) ---- */
/* One input: an image of ours (image + key) or a URL that the worker fetches. `sent`: it came with the
 * request itself and serves this job alone. */
typedef struct { const char *role, *image, *key, *url; bool sent; } px_job_input;

typedef struct {
    const char *user_id, *operation, *type_id, *prompt, *scope, *retention, *tier;
    const char *params;             /* JSON object of strings for the provider; lists filter by "mode" */
    const px_job_input *inputs; int input_count;
    int64_t cost;
} px_job_spec;

typedef struct {
    const char *id, *user_id, *operation, *state, *type_id, *prompt_used, *params;
    const char *inputs;             /* JSON array as stored */
    const char *retention, *provider, *result_image, *result_key, *result_mime;
    const char *error_code, *error_message, *hold_id, *tier;
    int64_t cost, credits_used, attempt, claims, processing_time_ms;
    int64_t created_at, started_at, completed_at, updated_at;   /* usec, 0 = none */
    int64_t result_delete_after;
    const char *result_state;       /* of the image: ready, deleted; NULL = none */
    bool cancel_asked;
    const char *first_input_key;    /* storage key of inputs[0], NULL for a remote one */
} px_job;

/* Hold, job, event and wake-up in one transaction. INSUFFICIENT_CREDITS with details, TOO_MANY_JOBS. */
px_err *px_job_create(px_req *req, const px_job_spec *spec, const char **job_id);
/* NOT_FOUND for a foreign or deleted one; user_id NULL = any owner (admins). */
px_err *px_job_get(px_db *db, apr_pool_t *pool, const char *id, const char *user_id, px_job **out);
typedef struct {
    const char *user_id;            /* NULL = all */
    const char *operation, *state, *mode;      /* NULL = all; mode is params.mode; state is an internal one */
} px_job_filter;
px_err *px_job_list(px_db *db, apr_pool_t *pool, const px_job_filter *filter, const px_page *page,
                    px_job **list, int *count, int64_t *total);
/* *state: canceled, canceling (its worker must let go first), or the final state it has already. */
px_err *px_job_cancel(px_db *db, apr_pool_t *pool, const char *id, const char **state);
/* The owner's "delete": the row stays for the books, the client does not see it any more. */
px_err *px_job_forget(px_db *db, apr_pool_t *pool, const char *id);
/* Runs an ended, unsuccessful job once more, under its old id, with a new hold. CONFLICT otherwise. */
px_err *px_job_redo(px_req *req, const px_job *old);
bool px_job_ended(const px_job *job);       /* succeeded, failed, canceled, expired */

typedef struct { int64_t seq; const char *event, *data; int64_t created_at; } px_job_event;
px_err *px_job_events(px_db *db, apr_pool_t *pool, const char *id, int64_t after, px_job_event **list,
                      int *count);

/* ---- what several APIs say about jobs (job_view.c) ---- */
/* Internal state -> PENDING/PROCESSING/COMPLETED/FAILED or queued/processing/completed/failed (C-11). */
const char *px_job_state_word(px_dialect dialect, const char *state);
/* And back, for filters; NULL when it is no word of the dialect. "failed" stands for all bad ends: the
 * caller's filter uses state "failed". */
const char *px_job_state_from_word(px_dialect dialect, const char *word);
/* Safe text of a bad end: the error's message, or the reason for canceled and expired. */
const char *px_job_fault(const px_job *job);
/* Finds the job for the caller: owner or admin, else NOT_FOUND (USER-7). */
px_err *px_job_for(px_req *req, const char *id, px_job **out);
/* Ends a create: waits when asked (reply mode WAIT with `resume` as handler for each wake), else answers at
 * once with what `resume` renders. Status by dialect (C-12), Location and Retry-After where 202. */
px_err *px_job_answer(px_req *req, px_reply *reply, const char *job_id, px_handler *resume);

#endif
