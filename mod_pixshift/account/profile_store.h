/* SQL of the profile page. */
#ifndef PX_ACCOUNT_PROFILE_STORE_H
#define PX_ACCOUNT_PROFILE_STORE_H

#include "account_internal.h"

/* spent: exact decimal text, in the main currency. */
typedef struct { int64_t transformations; const char *spent; } profile_stats;
px_err *profile_store_stats(px_db *db, apr_pool_t *pool, const char *user_id, profile_stats *stats);

/* NULL members stay as they are. A changed phone is unverified (C-27). */
typedef struct { const char *phone, *first_name, *last_name; } profile_change;
px_err *profile_store_update(px_db *db, apr_pool_t *pool, const char *user_id,
                             const profile_change *change);

#endif
