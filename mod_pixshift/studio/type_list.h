/* The rendered list of enabled types, kept per process. */
#ifndef PX_STUDIO_TYPE_LIST_H
#define PX_STUDIO_TYPE_LIST_H

#include "http/http.h"

/* The text of {types:[…]} in the request's dialect, in its pool. At most two seconds old, and never older
 * than the last px_type_list_changed of any process that shares the cache. */
px_err *px_type_list_text(px_req *req, const char **text, size_t *len);
void px_type_list_changed(px_req *req);

#endif
