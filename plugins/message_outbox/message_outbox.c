/* message_outbox: mails and SMS become files below one folder, for development and tests.  The
 * name is the message's id, so a message that is sent again overwrites itself. */
#include <pixshift/plugin.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OPT_FOLDER, OPT_FROM, OPT_COUNT };

static const pxs_option options[OPT_COUNT] = {
    { "Folder", PXS_OPT_STRING, 1, NULL, 0, 0, NULL,
      "Absolute path of the folder that receives one file per message." },
    { "From", PXS_OPT_STRING, 0, "PixShift <pixshift@localhost>", 0, 0, NULL,
      "Sender of mails that name none." },
};

typedef struct {
    char *folder;           /* percent-encoded, without trailing slash */
    char *from;
} outbox;

/* Text that grows by doubling, from the call's memory. */
typedef struct {
    pxs_call *call;
    char *data;
    size_t len, size;
} text_buf;

static int plain(unsigned char c, const char *also)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
           || strchr(also, c) != NULL;
}

static void encode_path(const char *text, char *out)
{
    static const char hex[] = "0123456789ABCDEF";

    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (plain(*p, "/._-~")) {
            *out++ = (char)*p;
        } else {
            *out++ = '%';
            *out++ = hex[*p >> 4];
            *out++ = hex[*p & 15];
        }
    }
    *out = '\0';
}

static void close_outbox(void *instance)
{
    outbox *o = instance;

    if (o) {
        free(o->folder);
        free(o->from);
        free(o);
    }
}

static int open_outbox(const pxs_value *values, void **instance, char *error, size_t error_size)
{
    const char *folder = values[OPT_FOLDER].text;
    outbox *o;
    size_t len;

    if (!folder || folder[0] != '/' || folder[1] == '\0') {
        snprintf(error, error_size, "Folder must be an absolute path below /");
        return -1;
    }
    o = calloc(1, sizeof *o);
    if (o) {
        o->folder = malloc(strlen(folder) * 3 + 1);
        o->from = strdup(values[OPT_FROM].text);
    }
    if (!o || !o->folder || !o->from) {
        close_outbox(o);
        snprintf(error, error_size, "out of memory");
        return -1;
    }
    encode_path(folder, o->folder);
    for (len = strlen(o->folder); len > 1 && o->folder[len - 1] == '/'; len--) {
        o->folder[len - 1] = '\0';
    }
    *instance = o;
    return 0;
}

static void add_bytes(text_buf *b, const char *data, size_t len)
{
    if (b->len + len + 1 > b->size) {
        size_t size = b->size ? b->size : 1024;
        char *bigger;
        while (size < b->len + len + 1) {
            size *= 2;
        }
        bigger = b->call->alloc(b->call, size);
        if (b->len) {
            memcpy(bigger, b->data, b->len);
        }
        b->data = bigger;
        b->size = size;
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

static void add(text_buf *b, const char *text)
{
    add_bytes(b, text, strlen(text));
}

/* Line ends of mail are CR LF, whatever the text has. */
static void add_lines(text_buf *b, const char *text)
{
    for (; *text; text++) {
        if (*text == '\r') {
            continue;
        }
        if (*text == '\n') {
            add(b, "\r\n");
        } else {
            add_bytes(b, text, 1);
        }
    }
    add(b, "\r\n");
}

static void add_base64(text_buf *b, const char *text, size_t len)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = (const unsigned char *)text;

    for (size_t i = 0; i < len; i += 3) {
        unsigned v = (unsigned)in[i] << 16 | (i + 1 < len ? (unsigned)in[i + 1] << 8 : 0)
                     | (i + 2 < len ? in[i + 2] : 0);
        char four[4] = { set[v >> 18], set[v >> 12 & 63], i + 1 < len ? set[v >> 6 & 63] : '=',
                         i + 2 < len ? set[v & 63] : '=' };
        add_bytes(b, four, 4);
    }
}

/* RFC 2047: encoded words of at most 75 characters, cut between UTF-8 characters. */
static void add_header_text(text_buf *b, const char *text)
{
    size_t left = strlen(text);
    int ascii = 1;

    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        ascii = ascii && *p < 0x80;
    }
    if (ascii) {
        add(b, text);
        return;
    }
    while (left > 0) {
        size_t n = left < 45 ? left : 45;
        while (n < left && n > 1 && ((unsigned char)text[n] & 0xc0) == 0x80) {
            n--;
        }
        add(b, "=?UTF-8?B?");
        add_base64(b, text, n);
        add(b, n < left ? "?=\r\n " : "?=");
        text += n;
        left -= n;
    }
}

static void add_field(text_buf *b, const char *name, const char *value)
{
    add(b, name);
    add(b, ": ");
    add_header_text(b, value);
    add(b, "\r\n");
}

static void add_date(text_buf *b, int64_t usec)
{
    static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
                                      "Oct", "Nov", "Dec" };
    time_t seconds = (time_t)(usec / 1000000);
    struct tm t;
    char line[80];

    if (gmtime_r(&seconds, &t)) {
        snprintf(line, sizeof line, "%s, %02d %s %04d %02d:%02d:%02d +0000", days[t.tm_wday],
                 t.tm_mday, months[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
        add_field(b, "Date", line);
    }
}

static void add_part(text_buf *b, const char *type, const char *text)
{
    add(b, "--=_pixshift_part\r\nContent-Type: ");
    add(b, type);
    add(b, "; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
    add_lines(b, text);
}

static void build_mail(text_buf *b, const outbox *o, const pxs_message_request *r, const char *name)
{
    add_field(b, "From", r->from && r->from[0] ? r->from : o->from);
    add_field(b, "To", r->to);
    add_field(b, "Subject", r->subject ? r->subject : "");
    add_date(b, b->call->now_usec);
    add(b, "Message-ID: <");
    add(b, name);
    add(b, "@pixshift>\r\nMIME-Version: 1.0\r\n");
    if (!r->html) {
        add(b, "Content-Type: text/plain; charset=utf-8\r\n"
               "Content-Transfer-Encoding: 8bit\r\n\r\n");
        add_lines(b, r->text ? r->text : "");
        return;
    }
    add(b, "Content-Type: multipart/alternative; boundary=\"=_pixshift_part\"\r\n\r\n");
    add_part(b, "text/plain", r->text ? r->text : "");
    add_part(b, "text/html", r->html);
    add(b, "--=_pixshift_part--\r\n");
}

static void build_sms(text_buf *b, const pxs_message_request *r)
{
    add(b, "To: ");
    add(b, r->to);
    add(b, "\n\n");
    add(b, r->text ? r->text : "");
    add(b, "\n");
}

static int has_line_break(const char *text)
{
    return text && strpbrk(text, "\r\n") != NULL;
}

static pxs_step fail(pxs_call *call, pxs_fail_class klass, const char *message)
{
    call->fail.klass = klass;
    call->fail.message = message;
    return PXS_FAIL;
}

/* Ids become file names: nothing but letters, digits, '.', '_' and '-'. */
static char *file_name(pxs_call *call, const char *id)
{
    size_t len = strlen(id);
    char *name;

    len = len < 200 ? len : 200;
    name = call->alloc(call, len + 1);
    for (size_t i = 0; i < len; i++) {
        name[i] = plain((unsigned char)id[i], "._-") && !(i == 0 && id[i] == '.') ? id[i] : '_';
    }
    return name;
}

static pxs_step ask(const outbox *o, pxs_call *call, const pxs_message_request *r)
{
    int mail = r->channel == PXS_MESSAGE_EMAIL;
    char *name = file_name(call, r->message_id);
    size_t size = strlen(o->folder) + strlen(name) + 32;
    char *url = call->alloc(call, size);
    pxs_piece *piece = call->alloc(call, sizeof *piece);
    text_buf b = { call, NULL, 0, 0 };

    if (mail) {
        build_mail(&b, o, r, name);
    } else {
        build_sms(&b, r);
    }
    snprintf(url, size, "file://%s/%s.%s", o->folder, name, mail ? "eml" : "txt");
    piece->data = b.data;
    piece->len = b.len;
    call->exchange.method = "PUT";
    call->exchange.url = url;
    call->exchange.pieces = piece;
    call->exchange.piece_count = 1;
    call->exchange.idempotent = 1;
    return PXS_SEND;
}

static pxs_step send_message(void *instance, pxs_call *call, const pxs_message_request *request,
                             pxs_message_result *result)
{
    if (!call->reply) {
        if (!request->message_id || !request->message_id[0] || !request->to) {
            return fail(call, PXS_FAIL_BAD_REQUEST, "a message needs an id and a receiver");
        }
        if (has_line_break(request->to) || has_line_break(request->from)
            || has_line_break(request->subject)) {
            return fail(call, PXS_FAIL_BAD_REQUEST, "a line break in a header field");
        }
        return ask(instance, call, request);
    }
    if (call->reply->status < 200 || call->reply->status > 299) {
        return fail(call, PXS_FAIL_UNAVAILABLE, "the folder cannot be written");
    }
    result->provider_id = file_name(call, request->message_id);
    return PXS_DONE;
}

static const pxs_message_ops ops = {
    .size = sizeof ops,
    .caps = PXS_MESSAGE_SMS | PXS_MESSAGE_EMAIL,
    .open = open_outbox,
    .close = close_outbox,
    .send = send_message,
};

static const pxs_plugin plugin = {
    .magic = PXS_MAGIC,
    .abi_major = PXS_ABI_MAJOR,
    .abi_minor = PXS_ABI_MINOR,
    .size = sizeof plugin,
    .kind = PXS_KIND_MESSAGE,
    .name = "message_outbox",
    .version = "1.0",
    .summary = "Writes mails and SMS to a folder instead of sending them, for development.",
    .option_size = sizeof(pxs_option),
    .option_count = OPT_COUNT,
    .options = options,
    .ops = &ops,
};

const pxs_plugin *pixshift_plugin(void)
{
    return &plugin;
}
