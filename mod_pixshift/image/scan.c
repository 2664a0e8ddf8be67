/* The structural scan: entry, recognising, limits, what must not stand in or behind a picture. */
#include "scan_inside.h"

#include <string.h>

#define PADDING_MAX 4096            /* zero bytes behind the picture */
#define TRAILER_MAX 65536           /* harmless bytes that cameras leave behind a JPEG */
#define ZIP_END_LEN 22
#define ZIP_COMMENT_MAX 65535

bool px_scan_refuse(px_scan_job *job, const char *reason, const char *sentence)
{
    job->result->reason = reason;
    job->result->sentence = sentence;
    return false;
}

bool px_scan_refuse_length(px_scan_job *job, uint64_t claimed)
{
    if (claimed > job->limits.max_bytes) {
        return px_scan_refuse(job, "chunk_length",
                              "A part of the file claims to be longer than any file may be.");
    }
    return px_scan_refuse(job, "truncated", "The file ends in the middle of the picture.");
}

bool px_scan_size(px_scan_job *job, uint32_t width, uint32_t height)
{
    const px_scan_limits *limits = &job->limits;
    job->result->width = width;
    job->result->height = height;
    if (width == 0 || height == 0) {
        return px_scan_refuse(job, "no_size", "The picture has no width or no height.");
    }
    if (width > limits->max_side || height > limits->max_side) {
        return px_scan_refuse(job, "too_wide_or_high", "The picture is too large in pixels.");
    }
    if ((uint64_t)width * height > limits->max_pixels) {
        return px_scan_refuse(job, "too_many_pixels", "The picture has too many pixels.");
    }
    if (width < limits->min_side || height < limits->min_side) {
        return px_scan_refuse(job, "too_small", "The picture is too small in pixels.");
    }
    return true;
}

static bool starts(const px_scan_job *job, size_t at, const char *magic, size_t len)
{
    return at <= job->len && job->len - at >= len && memcmp(job->bytes + at, magic, len) == 0;
}

/* Case-blind search in a part of the file; `needle` is lower case. */
static bool contains_text(const unsigned char *hay, size_t len, const char *needle)
{
    size_t size = strlen(needle);
    const unsigned char *end = hay + len;
    while ((size_t)(end - hay) >= size) {
        /* All needles begin with '<' or '%', which have no case. */
        const unsigned char *hit = memchr(hay, needle[0], (size_t)(end - hay) - size + 1);
        size_t i = 1;
        if (!hit) {
            return false;
        }
        while (i < size && (hit[i] | (hit[i] >= 'A' && hit[i] <= 'Z' ? 0x20 : 0)) == needle[i]) {
            i++;
        }
        if (i == size) {
            return true;
        }
        hay = hit + 1;
    }
    return false;
}

/* Text that makes browsers, PHP or PDF readers take the file for theirs.  Five bytes at least: a
 * shorter word turns up in compressed data by chance. */
static bool holds_active_text(const unsigned char *bytes, size_t len)
{
    static const char *const needles[] = {"<script", "<?php", "<html", "<!doctype", "<iframe",
                                          "%pdf-"};
    for (size_t i = 0; i < sizeof(needles) / sizeof(*needles); i++) {
        if (contains_text(bytes, len, needles[i])) {
            return true;
        }
    }
    return false;
}

static bool refuse_polyglot(px_scan_job *job)
{
    return px_scan_refuse(job, "polyglot", "The file is a picture and something else as well.");
}

bool px_scan_metadata(px_scan_job *job, size_t at, size_t len)
{
    return holds_active_text(job->bytes + at, len) ? refuse_polyglot(job) : true;
}

/* Files that readers find from their beginning or anywhere. */
static bool holds_other_file(const unsigned char *bytes, size_t len)
{
    static const struct { const char *magic; size_t len; } magics[] = {
        {"PK\x03\x04", 4}, {"PK\x05\x06", 4}, {"Rar!\x1a\x07", 6}, {"7z\xbc\xaf\x27\x1c", 6},
        {"\x7f" "ELF", 4}, {"GIF87a", 6}, {"GIF89a", 6}, {"\x89PNG\r\n", 6}, {"WEBPVP8", 7},
        {"\xca\xfe\xba\xbe", 4},
    };
    for (size_t i = 0; i < sizeof(magics) / sizeof(*magics); i++) {
        if (memmem(bytes, len, magics[i].magic, magics[i].len)) {
            return true;
        }
    }
    return len >= 2 && (memcmp(bytes, "MZ", 2) == 0 || memcmp(bytes, "#!", 2) == 0);
}

bool px_scan_trailing(px_scan_job *job, size_t end)
{
    const unsigned char *rest = job->bytes + end;
    size_t len = job->len - end;
    size_t zeros = 0;
    while (zeros < len && rest[zeros] == 0) {
        zeros++;
    }
    if (zeros == len && len <= PADDING_MAX) {
        return true;
    }
    if (holds_active_text(rest, len) || holds_other_file(rest, len)) {
        return refuse_polyglot(job);
    }
    if (job->result->format == PX_IMAGE_JPEG && len <= TRAILER_MAX) {
        return true;
    }
    return px_scan_refuse(job, "trailing_data", "Something follows the end of the picture.");
}

/* A ZIP is found from its end: the end record whose comment reaches exactly the file's end. */
static bool is_zip_too(const px_scan_job *job)
{
    size_t reach = ZIP_END_LEN + ZIP_COMMENT_MAX;
    size_t from = job->len > reach ? job->len - reach : 0;
    const unsigned char *at = job->bytes + from;
    const unsigned char *end = job->bytes + job->len;
    while ((size_t)(end - at) >= ZIP_END_LEN) {
        at = memmem(at, (size_t)(end - at), "PK\x05\x06", 4);
        if (!at || (size_t)(end - at) < ZIP_END_LEN) {
            return false;
        }
        if (at + ZIP_END_LEN + (at[20] | at[21] << 8) == end) {
            return true;
        }
        at++;
    }
    return false;
}

/* Names what was sent instead of a picture that we read. */
static bool refuse_unknown(px_scan_job *job)
{
    static const struct { size_t at; const char *magic; size_t len; const char *name; } known[] = {
        {0, "GIF8", 4, "gif"}, {0, "BM", 2, "bmp"}, {0, "II*\0", 4, "tiff"},
        {0, "MM\0*", 4, "tiff"}, {0, "%PDF", 4, "pdf"}, {0, "PK\x03\x04", 4, "zip"},
        {4, "ftypavif", 8, "avif"}, {4, "ftypavis", 8, "avif"}, {4, "ftyphei", 7, "heic"},
        {4, "ftyphev", 7, "heic"}, {4, "ftypmif1", 8, "heic"}, {4, "ftyp", 4, "video"},
        {0, "\0\0\0\x0cJXL ", 8, "jxl"}, {0, "\xff\x0a", 2, "jxl"}, {0, "8BPS", 4, "psd"},
        {0, "\0\0\x01\0", 4, "ico"}, {0, "\0\0\0\x0cjP  ", 8, "jpeg2000"},
    };
    size_t head = job->len < 4096 ? job->len : 4096;
    const char *name = "not_an_image";
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (starts(job, known[i].at, known[i].magic, known[i].len)) {
            return px_scan_refuse(job, known[i].name,
                                  "Files of this type are not accepted. Send JPEG, PNG or WebP.");
        }
    }
    if (contains_text(job->bytes, head, "<svg")) {
        name = "svg";
    } else if (contains_text(job->bytes, head, "<html")
               || contains_text(job->bytes, head, "<!doctype")) {
        name = "html";
    }
    return px_scan_refuse(job, name, "This is not a picture. Send a JPEG, PNG or WebP file.");
}

static bool scan_by_magic(px_scan_job *job)
{
    if (starts(job, 0, "\xff\xd8\xff", 3)) {
        return px_scan_jpeg(job);
    }
    if (starts(job, 0, "\x89PNG\r\n\x1a\n", 8)) {
        return px_scan_png(job);
    }
    if (starts(job, 0, "RIFF", 4) && starts(job, 8, "WEBP", 4)) {
        return px_scan_webp(job);
    }
    return refuse_unknown(job);
}

px_scan_limits px_scan_limits_filled(const px_scan_limits *limits)
{
    px_scan_limits filled = limits ? *limits : (px_scan_limits){0};
    filled.min_side = filled.min_side ? filled.min_side : 100;
    filled.max_side = filled.max_side ? filled.max_side : 5000;
    filled.max_pixels = filled.max_pixels ? filled.max_pixels : 25000000;
    filled.max_bytes = filled.max_bytes ? filled.max_bytes : (size_t)10 << 20;
    return filled;
}

bool px_scan(const void *bytes, size_t len, const px_scan_limits *limits, px_scan_result *result)
{
    px_scan_job job = {.bytes = bytes, .len = len, .result = result};
    memset(result, 0, sizeof(*result));
    job.limits = px_scan_limits_filled(limits);
    if (len == 0) {
        return px_scan_refuse(&job, "empty", "The file is empty.");
    }
    if (len > job.limits.max_bytes) {
        return px_scan_refuse(&job, "too_many_bytes", "The file is too large.");
    }
    if (!scan_by_magic(&job)) {
        return false;
    }
    result->frames = 1;
    return is_zip_too(&job) ? refuse_polyglot(&job) : true;
}

static px_err *size_error(apr_pool_t *pool, const px_scan_limits *limits, const px_scan_result *r)
{
    px_err *err = px_error_say(pool, PX_E_INVALID_DIMENSIONS,
                               "The picture is %lux%lu pixels; each side may have %lu to %lu, and "
                               "the whole at most %llu million.",
                               (unsigned long)r->width, (unsigned long)r->height,
                               (unsigned long)limits->min_side, (unsigned long)limits->max_side,
                               (unsigned long long)limits->max_pixels / 1000000);
    return err;
}

px_err *px_image_scan(apr_pool_t *pool, const void *bytes, size_t len,
                      const px_scan_limits *limits, px_scan_result *result)
{
    static const char *const about_size[] = {"no_size", "too_wide_or_high", "too_many_pixels",
                                             "too_small"};
    px_scan_limits filled = px_scan_limits_filled(limits);
    px_err *err = NULL;
    if (px_scan(bytes, len, &filled, result)) {
        return NULL;
    }
    if (strcmp(result->reason, "too_many_bytes") == 0) {
        err = px_error_say(pool, PX_E_FILE_TOO_LARGE, "The file is too large: at most %lu bytes.",
                           (unsigned long)filled.max_bytes);
        px_err_with_number(err, "max_bytes", (long long)filled.max_bytes);
    }
    for (size_t i = 0; !err && i < sizeof(about_size) / sizeof(*about_size); i++) {
        if (strcmp(result->reason, about_size[i]) == 0) {
            err = size_error(pool, &filled, result);
        }
    }
    if (!err) {
        err = px_error_say(pool, PX_E_INVALID_FILE, "%s", result->sentence);
    }
    px_err_with(err, "reason", result->reason);
    if (result->width && result->height) {
        px_err_with_number(err, "width", result->width);
        px_err_with_number(err, "height", result->height);
    }
    return err;
}
