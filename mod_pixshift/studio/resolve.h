/* The one resolver of image references (C-13): what clients send where an image is wanted. */
#ifndef PX_STUDIO_RESOLVE_H
#define PX_STUDIO_RESOLVE_H

#include "studio.h"

typedef enum {
    PX_REF_OWN_URL,     /* an address of ours, /api/files/…; `rest` is key?query */
    PX_REF_ID,          /* id of an image */
    PX_REF_DATA,        /* data:…;base64,…; `rest` is the base64 */
    PX_REF_BASE64,
    PX_REF_REMOTE,      /* https://… elsewhere */
    PX_REF_BAD
} px_ref_kind;

/* Tells by its form alone what a reference is. base_url may be NULL. */
px_ref_kind px_ref_classify(const char *base_url, const char *value, const char **rest);

typedef struct {
    const char *field;          /* as the route calls it (snake_case), for refusals */
    const char *role;           /* person, top, bottom, input: as providers are told */
    const char *value;          /* NULL when there is a part */
    const px_part *part;        /* NULL when there is a value */
    const char *retention;      /* of the job */
} px_image_ref;

/* Fills *out. Uploads are scanned, stored and recorded; images and URLs of ours must be the caller's;
 * other URLs are checked here and fetched by the worker. */
px_err *px_resolve_image(px_req *req, const px_image_ref *ref, px_job_input *out);

#endif
