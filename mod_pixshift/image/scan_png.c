/* PNG: chunks in order, checksums of the critical ones, no animation. */
#include "scan_inside.h"

#include "base/crc32.h"
#include <string.h>

#define CHUNK_LENGTH_MAX 0x7fffffffu
#define CHUNKS_MAX 20000            /* about 400 bytes of data a chunk at the file limit */
#define TEXT_CHUNKS_MAX 64
#define COMPRESSED_TEXT_MAX 65536   /* deflate reaches 1:1032, so this is 64 MiB at worst */
#define COMPRESSED_PROFILE_MAX (1u << 20)
#define INFLATE_RATIO_MAX 1033      /* deflate cannot do better */

typedef struct {
    px_scan_job *job;
    const unsigned char *data;      /* of the present chunk */
    uint32_t len;
    bool palette;
    bool data_begun;
    bool data_ended;
    unsigned color;                 /* colour type of IHDR */
    unsigned text_chunks;
    size_t compressed_text;
    size_t image_data;              /* bytes of all IDAT */
} png;

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool refuse(png *p, const char *reason, const char *sentence)
{
    return px_scan_refuse(p->job, reason, sentence);
}

static bool bits_allowed(unsigned color, unsigned bits)
{
    switch (color) {
    case 0: return bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16;
    case 3: return bits == 1 || bits == 2 || bits == 4 || bits == 8;
    case 2: case 4: case 6: return bits == 8 || bits == 16;
    default: return false;
    }
}

static bool read_header(png *p)
{
    static const uint8_t channels[] = {1, 0, 3, 3, 2, 0, 4};
    px_scan_result *r = p->job->result;
    if (p->len != 13) {
        return refuse(p, "segment_length", "The PNG's header has a wrong length.");
    }
    if (!bits_allowed(p->data[9], p->data[8]) || p->data[10] != 0 || p->data[11] != 0
        || p->data[12] > 1) {
        return refuse(p, "header", "The PNG's header holds values that do not exist.");
    }
    p->color = p->data[9];
    r->bits = p->data[8];
    r->channels = channels[p->color];
    r->has_alpha = p->color == 4 || p->color == 6;
    return px_scan_size(p->job, be32(p->data), be32(p->data + 4));
}

static bool read_palette(png *p)
{
    if (p->palette || p->data_begun || p->color == 0 || p->color == 4 || p->len == 0
        || p->len % 3 != 0 || p->len > 768) {
        return refuse(p, "palette", "The PNG's palette is wrong.");
    }
    p->palette = true;
    return true;
}

static bool read_data(png *p)
{
    if (p->data_ended) {
        return refuse(p, "order", "The PNG's data is not in one piece.");
    }
    if (p->color == 3 && !p->palette) {
        return refuse(p, "palette", "The PNG's palette is missing.");
    }
    p->data_begun = true;
    p->image_data += p->len;
    return true;
}

/* Only how much of it there is matters here: this bounds what a decoder may have to expand. */
static bool read_text(png *p, const char *type)
{
    const unsigned char *end = memchr(p->data, 0, p->len);
    size_t after = end ? (size_t)(end - p->data) + 1 : p->len;
    bool compressed = memcmp(type, "zTXt", 4) == 0
        || (memcmp(type, "iTXt", 4) == 0 && after < p->len && p->data[after] == 1);
    if (++p->text_chunks > TEXT_CHUNKS_MAX) {
        return refuse(p, "too_many_texts", "The PNG holds too many text parts.");
    }
    if (compressed) {
        p->compressed_text += p->len;
    }
    if (p->compressed_text > COMPRESSED_TEXT_MAX) {
        return refuse(p, "too_much_text", "The PNG holds too much compressed text.");
    }
    return true;
}

static bool is(const char *type, const char *name)
{
    return memcmp(type, name, 4) == 0;
}

static bool is_text(const char *type)
{
    return is(type, "tEXt") || is(type, "zTXt") || is(type, "iTXt");
}

static bool read_ancillary(png *p, const char *type)
{
    if (is(type, "acTL") || is(type, "fcTL") || is(type, "fdAT")) {
        return refuse(p, "animated", "Animated pictures are not accepted.");
    }
    if (is(type, "tRNS") && (p->color == 0 || p->color == 2 || p->color == 3)) {
        p->job->result->has_alpha = true;
        p->job->result->channels = p->color == 0 ? 2 : 4;
    }
    if (is(type, "iCCP") && p->len > COMPRESSED_PROFILE_MAX) {
        return refuse(p, "profile", "The PNG's colour profile is too large.");
    }
    if (is_text(type) && !read_text(p, type)) {
        return false;
    }
    return px_scan_metadata(p->job, (size_t)(p->data - p->job->bytes), p->len);
}

static bool read_critical(png *p, const char *type)
{
    /* The checksum covers type and data. */
    if (px_crc32(0, p->data - 4, (size_t)p->len + 4) != be32(p->data + p->len)) {
        return refuse(p, "checksum", "A part of the PNG is damaged: its checksum is wrong.");
    }
    if (is(type, "IDAT")) {
        return read_data(p);
    }
    if (is(type, "PLTE")) {
        return read_palette(p);
    }
    if (is(type, "IHDR")) {
        return refuse(p, "two_headers", "The PNG has two headers.");
    }
    return refuse(p, "unknown_chunk", "The PNG holds a part that no reader knows.");
}

/* Deflate cannot shrink below 1:1032, so less data than that cannot hold the pixels. */
static bool enough_data(png *p)
{
    const px_scan_result *r = p->job->result;
    unsigned samples = p->color == 2 ? 3 : p->color == 4 ? 2 : p->color == 6 ? 4 : 1;
    uint64_t raw = (uint64_t)r->width * r->height * samples * r->bits / 8;
    if (p->image_data == 0) {
        return refuse(p, "no_data", "The PNG holds no picture data.");
    }
    if ((uint64_t)p->image_data * INFLATE_RATIO_MAX < raw) {
        return refuse(p, "data_too_short",
                      "The file holds too little data for its size in pixels.");
    }
    return true;
}

static bool read_end(png *p)
{
    if (p->len != 0 || px_crc32(0, "IEND", 4) != be32(p->data)) {
        return refuse(p, "checksum", "A part of the PNG is damaged: its checksum is wrong.");
    }
    return enough_data(p) && px_scan_trailing(p->job, (size_t)(p->data - p->job->bytes) + 4);
}

static bool letters(const char *type)
{
    for (int i = 0; i < 4; i++) {
        char c = type[i] | 0x20;
        if (c < 'a' || c > 'z') {
            return false;
        }
    }
    return true;
}

/* One chunk that is neither the first nor the last. */
static bool read_chunk(png *p, const char *type)
{
    if (p->data_begun && !is(type, "IDAT")) {
        p->data_ended = true;
    }
    /* Bit 5 of the first letter: lower case = a reader may ignore it. */
    return type[0] & 0x20 ? read_ancillary(p, type) : read_critical(p, type);
}

static bool read_first(png *p, const char *type)
{
    if (!is(type, "IHDR")) {
        return refuse(p, "header", "The PNG does not begin with its header.");
    }
    /* The size first: a bomb is named as such even when the rest of the file is missing. */
    if (!read_header(p)) {
        return false;
    }
    if (px_crc32(0, p->data - 4, 17) != be32(p->data + 13)) {
        return refuse(p, "checksum", "A part of the PNG is damaged: its checksum is wrong.");
    }
    return true;
}

bool px_scan_png(px_scan_job *job)
{
    png p = {.job = job};
    size_t at = 8;
    job->result->format = PX_IMAGE_PNG;
    job->result->mime = "image/png";
    job->result->extension = "png";
    for (unsigned count = 0; count < CHUNKS_MAX; count++) {
        const char *type;
        if (job->len - at < 12) {
            return px_scan_refuse_length(job, 0);
        }
        p.len = be32(job->bytes + at);
        type = (const char *)job->bytes + at + 4;
        p.data = job->bytes + at + 8;
        if (!letters(type)) {
            return refuse(&p, "chunk_type", "The PNG holds a part with a malformed name.");
        }
        if (p.len > CHUNK_LENGTH_MAX || p.len > job->len - at - 12) {
            return px_scan_refuse_length(job, p.len);
        }
        if (count > 0 && is(type, "IEND")) {
            return read_end(&p);
        }
        if (count == 0 ? !read_first(&p, type) : !read_chunk(&p, type)) {
            return false;
        }
        at += (size_t)p.len + 12;
    }
    return refuse(&p, "too_many_chunks", "The PNG consists of too many parts.");
}

size_t px_scan_drop_text(void *bytes, size_t len)
{
    unsigned char *file = bytes;
    size_t from = 8;
    size_t to = 8;
    if (len < 8 || memcmp(file, "\x89PNG", 4) != 0) {
        return len;
    }
    while (len - from >= 12 && be32(file + from) <= len - from - 12) {
        size_t size = (size_t)be32(file + from) + 12;
        if (!is_text((const char *)file + from + 4)) {
            memmove(file + to, file + from, size);
            to += size;
        }
        from += size;
    }
    memmove(file + to, file + from, len - from);
    return to + len - from;
}
