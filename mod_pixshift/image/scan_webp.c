/* WebP: the RIFF container and the first bytes of its one VP8 or VP8L stream. */
#include "scan_inside.h"

#include <string.h>

#define CHUNKS_MAX 64
#define FLAG_ANIMATION 0x02

typedef struct {
    px_scan_job *job;
    size_t at;
    size_t end;             /* of the RIFF */
    bool extended;          /* a VP8X header came first */
    bool have_image;
    bool have_alpha_chunk;
    uint32_t canvas_width;
    uint32_t canvas_height;
} webp;

static uint32_t le16(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t le24(const unsigned char *p)
{
    return le16(p) | (uint32_t)p[2] << 16;
}

static uint32_t le32(const unsigned char *p)
{
    return le24(p) | (uint32_t)p[3] << 24;
}

static bool refuse(webp *w, const char *reason, const char *sentence)
{
    return px_scan_refuse(w->job, reason, sentence);
}

static bool refuse_header(webp *w)
{
    return refuse(w, "header", "The WebP's header holds values that do not exist.");
}

static bool note_image(webp *w, uint32_t width, uint32_t height)
{
    if (w->have_image) {
        return refuse(w, "two_headers", "The WebP holds two pictures.");
    }
    w->have_image = true;
    if (w->extended && (width != w->canvas_width || height != w->canvas_height)) {
        return refuse(w, "size_differs", "The WebP names two different sizes.");
    }
    return px_scan_size(w->job, width, height);
}

/* RFC 6386 §9.1: a shown key frame whose first partition lies inside the chunk. */
static bool read_lossy(webp *w, const unsigned char *d, uint32_t len)
{
    uint32_t tag;
    if (len < 10) {
        return px_scan_refuse_length(w->job, 0);
    }
    tag = le24(d);
    if ((tag & 1) != 0 || (tag >> 1 & 7) > 3 || (tag >> 4 & 1) == 0
        || memcmp(d + 3, "\x9d\x01\x2a", 3) != 0) {
        return refuse_header(w);
    }
    if (tag >> 5 > len - 10) {
        return px_scan_refuse_length(w->job, tag >> 5);
    }
    w->job->result->has_alpha = w->have_alpha_chunk;
    return note_image(w, le16(d + 6) & 0x3fff, le16(d + 8) & 0x3fff);
}

static bool read_lossless(webp *w, const unsigned char *d, uint32_t len)
{
    uint32_t word;
    if (len < 6) {
        return px_scan_refuse_length(w->job, 0);
    }
    word = le32(d + 1);
    if (d[0] != 0x2f || word >> 29 != 0 || w->have_alpha_chunk) {
        return refuse_header(w);
    }
    w->job->result->has_alpha = (word >> 28 & 1) != 0;
    return note_image(w, (word & 0x3fff) + 1, (word >> 14 & 0x3fff) + 1);
}

static bool read_extended(webp *w, const unsigned char *d, uint32_t len)
{
    if (len != 10) {
        return refuse(w, "segment_length", "The WebP's header has a wrong length.");
    }
    if (d[0] & FLAG_ANIMATION) {
        return refuse(w, "animated", "Animated pictures are not accepted.");
    }
    w->extended = true;
    w->canvas_width = le24(d + 4) + 1;
    w->canvas_height = le24(d + 7) + 1;
    return px_scan_size(w->job, w->canvas_width, w->canvas_height);
}

static bool is(const unsigned char *type, const char *name)
{
    return memcmp(type, name, 4) == 0;
}

static bool read_chunk(webp *w, bool first, const unsigned char *type, uint32_t len)
{
    const unsigned char *data = type + 8;
    if (is(type, "VP8 ")) {
        return read_lossy(w, data, len);
    }
    if (is(type, "VP8L")) {
        return read_lossless(w, data, len);
    }
    if (is(type, "VP8X")) {
        return first ? read_extended(w, data, len) : refuse_header(w);
    }
    if (is(type, "ANIM") || is(type, "ANMF")) {
        return refuse(w, "animated", "Animated pictures are not accepted.");
    }
    if (first) {
        return refuse(w, "header", "The WebP does not begin with its header.");
    }
    if (is(type, "ALPH")) {
        if (w->have_image || w->have_alpha_chunk || !w->extended) {
            return refuse(w, "order", "The WebP's transparency stands in the wrong place.");
        }
        w->have_alpha_chunk = true;
        return true;
    }
    return px_scan_metadata(w->job, (size_t)(data - w->job->bytes), len);
}

static bool read_chunks(webp *w)
{
    for (unsigned count = 0; w->at < w->end; count++) {
        const unsigned char *type = w->job->bytes + w->at;
        uint64_t len;
        if (count == CHUNKS_MAX) {
            return refuse(w, "too_many_chunks", "The WebP consists of too many parts.");
        }
        if (w->end - w->at < 8) {
            return px_scan_refuse_length(w->job, 0);
        }
        len = le32(type + 4);
        if (len + (len & 1) > w->end - w->at - 8) {
            return px_scan_refuse_length(w->job, len);
        }
        if (!read_chunk(w, count == 0, type, (uint32_t)len)) {
            return false;
        }
        w->at += 8 + (size_t)(len + (len & 1));
    }
    return true;
}

bool px_scan_webp(px_scan_job *job)
{
    webp w = {.job = job, .at = 12};
    px_scan_result *r = job->result;
    uint64_t size = le32(job->bytes + 4);
    r->format = PX_IMAGE_WEBP;
    r->mime = "image/webp";
    r->extension = "webp";
    r->bits = 8;
    if (size < 12 || size + 8 > job->len) {
        return px_scan_refuse_length(job, size < 12 ? 0 : size);
    }
    if (size & 1) {
        return refuse(&w, "segment_length", "The WebP's length is odd, which cannot be.");
    }
    w.end = (size_t)size + 8;
    if (!read_chunks(&w)) {
        return false;
    }
    if (!w.have_image) {
        return refuse(&w, "no_data", "The WebP holds no picture data.");
    }
    r->channels = r->has_alpha ? 4 : 3;
    return px_scan_trailing(job, w.end);
}
