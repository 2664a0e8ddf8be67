/* The outbound engine against a fake server: bodies, replies, retries, breaker, limits, files. */
#include "unit.h"
#include "unit_folder.h"
#include "net_fake.h"
#include "base/clock.h"
#include "net/net.h"
#include "net/net_internal.h"

#include <fcntl.h>
#include <sys/stat.h>

static int port;
static const char *spool;

static px_net *open_net(const char *egress)
{
    px_net_config config = { .egress_allow = egress, .user_agent = "px-test" };
    px_net *net;

    if (!port) {
        port = net_fake_start();
        spool = unit_folder();
    }
    config.spool_dir = spool;
    UNIT_OK(px_net_open(unit_pool, &config, &net));
    return net;
}

static const char *url(const char *path)
{
    return apr_psprintf(unit_pool, "http://127.0.0.1:%d%s", port, path);
}

static const pxs_reply *call(px_net *net, pxs_exchange *x, const px_net_options *options)
{
    const pxs_reply *reply = NULL;

    UNIT_OK(px_net_call(net, unit_pool, x, options, &reply));
    ck_assert_ptr_nonnull(reply);
    return reply;
}

static const pxs_reply *get(px_net *net, const char *path)
{
    pxs_exchange x = { .method = "GET", .url = url(path), .timeout_ms = 5000 };

    return call(net, &x, NULL);
}

START_TEST(gets_and_reads_headers)
{
    px_net *net = open_net(NULL);
    const pxs_reply *reply = get(net, "/echo");
    bool seen = false;

    ck_assert_int_eq(reply->status, 200);
    ck_assert_ptr_nonnull(strstr(reply->body, "User-Agent: px-test\r\n"));
    ck_assert_ptr_null(strstr(reply->body, "Accept-Encoding"));
    ck_assert_uint_eq(reply->body_len, strlen(reply->body));
    for (uint32_t i = 0; i < reply->header_count; i++) {
        seen = seen || (strcmp(reply->headers[i].name, "x-seen") == 0
                        && strcmp(reply->headers[i].value, "yes") == 0);
    }
    ck_assert(seen);
    ck_assert_int_eq(net_fake_connections(), 1);
    get(net, "/echo");
    ck_assert_int_eq(net_fake_connections(), 1);    /* kept alive and used again */
}
END_TEST

static const char *write_file(const char *name, const char *data, size_t len)
{
    const char *path = apr_psprintf(unit_pool, "%s/%s", spool, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    close(fd);
    return path;
}

/* A JSON body around a base64 picture: memory, file and memory again, none of them copied. */
START_TEST(streams_pieces_with_base64)
{
    px_net *net = open_net(NULL);
    const char *path = write_file("picture", "any carnal pleasure.", 20);
    pxs_piece pieces[] = { { "{\"image\":\"", 10, NULL, 0 }, { NULL, 20, path, 1 },
                           { "\",\"x\":\"", 7, NULL, 0 }, { "ab", 2, NULL, 1 },
                           { "\"}", 2, NULL, 0 } };
    pxs_header headers[] = { { "Content-Type", "application/json", 0 }, { "X-Empty", "", 0 } };
    pxs_exchange x = { .method = "POST", .url = url("/echo"), .pieces = pieces, .piece_count = 5,
                       .headers = headers, .header_count = 2, .idempotency_key = "key-1" };
    const pxs_reply *reply = call(net, &x, NULL);

    ck_assert_int_eq(reply->status, 200);
    ck_assert_ptr_nonnull(strstr(reply->body, "POST 51\r\n"));
    ck_assert_ptr_nonnull(strstr(reply->body, "Content-Type: application/json\r\n"));
    ck_assert_ptr_nonnull(strstr(reply->body, "X-Empty:\r\n"));
    ck_assert_ptr_nonnull(strstr(reply->body, "Idempotency-Key: key-1\r\n"));
    ck_assert_ptr_null(strstr(reply->body, "Expect"));
    ck_assert_ptr_nonnull(strstr(reply->body, "\r\n\r\n{\"image\":\"YW55IGNhcm5hbCBwbGVhc3VyZS4=\","
                                              "\"x\":\"YWI=\"}"));
}
END_TEST

/* Every buffer size must give the same bytes: the carry between buffers is the tricky part. */
START_TEST(base64_is_the_same_for_all_buffer_sizes)
{
    char data[200];
    pxs_piece pieces[] = { { "<", 1, NULL, 0 }, { data, 0, NULL, 1 }, { ">", 1, NULL, 0 } };

    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (char)(i * 37);
    }
    for (size_t len = 0; len < 20; len++) {
        char whole[400];
        char parts[400];
        px_body body;
        ssize_t all;
        pieces[1].len = len * 7;
        UNIT_OK(px_body_init(unit_pool, &body, pieces, 3));
        all = px_body_read(&body, whole, sizeof whole);
        ck_assert_uint_eq((uint64_t)all, body.len);
        for (size_t size = 1; size < 9; size++) {
            size_t got = 0;
            ssize_t n;
            px_body_rewind(&body);
            while ((n = px_body_read(&body, parts + got, size)) > 0) {
                got += (size_t)n;
            }
            ck_assert_int_eq(n, 0);
            ck_assert_uint_eq(got, (size_t)all);
            ck_assert_mem_eq(parts, whole, got);
        }
    }
}
END_TEST

START_TEST(uploads_a_large_file_as_base64)
{
    px_net *net = open_net(NULL);
    size_t len = 3000001;
    char *data = malloc(len);
    const char *path;
    pxs_piece piece = { NULL, 0, NULL, 1 };
    pxs_exchange x = { .method = "POST", .url = url("/echo"), .pieces = &piece, .piece_count = 1,
                       .reply_limit = 8u << 20 };

    memset(data, 'Q', len);
    path = write_file("large", data, len);
    free(data);
    piece.path = path;
    const pxs_reply *reply = call(net, &x, NULL);
    ck_assert_int_eq(reply->status, 200);
    ck_assert_ptr_nonnull(strstr(reply->body, "POST 4000004\r\n"));
    ck_assert_str_eq(reply->body + reply->body_len - 8, "UVFRUQ==");
}
END_TEST

START_TEST(sends_multipart)
{
    px_net *net = open_net(NULL);
    const char *path = write_file("part.png", "PNGDATA", 7);
    pxs_part parts[] = { { "prompt", NULL, NULL, { "a hat", 5, NULL, 0 } },
                         { "image", "in.png", "image/png", { NULL, 7, path, 0 } } };
    pxs_exchange x = { .method = "POST", .url = url("/echo"), .parts = parts, .part_count = 2 };
    const pxs_reply *reply = call(net, &x, NULL);

    ck_assert_int_eq(reply->status, 200);
    ck_assert_ptr_nonnull(strstr(reply->body, "name=\"prompt\"\r\n\r\na hat\r\n"));
    ck_assert_ptr_nonnull(strstr(reply->body, "name=\"image\"; filename=\"in.png\"\r\n"
                                              "Content-Type: image/png\r\n\r\nPNGDATA\r\n"));
}
END_TEST

START_TEST(refuses_bad_exchanges)
{
    px_net *net = open_net(NULL);
    pxs_header bad[] = { { "X-A", "one\r\nX-B: two", 0 }, { "Content-Length", "5", 0 },
                         { "Bad name", "x", 0 }, { "", "x", 0 }, { "X", NULL, 0 },
                         { "Transfer-Encoding", "chunked", 0 } };
    const pxs_reply *reply;
    pxs_piece piece = { NULL, 9, "/nonexistent/file", 0 };

    for (int i = 0; i < 6; i++) {
        pxs_exchange x = { .method = "GET", .url = url("/echo"), .headers = &bad[i],
                           .header_count = 1 };
        UNIT_ERR(px_net_call(net, unit_pool, &x, NULL, &reply), PX_E_INTERNAL);
    }
    pxs_exchange odd[] = { { .method = "get", .url = url("/echo") },
                           { .method = "GET", .url = NULL },
                           { .method = NULL, .url = url("/echo") },
                           { .method = "GET", .url = "http://a b/" },
                           { .method = "PUT", .url = "file:///tmp/x" },
                           { .method = "POST", .url = url("/echo"), .pieces = &piece,
                             .piece_count = 1 } };
    for (int i = 0; i < 6; i++) {
        UNIT_ERR(px_net_call(net, unit_pool, &odd[i], NULL, &reply), PX_E_INTERNAL);
    }
    pxs_exchange scheme = { .method = "GET", .url = "ftp://127.0.0.1/x" };
    reply = call(net, &scheme, NULL);
    ck_assert_int_eq(reply->status, 0);
    ck_assert_int_eq(net_fake_requests(), 0);
}
END_TEST

START_TEST(bounds_replies)
{
    px_net *net = open_net(NULL);
    const char *paths[] = { "/big?n=20000", "/chunked?n=20000" };

    for (int i = 0; i < 2; i++) {
        pxs_exchange x = { .method = "GET", .url = url(paths[i]), .reply_limit = 19999 };
        const pxs_reply *reply = call(net, &x, NULL);
        ck_assert_int_eq(reply->status, 0);
        ck_assert_uint_eq(reply->failure, PXS_FAIL_MALFORMED);
        x.reply_limit = 20000;
        reply = call(net, &x, NULL);
        ck_assert_int_eq(reply->status, 200);
        ck_assert_uint_eq(reply->body_len, 20000);
    }
    pxs_exchange headers = { .method = "GET", .url = url("/headers") };
    ck_assert_int_eq(call(net, &headers, NULL)->status, 0);
}
END_TEST

static void check_pattern(const char *body, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++) {
        ck_assert_int_eq(body[i], (char)('a' + i % 26));
    }
}

/* Sizes around the spool threshold and around pages: the NUL behind the body is always there. */
START_TEST(spools_large_replies)
{
    px_net *net = open_net(NULL);
    const int sizes[] = { 0, 1, 4095, 4096, 65535, 65536, 65537, 69632, 131072, 500000 };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const pxs_reply *reply = get(net, apr_psprintf(unit_pool, "/chunked?n=%d", sizes[i]));
        ck_assert_int_eq(reply->status, 200);
        ck_assert_uint_eq(reply->body_len, (uint64_t)sizes[i]);
        check_pattern(reply->body, reply->body_len);
        ck_assert_int_eq(reply->body[reply->body_len], '\0');
    }
}
END_TEST

START_TEST(delivers_replies_as_files)
{
    px_net *net = open_net(NULL);
    pxs_exchange x = { .method = "GET", .url = url("/big?n=100000"), .reply_to_file = 1 };
    const pxs_reply *reply = call(net, &x, NULL);
    size_t len;
    char *data;

    ck_assert_int_eq(reply->status, 200);
    ck_assert_ptr_null(reply->body);
    ck_assert_uint_eq(reply->body_len, 100000);
    ck_assert(px_net_reply_temporary(reply));
    data = unit_read(reply->path, &len);
    ck_assert_uint_eq(len, 100000);
    check_pattern(data, len);
    ck_assert_int_eq(unlink(reply->path), 0);
    x.url = url("/status?code=402");            /* error bodies stay readable */
    reply = call(net, &x, NULL);
    ck_assert_int_eq(reply->status, 402);
    ck_assert_ptr_null(reply->path);
    ck_assert_str_eq(reply->body, "{\"error\":\"said so\"}");
}
END_TEST

static char streamed[256];
static int stream_calls;

static int on_data(pxs_call *c, const void *data, size_t len)
{
    ck_assert_ptr_eq(c, (pxs_call *)streamed);
    strncat(streamed, data, len);
    return ++stream_calls == 2 && strstr(streamed, "stop") ? 1 : 0;
}

START_TEST(streams_replies_and_can_be_cut)
{
    px_net *net = open_net(NULL);
    px_net_options options = { .call = streamed };
    pxs_exchange x = { .method = "GET", .url = url("/stream"), .on_data = on_data };
    const pxs_reply *reply = call(net, &x, &options);

    ck_assert_int_eq(reply->status, 200);
    ck_assert_str_eq(streamed, "piece0piece1piece2");
    ck_assert_int_ge(stream_calls, 2);
    snprintf(streamed, sizeof streamed, "stop");
    stream_calls = 0;
    reply = call(net, &x, &options);
    ck_assert_int_eq(reply->status, 200);
    ck_assert_uint_eq(reply->failure, 0);
    ck_assert_int_eq(stream_calls, 2);
    x.url = url("/status?code=429");
    reply = call(net, &x, &options);
    ck_assert_str_eq(reply->body, "{\"error\":\"said so\"}");
}
END_TEST

START_TEST(tells_failures_apart)
{
    px_net *net = open_net(NULL);
    pxs_exchange refused = { .method = "GET", .url = "http://127.0.0.1:1/" };
    pxs_exchange lost = { .method = "POST", .url = url("/drop") };
    pxs_exchange slow = { .method = "POST", .url = url("/hang"), .timeout_ms = 300 };
    pxs_exchange drip = { .method = "GET", .url = url("/slow"), .timeout_ms = 400 };
    const pxs_reply *reply;

    ck_assert_uint_eq(call(net, &refused, NULL)->failure, PXS_FAIL_UNAVAILABLE);
    reply = get(net, "/truncate");
    ck_assert_int_eq(reply->status, 0);
    ck_assert_uint_eq(reply->failure, PXS_FAIL_UNAVAILABLE);
    ck_assert_ptr_null(reply->body);
    /* the request was out: nobody knows what happened */
    ck_assert_uint_eq(call(net, &lost, NULL)->failure, PXS_FAIL_TIMEOUT);
    lost.idempotent = 1;
    ck_assert_uint_eq(call(net, &lost, NULL)->failure, PXS_FAIL_UNAVAILABLE);
    ck_assert_uint_eq(call(net, &slow, NULL)->failure, PXS_FAIL_TIMEOUT);
    ck_assert_uint_eq(call(net, &drip, NULL)->failure, PXS_FAIL_TIMEOUT);
}
END_TEST

START_TEST(retries_idempotent_exchanges)
{
    px_net *net = open_net(NULL);
    px_net_options options = { .attempts = 3, .backoff_ms = 20 };
    pxs_exchange x = { .method = "POST", .url = url("/flaky?n=2&status=503"), .idempotent = 1 };
    const pxs_reply *reply = call(net, &x, &options);

    ck_assert_int_eq(reply->status, 200);
    ck_assert_str_eq(reply->body, "ok");
    ck_assert_int_eq(net_fake_requests(), 3);
}
END_TEST

START_TEST(does_not_retry_creating_calls)
{
    px_net *net = open_net(NULL);
    px_net_options options = { .attempts = 3, .backoff_ms = 20 };
    pxs_exchange x = { .method = "POST", .url = url("/flaky?n=2&status=503") };

    ck_assert_int_eq(call(net, &x, &options)->status, 503);
    ck_assert_int_eq(net_fake_requests(), 1);
}
END_TEST

/* A kept connection that dies makes curl send again by itself: not for creating calls. */
START_TEST(does_not_repeat_on_dead_connections)
{
    px_net *net = open_net(NULL);
    pxs_exchange x = { .method = "POST", .url = url("/drop") };

    get(net, "/echo");
    ck_assert_uint_eq(call(net, &x, NULL)->failure, PXS_FAIL_TIMEOUT);
    ck_assert_int_eq(net_fake_requests(), 2);
}
END_TEST

START_TEST(honours_retry_after)
{
    px_net *net = open_net(NULL);
    px_net_options options = { .attempts = 2, .backoff_ms = 10 };
    pxs_exchange x = { .method = "GET", .url = url("/flaky?n=1&status=429&after=1") };
    int64_t start = px_monotonic();

    ck_assert_int_eq(call(net, &x, &options)->status, 200);
    ck_assert_int_ge(px_monotonic() - start, 1000000);
    ck_assert_int_eq(px_retry_after_ms("7", 0), 7000);
    ck_assert_int_eq(px_retry_after_ms("Thu, 01 Jan 1970 00:01:00 GMT", 10000000), 50000);
    ck_assert_int_eq(px_retry_after_ms("soon", 0), -1);
    ck_assert_int_eq(px_retry_after_ms(NULL, 0), -1);
}
END_TEST

START_TEST(gives_long_retry_after_to_the_caller)
{
    px_net *net = open_net(NULL);
    px_net_options options = { .attempts = 2, .backoff_ms = 10 };
    pxs_exchange x = { .method = "GET", .url = url("/flaky?n=1&status=429&after=600") };

    ck_assert_int_eq(call(net, &x, &options)->status, 429);
    ck_assert_int_eq(net_fake_requests(), 1);
}
END_TEST

START_TEST(breaker_opens_after_five_failures)
{
    px_net *net = open_net(NULL);
    px_net_options options = { .name = "vendor" };
    pxs_exchange x = { .method = "GET", .url = url("/status?code=500") };

    for (int i = 0; i < 5; i++) {
        ck_assert(px_net_breaker_closed(net, "vendor"));
        ck_assert_int_eq(call(net, &x, &options)->status, 500);
    }
    ck_assert(!px_net_breaker_closed(net, "vendor"));
    ck_assert(px_net_breaker_closed(net, "other"));
    ck_assert_uint_eq(call(net, &x, &options)->failure, PXS_FAIL_UNAVAILABLE);
    ck_assert_int_eq(net_fake_requests(), 5);
    px_net_breaker_report(net, "vendor", true);
    ck_assert(px_net_breaker_closed(net, "vendor"));
    x.url = url("/status?code=404");            /* the vendor is well, our request was not */
    for (int i = 0; i < 6; i++) {
        call(net, &x, &options);
    }
    ck_assert(px_net_breaker_closed(net, "vendor"));
}
END_TEST

static void ignore_reply(void *baton, const pxs_reply *reply)
{
    (void)baton;
    (void)reply;
}

START_TEST(half_open_breaker_lets_one_through)
{
    px_net *net = open_net(NULL);
    px_net_options options = { .name = "vendor" };
    pxs_exchange bad = { .method = "GET", .url = url("/status?code=500") };
    pxs_exchange fine = { .method = "GET", .url = url("/echo") };
    pxs_exchange slow = { .method = "GET", .url = url("/stream") };

    px_breaker_window_usec = 250000;
    for (int i = 0; i < 5; i++) {
        call(net, &bad, &options);
    }
    ck_assert_int_eq(call(net, &fine, &options)->status, 0);
    usleep(260000);
    ck_assert(px_net_breaker_closed(net, "vendor"));
    UNIT_OK(px_net_start(net, &slow, &options, ignore_reply, NULL, NULL));
    ck_assert(!px_net_breaker_closed(net, "vendor"));           /* one probe is enough */
    ck_assert_int_eq(call(net, &fine, &options)->status, 0);
    while (px_net_running(net)) {
        UNIT_OK(px_net_perform(net, NULL, 0, 100));
    }
    ck_assert(px_net_breaker_closed(net, "vendor"));            /* it went well */
    ck_assert_int_eq(call(net, &fine, &options)->status, 200);
    for (int i = 0; i < 5; i++) {
        px_net_breaker_report(net, "vendor", false);
    }
    usleep(260000);
    ck_assert_int_eq(call(net, &bad, &options)->status, 500);   /* the probe fails */
    ck_assert_int_eq(call(net, &fine, &options)->status, 0);
}
END_TEST

/* Answers to what was sent before it opened must not keep it open. */
START_TEST(stragglers_do_not_prolong_the_pause)
{
    px_net *net = open_net(NULL);

    px_breaker_window_usec = 100000;
    for (int i = 0; i < 5; i++) {
        px_net_breaker_report(net, "vendor", false);
    }
    usleep(60000);
    px_net_breaker_report(net, "vendor", false);
    usleep(60000);
    ck_assert(px_net_breaker_closed(net, "vendor"));
}
END_TEST

/* Failures far apart do not open it. */
START_TEST(breaker_looks_at_a_window)
{
    px_net *net = open_net(NULL);

    px_breaker_window_usec = 50000;
    for (int i = 0; i < 6; i++) {
        px_net_breaker_report(net, "vendor", false);
        usleep(20000);
    }
    ck_assert(px_net_breaker_closed(net, "vendor"));
}
END_TEST

static int finished;
static int good;

static void count_done(void *baton, const pxs_reply *reply)
{
    (void)baton;
    finished++;
    good += reply->status == 200 && reply->body_len == 1400000;
}

/* 100 large replies at once: they must cost disk cache, not memory of ours. */
START_TEST(many_transfers_at_once)
{
    px_net *net = open_net(NULL);
    pxs_exchange x = { .method = "GET", .url = url("/big?n=1400000"), .reply_limit = 2u << 20,
                       .timeout_ms = 50000 };
    px_transfer *transfer;

    for (int i = 0; i < 100; i++) {
        UNIT_OK(px_net_start(net, &x, NULL, count_done, NULL, &transfer));
    }
    ck_assert_int_eq(px_net_running(net), 100);
    px_net_cancel(net, transfer);
    while (finished < 99) {
        UNIT_OK(px_net_perform(net, NULL, 0, 1000));
    }
    ck_assert_int_eq(good, 99);
    ck_assert_int_eq(px_net_running(net), 0);
}
END_TEST

START_TEST(waits_for_other_descriptors)
{
    px_net *net = open_net(NULL);
    int64_t start = px_monotonic();
    int pair[2];
    px_net_fd fds[1];

    ck_assert_int_eq(pipe(pair), 0);
    fds[0] = (px_net_fd){ .fd = pair[0], .events = 1 };
    UNIT_OK(px_net_perform(net, fds, 1, 30));
    ck_assert_int_eq(fds[0].revents, 0);
    ck_assert_int_eq(write(pair[1], "x", 1), 1);
    UNIT_OK(px_net_perform(net, fds, 1, 20000));
    ck_assert_int_eq(fds[0].revents, 1);
    px_net_wakeup(net);
    UNIT_OK(px_net_perform(net, NULL, 0, 20000));
    ck_assert_int_lt(px_monotonic() - start, 5000000);
}
END_TEST

/* ---- file: ---- */

static const pxs_reply *file_call(px_net *net, const char *method, const char *path,
                                  const char *body)
{
    px_net_options options = { .file_root = apr_psprintf(unit_pool, "%s/root", spool) };
    pxs_piece piece = { body, body ? strlen(body) : 0, NULL, 0 };
    pxs_exchange x = { .method = method, .pieces = &piece, .piece_count = body != NULL,
                       .url = apr_psprintf(unit_pool, "file://%s/root/%s", spool, path) };

    return call(net, &x, &options);
}

START_TEST(keeps_files)
{
    px_net *net = open_net(NULL);
    const pxs_reply *reply;
    size_t len;

    mkdir(apr_psprintf(unit_pool, "%s/root", spool), 0700);
    ck_assert_int_eq(file_call(net, "GET", "a/b/c.txt", NULL)->status, 404);
    ck_assert_int_eq(file_call(net, "PUT", "a/b/c.txt", "hello")->status, 201);
    ck_assert_str_eq(unit_read(apr_psprintf(unit_pool, "%s/root/a/b/c.txt", spool), &len), "hello");
    ck_assert_int_eq(file_call(net, "PUT", "a/b/c.txt", "again")->status, 201);
    reply = file_call(net, "GET", "a/b/c.txt", NULL);
    ck_assert_int_eq(reply->status, 200);
    ck_assert_str_eq(reply->body, "again");
    reply = file_call(net, "HEAD", "a/b/c.txt", NULL);
    ck_assert_int_eq(reply->status, 200);
    ck_assert_str_eq(reply->headers[0].name, "content-length");
    ck_assert_str_eq(reply->headers[0].value, "5");
    ck_assert_int_eq(file_call(net, "DELETE", "a/b/c.txt", NULL)->status, 204);
    ck_assert_int_eq(file_call(net, "DELETE", "a/b/c.txt", NULL)->status, 404);
    ck_assert_int_eq(file_call(net, "POST", "a/b/c.txt", "x")->status, 405);
    ck_assert_int_eq(file_call(net, "GET", "a/b", NULL)->status, 404);
}
END_TEST

START_TEST(serves_ranges_and_paths_of_files)
{
    px_net *net = open_net(NULL);
    const char *root = apr_psprintf(unit_pool, "%s/root", spool);
    px_net_options options = { .file_root = root };
    pxs_header range = { "range", "bytes=2-3", 0 };
    pxs_exchange x = { .method = "GET", .headers = &range, .header_count = 1,
                       .url = apr_psprintf(unit_pool, "file://%s/r.txt", root) };
    const pxs_reply *reply;

    mkdir(root, 0700);
    file_call(net, "PUT", "r.txt", "0123456789");
    reply = call(net, &x, &options);
    ck_assert_int_eq(reply->status, 206);
    ck_assert_str_eq(reply->body, "23");
    range.value = "bytes=8-";
    ck_assert_str_eq(call(net, &x, &options)->body, "89");
    range.value = "bytes=20-30";
    ck_assert_int_eq(call(net, &x, &options)->status, 200);
    x.reply_to_file = 1;
    reply = call(net, &x, &options);
    ck_assert_int_eq(reply->status, 200);
    ck_assert_str_eq(reply->path, apr_pstrcat(unit_pool, root, "/r.txt", NULL));
    ck_assert(!px_net_reply_temporary(reply));
    ck_assert_int_eq(access(reply->path, R_OK), 0);
}
END_TEST

START_TEST(files_stay_below_their_root)
{
    px_net *net = open_net(NULL);
    const char *root = apr_psprintf(unit_pool, "%s/root", spool);
    const char *outside[] = { "../escape", "a/../../escape", "%2e%2e/escape", "link/escape",
                              "linkfile", "./x", "a//b", "" };
    px_net_options options = { .file_root = root };
    const pxs_reply *reply;

    mkdir(root, 0700);
    write_file("secret", "secret", 6);
    ck_assert_int_eq(symlink(spool, apr_pstrcat(unit_pool, root, "/link", NULL)), 0);
    ck_assert_int_eq(symlink("../secret", apr_pstrcat(unit_pool, root, "/linkfile", NULL)), 0);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        int status = file_call(net, "GET", outside[i], NULL)->status;
        ck_assert_msg(status != 200, "%s was read", outside[i]);
        if (strcmp(outside[i], "linkfile") != 0) {
            status = file_call(net, "PUT", outside[i], "x")->status;
            ck_assert_msg(status == 0, "%s was written", outside[i]);
        }
    }
    ck_assert_int_ne(access(apr_pstrcat(unit_pool, spool, "/escape", NULL), F_OK), 0);
    file_call(net, "PUT", "linkfile", "mine");  /* replaces the link, not its target */
    size_t len;
    ck_assert_str_eq(unit_read(apr_pstrcat(unit_pool, spool, "/secret", NULL), &len), "secret");
    pxs_exchange x = { .method = "GET", .url = "file:///etc/passwd" };
    UNIT_ERR(px_net_call(net, unit_pool, &x, &options, &reply), PX_E_INTERNAL);
    x.url = apr_pstrcat(unit_pool, "file://", root, "-beside/x", NULL);
    UNIT_ERR(px_net_call(net, unit_pool, &x, &options, &reply), PX_E_INTERNAL);
}
END_TEST

int main(void)
{
    TCase *tc = unit_begin("net");

    tcase_add_test(tc, gets_and_reads_headers);
    tcase_add_test(tc, streams_pieces_with_base64);
    tcase_add_test(tc, base64_is_the_same_for_all_buffer_sizes);
    tcase_add_test(tc, uploads_a_large_file_as_base64);
    tcase_add_test(tc, sends_multipart);
    tcase_add_test(tc, refuses_bad_exchanges);
    tcase_add_test(tc, bounds_replies);
    tcase_add_test(tc, spools_large_replies);
    tcase_add_test(tc, delivers_replies_as_files);
    tcase_add_test(tc, streams_replies_and_can_be_cut);
    tcase_add_test(tc, tells_failures_apart);
    tc = unit_case("repeating");
    tcase_add_test(tc, retries_idempotent_exchanges);
    tcase_add_test(tc, does_not_retry_creating_calls);
    tcase_add_test(tc, does_not_repeat_on_dead_connections);
    tcase_add_test(tc, honours_retry_after);
    tcase_add_test(tc, gives_long_retry_after_to_the_caller);
    tcase_add_test(tc, breaker_opens_after_five_failures);
    tcase_add_test(tc, half_open_breaker_lets_one_through);
    tcase_add_test(tc, stragglers_do_not_prolong_the_pause);
    tcase_add_test(tc, breaker_looks_at_a_window);
    tc = unit_case("loop");
    tcase_add_test(tc, many_transfers_at_once);
    tcase_add_test(tc, waits_for_other_descriptors);
    tc = unit_case("file");
    tcase_add_test(tc, keeps_files);
    tcase_add_test(tc, serves_ranges_and_paths_of_files);
    tcase_add_test(tc, files_stay_below_their_root);
    return unit_run();
}
