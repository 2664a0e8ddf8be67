/* The routes of the studio, in both spellings (docs/internals/studio.md). */
#include "studio_api.h"

#include "job.h"

#define PIX PX_DIALECT_PIXSHIFT
#define V1 PX_DIALECT_TRAILROOM
#define ANY PX_CRED_ANY
/* API keys never carry an admin's rights. */
#define WHO PX_CRED_USER
#define READ PX_SCOPE_JOBS_READ
#define WRITE PX_SCOPE_JOBS_WRITE
#define OWN PX_SCOPE_ACCOUNT
#define BOTH PX_BODY_JSON_OR_MULTIPART
#define ADMIN PX_ROUTE_ADMIN
#define CREATES PX_ROUTE_CREATES
#define ONE_IMAGE (PX_ROUTE_IMAGES | PX_ROUTE_ONE_FILE)
#define NO_V1 PX_ROUTE_NO_V1_ALIAS

const px_route px_studio_routes[] = {
    /* transformations */
    {"POST", "/api/transformations/upload", PIX, ANY, WRITE, PX_BODY_MULTIPART, ONE_IMAGE,
     studio_upload_create_api, "Takes an image in; its address may then stand wherever one is wanted."},
    {"GET", "/api/transformation-types", PIX, ANY, READ, PX_BODY_NONE, 0, studio_type_list_api,
     "Lists what an image can be turned into."},
    {"POST", "/api/transformations", PIX, ANY, WRITE, BOTH, CREATES | ONE_IMAGE,
     studio_transformation_create_api, "Has an image transformed; Prefer: wait answers when it is done."},
    {"GET", "/api/transformations", PIX, ANY, READ, PX_BODY_NONE, 0, studio_transformation_list_api,
     "Lists the own transformations, newest first."},
    {"GET", "/api/transformations/{id}", PIX, ANY, READ, PX_BODY_NONE, 0, studio_transformation_get_api,
     "Tells how a transformation stands."},
    {"PUT", "/api/transformations/{id}", PIX, ANY, WRITE, PX_BODY_JSON, 0,
     studio_transformation_update_api, "Cancels a transformation, or tries a failed one again."},
    {"GET", "/api/transformations/{id}/download", PIX, ANY, READ, PX_BODY_NONE, PX_ROUTE_RAW,
     studio_transformation_download_api, "The transformed image as a file."},

    /* try-ons; KEY-5: API keys on the first three only */
    {"POST", "/api/v1/tryon", V1, ANY, WRITE, BOTH, CREATES | PX_ROUTE_IMAGES, studio_tryon_create_api,
     "Dresses a person in the given garments."},
    {"GET", "/api/v1/tryon/{jobId}", V1, ANY, READ, PX_BODY_NONE, 0, studio_tryon_get_api,
     "Tells how a try-on stands, with the address of its result."},
    {"GET", "/api/v1/tryon/{jobId}/base64", V1, ANY, READ, PX_BODY_NONE, 0, studio_tryon_base64_api,
     "The result of a try-on as base64."},
    {"GET", "/api/v1/tryon/history", V1, WHO, READ, PX_BODY_NONE, 0, studio_tryon_history_api,
     "Lists the own try-ons, newest first."},
    {"DELETE", "/api/v1/tryon/{jobId}", V1, WHO, WRITE, PX_BODY_NONE, 0, studio_tryon_delete_api,
     "Deletes a try-on and its result."},

    /* enhancement and generation */
    {"POST", "/api/upscale", PIX, ANY, WRITE, BOTH, CREATES | ONE_IMAGE, studio_enhance_create_api,
     "Enlarges and enhances an image; waits for the result unless told not to."},
    {"GET", "/api/upscale/{jobId}", PIX, ANY, READ, PX_BODY_NONE, 0, studio_enhance_get_api,
     "Tells how an enhancement stands."},
    {"POST", "/api/v1/generate", V1, ANY, WRITE, PX_BODY_JSON, CREATES, studio_generate_create_api,
     "Makes an image from a description."},
    {"GET", "/api/v1/generate/{jobId}", V1, ANY, READ, PX_BODY_NONE, 0, studio_generate_get_api,
     "Tells how a generation stands."},

    /* jobs of all kinds, files */
    {"GET", "/api/v1/jobs", V1, ANY, READ, PX_BODY_NONE, 0, studio_job_list_api,
     "Lists the own jobs of all kinds, newest first."},
    {"GET", "/api/v1/jobs/{id}", V1, ANY, READ, PX_BODY_NONE, 0, studio_job_get_api,
     "Tells how a job stands; ?wait=n answers when it has ended."},
    {"GET", "/api/v1/jobs/{id}/events", V1, ANY, READ, PX_BODY_NONE, 0, studio_job_events_api,
     "Streams what happens to a job until it ends."},
    {"POST", "/api/v1/jobs/{id}/cancel", V1, ANY, WRITE, PX_BODY_NONE, 0, studio_job_cancel_api,
     "Cancels a job that has not ended; nothing is charged."},
    {"GET", "/api/jobs", PIX, ANY, READ, PX_BODY_NONE, NO_V1, studio_job_list_api,
     "Lists the own jobs of all kinds, newest first."},
    {"GET", "/api/jobs/{id}", PIX, ANY, READ, PX_BODY_NONE, NO_V1, studio_job_get_api,
     "Tells how a job stands; ?wait=n answers when it has ended."},
    {"GET", "/api/files/{key*}", PIX, PX_CRED_NONE, 0, PX_BODY_NONE, PX_ROUTE_RAW | NO_V1,
     studio_file_get_api, "A stored image, by a signed address."},

    /* for admins */
    {"GET", "/api/admin/transformation-types", PIX, WHO, OWN, PX_BODY_NONE, ADMIN,
     studio_type_list_all_api, "Lists all transformation types with their use."},
    {"POST", "/api/admin/transformation-types", PIX, WHO, OWN, PX_BODY_JSON, ADMIN | CREATES,
     studio_type_create_api, "Makes a transformation type."},
    {"PUT", "/api/admin/transformation-types/{id}", PIX, WHO, OWN, PX_BODY_JSON, ADMIN,
     studio_type_update_api, "Changes a transformation type; what is not sent stays."},
    {"DELETE", "/api/admin/transformation-types/{id}", PIX, WHO, OWN, PX_BODY_NONE, ADMIN,
     studio_type_delete_api, "Hides a transformation type that no unfinished job uses."},
    {"GET", "/api/v1/admin/prompts", V1, WHO, OWN, PX_BODY_NONE, ADMIN, studio_prompt_list_api,
     "Lists prompts with their versions."},
    {"POST", "/api/v1/admin/prompts", V1, WHO, OWN, PX_BODY_JSON, ADMIN | CREATES,
     studio_prompt_create_api, "Makes a new version of a prompt."},
    {"GET", "/api/v1/admin/prompts/active/{mode}", V1, WHO, OWN, PX_BODY_NONE, ADMIN,
     studio_prompt_active_api, "The prompt in use for a mode."},
    {"PUT", "/api/v1/admin/prompts/{promptId}", V1, WHO, OWN, PX_BODY_JSON, ADMIN,
     studio_prompt_update_api, "Activates or annotates a version; new text makes a new version."},
    {"POST", "/api/v1/admin/prompts/{promptId}/rollback", V1, WHO, OWN, PX_BODY_NONE, ADMIN,
     studio_prompt_rollback_api, "Takes an old version of a prompt into use again."},
    {"GET", "/api/v1/admin/jobs", V1, WHO, OWN, PX_BODY_NONE, ADMIN, studio_job_admin_list_api,
     "Lists the jobs of all users, newest first."},
    {"POST", "/api/v1/admin/jobs/{jobId}/retry", V1, WHO, OWN, PX_BODY_JSON, ADMIN | CREATES,
     studio_job_admin_retry_api, "Runs an unsuccessful job once more."},
    {"POST", "/api/v1/admin/jobs/{jobId}/refund", V1, WHO, OWN, PX_BODY_JSON, ADMIN | CREATES,
     studio_job_admin_refund_api, "Gives back what a job took."},
    {"POST", "/api/v1/admin/jobs/{jobId}/cancel", V1, WHO, OWN, PX_BODY_NONE, ADMIN,
     studio_job_admin_cancel_api, "Cancels a job that has not ended."},

    {NULL, NULL, PIX, 0, 0, PX_BODY_NONE, 0, NULL, NULL},
};
