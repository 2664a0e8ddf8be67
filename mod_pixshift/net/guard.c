/* The SSRF guard (RELIABILITY §2, "URL inputs").  What decides is the address that the socket is
 * about to be connected to, because names may resolve differently each time; checks of the URL
 * only give earlier and clearer answers. */
#include "net_internal.h"
#include "base/log.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

typedef struct { uint32_t net; int bits; } range4;

static const range4 denied4[] = {
    { 0x00000000, 8 },  /* 0.0.0.0/8      this network */
    { 0x0a000000, 8 },  /* 10.0.0.0/8     private */
    { 0x64400000, 10 }, /* 100.64.0.0/10  carrier-grade NAT */
    { 0x7f000000, 8 },  /* 127.0.0.0/8    loopback */
    { 0xa9fe0000, 16 }, /* 169.254.0.0/16 link local, cloud metadata */
    { 0xac100000, 12 }, /* 172.16.0.0/12  private */
    { 0xc0000000, 24 }, /* 192.0.0.0/24   IETF assignments */
    { 0xc0000200, 24 }, /* 192.0.2.0/24   documentation */
    { 0xc0586300, 24 }, /* 192.88.99.0/24 6to4 relays */
    { 0xc0a80000, 16 }, /* 192.168.0.0/16 private */
    { 0xc6120000, 15 }, /* 198.18.0.0/15  benchmarks */
    { 0xc6336400, 24 }, /* 198.51.100.0/24 documentation */
    { 0xcb007100, 24 }, /* 203.0.113.0/24 documentation */
    { 0xe0000000, 4 },  /* 224.0.0.0/4    multicast */
    { 0xf0000000, 4 },  /* 240.0.0.0/4    reserved, broadcast */
};

static bool public4(const unsigned char a[4])
{
    uint32_t ip = (uint32_t)a[0] << 24 | (uint32_t)a[1] << 16 | (uint32_t)a[2] << 8 | a[3];

    for (size_t i = 0; i < sizeof denied4 / sizeof *denied4; i++) {
        if ((ip ^ denied4[i].net) >> (32 - denied4[i].bits) == 0) {
            return false;
        }
    }
    return true;
}

/* Global unicast is 2000::/3; everything else (loopback, ULA, link local, NAT64, multicast …) is
 * closed, and so are the special blocks inside it. */
static bool public6(const unsigned char a[16])
{
    uint32_t top = (uint32_t)a[0] << 24 | (uint32_t)a[1] << 16 | (uint32_t)a[2] << 8 | a[3];

    return top >> 29 == 1                       /* 2000::/3 */
           && top >> 9 != 0x20010000u >> 9      /* 2001::/23     IETF, Teredo, ORCHID */
           && top != 0x20010db8u                /* 2001:db8::/32 documentation */
           && top >> 16 != 0x2002u              /* 2002::/16     6to4 wraps any IPv4 */
           && top >> 12 != 0x3fff0u;            /* 3fff::/20     documentation */
}

static const unsigned char mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

/* The address as 16 bytes, IPv4 as v4-mapped; false for other families. */
static bool address_bytes(const struct sockaddr *address, unsigned char out[16])
{
    if (address->sa_family == AF_INET) {
        memcpy(out, mapped_prefix, 12);
        memcpy(out + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
        return true;
    }
    if (address->sa_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
        return true;
    }
    return false;
}

bool px_net_address_public(const struct sockaddr *address)
{
    unsigned char bytes[16];

    if (!address_bytes(address, bytes)) {
        return false;
    }
    if (memcmp(bytes, mapped_prefix, 12) == 0) {
        return public4(bytes + 12);
    }
    return public6(bytes);
}

static bool parse_cidr(char *word, px_cidr *cidr)
{
    char *slash = strchr(word, '/');
    bool v4 = strchr(word, ':') == NULL;
    long bits = v4 ? 32 : 128;
    char *end = NULL;

    if (slash) {
        *slash = '\0';
        bits = strtol(slash + 1, &end, 10);
        if (end == slash + 1 || *end || bits < 0 || bits > (v4 ? 32 : 128)) {
            return false;
        }
    }
    memcpy(cidr->address, mapped_prefix, 12);
    cidr->bits = (int)bits + (v4 ? 96 : 0);
    return inet_pton(v4 ? AF_INET : AF_INET6, word, v4 ? cidr->address + 12 : cidr->address) == 1;
}

px_err *px_guard_parse_allow(apr_pool_t *pool, const char *text, px_cidr **list, int *count)
{
    apr_array_header_t *found = apr_array_make(pool, 4, sizeof(px_cidr));
    char *copy = apr_pstrdup(pool, text ? text : "");
    char *state = NULL;

    for (char *word = apr_strtok(copy, " \t,", &state); word;
         word = apr_strtok(NULL, " \t,", &state)) {
        px_cidr cidr;
        if (!parse_cidr(word, &cidr)) {
            return px_error(pool, PX_E_INTERNAL, "PXS3002",
                            "egress exception \"%s\" is no CIDR range",
                            word);
        }
        APR_ARRAY_PUSH(found, px_cidr) = cidr;
    }
    *list = (px_cidr *)found->elts;
    *count = found->nelts;
    return NULL;
}

static bool in_cidr(const unsigned char a[16], const px_cidr *cidr)
{
    int whole = cidr->bits / 8;
    int rest = cidr->bits % 8;

    return memcmp(a, cidr->address, (size_t)whole) == 0
           && (rest == 0 || (a[whole] ^ cidr->address[whole]) >> (8 - rest) == 0);
}

static bool port_allowed(long port)
{
    return port == 80 || port == 443 || port == 8443;
}

/* Exceptions (tests) free address and port; everything else needs both to be right. */
bool px_guard_allows(const px_net *net, const struct sockaddr *address)
{
    unsigned char bytes[16];
    in_port_t port;

    if (!address_bytes(address, bytes)) {
        return false;
    }
    for (int i = 0; i < net->allow_count; i++) {
        if (in_cidr(bytes, &net->allow[i])) {
            return true;
        }
    }
    port = address->sa_family == AF_INET
               ? ((const struct sockaddr_in *)(const void *)address)->sin_port
               : ((const struct sockaddr_in6 *)(const void *)address)->sin6_port;
    return px_net_address_public(address) && port_allowed(ntohs(port));
}

static void note_blocked(px_transfer *transfer)
{
    if (!transfer->blocked) {
        transfer->blocked = true;
        transfer->net->blocked++;
        px_log(PX_LOG_WARN, "PXS3003", "%s: an outside URL led to an address that is not public; "
               "nothing was sent (request %s)",
               transfer->options.name ? transfer->options.name : "net",
               transfer->options.request_id ? transfer->options.request_id : "-");
    }
}

static curl_socket_t on_open_socket(void *baton, curlsocktype purpose,
                                    struct curl_sockaddr *address)
{
    px_transfer *transfer = baton;

    if (purpose != CURLSOCKTYPE_IPCXN
        || (transfer->exchange->public_target && !px_guard_allows(transfer->net, &address->addr))) {
        note_blocked(transfer);
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Connections may be older than this transfer: look at the peer again before anything is sent. */
static int on_prereq(void *baton, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
    px_transfer *transfer = baton;
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)peer_port) };
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons((uint16_t)peer_port) };
    bool fine = false;

    (void)local_ip;
    (void)local_port;
    if (inet_pton(AF_INET, peer_ip, &four.sin_addr) == 1) {
        fine = px_guard_allows(transfer->net, (const struct sockaddr *)(const void *)&four);
    } else if (inet_pton(AF_INET6, peer_ip, &six.sin6_addr) == 1) {
        fine = px_guard_allows(transfer->net, (const struct sockaddr *)(const void *)&six);
    }
    if (!fine) {
        note_blocked(transfer);
        return CURL_PREREQFUNC_ABORT;
    }
    return CURL_PREREQFUNC_OK;
}

/* Public targets neither take connections that trusted calls made nor leave theirs behind. */
void px_guard_install(px_transfer *transfer)
{
    CURL *easy = transfer->easy;

    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
    if (transfer->exchange->public_target) {
        curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_prereq);
        curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1024L);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, 5L);
    }
}

static const char *parsed_fault(CURLU *handle, bool https_only, bool any_port)
{
    char *scheme = NULL;
    char *user = NULL;
    char *password = NULL;
    char *port = NULL;
    const char *fault = NULL;

    curl_url_get(handle, CURLUPART_SCHEME, &scheme, 0);
    curl_url_get(handle, CURLUPART_USER, &user, 0);
    curl_url_get(handle, CURLUPART_PASSWORD, &password, 0);
    curl_url_get(handle, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    if (!scheme || (strcmp(scheme, "https") != 0 && (https_only || strcmp(scheme, "http") != 0))) {
        fault = https_only ? "The URL must begin with https://."
                           : "The URL must begin with https:// or http://.";
    } else if (user || password) {
        fault = "The URL must not contain a user name or password.";
    } else if (!any_port && (!port || !port_allowed(strtol(port, NULL, 10)))) {
        fault = "The URL's port must be 80, 443 or 8443.";
    }
    curl_free(scheme);
    curl_free(user);
    curl_free(password);
    curl_free(port);
    return fault;
}

const char *px_guard_url_fault(const char *url, bool https_only, bool any_port)
{
    const char *fault = NULL;
    CURLU *handle;
    const char *slashes = url ? strstr(url, "://") : NULL;

    /* curl reads "https:///x" as host x: too clever for a guard */
    if (!slashes || slashes[3] == '/' || strlen(url) > 2048 || strchr(url, '\\')) {
        return "The URL is not valid.";
    }
    for (const unsigned char *p = (const unsigned char *)url; *p; p++) {
        if (*p <= ' ' || *p == 0x7f) {
            return "The URL is not valid.";
        }
    }
    handle = curl_url();
    if (!handle || curl_url_set(handle, CURLUPART_URL, url, 0) != CURLUE_OK) {
        fault = "The URL is not valid.";
    } else {
        fault = parsed_fault(handle, https_only, any_port);
    }
    curl_url_cleanup(handle);
    return fault;
}

const char *px_net_url_fault(const char *url, bool https_only)
{
    return px_guard_url_fault(url, https_only, false);
}

const char *px_net_url_fault_for(const px_net *net, const char *url, bool https_only)
{
    bool excepted = net->allow_count > 0;

    return px_guard_url_fault(url, https_only && !excepted, excepted);
}

uint64_t px_net_blocked_count(const px_net *net)
{
    return net->blocked;
}
