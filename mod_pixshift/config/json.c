/* Settings as JSON: the hand-over from httpd to the worker and `config export`.  Keys are
 * spelled as here; the reader takes only what the writer makes, so unknown members are faults. */
#include "settings_internal.h"
#include "base/json.h"

#include <apr_strings.h>
#include <json-c/linkhash.h>
#include <string.h>

#define FORMAT_VERSION 1

/* ---- writing --------------------------------------------------------------------------------- */

/* An inline "reference" is the secret itself. */
static const char *shown(const char *reference)
{
    return strncmp(reference, "inline:", 7) == 0 ? "inline:hidden" : reference;
}

static void write_values(px_jw *w, const px_settings *s, bool secrets)
{
    const px_setting_row *rows = px_setting_rows();
    px_jw_object(w, "settings");
    for (int i = 0; i < PX_S_COUNT; i++) {
        if (s->value[i].text) {
            px_jw_str(w, rows[i].directive, secrets ? s->value[i].text : shown(s->value[i].text));
        }
    }
    px_jw_end_object(w);
    if (!secrets) {
        return;
    }
    px_jw_object(w, "secrets");
    for (int i = 0; i < PX_S_COUNT; i++) {
        if (s->value[i].secret) {
            px_jw_str(w, rows[i].directive, s->value[i].secret);
        }
    }
    px_jw_end_object(w);
}

static void write_option(px_jw *w, const px_plugin_option *option, bool secrets)
{
    const char *value = option->reference ? option->reference : option->value;
    px_jw_object(w, NULL);
    px_jw_str(w, "name", option->name);
    px_jw_str(w, "value", secrets ? value : shown(value));
    if (option->reference && secrets) {
        px_jw_str(w, "secret", option->value + 1);      /* behind PX_SECRET_WRAPPED */
    }
    if (option->file) {
        px_jw_str(w, "file", option->file);
        px_jw_int(w, "line", option->line);
    }
    px_jw_end_object(w);
}

static void write_plugins(px_jw *w, const px_settings *s, bool secrets)
{
    px_jw_array(w, "plugins");
    for (const px_plugin_section *section = s->plugins; section; section = section->next) {
        px_jw_object(w, NULL);
        px_jw_str(w, "name", section->name);
        px_jw_str(w, "plugin", section->file);
        if (section->conf_file) {
            px_jw_str(w, "file", section->conf_file);
            px_jw_int(w, "line", section->conf_line);
        }
        px_jw_array(w, "options");
        for (const px_plugin_option *option = section->options; option; option = option->next) {
            write_option(w, option, secrets);
        }
        px_jw_end_array(w);
        px_jw_end_object(w);
    }
    px_jw_end_array(w);
}

static void write_chains(px_jw *w, const px_settings *s)
{
    px_jw_array(w, "providers");
    for (const px_chain *chain = s->chains; chain; chain = chain->next) {
        px_jw_object(w, NULL);
        px_jw_str(w, "operation", chain->operation);
        px_jw_array(w, "names");
        for (int i = 0; i < chain->count; i++) {
            px_jw_str(w, NULL, chain->names[i]);
        }
        px_jw_end_array(w);
        if (chain->conf_file) {
            px_jw_str(w, "file", chain->conf_file);
            px_jw_int(w, "line", chain->conf_line);
        }
        px_jw_end_object(w);
    }
    px_jw_end_array(w);
}

static void write_rates(px_jw *w, const px_settings *s)
{
    px_jw_array(w, "rate_limits");
    for (const px_rate_rule *rule = s->rates; rule; rule = rule->next) {
        px_jw_object(w, NULL);
        px_jw_str(w, "name", rule->name);
        px_jw_str(w, "subject", rule->subject);
        px_jw_str(w, "unit", rule->unit);
        px_jw_int(w, "limit", rule->limit);
        px_jw_int(w, "window_ms", rule->window_ms);
        px_jw_end_object(w);
    }
    px_jw_end_array(w);
}

static void write_tiers(px_jw *w, const px_settings *s)
{
    px_jw_array(w, "tiers");
    for (const px_tier *tier = s->tiers; tier; tier = tier->next) {
        px_jw_object(w, NULL);
        px_jw_str(w, "id", tier->id);
        px_jw_str(w, "name", tier->name);
        px_jw_str(w, "description", tier->description);
        px_jw_str(w, "kind", tier->kind);
        px_jw_str(w, "currency", tier->currency);
        px_jw_int(w, "price_minor", tier->price_minor);
        px_jw_int(w, "monthly_limit", tier->monthly_limit);
        px_jw_end_object(w);
    }
    px_jw_end_array(w);
}

const char *px_settings_to_json(apr_pool_t *pool, const px_settings *s, bool secrets)
{
    px_jw *w = px_jw_make(pool, PX_SPELL_SNAKE);
    px_jw_object(w, NULL);
    px_jw_int(w, "version", FORMAT_VERSION);
    px_jw_bool(w, "complete", s->complete);
    write_values(w, s, secrets);
    write_plugins(w, s, secrets);
    write_chains(w, s);
    px_jw_object(w, "costs");
    for (const px_cost *cost = s->costs; cost; cost = cost->next) {
        px_jw_int(w, cost->operation, cost->credits);
    }
    px_jw_end_object(w);
    px_jw_object(w, "retention");
    for (const px_retention *row = s->retentions; row; row = row->next) {
        px_jw_str(w, row->operation, row->mode);
    }
    px_jw_end_object(w);
    write_rates(w, s);
    write_tiers(w, s);
    px_jw_end_object(w);
    return w->buf->data;
}

/* ---- reading --------------------------------------------------------------------------------- */

static px_err *malformed(apr_pool_t *pool, const char *what)
{
    return px_error(pool, PX_E_INTERNAL, "PXS5001", "settings in JSON: %s", what);
}

static int row_of(const char *directive)
{
    const px_setting_row *rows = px_setting_rows();
    for (int i = 0; i < PX_S_COUNT; i++) {
        if (strcmp(rows[i].directive, directive) == 0) {
            return i;
        }
    }
    return -1;
}

static px_err *read_values(px_settings *s, json_object *values)
{
    json_object_object_foreach(values, key, value) {
        int id = row_of(key);
        const char *text = json_object_is_type(value, json_type_string)
                               ? json_object_get_string(value) : NULL;
        const char *fault;
        if (id < 0 || !text) {
            return malformed(s->pool, apr_pstrcat(s->pool, "unknown setting ", key, NULL));
        }
        if ((fault = px_settings_set_text(s, (px_setting_id)id, text)) != NULL) {
            return malformed(s->pool, fault);
        }
        s->value[id].given = !px_setting_rows()[id].fallback
                             || strcmp(px_setting_rows()[id].fallback, text) != 0;
    }
    return NULL;
}

static px_err *read_secrets(px_settings *s, json_object *secrets)
{
    json_object_object_foreach(secrets, key, value) {
        int id = row_of(key);
        if (id < 0 || !json_object_is_type(value, json_type_string)) {
            return malformed(s->pool, apr_pstrcat(s->pool, "unknown secret ", key, NULL));
        }
        s->value[id].secret = apr_pstrdup(s->pool, json_object_get_string(value));
    }
    return NULL;
}

static px_err *read_option(px_settings *s, px_plugin_section *section, json_object *item)
{
    px_plugin_option **tail = &section->options;
    px_plugin_option *option = apr_pcalloc(s->pool, sizeof(*option));
    const char *secret = px_json_str(item, "secret");
    const char *value = px_json_str(item, "value");
    if (!px_json_str(item, "name") || !value) {
        return malformed(s->pool, "a plugin option without name or value");
    }
    option->name = apr_pstrdup(s->pool, px_json_str(item, "name"));
    option->value = apr_pstrdup(s->pool, value);
    if (secret) {
        option->reference = option->value;
        option->value = apr_psprintf(s->pool, "%c%s", PX_SECRET_WRAPPED, secret);
    }
    option->file = apr_pstrdup(s->pool, px_json_str(item, "file"));
    option->line = (int)px_json_int(item, "line", 0);
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = option;
    return NULL;
}

static px_err *read_plugin(px_settings *s, json_object *item)
{
    const char *name = px_json_str(item, "name");
    const char *plugin = px_json_str(item, "plugin");
    json_object *options = px_json_get(item, "options");
    px_plugin_section *section;
    if (!name || !plugin || !json_object_is_type(options, json_type_array)) {
        return malformed(s->pool, "a plugin section without name, plugin or options");
    }
    section = px_settings_add_plugin(s, name, plugin, px_json_str(item, "file"),
                                     (int)px_json_int(item, "line", 0));
    for (size_t i = 0; i < json_object_array_length(options); i++) {
        px_err *err = read_option(s, section, json_object_array_get_idx(options, i));
        if (err) {
            return err;
        }
    }
    return NULL;
}

static px_err *read_chain(px_settings *s, json_object *item)
{
    const char *operation = px_json_str(item, "operation");
    json_object *names = px_json_get(item, "names");
    int count = json_object_is_type(names, json_type_array)
                    ? (int)json_object_array_length(names) : 0;
    const char **words = apr_pcalloc(s->pool, sizeof(char *) * (apr_size_t)(count + 1));
    px_chain *chain;
    for (int i = 0; i < count; i++) {
        words[i] = json_object_get_string(json_object_array_get_idx(names, (size_t)i));
        if (!words[i]) {
            return malformed(s->pool, "a provider without name");
        }
    }
    if (!operation || count == 0) {
        return malformed(s->pool, "a provider chain without operation or names");
    }
    chain = px_lists_add_chain(s, operation, words, count);
    chain->conf_file = apr_pstrdup(s->pool, px_json_str(item, "file"));
    chain->conf_line = (int)px_json_int(item, "line", 0);
    return NULL;
}

static px_err *read_rate(px_settings *s, json_object *item)
{
    const char *name = px_json_str(item, "name");
    const char *subject = px_json_str(item, "subject");
    const char *unit = px_json_str(item, "unit");
    int64_t limit = px_json_int(item, "limit", 0);
    int64_t window_ms = px_json_int(item, "window_ms", 0);
    if (!name || !subject || !unit || limit < 1 || window_ms < 1) {
        return malformed(s->pool, "an incomplete rate limit");
    }
    px_lists_add_rate(s, name, subject, unit, limit, window_ms);
    return NULL;
}

static px_err *read_tier(px_settings *s, json_object *item)
{
    px_tier tier = {0};
    tier.id = px_json_str(item, "id");
    tier.name = px_json_str(item, "name");
    tier.description = px_json_str(item, "description");
    tier.kind = px_json_str(item, "kind");
    tier.currency = px_json_str(item, "currency");
    tier.price_minor = px_json_int(item, "price_minor", 0);
    tier.monthly_limit = px_json_int(item, "monthly_limit", 0);
    if (!tier.id || !tier.name || !tier.kind || !tier.currency || tier.price_minor < 1) {
        return malformed(s->pool, "an incomplete tier");
    }
    px_lists_add_tier(s, &tier);
    return NULL;
}

static px_err *read_array(px_settings *s, json_object *top, const char *key,
                          px_err *(*read)(px_settings *s, json_object *item))
{
    json_object *list = px_json_get(top, key);
    if (!json_object_is_type(list, json_type_array)) {
        return malformed(s->pool, apr_pstrcat(s->pool, "no list of ", key, NULL));
    }
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        px_err *err = read(s, json_object_array_get_idx(list, i));
        if (err) {
            return err;
        }
    }
    return NULL;
}

static px_err *read_maps(px_settings *s, json_object *top)
{
    json_object *costs = px_json_get(top, "costs");
    json_object *retention = px_json_get(top, "retention");
    if (!json_object_is_type(costs, json_type_object)
        || !json_object_is_type(retention, json_type_object)) {
        return malformed(s->pool, "no costs or no retention");
    }
    json_object_object_foreach(costs, operation, credits) {
        px_lists_add_cost(s, operation, json_object_get_int64(credits));
    }
    json_object_object_foreach(retention, name, mode) {
        if (!json_object_is_type(mode, json_type_string)) {
            return malformed(s->pool, "a retention that is not text");
        }
        px_lists_add_retention(s, name, json_object_get_string(mode));
    }
    return NULL;
}

static px_err *read_all(px_settings *s, json_object *top)
{
    json_object *values = px_json_get(top, "settings");
    json_object *secrets = px_json_get(top, "secrets");
    px_err *err;
    if (px_json_int(top, "version", 0) != FORMAT_VERSION
        || !json_object_is_type(values, json_type_object)) {
        return malformed(s->pool, "other version, or no settings");
    }
    if ((err = read_values(s, values)) != NULL
        || (secrets && (err = read_secrets(s, secrets)) != NULL)
        || (err = read_array(s, top, "plugins", read_plugin)) != NULL
        || (err = read_array(s, top, "providers", read_chain)) != NULL
        || (err = read_array(s, top, "rate_limits", read_rate)) != NULL
        || (err = read_array(s, top, "tiers", read_tier)) != NULL) {
        return err;
    }
    return read_maps(s, top);
}

px_err *px_settings_from_json(apr_pool_t *pool, const char *json, size_t len, px_settings **out)
{
    px_json_limits limits = {.max_depth = 16, .max_values = 200000};
    px_settings *s = px_settings_make(pool);
    json_object *top = NULL;
    px_err *err = px_json_parse(pool, json, len, &limits, &top);
    if (!err && !json_object_is_type(top, json_type_object)) {
        err = malformed(pool, "not an object");
    }
    if (!err) {
        err = read_all(s, top);
    }
    if (err) {
        return err;
    }
    s->complete = px_json_bool(top, "complete", false);
    px_settings_defaults(s);
    *out = s;
    return NULL;
}
