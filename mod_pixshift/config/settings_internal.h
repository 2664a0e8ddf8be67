/* What the files of config/ share and nobody else needs. */
#ifndef PX_CONFIG_SETTINGS_INTERNAL_H
#define PX_CONFIG_SETTINGS_INTERNAL_H

#include "settings.h"

/* First byte of a resolved plugin secret.  Substituted text may not hold control characters, so no
 * configuration file can spell it. */
#define PX_SECRET_WRAPPED '\001'

/* Replaces ${NAME} from the environment; NULL or a sentence. Refuses control characters. */
const char *px_settings_substitute(apr_pool_t *pool, const char *text, const char **out);
/* px_settings_set without substitution and without the check for repetition (defaults, JSON). */
const char *px_settings_set_text(px_settings *s, px_setting_id id, const char *text);
/* Fills the scalar defaults and those of the lists. */
void px_settings_defaults(px_settings *s);
void px_lists_defaults(px_settings *s);

/* Appenders shared by directives, shipped defaults and JSON. */
px_chain *px_lists_add_chain(px_settings *s, const char *operation, const char *const *names,
                             int count);
px_cost *px_lists_add_cost(px_settings *s, const char *operation, int64_t credits);
px_retention *px_lists_add_retention(px_settings *s, const char *operation, const char *mode);
px_rate_rule *px_lists_add_rate(px_settings *s, const char *name, const char *subject,
                                const char *unit, int64_t limit, int64_t window_ms);
px_tier *px_lists_add_tier(px_settings *s, const px_tier *tier);

#endif
