/* A px_plugin_info as bytes: fixed numbers, then strings as a length (UINT32_MAX = NULL) and bytes.
 * Both ends are the same program, so native byte order serves. */
#include "plugin_internal.h"

#include <apr_strings.h>
#include <string.h>

#define NO_STRING UINT32_MAX

typedef struct {
    apr_pool_t *pool;
    const char *at, *end;
    bool broken;
} reader;

static void put_number(px_buf *out, uint32_t number)
{
    px_buf_add(out, &number, sizeof number);
}

static void put_string(px_buf *out, const char *text)
{
    put_number(out, text ? (uint32_t)strlen(text) : NO_STRING);
    if (text) {
        px_buf_add(out, text, strlen(text));
    }
}

static void get_bytes(reader *in, void *out, size_t len)
{
    if (in->broken || (size_t)(in->end - in->at) < len) {
        in->broken = true;
        memset(out, 0, len);
        return;
    }
    memcpy(out, in->at, len);
    in->at += len;
}

static uint32_t get_number(reader *in)
{
    uint32_t number;

    get_bytes(in, &number, sizeof number);
    return number;
}

static const char *get_string(reader *in)
{
    uint32_t len = get_number(in);
    const char *text;

    if (in->broken || len == NO_STRING) {
        return NULL;
    }
    if ((size_t)(in->end - in->at) < len) {
        in->broken = true;
        return NULL;
    }
    text = apr_pstrmemdup(in->pool, in->at, len);
    in->at += len;
    return text;
}

static void put_option(px_buf *out, const pxs_option *o)
{
    uint32_t choices = 0;

    put_string(out, o->name);
    put_number(out, o->type);
    put_number(out, o->required);
    put_string(out, o->default_value);
    px_buf_add(out, &o->min, sizeof o->min);
    px_buf_add(out, &o->max, sizeof o->max);
    put_string(out, o->summary);
    while (o->choices && o->choices[choices]) {
        choices++;
    }
    put_number(out, choices);
    for (uint32_t i = 0; i < choices; i++) {
        put_string(out, o->choices[i]);
    }
}

static void get_option(reader *in, pxs_option *o)
{
    const char **choices;
    uint32_t count;

    o->name = get_string(in);
    o->type = get_number(in);
    o->required = get_number(in);
    o->default_value = get_string(in);
    get_bytes(in, &o->min, sizeof o->min);
    get_bytes(in, &o->max, sizeof o->max);
    o->summary = get_string(in);
    count = get_number(in);
    if (in->broken || count > (size_t)(in->end - in->at)) {
        in->broken = true;
        return;
    }
    choices = apr_pcalloc(in->pool, sizeof *choices * (count + 1));
    for (uint32_t i = 0; i < count; i++) {
        choices[i] = get_string(in);
    }
    o->choices = count ? choices : NULL;
}

void px_info_write(px_buf *out, const px_plugin_info *info)
{
    put_number(out, info->kind);
    put_string(out, info->name);
    put_string(out, info->version);
    put_string(out, info->summary);
    put_number(out, info->caps);
    put_number(out, (uint32_t)info->option_count);
    for (int i = 0; i < info->option_count; i++) {
        put_option(out, &info->options[i]);
    }
}

px_plugin_info *px_info_read(apr_pool_t *pool, const char *data, size_t len)
{
    reader in = { pool, data, data + len, false };
    px_plugin_info *info = apr_pcalloc(pool, sizeof *info);
    pxs_option *options;
    uint32_t count;

    info->kind = (pxs_kind)get_number(&in);
    info->name = get_string(&in);
    info->version = get_string(&in);
    info->summary = get_string(&in);
    info->caps = get_number(&in);
    count = get_number(&in);
    if (in.broken || count > PX_PLUGIN_OPTIONS_MAX) {
        return NULL;
    }
    options = apr_pcalloc(pool, sizeof *options * (count + 1));
    for (uint32_t i = 0; i < count; i++) {
        get_option(&in, &options[i]);
    }
    info->option_count = (int)count;
    info->options = options;
    return in.broken ? NULL : info;
}
