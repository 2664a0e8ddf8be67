/* Requests, replies, routes, guards – without any web server: a host (apache/) fills px_req and
 * sends px_reply.  Everything lives in the request's pool and belongs to the request's thread,
 * except where a reply asks to wait or stream: then its `resume`/`next` runs later on the
 * child's I/O thread with the same px_req. */
#ifndef PX_HTTP_HTTP_H
#define PX_HTTP_HTTP_H

#include "base/error.h"
#include "base/json.h"
#include "config/app.h"
#include "principal.h"
#include <apr_tables.h>

typedef enum { PX_DIALECT_PIXSHIFT, PX_DIALECT_TRAILROOM, PX_DIALECT_OPENAI } px_dialect;
typedef enum { PX_BODY_NONE, PX_BODY_JSON, PX_BODY_MULTIPART,
               PX_BODY_JSON_OR_MULTIPART } px_body_kind;

typedef struct px_req px_req;
typedef struct px_reply px_reply;
typedef struct px_route px_route;
typedef px_err *px_handler(px_req *req, px_reply *reply);

/* Flags of routes */
enum {
    PX_ROUTE_CREATES = 1u << 0,     /* honours Idempotency-Key */
    PX_ROUTE_NO_V1_ALIAS = 1u << 1, /* not served under /api/v1 (C-1) */
    PX_ROUTE_ADMIN = 1u << 2,       /* role admin */
    PX_ROUTE_IMAGES = 1u << 3,      /* body limit of uploads (PixShiftMaxUpload; as base64 ×4/3) */
    PX_ROUTE_RAW = 1u << 4,         /* reply is no API object (metrics, health, files, console) */
    PX_ROUTE_NO_RATE = 1u << 5,
    PX_ROUTE_ONE_FILE = 1u << 6     /* with IMAGES: one image, not three; a third of the limit */
};

struct px_route {
    const char *method;             /* "GET", "POST", …  HEAD is served by GET */
    const char *pattern;            /* "/api/transformations/{id}"; "{key*}" takes all the rest */
    px_dialect dialect;
    unsigned creds;                 /* PX_CRED_ bits */
    unsigned scope;                 /* one PX_SCOPE_ bit, 0 = none */
    px_body_kind body;
    unsigned flags;
    px_handler *handler;
    const char *summary;            /* one sentence, for OpenAPI and docs */
};

struct px_req {
    const px_app *app;
    struct px_net *net;             /* this thread's engine, for short blocking calls */
    apr_pool_t *pool;
    const char *method;
    const char *path;               /* decoded once; no "..", no NUL */
    const char *query;              /* raw, without '?'; NULL = none */
    apr_table_t *headers_in;
    const char *client_ip;          /* as httpd (mod_remoteip) says */
    bool https;
    const char *request_id;         /* ours, or the client's x-request-id when well-formed */
    int64_t content_length;         /* -1 = unknown (chunked) */
    const px_route *route;
    apr_table_t *params;            /* path parameters */
    px_dialect dialect;
    px_principal *who;              /* NULL = anonymous */
    json_object *json;              /* checked body, PX_BODY_JSON */
    struct px_form *form;           /* PX_BODY_MULTIPART */
    const char *body_digest;        /* hex SHA-256 of the body, for Idempotency-Key */
    apr_table_t *notes;             /* for the access log: "pixshift-user", "pixshift-job", … */
    /* Reads body bytes. Returns the count, 0 at the end, -1 on error (*err set). The host's. */
    long (*read_body)(px_req *req, char *buf, size_t size, px_err **err);
    void *host;                     /* the host's own */
    struct px_http_state *state;    /* http/'s own; NULL until px_http_run or first use */
};

typedef enum { PX_REPLY_JSON, PX_REPLY_BYTES, PX_REPLY_FILE, PX_REPLY_WAIT,
               PX_REPLY_STREAM } px_reply_mode;

struct px_reply {
    px_reply_mode mode;
    int status;                     /* default 200 */
    apr_table_t *headers;           /* Set-Cookie may repeat: use apr_table_add */
    px_jw *json;                    /* JSON: write into it; the top object is the handler's */
    const char *bytes; size_t bytes_len; const char *content_type;
    const char *file; bool unlink_file;     /* FILE: ranges and conditions are the host's */
    /* Runs when the last byte of the reply was handed to the network without error (C-15). */
    void (*on_sent)(px_req *req, void *baton); void *on_sent_baton;
    /* WAIT and STREAM: wake on notifications for this topic, and at `deadline` (px_now usec). */
    const char *topic;              /* e.g. a job id */
    int64_t deadline;
    /* WAIT: called on each wake; fills the reply, or leaves mode WAIT to go on waiting. When
     * px_http_run has returned, this is http/'s wrapper: it renders errors itself and records
     * idempotent replies. */
    px_handler *resume;
    /* STREAM: appends complete SSE events that are due to `out`; *done ends the stream. Called at
     * start, on each wake and at least every 15 s (heartbeat comments are the host's). */
    px_err *(*next)(px_req *req, void *baton, px_buf *out, bool *done);
    void *stream_baton;
};

/* ---- tables ---- */
typedef struct px_router px_router;
/* `tables` is a NULL-terminated list of route arrays that end with method NULL. Refuses duplicate
 * (method, pattern) pairs with a sentence; adds /api/v1 aliases where free (C-1). */
const char *px_router_make(apr_pool_t *pool, const px_route *const *tables, px_router **out);
/* NOT_FOUND, METHOD_NOT_ALLOWED (with Allow in *allow), or fills req->route, params, dialect.
 * Static segments beat parameters. */
px_err *px_router_find(const px_router *router, px_req *req, const char **allow);
/* All routes incl. aliases, for the documentation tests. */
int px_router_list(const px_router *router, const px_route ***list);

/* ---- running a request: guards in the one fixed order, handler, rendering of errors ---- */
/* Set once by the host: account/'s function that turns credentials into a principal. It sees
 * req->route->creds. Returns NULL with who NULL when nothing was sent. */
typedef px_err *px_authenticate_fn(px_req *req, px_principal **who);
void px_http_set_authenticator(px_authenticate_fn *fn);
/* Likewise account/'s function that drops what caches know of a user; px_http_forget calls it after a
 * commit that changed what the user's principal says (tier, role, suspension). */
typedef void px_forget_fn(const px_app *app, apr_pool_t *pool, const char *user_id);
void px_http_set_forget(px_forget_fn *fn);
void px_http_forget(px_req *req, const char *user_id);
/* Always fills the reply (errors are rendered into it). The caller then sends it. */
void px_http_run(const px_router *router, px_req *req, px_reply *reply);
/* The host: the client of a waiting reply has gone away. Its Idempotency-Key is free again, so
 * that it can come back at once; what the handler created is found by px_idempotency_id. */
void px_http_abandon(px_req *req);
px_reply *px_reply_make(px_req *req);
/* Renders an error in the request's dialect into the reply (replacing what was there). Logs
 * `cause`. */
void px_reply_error(px_req *req, px_reply *reply, px_err *err);
/* Ends a JSON reply's text: *len bytes. */
const char *px_reply_text(px_reply *reply, size_t *len);
/* Inside the handler's top object: writes "success":true in the pixshift dialect on writes, else
 * nothing. */
void px_reply_success(px_req *req, px_reply *reply);
/* Headers that every answer carries (security, request id, limits, CORS). px_http_run and
 * px_reply_error set them; a host calls it only for replies that it makes itself. */
void px_reply_headers(px_req *req, px_reply *reply);
/* A field's name as the client of this dialect spells it ("image_url" or "imageUrl"). */
const char *px_field_name(px_req *req, const char *snake);

/* /api/health, /healthz, /readyz, /metrics. */
extern const px_route px_http_routes[];

/* ---- reading input ---- */
typedef enum { PX_F_STRING, PX_F_INT, PX_F_BOOL, PX_F_EMAIL, PX_F_UUID, PX_F_ENUM, PX_F_OBJECT,
               PX_F_IMAGE } px_field_type;  /* a string (URL, id, data URI, base64) or a file part;
                                             * a part satisfies `required` but leaves the
                                             * member alone: px_form_find finds it */
typedef struct {
    const char *name;               /* snake_case; the client spells it for the dialect */
    px_field_type type;
    bool required;
    int64_t min, max;               /* length in code points, or value */
    const char *choices;            /* "top|full" */
    size_t offset;                  /* in the struct: const char *, int64_t, bool, json_object * */
} px_field;
/* Table-driven validation of req->json or req->form into `out`; unknown fields are refused by name.
 * The table ends with name NULL. Absent optional fields leave `out` untouched. */
px_err *px_validate(px_req *req, const px_field *fields, void *out);
/* Same for the query string, where page, limit, wait and last_event_id always pass (the
 * functions below read them). A name given twice is refused. */
px_err *px_validate_query(px_req *req, const px_field *fields, void *out);

typedef struct { int64_t page, limit, offset; } px_page;
/* page ≥ 1 (default 1), limit 1…100 (default 10 or `fallback`). */
px_err *px_page_read(px_req *req, int64_t fallback_limit, px_page *page);
/* Writes pagination{page,limit,total} or flat total,page,limit. */
void px_page_write(px_req *req, px_jw *w, const px_page *page, int64_t total);

/* Path parameter; never NULL. */
const char *px_param(px_req *req, const char *name);
const char *px_cookie(px_req *req, const char *name);
/* A decoded value of the query string, NULL = absent. */
const char *px_query(px_req *req, const char *name);
/* Prefer: wait=n or ?wait=n in milliseconds, capped by PixShiftWaitMax; -1 = not asked. */
int64_t px_wait_asked(px_req *req);
/* Public absolute URL of a path, from PixShiftBaseURL. */
const char *px_public_url(px_req *req, const char *path);

/* ---- multipart ---- */
typedef struct px_part { const char *name, *filename, *content_type; const char *value; size_t len;
                         const char *file;   /* spool file of a file part, removed with the pool */
                         uint64_t file_len; const char *sha256; struct px_part *next; } px_part;
typedef struct px_form { px_part *parts; int count; } px_form;
/* Streams the body: fields to memory (≤ 64 KiB each), file parts to spool files (≤ limit bytes
 * each, at most max_files). Memory use does not depend on the file's size. */
px_err *px_multipart_read(px_req *req, uint64_t file_limit, int max_files, px_form **out);
px_part *px_form_find(const px_form *form, const char *name);
/* An empty spool file (mode 0600, in PixShiftStateDir/spool), removed with the request's pool.
 * The caller closes *fd. */
px_err *px_spool_create(px_req *req, const char **path, int *fd);
/* Removes spool files that a crash left behind, older than an hour; for the hosts, at start and
 * hourly. */
void px_spool_sweep(const px_app *app, apr_pool_t *pool);

/* ---- SSE ---- */
/* "id: …\nevent: …\ndata: …\n\n"; data lines are split. */
void px_sse_event(px_buf *out, const char *id, const char *event, const char *data);
/* Last-Event-ID header or ?last_event_id, NULL = none. */
const char *px_sse_last_id(px_req *req);

/* ---- idempotency (rows in PostgreSQL, 24 h) is applied by px_http_run to PX_ROUTE_CREATES ---- */
/* The request's Idempotency-Key made unique over all clients (64 hex digits), NULL = none was
 * sent. What a handler creates should carry it as a unique key: then even a repetition after a
 * crash between commit and reply finds the first result. */
const char *px_idempotency_id(px_req *req);
/* Removes expired rows; the worker calls it hourly. */
px_err *px_idempotency_purge(const px_app *app, apr_pool_t *pool, int64_t *removed);

#endif
