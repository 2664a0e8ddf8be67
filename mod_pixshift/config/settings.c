/* The scalar settings: one table, one setter, typed getters. */
#include "settings_internal.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const px_setting_row rows[PX_S_COUNT] = {
#define PX_SETTING(id, directive, type, fallback, min, max, choices, doc) \
    {PX_S_##id, directive, PX_SET_##type, fallback, min, max, choices, doc},
#include "settings.def"
#undef PX_SETTING
};

const px_setting_row *px_setting_rows(void)
{
    return rows;
}

px_settings *px_settings_make(apr_pool_t *pool)
{
    px_settings *s = apr_pcalloc(pool, sizeof(*s));
    s->pool = pool;
    return s;
}

/* ---- ${NAME} --------------------------------------------------------------------------------- */

static size_t name_length(const char *text)
{
    return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
}

const char *px_settings_substitute(apr_pool_t *pool, const char *text, const char **out)
{
    px_buf *buf = px_buf_make(pool, strlen(text) + 64);
    const char *start;
    while ((start = strstr(text, "${")) != NULL) {
        size_t len = name_length(start + 2);
        const char *name;
        const char *value;
        if (len == 0 || start[2 + len] != '}') {
            return "a '${' without a name and '}' behind it";
        }
        name = apr_pstrmemdup(pool, start + 2, len);
        value = getenv(name);
        if (!value) {
            return apr_psprintf(pool, "the environment variable %s is not set", name);
        }
        px_buf_add(buf, text, (size_t)(start - text));
        px_buf_puts(buf, value);
        text = start + 2 + len + 1;
    }
    px_buf_puts(buf, text);
    *out = buf->data;
    for (const char *p = buf->data; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            return "control characters are not allowed";
        }
    }
    return NULL;
}

/* ---- one function per type: NULL or a sentence ----------------------------------------------- */

static const char *range_fault(apr_pool_t *pool, const px_setting_row *row, int64_t number)
{
    if ((row->min == 0 && row->max == 0) || (number >= row->min && number <= row->max)) {
        return NULL;
    }
    return apr_psprintf(pool, "must be between %" APR_INT64_T_FMT " and %" APR_INT64_T_FMT "%s",
                        (apr_int64_t)row->min, (apr_int64_t)row->max,
                        row->type == PX_SET_DURATION ? " milliseconds"
                        : row->type == PX_SET_SIZE ? " bytes" : "");
}

static const char *set_number(apr_pool_t *pool, const px_setting_row *row, px_setting *set)
{
    long long number = 0;
    switch (row->type) {
    case PX_SET_INTEGER:
        if (!px_parse_int(set->text, INT64_MIN, INT64_MAX, &number)) {
            return "wants a whole number";
        }
        break;
    case PX_SET_DURATION:
        if (!px_parse_duration_ms(set->text, &number)) {
            return "wants a duration such as 500ms, 30s, 15min, 2h or 7d";
        }
        break;
    default:
        if (!px_parse_size(set->text, &number)) {
            return "wants a size in bytes such as 65536, 64K or 10M";
        }
        break;
    }
    set->number = number;
    return range_fault(pool, row, number);
}

static const char *set_boolean(px_setting *set)
{
    if (strcasecmp(set->text, "on") != 0 && strcasecmp(set->text, "off") != 0) {
        return "wants On or Off";
    }
    set->number = strcasecmp(set->text, "on") == 0;
    set->text = set->number ? "On" : "Off";
    return NULL;
}

static const char *set_enum(apr_pool_t *pool, const px_setting_row *row, px_setting *set)
{
    char *state = NULL;
    int64_t index = 0;
    for (char *word = apr_strtok(apr_pstrdup(pool, row->choices), "|", &state); word;
         word = apr_strtok(NULL, "|", &state), index++) {
        if (strcasecmp(word, set->text) == 0) {
            set->text = word;
            set->number = index;
            return NULL;
        }
    }
    return apr_psprintf(pool, "wants one of %s", row->choices);
}

/* http(s)://host[:port][/path]; no user, query or fragment; a slash at the end is dropped, because
 * paths are appended. */
static const char *set_url(apr_pool_t *pool, px_setting *set)
{
    const char *host;
    size_t len = strlen(set->text);
    if (strncasecmp(set->text, "https://", 8) == 0) {
        host = set->text + 8;
    } else if (strncasecmp(set->text, "http://", 7) == 0) {
        host = set->text + 7;
    } else {
        return "wants an address that begins with http:// or https://";
    }
    if (strcspn(host, "/:") == 0 || strpbrk(host, "@?# \"<>\\")) {
        return "wants an address with a host, without user, query or fragment";
    }
    while (len > 0 && set->text[len - 1] == '/') {
        len--;
    }
    set->text = apr_pstrmemdup(pool, set->text, len);
    return NULL;
}

static const char *set_typed(apr_pool_t *pool, const px_setting_row *row, px_setting *set)
{
    switch (row->type) {
    case PX_SET_INTEGER:
    case PX_SET_DURATION:
    case PX_SET_SIZE:
        return set_number(pool, row, set);
    case PX_SET_BOOLEAN:
        return set_boolean(set);
    case PX_SET_ENUM:
        return set_enum(pool, row, set);
    case PX_SET_URL:
        return set_url(pool, set);
    case PX_SET_PATH:
        return set->text[0] == '/' ? NULL : "wants an absolute path";
    case PX_SET_SECRET:
        return px_secret_check(pool, set->text, false);
    case PX_SET_STRING:
        break;
    }
    return NULL;
}

const char *px_settings_set_text(px_settings *s, px_setting_id id, const char *text)
{
    const px_setting_row *row = &rows[id];
    px_setting set = s->value[id];
    const char *fault;
    if (!text[0]) {
        return apr_pstrcat(s->pool, row->directive, " must not be empty", NULL);
    }
    set.text = apr_pstrdup(s->pool, text);
    fault = set_typed(s->pool, row, &set);
    if (fault) {
        return apr_pstrcat(s->pool, row->directive, ": ", fault, NULL);
    }
    s->value[id] = set;
    return NULL;
}

const char *px_settings_set(px_settings *s, px_setting_id id, const char *text)
{
    const char *plain;
    const char *fault;
    if (s->value[id].given) {
        return apr_pstrcat(s->pool, rows[id].directive, " is given twice", NULL);
    }
    fault = px_settings_substitute(s->pool, text, &plain);
    if (fault) {
        return apr_pstrcat(s->pool, rows[id].directive, ": ", fault, NULL);
    }
    fault = px_settings_set_text(s, id, plain);
    if (!fault) {
        s->value[id].given = true;
    }
    return fault;
}

void px_settings_place(px_settings *s, px_setting_id id, const char *conf_file, int conf_line)
{
    s->value[id].conf_file = conf_file ? apr_pstrdup(s->pool, conf_file) : NULL;
    s->value[id].conf_line = conf_line;
}

/* ---- plugin sections ------------------------------------------------------------------------- */

px_plugin_section *px_settings_add_plugin(px_settings *s, const char *name, const char *file,
                                          const char *conf_file, int conf_line)
{
    px_plugin_section *section = apr_pcalloc(s->pool, sizeof(*section));
    px_plugin_section **tail = &s->plugins;
    section->name = apr_pstrdup(s->pool, name);
    section->file = apr_pstrdup(s->pool, file);
    section->conf_file = conf_file ? apr_pstrdup(s->pool, conf_file) : NULL;
    section->conf_line = conf_line;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = section;
    return section;
}

const char *px_settings_add_option(px_settings *s, px_plugin_section *section, const char *name,
                                   const char *value, const char *conf_file, int conf_line)
{
    px_plugin_option *option = apr_pcalloc(s->pool, sizeof(*option));
    px_plugin_option **tail = &section->options;
    const char *fault = px_settings_substitute(s->pool, value, &option->value);
    if (fault) {
        return apr_pstrcat(s->pool, name, ": ", fault, NULL);
    }
    option->name = apr_pstrdup(s->pool, name);
    option->file = conf_file ? apr_pstrdup(s->pool, conf_file) : NULL;
    option->line = conf_line;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = option;
    return NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

const char *px_set_str(const px_settings *s, px_setting_id id)
{
    return rows[id].type == PX_SET_SECRET ? s->value[id].secret : s->value[id].text;
}

int64_t px_set_int(const px_settings *s, px_setting_id id)
{
    return s->value[id].number;
}

bool px_set_on(const px_settings *s, px_setting_id id)
{
    return s->value[id].number != 0;
}

bool px_settings_production(const px_settings *s)
{
    return s->value[PX_S_MODE].text && strcmp(s->value[PX_S_MODE].text, "production") == 0;
}
