/* Money in minor units with an ISO 4217 currency; exact decimal rendering; no floating point.
 * Pure; any thread. */
#ifndef PX_BASE_MONEY_H
#define PX_BASE_MONEY_H

#include <apr_pools.h>
#include <stdbool.h>
#include <stdint.h>

/* Digits behind the point (USD 2, JPY 0, KWD 3, INR 2), -1 for an unknown currency. */
int px_currency_digits(const char *currency);
/* 99, "USD" -> "0.99"; NULL for an unknown currency. */
const char *px_money_text(apr_pool_t *pool, int64_t minor, const char *currency);
/* "0.99", "USD" -> 99; refuses exponents, signs, spaces, more digits than the currency has. */
bool px_money_parse(const char *text, const char *currency, int64_t *minor);

#endif
