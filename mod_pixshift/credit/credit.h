/* The credit ledger: grants, holds, append-only entries (DESIGN §6, RELIABILITY §3.1).
 *
 * All functions that change something take a px_conn, so that they join the caller's transaction, and
 * are single round trips to SQL functions of schema pixshift.  Credits are whole numbers ≥ 0.
 * Idempotency: every external cause has a unique key; repeating a call with the same key changes
 * nothing and returns the first result.  Any thread with its own connection. */
#ifndef PX_CREDIT_CREDIT_H
#define PX_CREDIT_CREDIT_H

#include "base/error.h"
#include "config/settings.h"
#include "db/db.h"

/* What a grant may be spent on; a hold names its scope. */
#define PX_SCOPE_ANY "any"
#define PX_SCOPE_TRANSFORMATION "transformation"

typedef enum {
    PX_GRANT_LIFETIME_FREE, PX_GRANT_DAILY_FREE, PX_GRANT_SUBSCRIPTION, PX_GRANT_PURCHASE,
    PX_GRANT_PROMO, PX_GRANT_REFUND, PX_GRANT_ADMIN
} px_grant_kind;
const char *px_grant_kind_name(px_grant_kind kind);      /* "lifetime_free", … */

typedef struct {
    int64_t available;          /* granted − captured − held, over unexpired grants, any scope */
    int64_t held;
    int64_t daily_free;         /* remainder of today's daily grant (after its reset) */
    int64_t lifetime_free_used, lifetime_free_limit;
    int64_t paid;               /* available without daily and lifetime free: the `credits` field */
    int64_t total_used;         /* captured − refunded, ever */
    int64_t lifetime_free_held; /* reserved by jobs under way */
} px_balance;

/* The ledger's refusals in the client's words: for statements that call its functions inside others.
 * Other errors pass unchanged. */
px_err *px_credit_explain(apr_pool_t *pool, px_err *err);

/* Creates the wallet row and the grants that the deployment's profile gives at sign-up. */
px_err *px_credit_init_user(px_conn *conn, apr_pool_t *pool, const char *user_id);

/* expires_at usec, 0 = never. key e.g. "purchase:stripe:pi_1". */
px_err *px_credit_grant(px_conn *conn, apr_pool_t *pool, const char *user_id, px_grant_kind kind,
                        int64_t amount, const char *scope, int64_t expires_at, const char *key,
                        const char *reference_type, const char *reference_id, const char *note);

/* Reserves `amount` (≥ 0; 0 makes an empty hold) in burn order: matching scope, soonest expiry,
 * oldest. Today's daily grant is made first when due. INSUFFICIENT_CREDITS with details
 * {required, available, held}. */
px_err *px_credit_hold(px_conn *conn, apr_pool_t *pool, const char *user_id, int64_t amount,
                       const char *scope, const char *key, const char **hold_id);

/* Takes `amount` ≤ held from the hold, releases the rest to the same grants. Final. */
px_err *px_credit_capture(px_conn *conn, apr_pool_t *pool, const char *hold_id, int64_t amount,
                          const char *reference_type, const char *reference_id);
px_err *px_credit_release(px_conn *conn, apr_pool_t *pool, const char *hold_id,
                          const char *reason);

/* Gives back up to what the capture took (Σ refunds ≤ captured). key e.g. "refund:job:<id>:1". */
px_err *px_credit_refund(px_conn *conn, apr_pool_t *pool, const char *hold_id, int64_t amount,
                         const char *key, const char *note);

/* Ends many holds at once (the worker's way): one round trip, users in the order of their ids.  Of each
 * hold `amount` is captured and the rest released; amount -1 releases all of it. A hold that ended in
 * this way already is passed over (*done does not count it). All or nothing. */
typedef struct { const char *hold_id; int64_t amount; const char *reference_id; } px_settlement;
px_err *px_credit_settle(px_conn *conn, apr_pool_t *pool, const px_settlement *list, int count,
                         const char *reference_type, int *done);

/* Expires grants whose time is over, of at most `users` users; for the worker's timer. A user's own
 * requests do the same for that user, so nothing depends on when this runs. */
px_err *px_credit_expire(px_db *db, apr_pool_t *pool, int users, int64_t *expired);

/* Reads one row by its key and the user's few open grants (an index for just these): no cache in
 * front of it is needed, so none can be stale. The first call of a UTC day makes the daily grant. */
px_err *px_credit_balance(px_db *db, apr_pool_t *pool, const char *user_id, px_balance *balance);

/* Runs every invariant view and the hash chain. *violations = 0 when all is well; lines name each. */
px_err *px_credit_verify(px_db *db, apr_pool_t *pool, int64_t *violations,
                         void (*line)(void *baton, const char *text), void *baton);

/* ---- the ledger as a client sees it ---- */
typedef struct {
    const char *id;             /* UUID made from the entry's hash: stable and unique */
    int64_t seq;
    const char *kind;           /* grant, usage, expire, refund */
    const char *source;         /* kind of the grant, or "hold" */
    int64_t amount, balance_after;
    const char *hold_id, *reference_type, *reference_id, *note;
    int64_t created_at;         /* usec */
} px_entry;
typedef struct {
    const char *match;          /* comma-separated "kind:source" pairs, "*" for any source; NULL = all */
    int64_t from, to;           /* usec, inclusive and exclusive; 0 = open */
} px_entry_filter;
/* Newest first. *total counts all that match. */
px_err *px_credit_entries(px_db *db, apr_pool_t *pool, const char *user_id,
                          const px_entry_filter *filter, int64_t limit, int64_t offset,
                          px_entry **list, int *count, int64_t *total);

/* What a subscription brings and what was used since `since` (usec): the latest subscription grant that
 * is not used up or over, and its roll-over limit; zeros without one. */
typedef struct { int64_t monthly_allowance, max_rollover, used; } px_allowance;
px_err *px_credit_allowance(px_db *db, apr_pool_t *pool, const char *user_id, int64_t since,
                            px_allowance *allowance);

/* The amounts the profile grants; read by SQL from pixshift.credit_profile, written at start-up by
 * ctl migrate/doctor or an admin. */
typedef struct { int64_t lifetime_free; int64_t daily_free; int64_t initial; } px_credit_profile;
px_err *px_credit_set_profile(px_db *db, apr_pool_t *pool, const px_credit_profile *profile);

/* Makes the profile what PixShiftFreeLifetime, PixShiftFreeDaily and PixShiftFreeInitial say; hosts call
 * it when they start. Nothing is written when it is so already. */
px_err *px_credit_apply_settings(px_db *db, apr_pool_t *pool, const px_settings *settings);

#endif
