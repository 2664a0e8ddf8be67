/* Request bodies: pieces from memory and files, read as one stream; base64 is made on the way, so a
 * picture is never held twice. */
#include "net_internal.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Bytes of a piece; a file's size must agree with what the caller said, because a body that
 * turns out shorter than its Content-Length would hang the exchange. */
static px_err *raw_length(apr_pool_t *pool, const pxs_piece *piece, uint64_t *len)
{
    struct stat st;

    if (piece->data || !piece->path) {
        *len = piece->data ? piece->len : 0;
        return NULL;
    }
    if (stat(piece->path, &st) != 0 || !S_ISREG(st.st_mode)) {
        return px_error(pool, PX_E_INTERNAL, "PXS3001", "body file %s: %s", piece->path,
                        errno ? strerror(errno) : "not a regular file");
    }
    if (piece->len && piece->len != (uint64_t)st.st_size) {
        return px_error(pool, PX_E_INTERNAL, "PXS3001", "body file %s has %" APR_UINT64_T_FMT
                        " bytes, %" APR_UINT64_T_FMT " were announced", piece->path,
                        (apr_uint64_t)st.st_size, (apr_uint64_t)piece->len);
    }
    *len = (uint64_t)st.st_size;
    return NULL;
}

px_err *px_body_init(apr_pool_t *pool, px_body *body, const pxs_piece *pieces, uint32_t count)
{
    uint64_t *raw = apr_pcalloc(pool, sizeof *raw * (count + 1));

    memset(body, 0, sizeof *body);
    body->fd = -1;
    body->pieces = pieces;
    body->raw_len = raw;
    body->count = count;
    for (uint32_t i = 0; i < count; i++) {
        px_err *err = raw_length(pool, &pieces[i], &raw[i]);
        if (err) {
            return err;
        }
        body->len += pieces[i].base64 ? (raw[i] + 2) / 3 * 4 : raw[i];
    }
    return NULL;
}

static void next_piece(px_body *body)
{
    if (body->fd >= 0) {
        close(body->fd);
        body->fd = -1;
    }
    body->offset = 0;
    body->at++;
}

void px_body_rewind(px_body *body)
{
    next_piece(body);
    body->at = 0;
    body->carry_len = body->carry_pos = 0;
}

/* Exactly `want` raw bytes of the current piece, or -1. */
static ssize_t take_raw(px_body *body, void *out, size_t want)
{
    const pxs_piece *piece = &body->pieces[body->at];
    size_t got = 0;

    if (piece->data) {
        memcpy(out, (const char *)piece->data + body->offset, want);
        body->offset += want;
        return (ssize_t)want;
    }
    if (body->fd < 0) {
        body->fd = open(piece->path, O_RDONLY | O_CLOEXEC);
        if (body->fd < 0) {
            return -1;
        }
    }
    while (got < want) {
        ssize_t n = pread(body->fd, (char *)out + got, want - got, (off_t)(body->offset + got));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return -1;
        }
        got += (size_t)n;
    }
    body->offset += want;
    return (ssize_t)want;
}

static size_t encode(const unsigned char *in, size_t len, char *out)
{
    size_t o = 0;
    size_t i = 0;

    for (; i + 3 <= len; i += 3) {
        unsigned v = (unsigned)in[i] << 16 | (unsigned)in[i + 1] << 8 | in[i + 2];
        out[o++] = alphabet[v >> 18];
        out[o++] = alphabet[v >> 12 & 63];
        out[o++] = alphabet[v >> 6 & 63];
        out[o++] = alphabet[v & 63];
    }
    if (i < len) {
        unsigned v = (unsigned)in[i] << 16 | (i + 1 < len ? (unsigned)in[i + 1] << 8 : 0);
        out[o++] = alphabet[v >> 18];
        out[o++] = alphabet[v >> 12 & 63];
        out[o++] = i + 1 < len ? alphabet[v >> 6 & 63] : '=';
        out[o++] = '=';
    }
    return o;
}

static size_t take_carry(px_body *body, char *out, size_t size)
{
    size_t n = body->carry_len - body->carry_pos;

    n = n < size ? n : size;
    memcpy(out, body->carry + body->carry_pos, n);
    body->carry_pos += (unsigned)n;
    return n;
}

/* Encodes whole triples into out; a rest of out below four bytes is served from the carry. */
static ssize_t read_base64(px_body *body, uint64_t left, char *out, size_t size)
{
    unsigned char raw[12288];
    size_t room = size / 4 * 3;
    size_t want = room ? room : 3;

    want = want < sizeof raw ? want : sizeof raw;
    want = want < left ? want : (size_t)left;
    if (take_raw(body, raw, want) < 0) {
        return -1;
    }
    if (room) {
        return (ssize_t)encode(raw, want, out);
    }
    body->carry_len = (unsigned)encode(raw, want, body->carry);
    body->carry_pos = 0;
    return (ssize_t)take_carry(body, out, size);
}

ssize_t px_body_read(px_body *body, char *out, size_t size)
{
    size_t done = take_carry(body, out, size);

    while (done < size && body->at < body->count) {
        uint64_t left = body->raw_len[body->at] - body->offset;
        ssize_t n;
        if (left == 0) {
            next_piece(body);
            continue;
        }
        if (body->pieces[body->at].base64) {
            n = read_base64(body, left, out + done, size - done);
        } else {
            n = take_raw(body, out + done, left < size - done ? (size_t)left : size - done);
        }
        if (n < 0) {
            return -1;
        }
        done += (size_t)n;
    }
    return (ssize_t)done;
}
