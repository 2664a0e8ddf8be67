/* The structural image scan: good pictures made here, hostile files, sample photographs. */
#include "unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/crc32.h"
#include "image/scan.h"

/* ---- makers of files ---- */

static px_buf *file;

static void begin(void)
{
    file = px_buf_make(unit_pool, 4096);
}

static void put(const void *data, size_t len)
{
    px_buf_add(file, data, len);
}

static void put_be32(uint32_t v)
{
    unsigned char b[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16),
                          (unsigned char)(v >> 8), (unsigned char)v};
    put(b, 4);
}

static void put_le32(uint32_t v)
{
    unsigned char b[4] = {(unsigned char)v, (unsigned char)(v >> 8), (unsigned char)(v >> 16),
                          (unsigned char)(v >> 24)};
    put(b, 4);
}

static void zeros(size_t count)
{
    put(apr_pcalloc(unit_pool, count + 1), count);
}

static void chunk(const char *type, const void *data, size_t len)
{
    size_t at = file->len + 4;
    put_be32((uint32_t)len);
    put(type, 4);
    put(data, len);
    put_be32(px_crc32(0, file->data + at, len + 4));
}

static void png_header(uint32_t width, uint32_t height, unsigned char bits, unsigned char color)
{
    unsigned char ihdr[13] = {(unsigned char)(width >> 24), (unsigned char)(width >> 16),
                              (unsigned char)(width >> 8), (unsigned char)width,
                              (unsigned char)(height >> 24), (unsigned char)(height >> 16),
                              (unsigned char)(height >> 8), (unsigned char)height,
                              bits, color, 0, 0, 0};
    begin();
    put("\x89PNG\r\n\x1a\n", 8);
    chunk("IHDR", ihdr, sizeof(ihdr));
}

static void png_data(size_t len)
{
    chunk("IDAT", apr_pcalloc(unit_pool, len + 1), len);
}

static void png(void)
{
    png_header(120, 110, 8, 2);
    png_data(400);
    chunk("IEND", "", 0);
}

static void segment(unsigned char marker, const void *data, size_t len)
{
    unsigned char head[4] = {0xff, marker, (unsigned char)((len + 2) >> 8),
                             (unsigned char)(len + 2)};
    put(head, 4);
    put(data, len);
}

static void jpeg_frame(unsigned char sof, unsigned width, unsigned height, unsigned char count)
{
    unsigned char frame[18] = {8, (unsigned char)(height >> 8), (unsigned char)height,
                               (unsigned char)(width >> 8), (unsigned char)width, count,
                               1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1, 4, 0x11, 1};
    segment(sof, frame, 6 + 3u * count);
}

static void jpeg_scan(size_t entropy)
{
    segment(0xda, "\3\1\0\2\x11\3\x11\0\x3f\0", 10);
    for (size_t i = 0; i < entropy; i++) {
        put(i % 40 == 9 ? "\xff\0" : i % 40 == 19 ? "\xff\xd3" : "ab", 2);
    }
}

static void jpeg_start(void)
{
    begin();
    put("\xff\xd8", 2);
    segment(0xe0, "JFIF\0\1\1\0\0\1\0\1\0\0", 14);
}

static void jpeg(void)
{
    jpeg_start();
    jpeg_frame(0xc0, 160, 120, 3);
    jpeg_scan(100);
    put("\xff\xd9", 2);
}

static void riff_begin(void)
{
    begin();
    put("RIFF\0\0\0\0WEBP", 12);
}

static void riff_chunk(const char *type, const void *data, size_t len)
{
    put(type, 4);
    put_le32((uint32_t)len);
    put(data, len);
    zeros(len & 1);
}

static void riff_end(void)
{
    uint32_t size = (uint32_t)file->len - 8;
    memcpy(file->data + 4, &size, 4);       /* the test machines are little-endian */
}

static const unsigned char vp8[] = {0x30, 0, 0, 0x9d, 1, 0x2a, 0xc8, 0, 0x96, 0, 1, 2, 3, 4};

static void vp8x(unsigned char flags, unsigned width, unsigned height)
{
    unsigned char d[10] = {flags, 0, 0, 0, (unsigned char)(width - 1),
                           (unsigned char)((width - 1) >> 8), 0, (unsigned char)(height - 1),
                           (unsigned char)((height - 1) >> 8), 0};
    riff_chunk("VP8X", d, sizeof(d));
}

/* ---- verdicts ---- */

static px_scan_result r;

/* On an exact heap copy, so that ASan sees a read behind the end. */
static bool scan_bytes(const void *bytes, size_t len)
{
    unsigned char *copy = malloc(len ? len : 1);
    bool ok;
    memcpy(copy, bytes, len);
    ok = px_scan(copy, len, NULL, &r);
    free(copy);
    ck_assert(ok == (r.reason == NULL) && ok == (r.sentence == NULL));
    return ok;
}

static void want_good(void)
{
    ck_assert_msg(scan_bytes(file->data, file->len), "refused: %s", r.reason);
    ck_assert_uint_eq(r.frames, 1);
}

static void want(const char *reason)
{
    ck_assert_msg(!scan_bytes(file->data, file->len), "accepted, wanted %s", reason);
    ck_assert_str_eq(r.reason, reason);
    ck_assert_int_eq(r.sentence[strlen(r.sentence) - 1], '.');
}

/* ---- tests ---- */

START_TEST(accepts_png)
{
    png();
    want_good();
    ck_assert_int_eq(r.format, PX_IMAGE_PNG);
    ck_assert_uint_eq(r.width, 120);
    ck_assert_uint_eq(r.height, 110);
    ck_assert_uint_eq(r.channels, 3);
    ck_assert(!r.has_alpha);
    ck_assert_str_eq(r.mime, "image/png");
    png_header(100, 100, 16, 6);
    chunk("tEXt", "a\0b", 3);
    png_data(100);
    png_data(100);
    chunk("tIME", "1234567", 7);
    chunk("IEND", "", 0);
    zeros(100);
    want_good();
    ck_assert(r.has_alpha);
    ck_assert_uint_eq(r.bits, 16);
    png_header(100, 100, 8, 3);
    chunk("PLTE", "abcdef", 6);
    chunk("tRNS", "\0", 1);
    png_data(100);
    chunk("IEND", "", 0);
    want_good();
    ck_assert(r.has_alpha);
}
END_TEST

START_TEST(refuses_png)
{
    unsigned char bomb[57];
    png_header(20000, 20000, 8, 6);
    want("too_wide_or_high");
    png_header(5001, 100, 8, 6);
    want("too_wide_or_high");
    png_header(0, 100, 8, 6);
    want("no_size");
    png_header(99, 100, 8, 6);
    want("too_small");
    png_header(200, 100, 3, 6);
    want("header");
    png_header(200, 100, 8, 5);
    want("header");
    png_header(5000, 5000, 8, 2);       /* legal size, far too little data */
    png_data(500);
    chunk("IEND", "", 0);
    want("data_too_short");
    png_header(120, 110, 8, 2);
    put_be32(0x3fffffff);
    put("zTXt", 4);
    zeros(16);
    ck_assert_uint_eq(file->len, sizeof(bomb));
    want("chunk_length");
    png_header(120, 110, 8, 2);
    chunk("IEND", "", 0);
    want("no_data");
    png_header(120, 110, 8, 3);
    png_data(100);
    want("palette");
    png_header(120, 110, 8, 2);
    png_header(120, 110, 8, 2);
    begin();
    put("\x89PNG\r\n\x1a\n", 8);
    chunk("IDAT", "x", 1);
    want("header");
}
END_TEST

START_TEST(refuses_png_chunks)
{
    png_header(120, 110, 8, 2);
    chunk("IHDR", "\0\0\0\x78\0\0\0\x6e\x08\2\0\0\0", 13);
    want("two_headers");
    png_header(120, 110, 8, 2);
    chunk("acTL", "\0\0\0\2\0\0\0\0", 8);
    want("animated");
    png_header(120, 110, 8, 2);
    png_data(200);
    chunk("fdAT", "\0\0\0\2", 4);
    want("animated");
    png_header(120, 110, 8, 2);
    png_data(200);
    chunk("tEXt", "a", 1);
    png_data(200);
    want("order");
    png_header(120, 110, 8, 2);
    chunk("ABCD", "a", 1);
    want("unknown_chunk");
    png_header(120, 110, 8, 2);
    chunk("a1cd", "a", 1);
    want("chunk_type");
    png_header(120, 110, 8, 2);
    chunk("PLTE", "abcd", 4);
    want("palette");
    png_header(120, 110, 8, 2);
    for (int i = 0; i < 65; i++) {
        chunk("tEXt", "a\0b", 3);
    }
    want("too_many_texts");
    png_header(120, 110, 8, 2);
    chunk("zTXt", apr_pcalloc(unit_pool, 70000), 65537);
    want("too_much_text");
    png_header(120, 110, 8, 2);
    chunk("tEXt", "c\0x<?PHP evil", 13);
    want("polyglot");
    png();
    file->data[60] ^= 1;                /* inside IDAT */
    want("checksum");
    png();
    file->data[29] ^= 1;                /* IHDR's own checksum */
    want("checksum");
}
END_TEST

START_TEST(accepts_jpeg)
{
    jpeg();
    want_good();
    ck_assert_int_eq(r.format, PX_IMAGE_JPEG);
    ck_assert_uint_eq(r.width, 160);
    ck_assert_uint_eq(r.height, 120);
    ck_assert_uint_eq(r.channels, 3);
    ck_assert_str_eq(r.mime, "image/jpeg");
    jpeg_start();
    jpeg_frame(0xc2, 160, 120, 3);      /* progressive, several scans, fill bytes, a comment */
    jpeg_scan(50);
    put("\xff\xff", 2);
    segment(0xfe, "hello", 5);
    jpeg_scan(50);
    put("\xff\xd9", 2);
    zeros(512);
    want_good();
    jpeg();
    put("SEFHe\0\0\0harmless camera trailer SEFT", 35);
    want_good();
}
END_TEST

START_TEST(refuses_jpeg)
{
    jpeg_start();
    jpeg_frame(0xc0, 20000, 20000, 3);
    want("too_wide_or_high");
    jpeg_start();
    jpeg_frame(0xc0, 160, 0, 3);
    want("no_size");
    jpeg_start();
    jpeg_frame(0xc0, 160, 120, 2);
    want("components");
    jpeg_start();
    jpeg_frame(0xc3, 160, 120, 3);
    want("jpeg_process");
    jpeg_start();
    jpeg_frame(0xc9, 160, 120, 3);
    want("jpeg_process");
    jpeg_start();
    jpeg_frame(0xc0, 160, 120, 3);
    jpeg_frame(0xc0, 160, 120, 3);
    want("two_headers");
    jpeg_start();
    segment(0xc0, "\x0c\0\x78\0\xa0\1\1\x11\0", 9);
    want("bits");
    jpeg_start();
    segment(0xc0, "\x08\0\x78\0\xa0\1\1\x11", 8);
    want("segment_length");
    jpeg_start();
    jpeg_scan(10);
    want("order");
    jpeg_start();
    jpeg_frame(0xc2, 160, 120, 3);
    for (int i = 0; i < 65; i++) {
        jpeg_scan(20);
    }
    want("too_many_scans");
    jpeg_start();
    jpeg_frame(0xc0, 4000, 4000, 3);
    jpeg_scan(100);
    put("\xff\xd9", 2);
    want("data_too_short");
    jpeg_start();
    jpeg_frame(0xc0, 160, 120, 3);
    put("\xff\xd9", 2);
    want("no_data");
    jpeg_start();
    put("junk", 4);
    want("marker");
    jpeg_start();
    segment(0xe1, "<SCRIPT>", 8);
    want("polyglot");
    jpeg_start();
    put("\xff\xe1\0\1", 4);
    want("segment_length");
}
END_TEST

START_TEST(multi_picture_files)
{
    jpeg_start();
    segment(0xe2, "MPF\0II*\0", 8);
    jpeg_frame(0xc0, 160, 120, 3);
    jpeg_scan(100);
    put("\xff\xd9", 2);
    px_buf *first = file;
    jpeg();
    px_buf *second = file;
    file = first;
    zeros(7);
    put(second->data, second->len);
    want_good();
    ck_assert_uint_eq(r.width, 160);
    px_buf_add(file, "PK\3\4 and so on", 15);
    want("polyglot");
    file->len -= 15 + 2;                /* the second picture lacks its end */
    want("truncated");
}
END_TEST

START_TEST(accepts_webp)
{
    riff_begin();
    riff_chunk("VP8 ", vp8, sizeof(vp8));
    riff_end();
    want_good();
    ck_assert_int_eq(r.format, PX_IMAGE_WEBP);
    ck_assert_uint_eq(r.width, 200);
    ck_assert_uint_eq(r.height, 150);
    ck_assert_uint_eq(r.channels, 3);
    riff_begin();
    riff_chunk("VP8L", "\x2f\x77\xc0\x1b\x10", 6);     /* 120 x 112, alpha */
    riff_end();
    want_good();
    ck_assert_uint_eq(r.width, 120);
    ck_assert_uint_eq(r.height, 112);
    ck_assert(r.has_alpha);
    riff_begin();
    vp8x(0x10, 200, 150);
    riff_chunk("ALPH", "abc", 3);
    riff_chunk("VP8 ", vp8, sizeof(vp8));
    riff_chunk("EXIF", "abc", 3);
    riff_end();
    want_good();
    ck_assert(r.has_alpha);
}
END_TEST

START_TEST(refuses_webp)
{
    riff_begin();
    vp8x(0x02, 200, 150);
    riff_chunk("ANIM", "abcdef", 6);
    riff_end();
    want("animated");
    riff_begin();                       /* the flag alone is enough */
    vp8x(0x02, 200, 150);
    riff_chunk("VP8 ", vp8, sizeof(vp8));
    riff_end();
    want("animated");
    riff_begin();
    vp8x(0, 200, 150);
    riff_chunk("ANMF", "abcdef", 6);
    riff_end();
    want("animated");
    riff_begin();
    vp8x(0, 201, 150);
    riff_chunk("VP8 ", vp8, sizeof(vp8));
    riff_end();
    want("size_differs");
    riff_begin();
    riff_chunk("VP8 ", vp8, sizeof(vp8));
    riff_chunk("VP8 ", vp8, sizeof(vp8));
    riff_end();
    want("two_headers");
    riff_begin();
    vp8x(0, 16000, 16000);
    riff_end();
    want("too_wide_or_high");
    riff_begin();
    vp8x(0, 200, 150);
    riff_end();
    want("no_data");
    riff_begin();
    riff_chunk("VP8 ", "\x31\0\0\x9d\1\x2a\xc8\0\x96\0\1\2", 12);    /* no key frame */
    riff_end();
    want("header");
    riff_begin();
    riff_chunk("VP8 ", "\x30\xff\0\x9d\1\x2a\xc8\0\x96\0\1\2", 12);  /* partition too long */
    riff_end();
    want("truncated");
    riff_begin();
    put("VP8 \xff\xff\xff\xff", 8);
    put(vp8, sizeof(vp8));
    riff_end();
    want("chunk_length");
    riff_begin();
    riff_chunk("EXIF", "abc", 3);
    riff_end();
    want("header");
    riff_begin();
    riff_chunk("VP8 ", vp8, sizeof(vp8));
    riff_end();
    put("more", 4);
    want("trailing_data");
}
END_TEST

/* Every proper prefix of a good file is refused, and never read behind its end. */
static void check_prefixes(void)
{
    for (size_t i = 0; i < file->len; i++) {
        ck_assert_msg(!scan_bytes(file->data, i), "prefix of %zu bytes", i);
    }
}

START_TEST(refuses_every_prefix)
{
    png();
    check_prefixes();
    jpeg();
    check_prefixes();
    riff_begin();
    vp8x(0x10, 200, 150);
    riff_chunk("ALPH", "abc", 3);
    riff_chunk("VP8 ", vp8, sizeof(vp8));
    riff_end();
    check_prefixes();
}
END_TEST

START_TEST(refuses_polyglots)
{
    static const char *const tails[] = {"PK\3\4zip", "%PDF-1.4", "x<script>alert(1)</script>",
                                        "<?php x", "\x7f" "ELF", "MZ", "#!/bin/sh", "GIF89a",
                                        "junk <HTML>"};
    for (size_t i = 0; i < sizeof(tails) / sizeof(*tails); i++) {
        jpeg();
        put(tails[i], strlen(tails[i]));
        want("polyglot");
        png();
        put(tails[i], strlen(tails[i]));
        want("polyglot");
    }
    png_header(120, 110, 8, 2);         /* a ZIP end record inside the last chunk */
    png_data(200);
    chunk("tEXt", "c\0PK\5\6\0\0\0\0\1\0\1\0\0\0\0\0\0\0\0\0\x10\0", 24);
    chunk("IEND", "", 0);
    want("polyglot");
    png();
    put("anything", 8);
    want("trailing_data");
    png();
    zeros(5000);
    want("trailing_data");
    jpeg();
    for (int i = 0; i < 70000; i++) {
        put("z", 1);
    }
    want("trailing_data");
}
END_TEST

START_TEST(drops_text)
{
    size_t plain;
    png();
    plain = file->len;
    png_header(120, 110, 8, 2);
    chunk("zTXt", "a\0\0zz", 5);
    chunk("tEXt", "", 0);
    png_data(400);
    chunk("iTXt", "xyz", 3);
    chunk("IEND", "", 0);
    zeros(5);
    file->len = px_scan_drop_text(file->data, file->len);
    ck_assert_uint_eq(file->len, plain + 5);
    want_good();
    for (size_t i = 0; i < plain; i++) {        /* cut or foreign bytes: no harm */
        unsigned char *copy = malloc(i + 1);
        memcpy(copy, file->data, i);
        ck_assert_uint_eq(px_scan_drop_text(copy, i), i);
        free(copy);
    }
    ck_assert_uint_eq(px_scan_drop_text(apr_pstrdup(unit_pool, "hello world"), 11), 11);
}
END_TEST

START_TEST(names_other_files)
{
    static const struct { const char *bytes; size_t len; const char *reason; } rows[] = {
        {"GIF89a\1\0\1\0", 10, "gif"}, {"<svg xmlns='x'/>", 16, "svg"},
        {"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x -->\n<SVG>", 41, "svg"}, {"%PDF-1.7", 8, "pdf"},
        {"BM123456", 8, "bmp"}, {"II*\0abcd", 8, "tiff"}, {"MM\0*abcd", 8, "tiff"},
        {"\0\0\0\x18" "ftypheic", 12, "heic"}, {"\0\0\0\x18" "ftypavif", 12, "avif"},
        {"\0\0\0\x18" "ftypisom", 12, "video"}, {"PK\3\4", 4, "zip"},
        {"<!DOCTYPE html><p>", 18, "html"}, {"hello", 5, "not_an_image"},
        {"\xff\xd8", 2, "not_an_image"}, {"\x89PNG", 4, "not_an_image"}, {"\0", 1, "not_an_image"},
        {"RIFF\4\0\0\0WAVE", 12, "not_an_image"}, {"", 0, "empty"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        ck_assert(!scan_bytes(rows[i].bytes, rows[i].len));
        ck_assert_str_eq(r.reason, rows[i].reason);
        ck_assert_int_eq(r.format, PX_IMAGE_UNKNOWN);
    }
}
END_TEST

START_TEST(maps_to_errors)
{
    px_scan_limits limits = {.max_bytes = 100};
    px_err *err;
    png();
    UNIT_OK(px_image_scan(unit_pool, file->data, file->len, NULL, &r));
    UNIT_ERR(px_image_scan(unit_pool, file->data, file->len, &limits, &r), PX_E_FILE_TOO_LARGE);
    limits = (px_scan_limits){.min_side = 115};
    UNIT_ERR(px_image_scan(unit_pool, file->data, file->len, &limits, &r),
             PX_E_INVALID_DIMENSIONS);
    limits = (px_scan_limits){.max_pixels = 13199};
    UNIT_ERR(px_image_scan(unit_pool, file->data, file->len, &limits, &r),
             PX_E_INVALID_DIMENSIONS);
    ck_assert_str_eq(r.reason, "too_many_pixels");
    err = px_image_scan(unit_pool, "GIF89a", 6, NULL, &r);
    ck_assert_int_eq(err->id, PX_E_INVALID_FILE);
    ck_assert_str_eq(err->details->key, "reason");
    ck_assert_str_eq(err->details->text, "gif");
    png_header(20000, 20000, 8, 6);
    err = px_image_scan(unit_pool, file->data, file->len, NULL, &r);
    ck_assert_str_eq(err->text, "The picture is 20000x20000 pixels; each side may have 100 to "
                                "5000, and the whole at most 25 million.");
    ck_assert_int_eq(err->details->next->number, 20000);
}
END_TEST

START_TEST(sample_photographs)
{
    static const struct { const char *name; unsigned w, h; } rows[] = {
        {"astronaut.png", 512, 512}, {"chelsea.png", 451, 300}, {"coffee.png", 600, 400},
        {"rocket.jpg", 640, 427}, {"hubble_deep_field.jpg", 1000, 872},
    };
    const char *path = unit_shared("samples/truncated.jpg");
    size_t len;
    char *data;
    if (!path) {
        return;
    }
    data = unit_read(path, &len);
    ck_assert(!scan_bytes(data, len));
    ck_assert_str_eq(r.reason, "truncated");
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        path = unit_shared(apr_pstrcat(unit_pool, "samples/", rows[i].name, NULL));
        data = unit_read(path, &len);
        ck_assert_msg(scan_bytes(data, len), "%s: %s", rows[i].name, r.reason);
        ck_assert_uint_eq(r.width, rows[i].w);
        ck_assert_uint_eq(r.height, rows[i].h);
        for (size_t cut = len / 9; cut < len; cut += len / 9) {
            ck_assert(!scan_bytes(data, cut));
        }
    }
}
END_TEST

/* The largest file that is let in must not hold a request thread for long. */
START_TEST(is_fast)
{
    int64_t start;
    png_header(3000, 3000, 8, 2);
    png_data(10400000);
    chunk("IEND", "", 0);
    start = px_monotonic();
    ck_assert(px_scan(file->data, file->len, NULL, &r));
    ck_assert_int_lt(px_monotonic() - start, 100000);
}
END_TEST

int main(void)
{
    TCase *tc = unit_begin("scan");
    tcase_add_test(tc, accepts_png);
    tcase_add_test(tc, refuses_png);
    tcase_add_test(tc, refuses_png_chunks);
    tcase_add_test(tc, accepts_jpeg);
    tcase_add_test(tc, refuses_jpeg);
    tcase_add_test(tc, multi_picture_files);
    tcase_add_test(tc, accepts_webp);
    tcase_add_test(tc, refuses_webp);
    tcase_add_test(tc, refuses_every_prefix);
    tcase_add_test(tc, refuses_polyglots);
    tcase_add_test(tc, drops_text);
    tcase_add_test(tc, names_other_files);
    tcase_add_test(tc, maps_to_errors);
    tcase_add_test(tc, sample_photographs);
    tcase_add_test(tc, is_fast);
    return unit_run();
}
