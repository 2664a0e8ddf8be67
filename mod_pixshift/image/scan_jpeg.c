/* JPEG: markers, one frame header, scans, the end. */
#include "scan_inside.h"

#include <string.h>

#define SCANS_MAX 64            /* more only serve to make a small file slow */
#define PICTURES_MAX 8          /* of one multi-picture file */
#define M_SOF0 0xc0
#define M_SOF2 0xc2
#define M_DHT 0xc4
#define M_RST0 0xd0
#define M_RST7 0xd7
#define M_EOI 0xd9
#define M_SOS 0xda
#define M_DQT 0xdb
#define M_DRI 0xdd
#define M_APP0 0xe0
#define M_APP2 0xe2
#define M_APP15 0xef
#define M_COM 0xfe

typedef struct {
    px_scan_job *job;
    size_t at;
    bool have_frame;
    unsigned components;
    unsigned char component[4];
    unsigned scans;
    size_t entropy;             /* bytes of compressed data seen */
    bool pictures;              /* an MPF directory announces further pictures behind the end */
} jpeg;

static unsigned be16(const unsigned char *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static bool refuse(jpeg *j, const char *reason, const char *sentence)
{
    return px_scan_refuse(j->job, reason, sentence);
}

/* One frame header: 8 bits, 1, 3 or 4 components with sane sampling. */
static bool read_frame(jpeg *j, const unsigned char *seg, size_t len)
{
    unsigned blocks = 0;
    unsigned count;
    if (j->have_frame) {
        return refuse(j, "two_headers", "The JPEG has two frame headers.");
    }
    if (len < 6) {
        return refuse(j, "segment_length", "A part of the JPEG has a wrong length.");
    }
    count = seg[5];
    j->job->result->bits = seg[0];
    if (seg[0] != 8) {
        return refuse(j, "bits", "Only JPEGs with 8 bits per sample are accepted.");
    }
    if (count != 1 && count != 3 && count != 4) {
        return refuse(j, "components", "Only JPEGs with 1, 3 or 4 components are accepted.");
    }
    if (len != 6 + 3 * (size_t)count) {
        return refuse(j, "segment_length", "A part of the JPEG has a wrong length.");
    }
    for (unsigned i = 0; i < count; i++) {
        const unsigned char *c = seg + 6 + 3 * i;
        unsigned h = c[1] >> 4;
        unsigned v = c[1] & 15;
        if (h < 1 || h > 4 || v < 1 || v > 4 || c[2] > 3 || memchr(j->component, c[0], i)) {
            return refuse(j, "components", "The JPEG's components are described wrongly.");
        }
        j->component[i] = c[0];
        blocks += h * v;
    }
    if (count > 1 && blocks > 10) {
        return refuse(j, "components", "The JPEG's components are described wrongly.");
    }
    j->have_frame = true;
    j->components = count;
    j->job->result->channels = (uint8_t)count;
    return px_scan_size(j->job, be16(seg + 3), be16(seg + 1));
}

static bool read_scan_header(jpeg *j, const unsigned char *seg, size_t len)
{
    unsigned count = len ? seg[0] : 0;
    if (!j->have_frame) {
        return refuse(j, "order", "The JPEG's data comes before its header.");
    }
    if (count < 1 || count > j->components || len != 4 + 2 * (size_t)count) {
        return refuse(j, "segment_length", "A part of the JPEG has a wrong length.");
    }
    for (unsigned i = 0; i < count; i++) {
        if (!memchr(j->component, seg[1 + 2 * i], j->components)) {
            return refuse(j, "components", "A scan names a component that the JPEG does not have.");
        }
    }
    if (seg[len - 3] > 63 || seg[len - 2] > 63) {
        return refuse(j, "scan_header", "A scan of the JPEG is described wrongly.");
    }
    if (++j->scans > SCANS_MAX) {
        return refuse(j, "too_many_scans", "The JPEG has too many scans.");
    }
    return true;
}

/* Passes over compressed data: 0xff is data only before 0x00, a restart marker or a fill byte. */
static bool skip_entropy(jpeg *j)
{
    const unsigned char *bytes = j->job->bytes;
    size_t len = j->job->len;
    size_t start = j->at;
    while (j->at < len) {
        const unsigned char *hit = memchr(bytes + j->at, 0xff, len - j->at);
        size_t at = hit ? (size_t)(hit - bytes) : len;
        if (at + 1 >= len) {
            break;
        }
        if (bytes[at + 1] == 0 || (bytes[at + 1] >= M_RST0 && bytes[at + 1] <= M_RST7)) {
            j->at = at + 2;
        } else if (bytes[at + 1] == 0xff) {
            j->at = at + 1;
        } else {
            j->at = at;
            j->entropy += at - start;
            return true;
        }
    }
    return px_scan_refuse_length(j->job, 0);
}

/* Every 8x8 block of the largest component costs at least one bit, whatever the coding: less data
 * than that is a cut file with its end marker put back, or a bomb. */
static bool enough_data(jpeg *j)
{
    uint64_t blocks = (uint64_t)((j->job->result->width + 7) / 8)
        * ((j->job->result->height + 7) / 8);
    if (j->entropy < blocks / 8) {
        return refuse(j, "data_too_short",
                      "The file holds too little data for its size in pixels.");
    }
    return true;
}

static bool read_app(jpeg *j, unsigned marker, size_t at, size_t len)
{
    if (marker == M_APP2 && len >= 4 && memcmp(j->job->bytes + at, "MPF", 4) == 0) {
        j->pictures = true;
    }
    return px_scan_metadata(j->job, at, len);
}

/* One segment with a length; j->at stands behind its marker. */
static bool read_segment(jpeg *j, unsigned marker)
{
    size_t left = j->job->len - j->at;
    size_t len = left < 2 ? 2 : be16(j->job->bytes + j->at);
    const unsigned char *seg;
    if (len > left) {
        return px_scan_refuse_length(j->job, 0);
    }
    if (len < 2) {
        return refuse(j, "segment_length", "A part of the JPEG has a wrong length.");
    }
    seg = j->job->bytes + j->at + 2;
    j->at += len;
    len -= 2;
    if (marker >= M_SOF0 && marker <= M_SOF2) {
        return read_frame(j, seg, len);
    }
    if (marker == M_SOS) {
        return read_scan_header(j, seg, len) && skip_entropy(j);
    }
    if (marker >= M_APP0 && marker <= M_APP15) {
        return read_app(j, marker, (size_t)(seg - j->job->bytes), len);
    }
    if (marker == M_COM) {
        return px_scan_metadata(j->job, (size_t)(seg - j->job->bytes), len);
    }
    if (marker == M_DHT || marker == M_DQT || (marker == M_DRI && len == 2)) {
        return true;
    }
    if (marker >= M_SOF0 && marker <= 0xcf) {
        return refuse(j, "jpeg_process", "Lossless, arithmetic and hierarchical JPEGs are not "
                                         "accepted.");
    }
    return refuse(j, "marker", "The JPEG holds a marker that has no place there.");
}

/* From behind SOI to behind EOI. */
static bool walk(jpeg *j)
{
    const px_scan_job *job = j->job;
    for (;;) {
        unsigned marker;
        if (job->len - j->at < 2) {
            return px_scan_refuse_length(j->job, 0);
        }
        if (job->bytes[j->at] != 0xff) {
            return refuse(j, "marker", "The JPEG holds data where a marker must stand.");
        }
        while (j->at < job->len && job->bytes[j->at] == 0xff) {
            j->at++;        /* fill bytes */
        }
        if (j->at >= job->len) {
            return px_scan_refuse_length(j->job, 0);
        }
        marker = job->bytes[j->at++];
        if (marker == M_EOI) {
            return j->scans > 0 || refuse(j, "no_data", "The JPEG holds no picture data.");
        }
        if (!read_segment(j, marker)) {
            return false;
        }
    }
}

/* Phones put depth maps, gain maps and previews behind the picture as further JPEGs and say so in
 * an MPF segment.  They are never decoded, so their size does not matter, but they must be JPEGs to
 * the last byte: that leaves no room for another kind of file.  *end moves behind the last one. */
static bool walk_further_pictures(px_scan_job *job, size_t *end)
{
    for (int i = 1; i < PICTURES_MAX; i++) {
        px_scan_result unused = {0};
        px_scan_job own = *job;
        jpeg next = {.job = &own, .at = *end};
        while (next.at < job->len && job->bytes[next.at] == 0) {
            next.at++;
        }
        if (job->len - next.at < 3 || memcmp(job->bytes + next.at, "\xff\xd8\xff", 3) != 0) {
            return true;
        }
        own.result = &unused;
        own.limits.min_side = 1;
        own.limits.max_side = UINT16_MAX;
        own.limits.max_pixels = UINT64_MAX;
        next.at += 2;
        if (!walk(&next)) {
            return px_scan_refuse(job, unused.reason, unused.sentence);
        }
        *end = next.at;
    }
    return true;
}

bool px_scan_jpeg(px_scan_job *job)
{
    jpeg j = {.job = job, .at = 2};
    job->result->format = PX_IMAGE_JPEG;
    job->result->mime = "image/jpeg";
    job->result->extension = "jpg";
    if (!walk(&j) || !enough_data(&j)) {
        return false;
    }
    if (j.pictures && !walk_further_pictures(job, &j.at)) {
        return false;
    }
    return px_scan_trailing(job, j.at);
}
