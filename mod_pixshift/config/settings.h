/* Settings: every scalar directive of PixShift in one table (settings.def), plus plugin
 * sections, provider chains, costs, rate limits and retention.  Filled by a host (httpd's
 * directives, or the JSON that one host hands to another), checked by px_settings_finish,
 * read-only afterwards; any thread may read.  Secrets are references ("file:/…", "env:NAME",
 * "exec:/…", "cred:name") until px_settings_resolve_secrets, which runs once, before privileges
 * are dropped. */
#ifndef PX_CONFIG_SETTINGS_H
#define PX_CONFIG_SETTINGS_H

#include "base/error.h"
#include "base/buf.h"
#include <stdint.h>

typedef enum { PX_SET_STRING, PX_SET_INTEGER, PX_SET_BOOLEAN, PX_SET_DURATION, PX_SET_SIZE,
               PX_SET_ENUM, PX_SET_PATH, PX_SET_URL, PX_SET_SECRET } px_setting_type;

/* durations are milliseconds, sizes bytes, booleans 0/1, enums the index of the choice */
/* A secret's `text` stays the reference; px_set_str gives its value once that is resolved. */
typedef struct { const char *text; int64_t number; bool given;
                 const char *conf_file; int conf_line;
                 const char *secret; } px_setting;

typedef enum {
#define PX_SETTING(id, directive, type, fallback, min, max, choices, doc) PX_S_##id,
#include "settings.def"
#undef PX_SETTING
    PX_S_COUNT
} px_setting_id;

typedef struct {
    px_setting_id id;
    const char *directive;      /* "PixShiftDatabase" */
    px_setting_type type;
    const char *fallback;       /* as written; NULL = none */
    int64_t min, max;           /* both 0 = no range */
    const char *choices;        /* "development|production" */
    const char *doc;
} px_setting_row;
const px_setting_row *px_setting_rows(void);    /* PX_S_COUNT rows */

typedef struct px_plugin_option { const char *name, *value; const char *file; int line;
                                  struct px_plugin_option *next;
                                  /* what was written, once `value` is a resolved secret */
                                  const char *reference; } px_plugin_option;
typedef struct px_plugin_section {
    const char *name;                   /* instance name: chain entries refer to it */
    const char *file;                   /* "ai_gemini.so" below PixShiftPluginDir, or absolute */
    px_plugin_option *options;
    const char *conf_file; int conf_line;
    struct px_plugin_section *next;
} px_plugin_section;

/* PixShiftProviders OPERATION name name …   (transformation, tryon, generation, enhancement,
 * chat) */
typedef struct px_chain { const char *operation; const char **names; int count;
                          const char *conf_file; int conf_line; struct px_chain *next; } px_chain;
/* PixShiftCost OPERATION[:VARIANT] CREDITS */
typedef struct px_cost { const char *operation; int64_t credits; struct px_cost *next; } px_cost;
/* PixShiftRetention OPERATION none|ephemeral|persistent */
typedef struct px_retention { const char *operation, *mode;
                              struct px_retention *next; } px_retention;
/* PixShiftRateLimit NAME ip|key|user requests|jobs LIMIT WINDOW */
typedef struct px_rate_rule { const char *name, *subject, *unit; int64_t limit, window_ms;
                              struct px_rate_rule *next; } px_rate_rule;
/* PixShiftTier ID NAME per_image|monthly PRICE CURRENCY [LIMIT] (pricing tiers of 001 §11.1) */
typedef struct px_tier { const char *id, *name, *description, *kind, *currency; int64_t price_minor,
                         monthly_limit; struct px_tier *next; } px_tier;

typedef struct px_settings {
    px_setting value[PX_S_COUNT];
    px_plugin_section *plugins;
    px_chain *chains;
    px_cost *costs;
    px_retention *retentions;
    px_rate_rule *rates;
    px_tier *tiers;
    apr_pool_t *pool;
    bool complete;                      /* defaults are filled in */
} px_settings;

px_settings *px_settings_make(apr_pool_t *pool);
/* Sets one scalar from text. NULL, or a sentence that says what is wrong (for configtest). Applies
 * ${NAME} substitution from the environment. */
const char *px_settings_set(px_settings *s, px_setting_id id, const char *text);
/* Remembers where a directive stood, for the faults that px_settings_finish finds. */
void px_settings_place(px_settings *s, px_setting_id id, const char *conf_file, int conf_line);
/* The list directives; same return convention. `words` are the directive's arguments. */
const char *px_settings_add(px_settings *s, const char *directive, int count,
                            const char *const *words, const char *conf_file, int conf_line);
/* Names of the list directives, NULL-terminated. */
const char *const *px_settings_lists(void);
px_plugin_section *px_settings_add_plugin(px_settings *s, const char *name, const char *file,
                                          const char *conf_file, int conf_line);
/* Appends an option to a section; NULL or a sentence. ${NAME} is substituted here too. */
const char *px_settings_add_option(px_settings *s, px_plugin_section *section, const char *name,
                                   const char *value, const char *conf_file, int conf_line);
/* Fills defaults and checks everything that needs no I/O beyond reading files. Each fault is a line
 * of *faults ("file:line: sentence"); true when there are none. */
bool px_settings_finish(px_settings *s, px_buf *faults);

/* NULL when not set, and for a secret that is not resolved yet. */
const char *px_set_str(const px_settings *s, px_setting_id id);
int64_t px_set_int(const px_settings *s, px_setting_id id);
bool px_set_on(const px_settings *s, px_setting_id id);
bool px_settings_production(const px_settings *s);
const px_chain *px_settings_chain(const px_settings *s, const char *operation);
/* "tryon:full" falls back to "tryon"; -1 when nothing is configured. */
int64_t px_settings_cost(const px_settings *s, const char *operation);
const char *px_settings_retention(const px_settings *s, const char *operation);

/* Hand-over between hosts and `config export`: JSON. With `secrets` the resolved values are inside
 * (inherited memory file only); without, references stay and values never appear. */
const char *px_settings_to_json(apr_pool_t *pool, const px_settings *s, bool secrets);
px_err *px_settings_from_json(apr_pool_t *pool, const char *json, size_t len, px_settings **out);

/* ---- secret references ---- */
/* NULL when `ref` is well-formed (inline values are allowed only outside production mode and only
 * as "inline:VALUE"). */
const char *px_secret_check(apr_pool_t *pool, const char *ref, bool production);
px_err *px_secret_resolve(apr_pool_t *pool, const char *ref, const char **value);
/* Resolves the scalar secrets. Doing it again changes nothing. */
px_err *px_settings_resolve_secrets(px_settings *s);
/* Resolves a plugin option that its plugin declares as secret (config/ does not know which are):
 * `value` becomes a wrapped value that px_secret_check and px_secret_resolve understand, so that
 * a process without the right to read the source can still open the plugin; `reference` keeps
 * what was written. Nobody can write a wrapped value in a configuration file. */
px_err *px_settings_resolve_option(px_settings *s, px_plugin_option *option);

#endif
