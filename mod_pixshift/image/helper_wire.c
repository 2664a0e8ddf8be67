/* Packets between the client and the helper program; see helper_wire.h. */
#include "helper_wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool px_wire_add(px_wire_packet *packet, const char *key, const char *value)
{
    px_wire_task *head = &packet->head;
    if (!key)
        return false;
    if (!value)
        return true;
    size_t key_len = strlen(key) + 1, value_len = strlen(value) + 1;
    if (key_len + value_len > PX_WIRE_TEXT_MAX - head->text_len)
        return false;
    memcpy(packet->text + head->text_len, key, key_len);
    memcpy(packet->text + head->text_len + key_len, value, value_len);
    head->text_len += (uint32_t)(key_len + value_len);
    return true;
}

const char *px_wire_get(const px_wire_packet *packet, const char *key)
{
    const char *at = packet->text, *end = at + packet->head.text_len;
    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (value >= end)
            return NULL;
        if (strcmp(at, key) == 0)
            return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}

const char *px_wire_get_n(const px_wire_packet *packet, const char *stem, unsigned n,
                          const char *field)
{
    char key[64];
    snprintf(key, sizeof key, "%s%u%s", stem, n, field);
    return px_wire_get(packet, key);
}

bool px_wire_task_valid(const px_wire_packet *packet, size_t len)
{
    const px_wire_task *head = &packet->head;
    if (len < sizeof *head || head->magic != PX_WIRE_MAGIC || head->text_len > PX_WIRE_TEXT_MAX
        || len != offsetof(px_wire_packet, text) + head->text_len
        || head->input_count > PX_HELPER_INPUTS)
        return false;
    return head->text_len == 0 || packet->text[head->text_len - 1] == '\0';
}

/* Ends the text and replaces what could forge a log line. */
static void tame(char *text, size_t size)
{
    text[size - 1] = '\0';
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c == 0x7f)
            *c = ' ';
}

void px_wire_result_tame(px_wire_result *result)
{
    static const char *const mimes[] = { "image/jpeg", "image/png", "image/webp" };
    tame(result->mime, sizeof result->mime);
    tame(result->model, sizeof result->model);
    tame(result->reason, sizeof result->reason);
    bool known = false;
    for (size_t i = 0; i < sizeof mimes / sizeof *mimes; i++)
        known = known || strcmp(result->mime, mimes[i]) == 0;
    if (!known)
        result->mime[0] = '\0';
    if (result->status > PX_HELPER_LOST)
        result->status = PX_HELPER_CRASHED;
    if (result->fail_class > PXS_FAIL_INTERNAL)
        result->fail_class = PXS_FAIL_INTERNAL;
}

int px_wire_send(int sock, const void *data, size_t len, const int *fds, unsigned fd_count)
{
    union {
        char space[CMSG_SPACE(sizeof(int) * PX_WIRE_FDS)];
        struct cmsghdr align;
    } control;
    struct iovec piece = { .iov_base = (void *)data, .iov_len = len };
    struct msghdr msg = { .msg_iov = &piece, .msg_iovlen = 1 };
    if (fd_count > PX_WIRE_FDS) {
        errno = EINVAL;
        return -1;
    }
    if (fd_count) {
        memset(&control, 0, sizeof control);
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
    }
    ssize_t sent;
    do
        sent = sendmsg(sock, &msg, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

static void take_fds(struct msghdr *msg, int *fds, unsigned fd_max, unsigned *fd_count)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        unsigned count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (unsigned i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (*fd_count < fd_max)
                fds[(*fd_count)++] = fd;
            else
                close(fd);
        }
    }
}

ssize_t px_wire_receive(int sock, void *data, size_t size, int *fds, unsigned fd_max,
                        unsigned *fd_count)
{
    union {
        char space[CMSG_SPACE(sizeof(int) * (PX_WIRE_FDS + 4))];
        struct cmsghdr align;
    } control;
    struct iovec piece = { .iov_base = data, .iov_len = size };
    struct msghdr msg = { .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.space,
                          .msg_controllen = sizeof control.space };
    ssize_t got;
    *fd_count = 0;
    do
        got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got >= 0)
        take_fds(&msg, fds, fd_max, fd_count);
    return got;
}
