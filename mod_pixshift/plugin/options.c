/* A section's options against the plugin's table: types, ranges, choices, secrets, defaults. */
#include "plugin_internal.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

/* ---- one value ---- */

static const char *range_fault(apr_pool_t *pool, const pxs_option *o, int64_t number,
                               const char *unit)
{
    if ((o->min == 0 && o->max == 0) || (number >= o->min && number <= o->max)) {
        return NULL;
    }
    return apr_psprintf(pool, "must be between %" APR_INT64_T_FMT " and %" APR_INT64_T_FMT "%s",
                        (apr_int64_t)o->min, (apr_int64_t)o->max, unit);
}

static const char *parse_number(apr_pool_t *pool, const pxs_option *o, const char *text,
                                int64_t *number)
{
    long long value = 0;
    bool fine;

    switch (o->type) {
    case PXS_OPT_INTEGER:
        fine = px_parse_int(text, INT64_MIN, INT64_MAX, &value);
        *number = value;
        return fine ? range_fault(pool, o, value, "") : "must be a whole number";
    case PXS_OPT_DURATION:
        fine = px_parse_duration_ms(text, &value);
        *number = value;
        return fine ? range_fault(pool, o, value, " milliseconds")
                    : "must be a duration such as 500ms, 30s, 15min or 2h";
    default:
        fine = px_parse_size(text, &value);
        *number = value;
        return fine ? range_fault(pool, o, value, " bytes") : "must be a size such as 64K or 10M";
    }
}

static const char *parse_boolean(const char *text, int64_t *number)
{
    *number = strcasecmp(text, "on") == 0;
    return *number || strcasecmp(text, "off") == 0 ? NULL : "must be On or Off";
}

static const char *parse_choice(apr_pool_t *pool, const pxs_option *o, const char *text,
                                int64_t *number)
{
    const char *list = "";

    for (int i = 0; o->choices[i]; i++) {
        if (strcasecmp(o->choices[i], text) == 0) {
            *number = i;
            return NULL;
        }
        list = apr_pstrcat(pool, list, i ? ", " : "", o->choices[i], NULL);
    }
    return apr_pstrcat(pool, "must be one of: ", list, NULL);
}

/* Form only: scheme, something behind it, no white space. The engine parses it for real. */
static const char *parse_url(const char *text)
{
    static const char *const schemes[] = { "https://", "http://", "file:///" };

    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p <= ' ' || *p == 0x7f) {
            return "must be a URL without spaces";
        }
    }
    for (int i = 0; i < 3; i++) {
        size_t len = strlen(schemes[i]);
        if (strncasecmp(text, schemes[i], len) == 0 && text[len] && text[len] != '/') {
            return NULL;
        }
    }
    return "must be an absolute http, https or file URL";
}

const char *px_option_parse(apr_pool_t *pool, const pxs_option *o, const char *text,
                            pxs_value *value)
{
    value->is_set = 1;
    value->text = text;
    value->number = 0;
    switch (o->type) {
    case PXS_OPT_INTEGER:
    case PXS_OPT_DURATION:
    case PXS_OPT_SIZE:
        return parse_number(pool, o, text, &value->number);
    case PXS_OPT_BOOLEAN:
        return parse_boolean(text, &value->number);
    case PXS_OPT_ENUM:
        return parse_choice(pool, o, text, &value->number);
    case PXS_OPT_URL:
        return parse_url(text);
    default:
        return px_utf8_valid(text, strlen(text)) ? NULL : "must be UTF-8";
    }
}

/* ---- "did you mean" ---- */

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;

    return least < c ? least : c;
}

/* Levenshtein distance without regard to case; names are at most 64 long. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[65];
    size_t n = strlen(b);

    if (n > 64 || strlen(a) > 64) {
        return 99;
    }
    for (unsigned j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned cost = strncasecmp(&a[i - 1], &b[j - 1], 1) != 0;
            unsigned next = min3(row[j] + 1, row[j - 1] + 1, diagonal + cost);
            diagonal = row[j];
            row[j] = next;
        }
    }
    return row[n];
}

static const char *suggestion(apr_pool_t *pool, const px_plugin_info *info, const char *name)
{
    const char *best = NULL;
    unsigned least = 4;

    for (int i = 0; i < info->option_count; i++) {
        unsigned d = distance(name, info->options[i].name);
        if (d < least) {
            least = d;
            best = info->options[i].name;
        }
    }
    return best ? apr_psprintf(pool, " Did you mean %s?", best) : "";
}

/* ---- a section ---- */

static int find_option(const px_plugin_info *info, const char *name)
{
    for (int i = 0; i < info->option_count; i++) {
        if (strcasecmp(info->options[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

typedef struct {
    apr_pool_t *pool;
    const px_plugin_info *info;
    const px_plugin_section *section;
    bool production, resolve;
    px_buf *faults;
    bool fine;
} checking;

static void fault_at(checking *c, const char *file, int line, const char *sentence)
{
    c->fine = false;
    if (c->faults) {
        px_buf_printf(c->faults, "%s:%d: %s\n", file ? file : "configuration", line, sentence);
    }
}

static void take_secret(checking *c, const px_plugin_option *given, pxs_value *value)
{
    const char *fault = px_secret_check(c->pool, given->value, c->production);
    px_err *err;

    value->is_set = 1;
    value->text = "";
    if (!fault && c->resolve) {
        err = px_secret_resolve(c->pool, given->value, &value->text);
        fault = err ? (err->cause ? err->cause : err->text) : NULL;
    }
    if (fault) {
        fault_at(c, given->file, given->line,
                 apr_psprintf(c->pool, "%s of plugin %s: %s", given->name, c->section->name,
                              fault));
    }
}

static void take_option(checking *c, const px_plugin_option *given, pxs_value *values)
{
    int i = find_option(c->info, given->name);
    const char *fault;

    if (i < 0) {
        fault_at(c, given->file, given->line,
                 apr_psprintf(c->pool, "plugin %s (%s) has no option %s.%s", c->section->name,
                              c->info->name, given->name,
                              suggestion(c->pool, c->info, given->name)));
        return;
    }
    if (values[i].is_set) {
        fault_at(c, given->file, given->line,
                 apr_psprintf(c->pool, "%s of plugin %s is given twice", given->name,
                              c->section->name));
        return;
    }
    if (c->info->options[i].type == PXS_OPT_SECRET) {
        take_secret(c, given, &values[i]);
        return;
    }
    fault = px_option_parse(c->pool, &c->info->options[i], given->value, &values[i]);
    if (fault) {
        fault_at(c, given->file, given->line,
                 apr_psprintf(c->pool, "%s of plugin %s %s, not \"%s\"", given->name,
                              c->section->name, fault, given->value));
    }
}

static void fill_default(checking *c, const pxs_option *o, pxs_value *value)
{
    if (value->is_set) {
        return;
    }
    if (o->default_value) {
        px_option_parse(c->pool, o, o->default_value, value);
    } else if (o->required) {
        fault_at(c, c->section->conf_file, c->section->conf_line,
                 apr_psprintf(c->pool, "plugin %s (%s) needs the option %s", c->section->name,
                              c->info->name, o->name));
    }
}

bool px_plugin_options(apr_pool_t *pool, const px_plugin_info *info,
                       const px_plugin_section *section,
                       bool production, bool resolve, pxs_value **values, px_buf *faults)
{
    checking c = { pool, info, section, production, resolve, faults, true };
    pxs_value *filled = apr_pcalloc(pool, sizeof *filled * (size_t)(info->option_count + 1));

    for (const px_plugin_option *o = section->options; o; o = o->next) {
        take_option(&c, o, filled);
    }
    for (int i = 0; i < info->option_count; i++) {
        fill_default(&c, &info->options[i], &filled[i]);
    }
    if (values) {
        *values = filled;
    }
    return c.fine;
}
