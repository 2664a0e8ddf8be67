/* What the files of net/ share.  A transfer is one call of px_net_start; it makes one attempt or
 * more (retries, redirects), each with an easy handle borrowed from the net's stock. */
#ifndef PX_NET_INTERNAL_H
#define PX_NET_INTERNAL_H

#include "net.h"
#include <apr_tables.h>
#include <curl/curl.h>
#include <stdint.h>
#include <sys/types.h>

#define PX_NET_PUBLIC_REDIRECTS 3
#define PX_NET_PUBLIC_TIMEOUT_MS 10000
#define PX_NET_PUBLIC_REPLY_MAX (10u * 1024 * 1024)
#define PX_NET_HEADER_BYTES_MAX (64u * 1024)

/* ---- request bodies (body.c) ---- */

/* Reads pieces one after another, base64-encoding on the way where asked. */
typedef struct {
    const pxs_piece *pieces;
    const uint64_t *raw_len;    /* bytes of each piece before encoding */
    uint32_t count;
    uint64_t len;               /* bytes that will be read in all */
    uint32_t at;                /* current piece */
    uint64_t offset;            /* raw bytes taken from it */
    int fd;                     /* of the current piece, -1 = not open */
    char carry[4];              /* encoded bytes that did not fit the last buffer */
    unsigned carry_len, carry_pos;
} px_body;

px_err *px_body_init(apr_pool_t *pool, px_body *body, const pxs_piece *pieces, uint32_t count);
/* Bytes written to out, 0 at the end, -1 when a file cannot be read or is shorter than it was. */
ssize_t px_body_read(px_body *body, char *out, size_t size);
void px_body_rewind(px_body *body);

/* ---- replies (reply.c) ---- */

/* Memory up to 64 KiB, then an unlinked spool file that is mapped when the reply is complete, so
 * that hundreds of large replies in flight cost disk cache instead of memory. */
typedef struct {
    apr_pool_t *pool;
    const char *spool_dir;      /* NULL = memory only */
    apr_array_header_t *headers;/* pxs_header */
    size_t header_bytes;
    uint64_t limit;
    uint64_t len;
    char *memory;
    size_t memory_size;
    void *map;
    size_t map_len;
    int fd;                     /* spool file or reply_to_file, -1 = none */
    char *path;                 /* reply_to_file */
    bool to_file;
    bool too_large, write_failed, cut, streamed;
} px_sink;

void px_sink_init(px_sink *sink, apr_pool_t *pool, const char *spool_dir, uint64_t limit,
                  bool to_file);
bool px_sink_write(px_sink *sink, const void *data, size_t len);
/* One header line as curl hands it over; false when there are too many bytes of them. */
bool px_sink_header(px_sink *sink, const char *line, size_t len);
const char *px_sink_find_header(const px_sink *sink, const char *name);
/* Makes body, path and headers of `reply` from what came; false when the spool file fails. */
bool px_sink_finish(px_sink *sink, pxs_reply *reply);
/* Forgets body and headers (before another attempt), or frees them at the end. */
void px_sink_reset(px_sink *sink);

/* ---- transfers ---- */

typedef enum { PX_T_RUNNING, PX_T_WAITING, PX_T_READY, PX_T_ENDED } px_transfer_state;

/* The reply as handed out; px_net_reply_temporary finds the flag behind the public part. */
typedef struct {
    pxs_reply pub;
    bool temporary;
} px_reply_box;

struct px_transfer {
    px_net *net;
    apr_pool_t *pool;
    bool own_pool;              /* destroyed when done has returned */
    const pxs_exchange *exchange;
    px_net_options options;
    px_net_done *done;
    void *baton;
    px_transfer_state state;
    bool canceled;
    /* the attempt under way */
    CURL *easy;
    struct curl_slist *header_list;
    curl_mime *mime;
    char curl_error[CURL_ERROR_SIZE];
    px_body body;
    px_sink sink;
    const char *url;            /* after redirects */
    bool foreign_host;          /* redirected to another host: secret headers stay behind */
    bool blocked;               /* the guard refused the address */
    int attempt, redirects;
    int64_t started_usec;       /* this attempt, monotonic; redirects belong to it */
    int64_t due_usec;           /* PX_T_WAITING: when to try again */
    px_reply_box reply;
    px_transfer *prev, *next;
    struct px_transfer_list *list;
};

typedef struct px_transfer_list {
    px_transfer *first, *last;
    int count;
} px_transfer_list;

typedef struct px_cidr {
    unsigned char address[16];  /* IPv4 as v4-mapped */
    int bits;                   /* of 128 */
} px_cidr;

typedef struct px_breaker px_breaker;

struct px_net {
    apr_pool_t *pool;
    px_net_config config;
    CURLM *multi;
    apr_array_header_t *idle;   /* CURL * */
    px_transfer_list running, waiting, ready;
    px_breaker *breakers;
    px_cidr *allow;
    int allow_count;
    bool in_curl;               /* inside curl: handles must not be removed now */
    uint64_t blocked;           /* addresses refused by the guard */
    uint64_t opened;            /* times that a breaker opened */
};

void px_transfer_move(px_transfer *transfer, px_transfer_list *list);

/* transfer.c: sets up the easy handle and adds it to the engine. */
px_err *px_attempt_start(px_transfer *transfer);
/* Takes the easy handle back; harmless when there is none. */
void px_attempt_release(px_transfer *transfer);
/* The attempt ended with `code`: fills the reply; false when another attempt was arranged. */
bool px_attempt_finish(px_transfer *transfer, CURLcode code);
/* Ends the transfer without an HTTP reply. */
void px_transfer_fail(px_transfer *transfer, pxs_fail_class klass);
px_err *px_exchange_check(apr_pool_t *pool, const pxs_exchange *exchange);
bool px_exchange_idempotent(const pxs_exchange *exchange);

/* engine.c: what px_net_start and the blocking driver share.  With `pool` the reply lives in it. */
px_err *px_transfer_start(px_net *net, apr_pool_t *pool, const pxs_exchange *exchange,
                          const px_net_options *options, px_net_done *done, void *baton,
                          px_transfer **transfer);

/* Calls done of a transfer that is PX_T_READY. */
void px_transfer_hand_over(px_transfer *transfer);

/* retry.c: pause in milliseconds before the next attempt, -1 = none.  `status` 0 = no reply. */
int64_t px_retry_pause_ms(const px_transfer *transfer, long status, bool permanent);
/* Retry-After as milliseconds from now, -1 when absent or malformed. */
int64_t px_retry_after_ms(const char *value, int64_t now_usec);

/* guard.c */
px_err *px_guard_parse_allow(apr_pool_t *pool, const char *text, px_cidr **list, int *count);
bool px_guard_allows(const px_net *net, const struct sockaddr *address);
void px_guard_install(px_transfer *transfer);
const char *px_guard_url_fault(const char *url, bool https_only, bool any_port);

/* breaker.c: 30 s; tests shorten it. */
extern int64_t px_breaker_window_usec;
/* true = go (a half-open breaker lets one through). */
bool px_breaker_enter(px_net *net, const char *name);

/* file.c: performs a file: exchange and fills the reply. */
bool px_file_is(const char *url);
px_err *px_file_perform(px_transfer *transfer);

#endif
