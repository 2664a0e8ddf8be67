/* What the three format scanners share.  Private to image/scan*.c. */
#ifndef PX_IMAGE_SCAN_INSIDE_H
#define PX_IMAGE_SCAN_INSIDE_H

#include "image/scan.h"

typedef struct {
    const unsigned char *bytes;
    size_t len;
    px_scan_limits limits;
    px_scan_result *result;
} px_scan_job;

/* Notes the refusal and returns false. */
bool px_scan_refuse(px_scan_job *job, const char *reason, const char *sentence);
/* Refuses a length that leaves the file: "truncated", or "chunk_length" when no file within the
 * limits could hold it. */
bool px_scan_refuse_length(px_scan_job *job, uint64_t claimed);
/* Notes the size and checks it against the limits. */
bool px_scan_size(px_scan_job *job, uint32_t width, uint32_t height);
/* What stands behind the picture: padding passes, other files do not. */
bool px_scan_trailing(px_scan_job *job, size_t end);
/* Refuses metadata that makes the file something else as well. */
bool px_scan_metadata(px_scan_job *job, size_t at, size_t len);

bool px_scan_jpeg(px_scan_job *job);
bool px_scan_png(px_scan_job *job);
bool px_scan_webp(px_scan_job *job);

#endif
