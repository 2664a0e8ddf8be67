/* TLS of outbound calls: what is not proven by a known authority for this very name is not talked to.
 * The servers are `openssl s_server`; without that program there is nothing to test. */
#include "unit.h"
#include "unit_folder.h"
#include "net/net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

static const char *folder;
static pid_t server;

static const char *in_folder(const char *name)
{
    return apr_pstrcat(unit_pool, folder, "/", name, NULL);
}

static pid_t run(const char *const *argv)
{
    pid_t pid = fork();

    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

static int finish(pid_t pid)
{
    int status = -1;

    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool make_certificate(const char *name, const char *alternative, const char *days)
{
    const char *argv[] = { "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                           "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=px-test", "-days",
                           days, "-addext", alternative, "-keyout",
                           in_folder(apr_pstrcat(unit_pool, name, ".key", NULL)), "-out",
                           in_folder(apr_pstrcat(unit_pool, name, ".pem", NULL)), NULL };

    return finish(run(argv)) == 0;
}

static int free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static bool connects(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool fine;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fine = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return fine;
}

/* `protocol` NULL = whatever both sides like best. */
static int serve(const char *name, const char *protocol)
{
    int port = free_port();
    const char *argv[] = { "openssl", "s_server", "-www", "-quiet", "-accept",
                           apr_psprintf(unit_pool, "127.0.0.1:%d", port), "-cert",
                           in_folder(apr_pstrcat(unit_pool, name, ".pem", NULL)), "-key",
                           in_folder(apr_pstrcat(unit_pool, name, ".key", NULL)), "-cipher",
                           "DEFAULT:@SECLEVEL=0", protocol, NULL };

    server = run(argv);
    for (int i = 0; i < 100 && !connects(port); i++) {
        usleep(20000);
    }
    return port;
}

/* The status that a GET gets when `authority` is trusted; 0 = no reply. */
static int fetch(int port, const char *host, const char *authority)
{
    px_net_config config = { .ca_file = authority ? in_folder(authority) : NULL };
    pxs_exchange x = { .method = "GET", .timeout_ms = 5000,
                       .url = apr_psprintf(unit_pool, "https://%s:%d/", host, port) };
    const pxs_reply *reply;
    px_net *net;

    UNIT_OK(px_net_open(unit_pool, &config, &net));
    UNIT_OK(px_net_call(net, unit_pool, &x, NULL, &reply));
    return reply->status;
}

static void stop(void)
{
    kill(server, SIGKILL);
    finish(server);
}

static bool prepare(void)
{
    folder = unit_folder();
    return make_certificate("good", "subjectAltName=IP:127.0.0.1,DNS:localhost", "2")
           && make_certificate("other", "subjectAltName=DNS:example.com", "2");
}

START_TEST(only_proven_servers_are_talked_to)
{
    int port;

    if (!prepare()) {
        return;
    }
    port = serve("good", NULL);
    ck_assert_int_eq(fetch(port, "127.0.0.1", "good.pem"), 200);
    ck_assert_int_eq(fetch(port, "localhost", "good.pem"), 200);
    ck_assert_int_eq(fetch(port, "127.0.0.1", NULL), 0);            /* unknown authority */
    ck_assert_int_eq(fetch(port, "127.0.0.1", "other.pem"), 0);
    ck_assert_int_eq(fetch(port, "127.0.0.1", "absent.pem"), 0);
    stop();
    port = serve("other", NULL);
    ck_assert_int_eq(fetch(port, "127.0.0.1", "other.pem"), 0);     /* another name */
    stop();
}
END_TEST

START_TEST(old_protocols_are_refused)
{
    int port;

    if (!prepare()) {
        return;
    }
    port = serve("good", "-tls1_2");
    ck_assert_int_eq(fetch(port, "127.0.0.1", "good.pem"), 200);
    stop();
    port = serve("good", "-tls1_1");
    ck_assert_int_eq(fetch(port, "127.0.0.1", "good.pem"), 0);
    stop();
}
END_TEST

int main(void)
{
    TCase *tc = unit_begin("tls");

    tcase_add_test(tc, only_proven_servers_are_talked_to);
    tcase_add_test(tc, old_protocols_are_refused);
    return unit_run();
}
