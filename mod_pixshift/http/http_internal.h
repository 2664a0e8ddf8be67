/* What the files of http/ share. */
#ifndef PX_HTTP_HTTP_INTERNAL_H
#define PX_HTTP_HTTP_INTERNAL_H

#include "http.h"

#include "cache/cache.h"
#include "config/settings.h"

#define PX_HTTP_POLICIES 8      /* rate policies that can apply to one request */

typedef struct { const char *name; int64_t window_ms; px_rate_verdict verdict; } px_http_policy;

/* An Idempotency-Key that this request has claimed. */
typedef struct {
    const char *subject;        /* "user:<uuid>" or "ip:<address>" */
    const char *key;            /* as sent */
    const char *digest;         /* of method, path, query and body */
    const char *owner;          /* random: only who claimed the row may finish it */
} px_http_claim;

struct px_http_state {
    int64_t started;            /* px_monotonic; of the latest wake of a waiting reply */
    int64_t busy;               /* microseconds before that, without the waiting (C-35) */
    bool counted, waiting;
    const char *allow;          /* methods of an address that was asked with another one */
    px_err *verbatim;           /* this error's `field` is the client's own word: not respelled */
    px_http_policy policies[PX_HTTP_POLICIES];
    int policy_count;
    px_http_claim *claim;
    px_handler *resume;         /* the handler's, behind the wrapper */
};

struct px_http_state *px_http_state(px_req *req);
px_spelling px_http_spelling(px_dialect dialect);
/* Fresh JSON writer in the request's dialect; mode JSON, status 200, no headers. */
void px_reply_reset(px_req *req, px_reply *reply);

/* run.c's guards, each in its file; NULL = pass. */
px_err *px_guard_rate_ip(px_req *req);
px_err *px_guard_rate_who(px_req *req);
void px_rate_headers(px_req *req, apr_table_t *headers);
px_err *px_guard_credential(px_req *req);
px_err *px_guard_csrf(px_req *req);
px_err *px_guard_scope(px_req *req);
/* Size, type, reading and parsing of the body. */
px_err *px_http_body_read(px_req *req);

/* True when the request was a CORS preflight: the reply is filled. */
bool px_cors_preflight(px_req *req, px_reply *reply);
void px_cors_headers(px_req *req, apr_table_t *headers);
/* scheme://host[:port] of PixShiftBaseURL, NULL when it is not set. */
const char *px_http_own_origin(px_req *req);

/* Claims the request's Idempotency-Key. *replayed: the reply was filled from the record. */
px_err *px_idem_begin(px_req *req, px_reply *reply, bool *replayed);
/* After the handler: records the reply, gives the key back, or (WAIT) keeps it until the wait ends.
 * `err` is what the handler returned. */
void px_idem_settle(px_req *req, px_reply *reply, const px_err *err);

/* Gives the claimed key back. */
void px_idem_give_back(px_req *req);

/* idempotency_store.c */
typedef struct {
    bool claimed;               /* else the rest tells what is there */
    bool same;                  /* same digest */
    bool done;
    int status;                 /* of the recorded reply */
    const char *headers;        /* JSON object */
    const char *body;           /* sealed; NULL = none was kept */
} px_idem_row;
px_err *px_idem_store_claim(px_req *req, const px_http_claim *claim, px_idem_row *row);
px_err *px_idem_store_finish(px_req *req, const px_http_claim *claim, int status,
                             const char *headers, const char *body);
px_err *px_idem_store_release(px_req *req, const px_http_claim *claim);
px_err *px_idem_store_extend(px_req *req, const px_http_claim *claim, int64_t until);

/* health_store.c */
px_err *px_health_database(px_req *req);
/* Gauges from the database in Prometheus text; tables that do not exist (yet) are left out. */
px_err *px_health_gauges(px_req *req, px_buf *out);

/* query.c */
typedef struct px_pair { const char *name, *value; struct px_pair *next; } px_pair;
/* Pairs of the query string in order; VALIDATION when it is malformed or has more than 100. */
px_err *px_query_parse(px_req *req, px_pair **out);

/* The boundary from a Content-Type header; NULL when there is none or it is malformed. */
const char *px_multipart_boundary(apr_pool_t *pool, const char *content_type);

#endif
