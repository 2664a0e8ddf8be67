/* The one door for log lines below the hosts. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Longer messages are cut: a log line is for reading, and bodies never belong there. */
#define MESSAGE_MAX 2048
#define LINE_MAX_LEN (MESSAGE_MAX * 4 + 64)

static void stderr_sink(void *baton, px_log_level level, const char *line)
{
    static const char *const names[] = {"error", "warn", "notice", "info", "debug"};
    (void)baton;
    fprintf(stderr, "[pixshift:%s] %s\n", names[level], line);
}

static px_log_sink *current_sink = stderr_sink;
static void *current_baton;
static px_log_level current_level = PX_LOG_INFO;

/* Escapes what could forge a line or drive a terminal: C0, DEL and the backslash itself.  C1
 * controls (0x80-0x9f) only occur inside UTF-8 sequences, which pass. */
static void escape(char *out, size_t size, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    size_t used = 0;
    for (; *text && used + 5 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= 0x20 && c != 0x7f && c != '\\') {
            out[used++] = (char)c;
            continue;
        }
        out[used++] = '\\';
        if (c == '\\') {
            out[used++] = '\\';
        } else if (c == '\n') {
            out[used++] = 'n';
        } else if (c == '\r') {
            out[used++] = 'r';
        } else if (c == '\t') {
            out[used++] = 't';
        } else {
            out[used++] = 'x';
            out[used++] = hex[c >> 4];
            out[used++] = hex[c & 15];
        }
    }
    out[used] = '\0';
}

void px_log_set_sink(px_log_sink *sink, void *baton)
{
    current_sink = sink ? sink : stderr_sink;
    current_baton = sink ? baton : NULL;
}

void px_log_set_level(px_log_level max)
{
    current_level = max;
}

void px_log(px_log_level level, const char *log_id, const char *fmt, ...)
{
    char message[MESSAGE_MAX];
    char line[LINE_MAX_LEN];
    size_t prefix;
    va_list ap;
    if (level > current_level) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    for (size_t end = strlen(message); end > 0 && message[end - 1] == '\n'; end--) {
        message[end - 1] = '\0';        /* messages of libraries end with a newline */
    }
    prefix = (size_t)snprintf(line, 48, "%.40s: ", log_id);
    escape(line + prefix, sizeof(line) - prefix, message);
    current_sink(current_baton, level, line);
}
