/* The list directives: provider chains, costs, retention, rate limits, pricing tiers; their shipped
 * defaults; and the look-ups. */
#include "settings_internal.h"
#include "base/money.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

#define CREDITS_MAX 1000000
#define RATE_OFF (-1)

static const char *const operations[] = {"transformation", "tryon", "generation", "enhancement",
                                         "chat", NULL};

/* ---- appending ------------------------------------------------------------------------------- */

#define APPEND(list, item)            \
    do {                              \
        __typeof__(list) *tail_ = &(list); \
        while (*tail_) {              \
            tail_ = &(*tail_)->next;  \
        }                             \
        *tail_ = (item);              \
    } while (0)

px_chain *px_lists_add_chain(px_settings *s, const char *operation, const char *const *names,
                             int count)
{
    px_chain *chain = apr_pcalloc(s->pool, sizeof(*chain));
    chain->operation = apr_pstrdup(s->pool, operation);
    chain->names = apr_pcalloc(s->pool, sizeof(char *) * (apr_size_t)(count + 1));
    chain->count = count;
    for (int i = 0; i < count; i++) {
        chain->names[i] = apr_pstrdup(s->pool, names[i]);
    }
    APPEND(s->chains, chain);
    return chain;
}

px_cost *px_lists_add_cost(px_settings *s, const char *operation, int64_t credits)
{
    px_cost *cost = apr_pcalloc(s->pool, sizeof(*cost));
    cost->operation = apr_pstrdup(s->pool, operation);
    cost->credits = credits;
    APPEND(s->costs, cost);
    return cost;
}

px_retention *px_lists_add_retention(px_settings *s, const char *operation, const char *mode)
{
    px_retention *retention = apr_pcalloc(s->pool, sizeof(*retention));
    retention->operation = apr_pstrdup(s->pool, operation);
    retention->mode = apr_pstrdup(s->pool, mode);
    APPEND(s->retentions, retention);
    return retention;
}

px_rate_rule *px_lists_add_rate(px_settings *s, const char *name, const char *subject,
                                const char *unit, int64_t limit, int64_t window_ms)
{
    px_rate_rule *rule = apr_pcalloc(s->pool, sizeof(*rule));
    rule->name = apr_pstrdup(s->pool, name);
    rule->subject = apr_pstrdup(s->pool, subject);
    rule->unit = apr_pstrdup(s->pool, unit);
    rule->limit = limit;
    rule->window_ms = window_ms;
    APPEND(s->rates, rule);
    return rule;
}

px_tier *px_lists_add_tier(px_settings *s, const px_tier *from)
{
    px_tier *tier = apr_pcalloc(s->pool, sizeof(*tier));
    tier->id = apr_pstrdup(s->pool, from->id);
    tier->name = apr_pstrdup(s->pool, from->name);
    tier->description = apr_pstrdup(s->pool, from->description ? from->description : "");
    tier->kind = apr_pstrdup(s->pool, from->kind);
    tier->currency = apr_pstrdup(s->pool, from->currency);
    tier->price_minor = from->price_minor;
    tier->monthly_limit = from->monthly_limit;
    APPEND(s->tiers, tier);
    return tier;
}

/* ---- words ----------------------------------------------------------------------------------- */

static bool name_fine(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= 32 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

/* True when `text` up to a ':' is one of the operations. */
static bool operation_known(const char *text, bool variants)
{
    size_t len = strcspn(text, ":");
    if (text[len] && (!variants || !text[len + 1])) {
        return false;
    }
    for (int i = 0; operations[i]; i++) {
        if (strlen(operations[i]) == len && strncmp(operations[i], text, len) == 0) {
            return true;
        }
    }
    return false;
}

static const char *operation_fault(px_settings *s, const char *text)
{
    return apr_psprintf(s->pool, "'%s' is no operation: transformation, tryon, generation, "
                        "enhancement and chat are", text);
}

/* ---- one function per directive: NULL or a sentence ------------------------------------------ */

static const char *add_providers(px_settings *s, int count, const char *const *words,
                                 const char *conf_file, int conf_line)
{
    px_chain *chain;
    if (count < 2) {
        return "wants an operation and at least one plugin section";
    }
    if (!operation_known(words[0], false)) {
        return operation_fault(s, words[0]);
    }
    if (px_settings_chain(s, words[0])) {
        return apr_psprintf(s->pool, "the operation '%s' is given twice", words[0]);
    }
    for (int i = 1; i < count; i++) {
        if (!name_fine(words[i])) {
            return apr_psprintf(s->pool, "'%s' is no name of a plugin section", words[i]);
        }
        for (int j = 1; j < i; j++) {
            if (strcmp(words[i], words[j]) == 0) {
                return apr_psprintf(s->pool, "'%s' is named twice", words[i]);
            }
        }
    }
    chain = px_lists_add_chain(s, words[0], words + 1, count - 1);
    chain->conf_file = conf_file ? apr_pstrdup(s->pool, conf_file) : NULL;
    chain->conf_line = conf_line;
    return NULL;
}

static const char *add_cost(px_settings *s, int count, const char *const *words)
{
    long long credits;
    if (count != 2) {
        return "wants an operation and a number of credits";
    }
    if (!operation_known(words[0], true)) {
        return operation_fault(s, words[0]);
    }
    if (!px_parse_int(words[1], 0, CREDITS_MAX, &credits)) {
        return apr_psprintf(s->pool, "'%s' is not a number of credits from 0 to %d", words[1],
                            CREDITS_MAX);
    }
    for (px_cost *cost = s->costs; cost; cost = cost->next) {
        if (strcmp(cost->operation, words[0]) == 0) {
            return apr_psprintf(s->pool, "the cost of '%s' is given twice", words[0]);
        }
    }
    px_lists_add_cost(s, words[0], credits);
    return NULL;
}

static const char *add_retention(px_settings *s, int count, const char *const *words)
{
    if (count != 2) {
        return "wants an operation and none, ephemeral or persistent";
    }
    if (!operation_known(words[0], false)) {
        return operation_fault(s, words[0]);
    }
    if (strcmp(words[1], "none") != 0 && strcmp(words[1], "ephemeral") != 0
        && strcmp(words[1], "persistent") != 0) {
        return apr_psprintf(s->pool, "'%s' is not none, ephemeral or persistent", words[1]);
    }
    if (px_settings_retention(s, words[0])) {
        return apr_psprintf(s->pool, "the operation '%s' is given twice", words[0]);
    }
    px_lists_add_retention(s, words[0], words[1]);
    return NULL;
}

static const px_rate_rule *find_rate(const px_settings *s, const char *name)
{
    const px_rate_rule *rule = s->rates;
    while (rule && strcmp(rule->name, name) != 0) {
        rule = rule->next;
    }
    return rule;
}

static const char *add_rate(px_settings *s, int count, const char *const *words)
{
    long long limit;
    long long window;
    bool off = count == 2 && strcasecmp(words[1], "off") == 0;
    if (count != 5 && !off) {
        return "wants NAME ip|key|user requests|jobs LIMIT WINDOW, or NAME off";
    }
    if (!name_fine(words[0])) {
        return apr_psprintf(s->pool, "'%s' is no name: use a-z, 0-9, _ and -", words[0]);
    }
    if (find_rate(s, words[0])) {
        return apr_psprintf(s->pool, "the limit '%s' is given twice", words[0]);
    }
    if (off) {
        px_lists_add_rate(s, words[0], "", "", RATE_OFF, 0);
        return NULL;
    }
    if (strcmp(words[1], "ip") != 0 && strcmp(words[1], "key") != 0
        && strcmp(words[1], "user") != 0) {
        return apr_psprintf(s->pool, "'%s' is not ip, key or user", words[1]);
    }
    if (strcmp(words[2], "requests") != 0 && strcmp(words[2], "jobs") != 0) {
        return apr_psprintf(s->pool, "'%s' is not requests or jobs", words[2]);
    }
    if (!px_parse_int(words[3], 1, 1000000000, &limit)) {
        return apr_psprintf(s->pool, "'%s' is not a number from 1 to 1000000000", words[3]);
    }
    if (!px_parse_duration_ms(words[4], &window) || window < 1000) {
        return apr_psprintf(s->pool, "'%s' is not a duration of at least 1s", words[4]);
    }
    px_lists_add_rate(s, words[0], words[1], words[2], limit, window);
    return NULL;
}

static const char *tier_price(px_settings *s, const char *const *words, px_tier *tier)
{
    if (px_currency_digits(tier->currency) < 0) {
        return apr_psprintf(s->pool, "'%s' is not a known ISO 4217 currency", tier->currency);
    }
    if (!px_money_parse(words[3], tier->currency, &tier->price_minor) || tier->price_minor <= 0) {
        return apr_psprintf(s->pool, "'%s' is not a price above zero in %s", words[3],
                            tier->currency);
    }
    return NULL;
}

static const char *add_tier(px_settings *s, int count, const char *const *words)
{
    px_tier tier = {0};
    long long limit = 0;
    const char *fault;
    if (count < 5 || count > 7) {
        return "wants ID NAME per_image|monthly PRICE CURRENCY [LIMIT [DESCRIPTION]]";
    }
    tier.id = words[0];
    tier.name = words[1];
    tier.kind = words[2];
    tier.currency = words[4];
    tier.description = count > 6 ? words[6] : "";
    if (!name_fine(tier.id)) {
        return apr_psprintf(s->pool, "'%s' is no id: use a-z, 0-9, _ and -", tier.id);
    }
    for (px_tier *other = s->tiers; other; other = other->next) {
        if (strcmp(other->id, tier.id) == 0) {
            return apr_psprintf(s->pool, "the tier '%s' is given twice", tier.id);
        }
    }
    if (strcmp(tier.kind, "per_image") != 0 && strcmp(tier.kind, "monthly") != 0) {
        return apr_psprintf(s->pool, "'%s' is not per_image or monthly", tier.kind);
    }
    if ((fault = tier_price(s, words, &tier)) != NULL) {
        return fault;
    }
    if (count > 5 && !px_parse_int(words[5], 0, 1000000000, &limit)) {
        return apr_psprintf(s->pool, "'%s' is not a number of images", words[5]);
    }
    if (strcmp(tier.kind, "monthly") == 0 && limit < 1) {
        return "a monthly tier wants the number of images per month";
    }
    tier.monthly_limit = limit;
    px_lists_add_tier(s, &tier);
    return NULL;
}

const char *const *px_settings_lists(void)
{
    static const char *const names[] = {"PixShiftProviders", "PixShiftCost", "PixShiftRetention",
                                        "PixShiftRateLimit", "PixShiftTier", NULL};
    return names;
}

const char *px_settings_add(px_settings *s, const char *directive, int count,
                            const char *const *words, const char *conf_file, int conf_line)
{
    const char **plain = apr_pcalloc(s->pool, sizeof(char *) * (apr_size_t)(count + 1));
    const char *fault = NULL;
    for (int i = 0; i < count && !fault; i++) {
        fault = px_settings_substitute(s->pool, words[i], &plain[i]);
    }
    if (fault) {
        return apr_pstrcat(s->pool, directive, ": ", fault, NULL);
    }
    if (strcasecmp(directive, "PixShiftProviders") == 0) {
        fault = add_providers(s, count, plain, conf_file, conf_line);
    } else if (strcasecmp(directive, "PixShiftCost") == 0) {
        fault = add_cost(s, count, plain);
    } else if (strcasecmp(directive, "PixShiftRetention") == 0) {
        fault = add_retention(s, count, plain);
    } else if (strcasecmp(directive, "PixShiftRateLimit") == 0) {
        fault = add_rate(s, count, plain);
    } else if (strcasecmp(directive, "PixShiftTier") == 0) {
        fault = add_tier(s, count, plain);
    } else {
        return apr_pstrcat(s->pool, directive, " is not a directive of PixShift", NULL);
    }
    return fault ? apr_pstrcat(s->pool, directive, ": ", fault, NULL) : NULL;
}

/* ---- look-ups -------------------------------------------------------------------------------- */

const px_chain *px_settings_chain(const px_settings *s, const char *operation)
{
    const px_chain *chain = s->chains;
    while (chain && strcmp(chain->operation, operation) != 0) {
        chain = chain->next;
    }
    return chain;
}

/* Cost rows that match the first `len` bytes; -1 = none. */
static int64_t cost_exact(const px_settings *s, const char *operation, size_t len)
{
    for (const px_cost *cost = s->costs; cost; cost = cost->next) {
        if (strlen(cost->operation) == len && strncmp(cost->operation, operation, len) == 0) {
            return cost->credits;
        }
    }
    return -1;
}

int64_t px_settings_cost(const px_settings *s, const char *operation)
{
    size_t len = strlen(operation);
    while (len > 0) {
        int64_t credits = cost_exact(s, operation, len);
        if (credits >= 0) {
            return credits;
        }
        while (len > 0 && operation[--len] != ':') {
            continue;
        }
    }
    return -1;
}

const char *px_settings_retention(const px_settings *s, const char *operation)
{
    for (const px_retention *row = s->retentions; row; row = row->next) {
        if (strcmp(row->operation, operation) == 0) {
            return row->mode;
        }
    }
    return NULL;
}

/* ---- shipped defaults ------------------------------------------------------------------------ */

static const struct { const char *operation; int64_t credits; } default_costs[] = {
    {"transformation", 1}, {"generation", 1}, {"tryon:top", 1}, {"tryon:full", 2},
    {"enhancement:standard:2", 1}, {"enhancement:standard:4", 1}, {"enhancement:standard:8", 2},
    {"enhancement:enhanced:2", 2}, {"enhancement:enhanced:4", 2}, {"enhancement:enhanced:8", 3},
    {"enhancement:portrait", 1}, {"enhancement:product", 1}, {"enhancement:gentle", 1},
};

static const struct { const char *operation, *mode; } default_retention[] = {
    {"transformation", "ephemeral"}, {"tryon", "persistent"}, {"generation", "persistent"},
    {"enhancement", "ephemeral"}, {"chat", "persistent"},
};

static const px_rate_rule default_rates[] = {
    {"ip", "ip", "requests", 100, 60000, NULL},
    {"key", "key", "requests", 1000, 3600000, NULL},
    {"user-jobs", "user", "jobs", 50, 86400000, NULL},
};

static const px_tier default_tiers[] = {
    {"basic", "Basic", "Pay for each image.", "per_image", "USD", 99, 0, NULL},
    {"premium", "Premium", "100 images every month.", "monthly", "USD", 999, 100, NULL},
};

/* A shipped cost stands back behind anything more general that the admin wrote: "PixShiftCost
 * tryon 3" means every try-on. */
static void default_cost_rows(px_settings *s)
{
    px_cost *given = s->costs;
    px_settings only_given = *s;
    size_t count = sizeof(default_costs) / sizeof(default_costs[0]);
    bool wanted[sizeof(default_costs) / sizeof(default_costs[0])];
    only_given.costs = given;
    for (size_t i = 0; i < count; i++) {
        wanted[i] = px_settings_cost(&only_given, default_costs[i].operation) < 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (wanted[i]) {
            px_lists_add_cost(s, default_costs[i].operation, default_costs[i].credits);
        }
    }
}

/* A shipped limit stands back behind an own one of the same name, or for the same subject and
 * unit. */
static bool rate_replaced(const px_rate_rule *own, const px_rate_rule *shipped)
{
    for (; own; own = own->next) {
        if (strcmp(own->name, shipped->name) == 0
            || (strcmp(own->subject, shipped->subject) == 0
                && strcmp(own->unit, shipped->unit) == 0)) {
            return true;
        }
    }
    return false;
}

static void default_rate_rows(px_settings *s)
{
    px_rate_rule **at = &s->rates;
    for (size_t i = 0; i < sizeof(default_rates) / sizeof(default_rates[0]); i++) {
        const px_rate_rule *rule = &default_rates[i];
        if (!rate_replaced(s->rates, rule)) {
            px_lists_add_rate(s, rule->name, rule->subject, rule->unit, rule->limit,
                              rule->window_ms);
        }
    }
    while (*at) {
        if ((*at)->limit == RATE_OFF) {
            *at = (*at)->next;
        } else {
            at = &(*at)->next;
        }
    }
}

void px_lists_defaults(px_settings *s)
{
    default_cost_rows(s);
    for (size_t i = 0; i < sizeof(default_retention) / sizeof(default_retention[0]); i++) {
        if (!px_settings_retention(s, default_retention[i].operation)) {
            px_lists_add_retention(s, default_retention[i].operation, default_retention[i].mode);
        }
    }
    default_rate_rows(s);
    if (!s->tiers) {
        px_lists_add_tier(s, &default_tiers[0]);
        px_lists_add_tier(s, &default_tiers[1]);
    }
}
