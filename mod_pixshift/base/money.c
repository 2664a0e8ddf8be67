/* Money: ISO 4217 minor units and exact decimal text. */
#include "money.h"

#include <apr_strings.h>
#include <string.h>

/* ISO 4217 active currencies by number of minor-unit digits (funds and metals left out). */
static const char two_digits[] =
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD "
    "CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD "
    "GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD "
    "MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP "
    "PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS "
    "TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR ZMW ZWG";
static const char no_digits[] = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";
static const char three_digits[] = "BHD IQD JOD KWD LYD OMR TND";

static bool listed(const char *list, const char *currency)
{
    for (const char *at = list; *at; at += at[3] ? 4 : 3) {
        if (strncmp(at, currency, 3) == 0) {
            return true;
        }
    }
    return false;
}

int px_currency_digits(const char *currency)
{
    if (!currency || strlen(currency) != 3) {
        return -1;
    }
    if (listed(two_digits, currency)) {
        return 2;
    }
    if (listed(no_digits, currency)) {
        return 0;
    }
    return listed(three_digits, currency) ? 3 : -1;
}

const char *px_money_text(apr_pool_t *pool, int64_t minor, const char *currency)
{
    static const uint64_t scales[] = {1, 10, 100, 1000};
    int digits = px_currency_digits(currency);
    /* Unsigned, because INT64_MIN has no positive counterpart. */
    uint64_t amount = minor < 0 ? 0 - (uint64_t)minor : (uint64_t)minor;
    const char *sign = minor < 0 ? "-" : "";
    if (digits < 0) {
        return NULL;
    }
    if (digits == 0) {
        return apr_psprintf(pool, "%s%" APR_UINT64_T_FMT, sign, amount);
    }
    return apr_psprintf(pool, "%s%" APR_UINT64_T_FMT ".%0*" APR_UINT64_T_FMT, sign,
                        amount / scales[digits], digits, amount % scales[digits]);
}

/* Appends the digit at *text to *value; false when it is none or does not fit. */
static bool take_digit(const char *text, int64_t *value)
{
    return *text >= '0' && *text <= '9' && !__builtin_mul_overflow(*value, (int64_t)10, value)
        && !__builtin_add_overflow(*value, (int64_t)(*text - '0'), value);
}

bool px_money_parse(const char *text, const char *currency, int64_t *minor)
{
    int digits = px_currency_digits(currency);
    int64_t value = 0;
    int places = 0;
    if (digits < 0 || !text || *text < '0' || *text > '9') {
        return false;
    }
    for (; *text && *text != '.'; text++) {
        if (!take_digit(text, &value)) {
            return false;
        }
    }
    if (*text == '.' && !*++text) {
        return false;       /* "1." */
    }
    for (; *text; text++, places++) {
        if (places == digits || !take_digit(text, &value)) {
            return false;
        }
    }
    for (; places < digits; places++) {
        if (__builtin_mul_overflow(value, (int64_t)10, &value)) {
            return false;
        }
    }
    *minor = value;
    return true;
}
