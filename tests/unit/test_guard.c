/* The SSRF guard: addresses, URLs, and what reaches a local server through names and redirects. */
#include "unit.h"
#include "net_fake.h"
#include "base/clock.h"
#include "net/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static const struct { const char *address; bool allowed; } addresses[] = {
    /* IPv4: the edges of each denied block and their neighbours */
    { "0.0.0.0", false }, { "0.255.255.255", false }, { "1.0.0.0", true },
    { "9.255.255.255", true }, { "10.0.0.0", false }, { "10.255.255.255", false },
    { "11.0.0.0", true },
    { "100.63.255.255", true }, { "100.64.0.0", false }, { "100.127.255.255", false },
    { "100.128.0.0", true },
    { "126.255.255.255", true }, { "127.0.0.1", false }, { "127.255.255.255", false },
    { "128.0.0.0", true },
    { "169.253.255.255", true }, { "169.254.0.0", false }, { "169.254.169.254", false },
    { "169.255.0.0", true },
    { "172.15.255.255", true }, { "172.16.0.0", false }, { "172.31.255.255", false },
    { "172.32.0.0", true },
    { "191.255.255.255", true }, { "192.0.0.0", false }, { "192.0.0.255", false },
    { "192.0.1.0", true }, { "192.0.2.0", false }, { "192.0.2.255", false }, { "192.0.3.0", true },
    { "192.88.98.255", true }, { "192.88.99.0", false }, { "192.88.99.255", false },
    { "192.88.100.0", true },
    { "192.167.255.255", true }, { "192.168.0.0", false }, { "192.168.255.255", false },
    { "192.169.0.0", true },
    { "198.17.255.255", true }, { "198.18.0.0", false }, { "198.19.255.255", false },
    { "198.20.0.0", true },
    { "198.51.99.255", true }, { "198.51.100.0", false }, { "198.51.100.255", false },
    { "198.51.101.0", true },
    { "203.0.112.255", true }, { "203.0.113.0", false }, { "203.0.113.255", false },
    { "203.0.114.0", true },
    { "223.255.255.255", true }, { "224.0.0.0", false }, { "239.255.255.255", false },
    { "240.0.0.0", false }, { "255.255.255.255", false }, { "8.8.8.8", true },
    { "93.184.216.34", true },
    /* IPv6 */
    { "::", false }, { "::1", false }, { "1fff:ffff::", false }, { "2000::", true },
    { "2606:4700::1111", true }, { "2a00:1450:4001:81b::200e", true }, { "3ffe::1", true },
    { "3fff::", false }, { "3fff:0fff:ffff::", false }, { "3fff:1000::", true },
    { "4000::", false }, { "2000:ffff::1", true },
    { "2001::", false }, { "2001:0:4136:e378::1", false }, { "2001:1ff:ffff::", false },
    { "2001:200::", true }, { "2001:20::1", false },
    { "2001:db7:ffff::", true }, { "2001:db8::", false }, { "2001:db8:ffff::1", false },
    { "2001:db9::", true },
    { "2001:ffff::", true }, { "2002::", false }, { "2002:7f00:1::", false },
    { "2002:ffff:ffff::1", false }, { "2003::", true },
    { "64:ff9b::7f00:1", false }, { "64:ff9b::808:808", false }, { "64:ff9b:1::1", false },
    { "::ffff:127.0.0.1", false }, { "::ffff:10.1.2.3", false }, { "::ffff:169.254.169.254",
                                                                  false },
    { "::ffff:8.8.8.8", true }, { "::127.0.0.1", false }, { "::ffff:0:127.0.0.1", false },
    { "100::1", false }, { "fc00::1", false }, { "fd12:3456::1", false }, { "fe80::1", false },
    { "fec0::1", false }, { "ff02::1", false },
};

static bool judge(const char *text)
{
    struct sockaddr_in four = { .sin_family = AF_INET };
    struct sockaddr_in6 six = { .sin6_family = AF_INET6 };

    if (inet_pton(AF_INET, text, &four.sin_addr) == 1) {
        return px_net_address_public((struct sockaddr *)&four);
    }
    ck_assert_int_eq(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
    return px_net_address_public((struct sockaddr *)&six);
}

START_TEST(judges_addresses)
{
    struct sockaddr local = { .sa_family = AF_UNIX };

    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        ck_assert_msg(judge(addresses[i].address) == addresses[i].allowed, "%s was %s",
                      addresses[i].address, addresses[i].allowed ? "refused" : "allowed");
    }
    ck_assert_int_ge((int)(sizeof addresses / sizeof *addresses), 90);
    ck_assert(!px_net_address_public(&local));
}
END_TEST

START_TEST(judges_urls)
{
    static const char *const fine[] = { "https://example.com/", "https://example.com:8443/x?y",
                                        "https://example.com:443", "https://[2606:4700::1]/" };
    static const char *const bad[] = {
        "", "example.com", "//example.com/", "ftp://example.com/", "file:///etc/passwd",
        "gopher://example.com/", "javascript:alert(1)", "https://user@example.com/",
        "https://user:pw@example.com/", "https://example.com:22/", "https://example.com:0/",
        "https://example.com:99999/", "https:///path", "https://exa mple.com/", "https://a\\b.com/",
        "https://example.com/\r\nX: y", "https://example.com/\x01", "http://example.com/"
    };

    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        ck_assert_msg(px_net_url_fault(fine[i], true) == NULL, "%s was refused", fine[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(px_net_url_fault(bad[i], true) != NULL, "%s passed", bad[i]);
    }
    ck_assert_ptr_null(px_net_url_fault("http://example.com/", false));
    ck_assert_ptr_nonnull(px_net_url_fault("http://example.com:8080/", false));
    ck_assert_ptr_nonnull(px_net_url_fault(NULL, false));
}
END_TEST

static px_net *open_net(const char *egress)
{
    px_net_config config = { .egress_allow = egress, .spool_dir = "/tmp" };
    px_net *net;

    UNIT_OK(px_net_open(unit_pool, &config, &net));
    return net;
}

static const pxs_reply *fetch(px_net *net, const char *url, const pxs_header *header)
{
    pxs_exchange x = { .method = "GET", .url = url, .public_target = 1, .timeout_ms = 3000,
                       .headers = header, .header_count = header != NULL };
    const pxs_reply *reply = NULL;

    UNIT_OK(px_net_call(net, unit_pool, &x, NULL, &reply));
    return reply;
}

START_TEST(private_servers_are_out_of_reach)
{
    px_net *net = open_net(NULL);
    int port = net_fake_start();
    static const char *const hosts[] = { "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1",
                                         "017700000001", "0", "[::1]", "[::ffff:127.0.0.1]",
                                         "127.0.0.1.", "LOCALHOST" };

    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        const char *url = apr_psprintf(unit_pool, "http://%s:%d/echo", hosts[i], port);
        const pxs_reply *reply = fetch(net, url, NULL);
        ck_assert_int_eq(reply->status, 0);
        ck_assert_uint_eq(reply->failure, PXS_FAIL_UNAVAILABLE);
        ck_assert_ptr_null(reply->body);
        /* the port rule must not be what saved us */
        ck_assert_int_eq(fetch(net, apr_psprintf(unit_pool, "http://%s:80/", hosts[i]),
                               NULL)->status,
                         0);
    }
    ck_assert_int_eq(net_fake_connections(), 0);
    ck_assert_uint_ge(px_net_blocked_count(net), 1);
}
END_TEST

START_TEST(trusted_connections_are_not_reused)
{
    px_net *net = open_net(NULL);
    const char *url = apr_psprintf(unit_pool, "http://127.0.0.1:%d/echo", net_fake_start());
    pxs_exchange x = { .method = "GET", .url = url };
    const pxs_reply *reply;

    UNIT_OK(px_net_call(net, unit_pool, &x, NULL, &reply));
    ck_assert_int_eq(reply->status, 200);
    ck_assert_int_eq(fetch(net, url, NULL)->status, 0);
    ck_assert_int_eq(net_fake_requests(), 1);
}
END_TEST

START_TEST(exceptions_open_only_what_they_name)
{
    px_net *net = open_net("127.0.0.0/8, ::1");
    int port = net_fake_start();
    const char *url = apr_psprintf(unit_pool, "http://127.0.0.1:%d/echo", port);

    ck_assert_int_eq(fetch(net, url, NULL)->status, 200);
    ck_assert_int_eq(fetch(open_net("10.0.0.0/8"), url, NULL)->status, 0);
    ck_assert_ptr_null(px_net_url_fault_for(net, url, true));
    UNIT_ERR(px_net_open(unit_pool, &(px_net_config){ .egress_allow = "127.0.0.1/99" }, &net),
             PX_E_INTERNAL);
    UNIT_ERR(px_net_open(unit_pool, &(px_net_config){ .egress_allow = "all" }, &net),
             PX_E_INTERNAL);
}
END_TEST

/* Only 127.0.0.1 is open: every hop is looked at again. */
START_TEST(follows_redirects_with_the_guard)
{
    px_net *net = open_net("127.0.0.1/32");
    int port = net_fake_start();
    const char *base = apr_psprintf(unit_pool, "http://127.0.0.1:%d/", port);
    const char *hop = apr_pstrcat(unit_pool, base, "redirect?to=", NULL);
    static const char *const away[] = { "http://127.0.0.2/", "http://10.0.0.1/", "ftp://127.0.0.1/",
                                        "file:///etc/passwd", "http://u:p@127.0.0.1/",
                                        "http://[::1]/", "gopher://127.0.0.1:25/_HELO" };
    const pxs_reply *reply;

    ck_assert_int_eq(fetch(net, apr_pstrcat(unit_pool, hop, "/echo", NULL), NULL)->status, 200);
    reply = fetch(net, apr_pstrcat(unit_pool, hop, hop, hop, "/echo", NULL), NULL);
    ck_assert_int_eq(reply->status, 200);
    reply = fetch(net, apr_pstrcat(unit_pool, hop, hop, hop, hop, "/echo", NULL), NULL);
    ck_assert_int_eq(reply->status, 302);
    for (size_t i = 0; i < sizeof away / sizeof *away; i++) {
        reply = fetch(net, apr_pstrcat(unit_pool, hop, away[i], NULL), NULL);
        ck_assert_msg(reply->status == 0 || reply->status == 302, "%s gave %d", away[i],
                      reply->status);
    }
}
END_TEST

START_TEST(secrets_stay_with_their_host)
{
    px_net *net = open_net("127.0.0.0/8");
    int port = net_fake_start();
    pxs_header secret = { "X-Api-Key", "canary", 1 };
    pxs_header authorization = { "Authorization", "Bearer canary", 0 };
    const char *same = apr_psprintf(unit_pool, "http://127.0.0.1:%d/redirect?to=/echo", port);
    const char *other = apr_psprintf(unit_pool, "http://127.0.0.1:%d/redirect?to="
                                     "http://localhost:%d/echo", port, port);

    ck_assert_ptr_nonnull(strstr(fetch(net, same, &secret)->body, "canary"));
    ck_assert_ptr_nonnull(strstr(fetch(net, same, &authorization)->body, "canary"));
    ck_assert_ptr_null(strstr(fetch(net, other, &secret)->body, "canary"));
    ck_assert_ptr_null(strstr(fetch(net, other, &authorization)->body, "canary"));
}
END_TEST

/* 60 bytes a second: cut off after 5 s below 1 kB/s, long before the time is over. */
START_TEST(slow_drips_are_cut_off)
{
    px_net *net = open_net("127.0.0.0/8");
    pxs_exchange x = { .method = "GET", .public_target = 1, .timeout_ms = 60000 };
    int64_t start = px_monotonic();
    const pxs_reply *reply;

    x.url = apr_psprintf(unit_pool, "http://127.0.0.1:%d/slow", net_fake_start());
    UNIT_OK(px_net_call(net, unit_pool, &x, NULL, &reply));
    ck_assert_int_eq(reply->status, 0);
    ck_assert_int_lt(px_monotonic() - start, 8500000);
    ck_assert_int_gt(px_monotonic() - start, 3500000);
}
END_TEST

START_TEST(webhooks_are_not_redirected)
{
    px_net *net = open_net("127.0.0.0/8");
    const char *url = apr_psprintf(unit_pool, "http://127.0.0.1:%d/redirect?code=307&to=/echo",
                                   net_fake_start());
    pxs_exchange x = { .method = "POST", .url = url, .public_target = 1 };
    const pxs_reply *reply;

    UNIT_OK(px_net_call(net, unit_pool, &x, NULL, &reply));
    ck_assert_int_eq(reply->status, 307);
    ck_assert_int_eq(net_fake_requests(), 1);
}
END_TEST

int main(void)
{
    TCase *tc = unit_begin("guard");

    tcase_add_test(tc, judges_addresses);
    tcase_add_test(tc, judges_urls);
    tcase_add_test(tc, private_servers_are_out_of_reach);
    tcase_add_test(tc, trusted_connections_are_not_reused);
    tcase_add_test(tc, exceptions_open_only_what_they_name);
    tcase_add_test(tc, follows_redirects_with_the_guard);
    tcase_add_test(tc, secrets_stay_with_their_host);
    tcase_add_test(tc, slow_drips_are_cut_off);
    tcase_add_test(tc, webhooks_are_not_redirected);
    return unit_run();
}
