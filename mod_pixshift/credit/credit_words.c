/* Projection of ledger entries to the clients' vocabularies. */
#include "credit_words.h"

#include "base/buf.h"
#include <apr_strings.h>
#include <apr_time.h>
#include <string.h>

static const struct {
    const char *source;
    const char *v1;             /* 004: usage purchase free refund admin_adjustment */
    const char *pixshift;       /* 000: usage subscription purchase refund bonus */
    const char *description;
} words[] = {
    { "lifetime_free", "free",             "bonus",        "Free transformations" },
    { "daily_free",    "free",             "bonus",        "Free credits of the day" },
    { "promo",         "free",             "bonus",        "Credits given" },
    { "subscription",  "purchase",         "subscription", "Credits of the subscription" },
    { "purchase",      "purchase",         "purchase",     "Credits bought" },
    { "refund",        "refund",           "refund",       "Credits given back" },
    { "admin",         "admin_adjustment", "bonus",        "Adjustment by an administrator" },
};
#define WORDS (sizeof words / sizeof words[0])

static size_t find_source(const char *source)
{
    size_t i;

    for (i = 0; i < WORDS - 1 && strcmp(words[i].source, source) != 0; i++) {
    }
    return i;
}

const char *credit_word(const px_entry *entry, bool v1)
{
    size_t row;

    if (strcmp(entry->kind, "usage") == 0 || strcmp(entry->kind, "refund") == 0) {
        return entry->kind;
    }
    row = find_source(entry->source);
    return v1 ? words[row].v1 : words[row].pixshift;
}

static const char *match_in(apr_pool_t *pool, const char *word, bool v1)
{
    const char *match = NULL;
    size_t i;

    if (strcmp(word, "usage") == 0) {
        return "usage:*";
    }
    if (strcmp(word, "refund") == 0) {
        match = "refund:*";
    }
    for (i = 0; i < WORDS; i++) {
        if (strcmp(v1 ? words[i].v1 : words[i].pixshift, word) == 0) {
            match = apr_pstrcat(pool, match ? match : "", match ? "," : "", "grant:",
                                words[i].source, ",expire:", words[i].source, NULL);
        }
    }
    return match;
}

const char *credit_word_match(apr_pool_t *pool, const char *word, bool v1)
{
    const char *match;

    if (strcmp(word, "deduction") == 0) {
        word = "usage";
    }
    match = match_in(pool, word, v1);
    return match ? match : match_in(pool, word, !v1);
}

const char *credit_word_description(const px_entry *entry)
{
    if (entry->note && *entry->note) {
        return entry->note;
    }
    if (strcmp(entry->kind, "usage") == 0) {
        return "Credits used";
    }
    if (strcmp(entry->kind, "refund") == 0) {
        return "Credits given back";
    }
    return strcmp(entry->kind, "expire") == 0 ? "Credits expired"
                                              : words[find_source(entry->source)].description;
}

/* Exactly `digits` decimal digits at *text, moved behind them and an optional `after`. */
static bool take(const char **text, int digits, char after, int *value)
{
    *value = 0;
    while (digits-- > 0) {
        if (**text < '0' || **text > '9') {
            return false;
        }
        *value = *value * 10 + (*(*text)++ - '0');
    }
    if (after && *(*text)++ != after) {
        return false;
    }
    return true;
}

/* "Z" or "+hh:mm" at the end, as seconds to subtract. */
static bool take_zone(const char *text, int *seconds)
{
    int sign = *text == '-' ? -1 : 1, hours, minutes;

    *seconds = 0;
    if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0) {
        return true;
    }
    if (*text != '+' && *text != '-') {
        return false;
    }
    text++;
    if (!take(&text, 2, ':', &hours) || !take(&text, 2, '\0', &minutes) || *text || hours > 23
        || minutes > 59) {
        return false;
    }
    *seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

static bool take_time(const char *text, apr_time_exp_t *t, int *zone)
{
    int scale = 100000;

    if (!take(&text, 2, ':', &t->tm_hour) || !take(&text, 2, ':', &t->tm_min)
        || !take(&text, 2, '\0', &t->tm_sec) || t->tm_hour > 23 || t->tm_min > 59
        || t->tm_sec > 59) {
        return false;
    }
    if (*text == '.') {
        for (text++; *text >= '0' && *text <= '9'; text++, scale /= 10) {
            t->tm_usec += (*text - '0') * scale;
        }
    }
    return take_zone(text, zone);
}

bool credit_word_date(const char *text, bool end, int64_t *usec)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    apr_time_exp_t t = { 0 };
    apr_time_t when;
    int year, month, zone = 0, leap;
    bool has_time;

    if (!take(&text, 4, '-', &year) || !take(&text, 2, '-', &month)
        || !take(&text, 2, '\0', &t.tm_mday) || year < 1970 || month < 1 || month > 12) {
        return false;
    }
    leap = month == 2 && (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    if (t.tm_mday < 1 || t.tm_mday > days[month - 1] + leap) {
        return false;
    }
    has_time = *text == 'T' || *text == 't' || *text == ' ';
    if (has_time ? !take_time(text + 1, &t, &zone) : *text != '\0') {
        return false;
    }
    t.tm_year = year - 1900;
    t.tm_mon = month - 1;
    if (apr_time_exp_get(&when, &t) != APR_SUCCESS) {
        return false;
    }
    *usec = when - (int64_t)zone * APR_USEC_PER_SEC;
    if (end) {
        *usec += has_time ? 1 : (int64_t)86400 * APR_USEC_PER_SEC;
    }
    return true;
}
