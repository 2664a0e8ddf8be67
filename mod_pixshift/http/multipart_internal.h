/* The three pieces of the multipart reader: the scanner that finds boundaries (multipart.c), part
 * headers (multipart_head.c), and where the bytes of a part go (multipart_part.c). */
#ifndef PX_HTTP_MULTIPART_INTERNAL_H
#define PX_HTTP_MULTIPART_INTERNAL_H

#include "http_internal.h"

#include <openssl/evp.h>

/* RELIABILITY §2, "Upload". */
#define PX_MP_BOUNDARY_MAX 70
#define PX_MP_PARTS_MAX 20
#define PX_MP_HEAD_MAX 8192
#define PX_MP_NAME_MAX 255
#define PX_MP_FIELD_MAX 65536
#define PX_MP_FIELDS_MAX 262144         /* all fields of one form together */

typedef struct {
    px_req *req;
    uint64_t file_limit;
    int max_files;
    px_form *form;
    px_part **tail;
    /* the part being received */
    px_part *part;
    px_buf *field;              /* its value, when it is a field */
    int fd;                     /* its spool file, else -1 */
    size_t fields_len;
    int parts, files;
    EVP_MD_CTX *md;
} px_mp_sink;

px_err *px_mp_fault(px_req *req, const char *text);

/* Reads one header block (without the empty line at its end) into a new part. */
px_err *px_mp_head(px_req *req, char *head, size_t len, px_part **out);

px_err *px_mp_sink_make(px_req *req, uint64_t file_limit, int max_files, px_mp_sink *sink);
px_err *px_mp_sink_begin(px_mp_sink *sink, px_part *part);
px_err *px_mp_sink_data(px_mp_sink *sink, const char *data, size_t len);
px_err *px_mp_sink_end(px_mp_sink *sink);
/* Digest of the form: what was sent, whatever boundary it was sent with. */
const char *px_mp_sink_digest(px_mp_sink *sink);
/* Closes what is open; to be called in any case. */
void px_mp_sink_close(px_mp_sink *sink);

#endif
