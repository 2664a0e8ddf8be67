/* The fake server of test_net.c and test_plugin.c:
 *   /echo                 200: method, body length and header lines, a blank line, the body
 *   /flaky?n=2&status=503&after=1   the first n requests get status (Retry-After: after),
 then 200 "ok"
 *   /status?code=404      that status, body {"error":"said so"}
 *   /drop                 closes without a reply
 *   /truncate             announces 100 bytes, sends 10
 *   /big?n=1000000        n bytes ('a'…'z' in turn); /chunked likewise without a length
 *   /slow                 a byte each 100 ms; /hang answers never
 *   /stream               three pieces with pauses
 *   /headers              70 KiB of header lines
 *   /redirect?code=302&to=URL
 */
#include "net_fake.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_int requests, connections, flaky;

typedef struct {
    int fd;
    char *data;
    size_t len, size;       /* head and what came of the body */
    size_t head;            /* with the blank line */
    size_t body;
    char method[16], path[1024], query[1024];
} request;

static void say(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        p += n;
        len -= (size_t)n;
    }
}

static void say_text(int fd, const char *text)
{
    say(fd, text, strlen(text));
}

static long number(const request *r, const char *name, long fallback)
{
    char want[32];
    const char *at;

    snprintf(want, sizeof want, "%s=", name);
    at = strstr(r->query, want);
    return at ? strtol(at + strlen(want), NULL, 10) : fallback;
}

static void reply(int fd, int status, const char *headers, const void *body, size_t len)
{
    char head[4096];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n", status,
                     len,
                     headers);

    say(fd, head, (size_t)n);
    say(fd, body, len);
}

static bool more(request *r)
{
    ssize_t n;

    if (r->len + 1 >= r->size) {
        r->size = r->size ? r->size * 2 : 8192;
        r->data = realloc(r->data, r->size);
    }
    n = recv(r->fd, r->data + r->len, r->size - r->len - 1, 0);
    if (n <= 0) {
        return false;
    }
    r->len += (size_t)n;
    r->data[r->len] = '\0';
    return true;
}

static size_t content_length(const request *r)
{
    const char *at = strcasestr(r->data, "\r\nContent-Length:");

    return at && at < r->data + r->head ? strtoul(at + 17, NULL, 10) : 0;
}

static bool read_request(request *r)
{
    char target[2048];
    char *mark;

    r->len = 0;
    do {
        if (!more(r)) {
            return false;
        }
    } while ((mark = strstr(r->data, "\r\n\r\n")) == NULL);
    r->head = (size_t)(mark - r->data) + 4;
    r->body = content_length(r);
    while (r->len < r->head + r->body) {
        if (!more(r)) {
            return false;
        }
    }
    sscanf(r->data, "%15s %2047s", r->method, target);
    mark = strchr(target, '?');
    snprintf(r->query, sizeof r->query, "%.1000s", mark ? mark + 1 : "");
    if (mark) {
        *mark = '\0';
    }
    snprintf(r->path, sizeof r->path, "%.1000s", target);
    return true;
}

static void echo(const request *r)
{
    size_t size = r->head + r->body + 64;
    char *body = malloc(size);
    int n = snprintf(body, size, "%s %zu\r\n", r->method, r->body);

    memcpy(body + n, r->data, r->head + r->body);
    reply(r->fd, 200, "X-Seen: yes\r\n", body, (size_t)n + r->head + r->body);
    free(body);
}

static void big(const request *r, bool chunked)
{
    size_t n = (size_t)number(r, "n", 1000);
    char *body = malloc(n + 1);
    char line[32];

    for (size_t i = 0; i < n; i++) {
        body[i] = (char)('a' + i % 26);
    }
    if (!chunked) {
        reply(r->fd, 200, "Content-Type: text/plain\r\n", body, n);
    } else {
        say_text(r->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (size_t at = 0; at < n; at += 1000) {
            size_t len = n - at < 1000 ? n - at : 1000;
            say(r->fd, line, (size_t)snprintf(line, sizeof line, "%zx\r\n", len));
            say(r->fd, body + at, len);
            say_text(r->fd, "\r\n");
        }
        say_text(r->fd, "0\r\n\r\n");
    }
    free(body);
}

static void drip(const request *r, int count, useconds_t pause)
{
    char head[128];

    say(r->fd, head, (size_t)snprintf(head, sizeof head,
                                      "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", count * 6));
    for (int i = 0; i < count; i++) {
        say(r->fd, head, (size_t)snprintf(head, sizeof head, "piece%d", i % 10));
        usleep(pause);
    }
}

static void redirect(const request *r)
{
    char headers[2048];
    const char *to = strstr(r->query, "to=");

    snprintf(headers, sizeof headers, "Location: %s\r\n", to ? to + 3 : "/echo");
    reply(r->fd, (int)number(r, "code", 302), headers, "moved", 5);
}

static void flaky_reply(const request *r)
{
    char headers[64] = "";
    long after = number(r, "after", -1);

    if (atomic_fetch_add(&flaky, 1) >= number(r, "n", 1)) {
        reply(r->fd, 200, "", "ok", 2);
        return;
    }
    if (after >= 0) {
        snprintf(headers, sizeof headers, "Retry-After: %ld\r\n", after);
    }
    reply(r->fd, (int)number(r, "status", 503), headers, "no", 2);
}

static void many_headers(const request *r)
{
    char line[1100];

    say_text(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");
    memset(line, 'x', sizeof line);
    memcpy(line, "X-Filler: ", 10);
    memcpy(line + 1022, "\r\n", 2);
    for (int i = 0; i < 70; i++) {
        say(r->fd, line, 1024);
    }
    say_text(r->fd, "\r\n");
}

/* false = close the connection */
static bool answer(const request *r)
{
    const char *path = r->path;

    if (strcmp(path, "/echo") == 0) {
        echo(r);
    } else if (strcmp(path, "/flaky") == 0) {
        flaky_reply(r);
    } else if (strcmp(path, "/status") == 0) {
        int code = (int)number(r, "code", 500);
        reply(r->fd, code, "", "{\"error\":\"said so\"}", code == 204 ? 0 : 19);   /* 204 has no body */
    } else if (strcmp(path, "/truncate") == 0) {
        say_text(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");
        return false;
    } else if (strcmp(path, "/big") == 0 || strcmp(path, "/chunked") == 0) {
        big(r, path[1] == 'c');
    } else if (strcmp(path, "/slow") == 0) {
        drip(r, 1000, 100000);
    } else if (strcmp(path, "/stream") == 0) {
        drip(r, 3, 30000);
    } else if (strcmp(path, "/hang") == 0) {
        sleep(30);
    } else if (strcmp(path, "/headers") == 0) {
        many_headers(r);
    } else if (strcmp(path, "/redirect") == 0) {
        redirect(r);
    } else {
        return false;
    }
    return true;
}

static void *serve(void *arg)
{
    request r = { .fd = (int)(long)arg };

    while (read_request(&r)) {
        atomic_fetch_add(&requests, 1);
        if (!answer(&r)) {
            break;
        }
    }
    close(r.fd);
    free(r.data);
    return NULL;
}

static void *accept_loop(void *arg)
{
    int listener = (int)(long)arg;
    int fd;

    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        pthread_t thread;
        atomic_fetch_add(&connections, 1);
        pthread_create(&thread, NULL, serve, (void *)(long)fd);
        pthread_detach(thread);
    }
    return NULL;
}

int net_fake_start(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_t thread;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0
        || listen(listener, 512) != 0
        || getsockname(listener, (struct sockaddr *)&address, &len) != 0
        || pthread_create(&thread, NULL, accept_loop, (void *)(long)listener) != 0) {
        abort();
    }
    pthread_detach(thread);
    return ntohs(address.sin_port);
}

int net_fake_requests(void)
{
    return atomic_load(&requests);
}

int net_fake_connections(void)
{
    return atomic_load(&connections);
}
