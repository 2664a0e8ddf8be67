/* Which providers may do an operation, in which order. */
#include "plugin_internal.h"

#include <string.h>

/* The capability that an operation of PixShiftProviders needs at least; 0 = unknown operation. */
uint32_t px_operation_caps(const char *operation)
{
    static const struct { const char *name; uint32_t caps; } table[] = {
        { "transformation", PXS_AI_EDIT }, { "tryon", PXS_AI_COMPOSE },
        { "generation", PXS_AI_GENERATE }, { "enhancement", PXS_AI_ENHANCE },
        { "chat", PXS_AI_CHAT },
    };

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].name, operation) == 0) {
            return table[i].caps;
        }
    }
    return 0;
}

static bool able(const px_instance *instance, uint32_t caps)
{
    return instance && instance->info->kind == PXS_KIND_AI
           && (instance->info->caps & caps) == caps;
}

/* Without a configured chain every ai section is one, in the order of the configuration. */
static int candidates(const px_registry *registry, const char *operation, uint32_t caps,
                      px_instance **out)
{
    const px_chain *chain = px_settings_chain(registry->settings, operation);
    int limit = chain ? chain->count : registry->count;
    int count = 0;

    for (int i = 0; i < limit; i++) {
        px_instance *instance = chain ? px_registry_find(registry, chain->names[i])
                                      : registry->instances[i];
        if (able(instance, caps)) {
            out[count++] = instance;
        }
    }
    return count;
}

px_err *px_registry_select(const px_registry *registry, px_net *net, apr_pool_t *pool,
                           const char *operation, uint32_t caps, px_instance ***list, int *count)
{
    const px_chain *chain = px_settings_chain(registry->settings, operation);
    int limit = chain && chain->count > registry->count ? chain->count : registry->count;
    px_instance **all = apr_pcalloc(pool, sizeof *all * (size_t)(limit + 1));
    px_instance **sorted = apr_pcalloc(pool, sizeof *sorted * (size_t)(limit + 1));
    int found = candidates(registry, operation, caps | px_operation_caps(operation), all);
    int at = 0;

    for (int open = 0; open < 2; open++) {
        for (int i = 0; i < found; i++) {
            bool closed = !net || px_net_breaker_closed(net, px_instance_name(all[i]));
            if (closed == (open == 0)) {
                sorted[at++] = all[i];
            }
        }
    }
    *list = sorted;
    *count = found;
    return NULL;
}
