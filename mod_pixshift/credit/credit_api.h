/* The routes of this slice, for the hosts' route tables. */
#ifndef PX_CREDIT_CREDIT_API_H
#define PX_CREDIT_CREDIT_API_H

#include "http/http.h"

extern const px_route px_credit_routes[];       /* balance, transactions, free tier */
extern const px_route px_tier_routes[];         /* pricing tiers */

#endif
