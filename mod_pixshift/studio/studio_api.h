/* What the HTTP APIs of the studio share.  Only *_api.c, results.c and studio_routes.c include this. */
#ifndef PX_STUDIO_STUDIO_API_H
#define PX_STUDIO_STUDIO_API_H

#include "studio.h"

/* ---- handlers, one line a file; studio_routes.c has their table ---- */
px_handler studio_upload_create_api;
px_handler studio_type_list_api, studio_type_list_all_api, studio_type_create_api,
    studio_type_update_api, studio_type_delete_api;
px_handler studio_prompt_list_api, studio_prompt_create_api, studio_prompt_active_api,
    studio_prompt_update_api, studio_prompt_rollback_api;
px_handler studio_transformation_create_api, studio_transformation_list_api,
    studio_transformation_get_api, studio_transformation_update_api,
    studio_transformation_download_api;
px_handler studio_tryon_create_api, studio_tryon_get_api, studio_tryon_base64_api,
    studio_tryon_history_api, studio_tryon_delete_api;
px_handler studio_enhance_create_api, studio_enhance_get_api;
px_handler studio_generate_create_api, studio_generate_get_api;
px_handler studio_job_list_api, studio_job_get_api, studio_job_cancel_api, studio_job_events_api;
px_handler studio_file_get_api;
px_handler studio_job_admin_list_api, studio_job_admin_retry_api, studio_job_admin_refund_api,
    studio_job_admin_cancel_api;

/* ---- making jobs (submit.c) ---- */
/* Fills user, tier, test mode, retention and cost (PixShiftCost `cost_name`) of a job of `operation`. */
px_err *studio_spec_begin(px_req *req, const char *operation, const char *cost_name, px_job_spec *spec);
/* Makes the job and answers with what `resume` renders (see px_job_answer). */
px_err *studio_submit(px_req *req, px_reply *reply, const px_job_spec *spec, px_handler *resume);
/* For `resume` handlers: finds the job of this create or wait. *job NULL = go on waiting. When it has
 * ended, the reply is a plain 200. */
px_err *studio_resumed(px_req *req, px_reply *reply, px_job **job);

/* INSUFFICIENT_CREDITS in the words of the dialect (C-19); other errors pass. */
px_err *studio_credit_words(px_req *req, px_err *err);
/* A job of the path's id (parameter `name`) and of this operation; NULL = any. */
px_err *studio_job_param(px_req *req, const char *name, const char *operation, px_job **job);
/* The owner's cancel: CONFLICT when it has ended already. The job as it is then. */
px_err *studio_cancel(px_req *req, px_job **job);
/* CONFLICT unless the job ended badly: only then it may run again. */
px_err *studio_retry_check(px_req *req, const px_job *job);
px_err *studio_retry(px_req *req, px_job **job);
/* ?status in the dialect's words; *state NULL = not given. */
px_err *studio_state_filter(px_req *req, const char *word, const char **state);

/* ---- results of jobs (results.c) ---- */
/* NULL when the job's result can be had; else CONFLICT (not ready), NOT_FOUND (it failed) or GONE with
 * reason "expired". */
px_err *studio_result_check(px_req *req, const px_job *job);
/* A signed URL of the result; NULL in *url when there is none (any more). */
px_err *studio_result_url(px_req *req, const px_job *job, const char **url);
/* A signed URL of the job's first input: ours, or as the client gave it. */
px_err *studio_input_url(px_req *req, const px_job *job, const char **url);
/* The reply is an object of the storage, as a file. `download` names it for the browser, NULL = inline.
 * image_id is marked as downloaded when the last byte is out. */
px_err *studio_send_object(px_req *req, px_reply *reply, const char *key, const char *mime,
                           const char *image_id, const char *download);
/* "transformation-<id>.jpg" */
const char *studio_download_name(px_req *req, const px_job *job);
/* The whole result as base64 is the reply, {key: …}, by way of a spool file: memory does not grow with the
 * image. Results beyond 32 MiB are refused. */
px_err *studio_send_base64(px_req *req, px_reply *reply, const char *key, const px_job *job);
/* The member `url_key`; in place of an address the bytes themselves, once, when nobody keeps them
 * (image_base64), and image_expired when they are gone (C-14). */
px_err *studio_write_result(px_req *req, px_jw *w, const char *url_key, const px_job *job);
/* True for the first who asks for the bytes of a result that nobody keeps (C-14). */
px_err *studio_take_once(px_req *req, const px_job *job, bool *first);

/* Members that every rendering of a job may carry. */
void studio_write_end(px_jw *w, const px_job *job);
/* What a job costs as clients see it: the held amount, then what was taken (C-10). */
int64_t studio_credits(const px_job *job);
/* A member of the job's params, NULL = absent. */
const char *studio_job_option(px_req *req, const px_job *job, const char *name);
/* The file part of this name, NULL = none. */
const px_part *studio_file_part(px_req *req, const char *name);

/* The table of routes that take no query of their own. */
extern const px_field studio_no_fields[];

#endif
