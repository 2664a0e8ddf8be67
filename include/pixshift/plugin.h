/* PixShift plugin SDK, ABI 1.  The only header that a plugin includes.
 *
 * A plugin is a shared object that exports one function, pixshift_plugin(), which returns a constant
 * descriptor.  Build it with hidden visibility.  No type of APR, curl, json-c or vips crosses this
 * border; strings are UTF-8 and NUL-terminated unless a length stands beside them.
 *
 * A PLUGIN DOES NO I/O.  An operation is a small state machine: the host calls it, it fills
 * call->exchange with the request to make and returns PXS_SEND; the host performs the exchange
 * (time-outs, TLS, retries, circuit breaker, SSRF rules, redaction and metrics are the host's) and
 * calls the same operation again with call->reply.  It ends with PXS_DONE or PXS_FAIL, or asks to be
 * called again later with PXS_WAIT.  Pure verbs (sign a URL, verify a webhook, price) return at once.
 * A plugin that computes locally sets PXS_CAP_BLOCKING: it then runs in a disposable helper process
 * with hard limits (memory, CPU time, no network).
 *
 * Threads: the host calls one instance from one thread at a time per process; several processes may
 * have an instance each.  Nothing may be kept in statics that a restart must not lose.
 *
 * Growth: structures only grow at the tail.  `size` members say how much the maker knew; read nothing
 * beyond them.  A host refuses another magic or ABI major, a missing symbol and tables shorter than
 * ABI 1.0's; it takes longer ones. */
#ifndef PIXSHIFT_PLUGIN_H
#define PIXSHIFT_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PXS_MAGIC     0x50585331u   /* "PXS1" */
#define PXS_ABI_MAJOR 1
#define PXS_ABI_MINOR 0

#if defined(__GNUC__)
#define PXS_EXPORT __attribute__((visibility("default")))
#else
#define PXS_EXPORT
#endif

typedef enum {
    PXS_KIND_AI = 1,
    PXS_KIND_PAY = 2,
    PXS_KIND_STORAGE = 3,
    PXS_KIND_MESSAGE = 4,
    PXS_KIND_IDENTITY = 5
} pxs_kind;

/* ---- options: declared, not parsed ---------------------------------------------------------- */

typedef enum {
    PXS_OPT_STRING = 1,
    PXS_OPT_INTEGER = 2,    /* min..max when max > min */
    PXS_OPT_BOOLEAN = 3,    /* On | Off */
    PXS_OPT_DURATION = 4,   /* "30s", "500ms", "2h": delivered in milliseconds; min/max likewise */
    PXS_OPT_SIZE = 5,       /* "10M": delivered in bytes */
    PXS_OPT_URL = 6,        /* absolute http, https or file URL */
    PXS_OPT_ENUM = 7,       /* one of choices */
    PXS_OPT_SECRET = 8      /* file:, env:, exec: or cred: reference; the plugin gets the value */
} pxs_option_type;

typedef struct {
    const char *name;               /* CamelCase, as written in httpd's configuration */
    uint32_t type;                  /* pxs_option_type */
    uint32_t required;              /* 1 = must be given */
    const char *default_value;      /* as written in the configuration; NULL = none */
    int64_t min, max;               /* both 0 = no range */
    const char *const *choices;     /* PXS_OPT_ENUM: NULL-terminated */
    const char *summary;            /* one sentence for the reference */
} pxs_option;

/* The value of the option with the same index in the plugin's table. Lives as long as the instance. */
typedef struct {
    uint32_t is_set;                /* 0 = neither given nor defaulted */
    const char *text;               /* as text (secrets resolved) */
    int64_t number;                 /* integer, boolean, milliseconds, bytes, index of the choice */
} pxs_value;

/* ---- one call ------------------------------------------------------------------------------- */

struct pxs_call;

typedef enum {
    PXS_DONE = 0,       /* finished; the result structure is filled */
    PXS_SEND = 1,       /* perform call->exchange, then call the operation again */
    PXS_WAIT = 2,       /* call again after call->wait_ms; call->phase and call->token survive a restart */
    PXS_FAIL = 3        /* call->fail says why */
} pxs_step;

/* Why an operation failed; decides about retry, fallback and what the user is told. */
typedef enum {
    PXS_FAIL_BAD_REQUEST = 1,   /* the vendor says that our request is wrong: no retry, no fallback */
    PXS_FAIL_REFUSED = 2,       /* content policy: never retried elsewhere */
    PXS_FAIL_AUTH = 3,          /* key wrong or revoked: fallback, admin alert */
    PXS_FAIL_QUOTA = 4,         /* account out of money or quota: fallback */
    PXS_FAIL_RATE = 5,          /* too many requests: retry after call->fail.retry_ms, fallback */
    PXS_FAIL_UNAVAILABLE = 6,   /* 5xx, connection refused: retry, fallback */
    PXS_FAIL_TIMEOUT = 7,       /* unknown outcome: creating calls are not blindly sent again */
    PXS_FAIL_MALFORMED = 8,     /* a reply that makes no sense: fallback */
    PXS_FAIL_UNSUPPORTED = 9,   /* this provider cannot do that: fallback */
    PXS_FAIL_NOT_FOUND = 10,    /* object, model or remote job does not exist */
    PXS_FAIL_INTERNAL = 11      /* a bug or lack of memory in the plugin */
} pxs_fail_class;

typedef struct {
    uint32_t klass;             /* pxs_fail_class */
    const char *message;        /* for the log; no secrets; static or from call->alloc */
    int64_t retry_ms;           /* vendor's wish, 0 = none */
} pxs_fail;

typedef struct {
    const char *name;
    const char *value;
    uint32_t secret;            /* 1 = never logged or recorded */
} pxs_header;

/* A piece of body: bytes in memory or a file of the host's. */
typedef struct {
    const void *data;           /* memory, or NULL when `path` is given */
    uint64_t len;               /* bytes */
    const char *path;           /* a file that the host named to the plugin (pxs_image.path) */
    uint32_t base64;            /* 1 = the host encodes the bytes as base64 while sending */
} pxs_piece;

/* One part of a multipart/form-data body. */
typedef struct {
    const char *name;
    const char *filename;       /* NULL = a plain field */
    const char *content_type;   /* NULL = none */
    pxs_piece content;
} pxs_part;

/* What the host shall send.  All pointers must stay valid until the operation is called again: take
 * memory from call->alloc.
 * URL: http://, https://, or file:///absolute/path for storage and message plugins, where PUT writes
 * the file atomically (parents are made), GET reads, HEAD tells the size and DELETE removes it; status
 * 200, 201, 204 or 404. */
typedef struct {
    const char *method;
    const char *url;
    const pxs_header *headers;
    uint32_t header_count;
    /* body: pieces one after another, or parts; both empty = no body */
    const pxs_piece *pieces;
    uint32_t piece_count;
    const pxs_part *parts;
    uint32_t part_count;
    uint32_t timeout_ms;        /* 0 = the host's default */
    uint64_t reply_limit;       /* bytes of body accepted; 0 = the host's default (1 MiB) */
    uint32_t reply_to_file;     /* 1 = deliver the body as a file (reply->path) */
    uint32_t idempotent;        /* 1 = may be sent again after an unclear failure */
    const char *idempotency_key;/* sent as Idempotency-Key when not NULL */
    /* Streamed reply: called for each piece of a 2xx body as it arrives; NULL = whole body. Return 0
     * to go on, else the exchange is cut off. */
    int (*on_data)(struct pxs_call *call, const void *data, size_t len);
    uint32_t public_target;     /* 1 = the address came from outside: the SSRF guard applies */
} pxs_exchange;

/* Result of the exchange. status 0 = no HTTP reply; `failure` then tells what happened. */
typedef struct {
    int32_t status;
    uint32_t failure;           /* 0 or pxs_fail_class: TIMEOUT, UNAVAILABLE */
    const pxs_header *headers;  /* names in lower case */
    uint32_t header_count;
    const char *body;           /* NUL behind the last byte; NULL with reply_to_file or on_data */
    uint64_t body_len;
    const char *path;           /* with reply_to_file */
} pxs_reply;

#define PXS_TOKEN_MAX 512

typedef struct pxs_call {
    uint32_t size;
    uint32_t phase;             /* the plugin's state; 0 at the first call; survives PXS_WAIT */
    char token[PXS_TOKEN_MAX];  /* the plugin's memory over a restart (remote job id); NUL-terminated */
    void *state;                /* the plugin's memory within the process; NULL after a restart */
    const pxs_reply *reply;     /* of the exchange just made; NULL otherwise */
    pxs_exchange exchange;      /* fill before PXS_SEND; the host zeroes it before each call */
    uint32_t wait_ms;           /* fill before PXS_WAIT */
    pxs_fail fail;              /* fill before PXS_FAIL */
    const char *remote_id;      /* set when the vendor named its job or request: kept with the attempt */
    const char *idempotency_key;/* from the host: stable for this attempt; may be passed on */
    int64_t now_usec;           /* host's clock */
    /* host services; valid during the call */
    void *(*alloc)(struct pxs_call *call, size_t size);     /* zeroed; freed when the call ends; never NULL */
    void (*log)(struct pxs_call *call, int level, const char *message);  /* 0 error … 4 debug */
    void (*emit)(struct pxs_call *call, const char *text, size_t len);   /* streamed text to the client */
    void *host;                 /* the host's; do not touch */
} pxs_call;

/* First three members of every ops table. open gets the values in the order of the option table;
 * returns 0, or non-zero with a sentence in error[error_size]. close(NULL) is allowed. */
#define PXS_OPS_HEAD                                                                    \
    uint32_t size;  /* sizeof the table as the plugin knew it */                          \
    uint32_t caps;  /* capability bits of the kind */                                     \
    int (*open)(const pxs_value *values, void **instance, char *error, size_t error_size); \
    void (*close)(void *instance);

/* ---- ai ------------------------------------------------------------------------------------- */

enum {
    PXS_AI_EDIT = 1u << 0,          /* one image + prompt -> image */
    PXS_AI_COMPOSE = 1u << 1,       /* person + garments -> image */
    PXS_AI_GENERATE = 1u << 2,      /* prompt -> image */
    PXS_AI_ENHANCE = 1u << 3,       /* upscale / restore */
    PXS_AI_CHAT = 1u << 4,
    PXS_AI_STREAM = 1u << 5,        /* chat may stream through emit */
    PXS_AI_MASK = 1u << 6,          /* edit takes a mask */
    PXS_AI_TWO_IMAGES = 1u << 7,    /* compose takes two garments */
    PXS_CAP_BLOCKING = 1u << 30     /* computes locally: host runs it in a helper process */
};

typedef struct {
    const char *role;               /* "person", "top", "bottom", "input", "mask" */
    const char *mime;               /* image/jpeg, image/png or image/webp */
    const char *path;               /* the prepared file: decoded once, oriented, stripped, re-encoded */
    uint64_t len;                   /* bytes */
    uint32_t width, height;         /* pixels */
} pxs_image;

typedef struct {
    const char *name;
    const char *value;
} pxs_param;

typedef struct {
    const char *role;               /* "system", "user", "assistant" */
    const char *text;
} pxs_message;

typedef struct {
    uint32_t size;
    uint32_t operation;             /* one of EDIT, COMPOSE, GENERATE, ENHANCE, CHAT */
    const char *request_id;         /* for the vendor's logs */
    const char *prompt;
    const pxs_image *images;
    uint32_t image_count;
    const pxs_param *params;        /* e.g. scale, mode, width, height, preserve_text, style */
    uint32_t param_count;
    const pxs_message *messages;    /* chat */
    uint32_t message_count;
    const char *user_tag;           /* opaque per-user tag for vendors that ask for one; may be NULL */
} pxs_ai_request;

typedef struct {
    uint32_t size;
    /* image: bytes in memory, or a file (reply->path, or output_path below), or a URL to fetch */
    pxs_piece image;
    const char *image_url;          /* the host fetches it under its SSRF guard */
    const char *mime;               /* what the vendor said; the host decodes to be sure */
    const char *text;               /* chat reply */
    const char *model;              /* model that did the work */
    int64_t input_tokens, output_tokens, cached_tokens;   /* 0 = not told */
    int64_t cost_micro_usd;         /* as told by the vendor, else computed; -1 = unknown */
    /* PXS_CAP_BLOCKING: the host names a file that the plugin writes the image into */
    const char *output_path;
} pxs_ai_result;

typedef struct {
    PXS_OPS_HEAD
    /* Called for each step; see the top. Required. */
    pxs_step (*run)(void *instance, pxs_call *call, const pxs_ai_request *request,
                    pxs_ai_result *result);
    /* Pure: estimated vendor cost in millionths of a US dollar, -1 = unknown. May be NULL. */
    int64_t (*price)(void *instance, const pxs_ai_request *request);
    /* Ask the vendor to cancel what call->token names; best effort. May be NULL. */
    pxs_step (*cancel)(void *instance, pxs_call *call);
} pxs_ai_ops;

/* ---- storage -------------------------------------------------------------------------------- */

enum {
    PXS_STORAGE_SIGN_URL = 1u << 0, /* signs URLs that the storage itself serves; without it the module
                                       signs and serves them */
    PXS_STORAGE_RANGES = 1u << 1    /* GET honours Range */
};

typedef struct {
    uint32_t size;
    const char *key;                /* "uploads/<user>/<id>.jpg": [A-Za-z0-9/._-], no "..", ≤ 512 bytes */
    const char *content_type;       /* put */
    pxs_piece content;              /* put */
    int64_t range_first, range_last;/* get: -1 = none */
    uint32_t to_file;               /* get: 1 = result->path wanted */
    uint32_t expires_s;             /* sign_url: seconds from now */
    const char *download_name;      /* sign_url: Content-Disposition; may be NULL */
} pxs_storage_request;

typedef struct {
    uint32_t size;
    const char *body;               /* get: whole object, or … */
    const char *path;               /* … the file that holds it */
    uint64_t len;
    const char *url;                /* sign_url */
} pxs_storage_result;

typedef struct {
    PXS_OPS_HEAD
    pxs_step (*put)(void *instance, pxs_call *call, const pxs_storage_request *request,
                    pxs_storage_result *result);
    pxs_step (*get)(void *instance, pxs_call *call, const pxs_storage_request *request,
                    pxs_storage_result *result);
    /* Deleting what is not there is success. */
    pxs_step (*del)(void *instance, pxs_call *call, const pxs_storage_request *request,
                    pxs_storage_result *result);
    /* Pure. May be NULL without PXS_STORAGE_SIGN_URL. */
    pxs_step (*sign_url)(void *instance, pxs_call *call, const pxs_storage_request *request,
                         pxs_storage_result *result);
} pxs_storage_ops;

/* ---- message -------------------------------------------------------------------------------- */

enum { PXS_MESSAGE_SMS = 1u << 0, PXS_MESSAGE_EMAIL = 1u << 1 };

typedef struct {
    uint32_t size;
    uint32_t channel;               /* PXS_MESSAGE_SMS or PXS_MESSAGE_EMAIL */
    const char *message_id;         /* stable per message: a re-send is the same message */
    const char *to;                 /* E.164 number or address */
    const char *from;               /* may be NULL: the plugin's option decides */
    const char *subject;            /* email */
    const char *text;
    const char *html;               /* email; may be NULL */
} pxs_message_request;

typedef struct {
    uint32_t size;
    const char *provider_id;
} pxs_message_result;

typedef struct {
    PXS_OPS_HEAD
    pxs_step (*send)(void *instance, pxs_call *call, const pxs_message_request *request,
                     pxs_message_result *result);
} pxs_message_ops;

/* ---- pay ------------------------------------------------------------------------------------ */

enum {
    PXS_PAY_CHECKOUT = 1u << 0, PXS_PAY_CHARGE = 1u << 1, PXS_PAY_REFUND = 1u << 2,
    PXS_PAY_SUBSCRIBE = 1u << 3, PXS_PAY_PORTAL = 1u << 4, PXS_PAY_CAPTURE = 1u << 5
};

typedef struct {
    uint32_t size;
    const char *order_id;           /* ours: the gateway's reference */
    int64_t amount_minor;
    const char *currency;           /* ISO 4217 */
    const char *description;
    const char *customer_id;        /* gateway's; may be NULL */
    const char *customer_email;
    const char *payment_method;     /* client's token */
    const char *remote_id;          /* gateway's payment, order or subscription */
    const char *plan_id;            /* gateway's price or plan */
    const char *success_url, *cancel_url;
    const char *reason;             /* refund, cancel */
    uint32_t at_period_end;         /* cancel */
    const pxs_param *params;
    uint32_t param_count;
} pxs_pay_request;

typedef enum {
    PXS_PAY_PENDING = 1, PXS_PAY_ACTION = 2, PXS_PAY_AUTHORIZED = 3, PXS_PAY_PAID = 4,
    PXS_PAY_FAILED = 5, PXS_PAY_REFUNDED = 6, PXS_PAY_CANCELED = 7
} pxs_pay_state;

typedef struct {
    uint32_t size;
    uint32_t state;                 /* pxs_pay_state */
    const char *remote_id;
    const char *url;                /* where the payer continues */
    const char *client_secret;
    int64_t amount_minor;
    const char *currency;
    const char *failure;            /* safe text */
    const pxs_param *public_params; /* for the browser */
    uint32_t public_param_count;
} pxs_pay_result;

typedef struct {
    uint32_t size;
    const void *body;               /* raw bytes as received */
    uint64_t body_len;
    const pxs_header *headers;      /* names in lower case */
    uint32_t header_count;
    int64_t now_usec;
} pxs_pay_webhook;

typedef struct {
    uint32_t size;
    const char *event_id;
    const char *type;               /* canonical: payment.paid, payment.failed, refund.done, dispute.opened,
                                       dispute.won, subscription.renewed, … */
    const char *order_id;           /* our reference, when the event carries it */
    const char *remote_id;
    uint32_t state;                 /* pxs_pay_state */
    int64_t amount_minor;
    const char *currency;
    uint32_t livemode;
    int64_t period_start_usec, period_end_usec;
} pxs_pay_event;

typedef struct {
    PXS_OPS_HEAD
    pxs_step (*checkout)(void *, pxs_call *, const pxs_pay_request *, pxs_pay_result *);
    pxs_step (*charge)(void *, pxs_call *, const pxs_pay_request *, pxs_pay_result *);
    pxs_step (*capture)(void *, pxs_call *, const pxs_pay_request *, pxs_pay_result *);
    pxs_step (*refund)(void *, pxs_call *, const pxs_pay_request *, pxs_pay_result *);
    pxs_step (*subscribe)(void *, pxs_call *, const pxs_pay_request *, pxs_pay_result *);
    pxs_step (*cancel)(void *, pxs_call *, const pxs_pay_request *, pxs_pay_result *);
    pxs_step (*portal)(void *, pxs_call *, const pxs_pay_request *, pxs_pay_result *);
    pxs_step (*query)(void *, pxs_call *, const pxs_pay_request *, pxs_pay_result *);
    /* PXS_DONE = genuine; PXS_SEND when the gateway verifies by call; PXS_FAIL = forged or stale. */
    pxs_step (*verify_event)(void *, pxs_call *, const pxs_pay_webhook *);
    pxs_step (*parse_event)(void *, pxs_call *, const pxs_pay_webhook *, pxs_pay_event *);
} pxs_pay_ops;

/* ---- identity ------------------------------------------------------------------------------- */

enum { PXS_IDENTITY_OIDC = 1u << 0, PXS_IDENTITY_BEARER = 1u << 1 };

typedef struct {
    uint32_t size;
    const char *redirect_uri, *state, *nonce, *code_challenge, *code_verifier, *code;
    const char *token;              /* bearer verification */
    int64_t now_usec;
} pxs_identity_request;

typedef struct {
    uint32_t size;
    const char *url;                /* authorize URL */
    const char *issuer, *subject, *email, *name, *first_name, *last_name, *picture_url;
    uint32_t email_verified;
    const char *access_token, *refresh_token, *id_token;
    int64_t expires_usec;
} pxs_identity_result;

typedef struct {
    PXS_OPS_HEAD
    pxs_step (*authorize_url)(void *, pxs_call *, const pxs_identity_request *,
                              pxs_identity_result *);
    pxs_step (*exchange_code)(void *, pxs_call *, const pxs_identity_request *,
                              pxs_identity_result *);
    pxs_step (*profile)(void *, pxs_call *, const pxs_identity_request *, pxs_identity_result *);
} pxs_identity_ops;

/* ---- the descriptor ------------------------------------------------------------------------- */

typedef struct {
    uint32_t magic;                 /* PXS_MAGIC */
    uint16_t abi_major, abi_minor;
    uint32_t size;                  /* sizeof(pxs_plugin) */
    uint32_t kind;                  /* pxs_kind */
    const char *name;               /* [a-z0-9_]{1,32}, as the file without .so */
    const char *version;
    const char *summary;            /* one sentence */
    uint32_t option_size;           /* sizeof(pxs_option) */
    uint32_t option_count;
    const pxs_option *options;
    const void *ops;                /* pxs_ai_ops, pxs_pay_ops, … */
} pxs_plugin;

PXS_EXPORT const pxs_plugin *pixshift_plugin(void);

#ifdef __cplusplus
}
#endif
#endif
