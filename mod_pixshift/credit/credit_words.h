/* The words that clients have for ledger entries (C-34), and dates in queries.  Pure. */
#ifndef PX_CREDIT_WORDS_H
#define PX_CREDIT_WORDS_H

#include "credit.h"

/* The entry's type in the vocabulary of 004 (`v1`) or of 000. An expiry has the type of the grant that
 * it takes back, with a negative amount. */
const char *credit_word(const px_entry *entry, bool v1);
/* The filter for px_entry_filter.match that a client's word stands for; words of the other dialect and
 * 003's "deduction" are understood. NULL = no such word. */
const char *credit_word_match(apr_pool_t *pool, const char *word, bool v1);
/* What happened, in a sentence. */
const char *credit_word_description(const px_entry *entry);
/* "2026-11-21" or RFC 3339 "2026-11-21T10:11:12[.345](Z|+01:00)" to usec; with `end`, the first moment
 * that is no longer meant (the next day, or a microsecond later). False when malformed. */
bool credit_word_date(const char *text, bool end, int64_t *usec);

#endif
