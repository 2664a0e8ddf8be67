/* What the client and the helper program say to each other: packets on a SOCK_SEQPACKET socket.
 * Each packet is one fixed header; a task's strings follow it as "key\0value\0" pairs, its files
 * travel beside it.  Both ends come from one build, so the structures travel as they are.  Pure but
 * for send and receive; no pools, because the helper program uses this too. */
#ifndef PX_IMAGE_HELPER_WIRE_H
#define PX_IMAGE_HELPER_WIRE_H

#include "helper.h"
#include <stddef.h>
#include <sys/types.h>

#define PX_WIRE_MAGIC    0x50584832u
#define PX_WIRE_TEXT_MAX 65536          /* bytes of all pairs; prompts are the long ones */
#define PX_WIRE_FDS      (PX_HELPER_INPUTS + 1)
#define PX_WIRE_REASON   400

typedef struct {
    uint32_t magic;
    uint32_t verb;              /* px_helper_verb */
    uint64_t id;
    uint32_t wall_ms, cpu_s;
    uint32_t quality, max_side, max_pixels;
    uint32_t input_count;
    uint32_t has_output;        /* the output is the last file sent */
    uint32_t operation;         /* pxs_ai_request.operation */
    uint32_t image_count, param_count, value_count;
    uint32_t text_len;
} px_wire_task;

typedef struct {
    px_wire_task head;
    char text[PX_WIRE_TEXT_MAX];
} px_wire_packet;

typedef enum { PX_WIRE_HELLO = 1, PX_WIRE_RESULT = 2 } px_wire_kind;

typedef struct {
    uint32_t magic;
    uint32_t kind;              /* px_wire_kind */
    uint64_t id;
    uint32_t status;            /* px_helper_status */
    uint32_t fail_class;
    int64_t retry_ms;
    uint32_t width, height;
    uint64_t bytes;
    int64_t cost_micro_usd;
    char mime[32];
    char model[64];
    char reason[PX_WIRE_REASON];
} px_wire_result;

/* Adds a pair; false when it does not fit or `key` is NULL. A NULL value adds nothing: true. */
bool px_wire_add(px_wire_packet *packet, const char *key, const char *value);
/* Value of the key, NULL when absent. */
const char *px_wire_get(const px_wire_packet *packet, const char *key);
/* Same for numbered keys: "img3.role". `field` may be "". */
const char *px_wire_get_n(const px_wire_packet *packet, const char *stem, unsigned n,
                          const char *field);
/* True when a packet of `len` bytes is complete and its text ends where it says. */
bool px_wire_task_valid(const px_wire_packet *packet, size_t len);
/* Makes every text of a received result end, and nothing in it surprising. */
void px_wire_result_tame(px_wire_result *result);

/* One packet with files. 0, or -1 with errno. */
int px_wire_send(int sock, const void *data, size_t len, const int *fds, unsigned fd_count);
/* Bytes received, 0 at the end, -1 with errno. Files beyond `fd_max` are closed. They are
 * close-on-exec. */
ssize_t px_wire_receive(int sock, void *data, size_t size, int *fds, unsigned fd_max,
                        unsigned *fd_count);

#endif
