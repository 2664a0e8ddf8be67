DROP FUNCTION pixshift.grant_app_credit(name);
DROP FUNCTION pixshift.credit_refund(uuid, bigint, text, text);
DROP FUNCTION pixshift.credit_release(uuid, text);
DROP FUNCTION pixshift.credit_capture(uuid, bigint, text, text);
DROP FUNCTION pixshift.credit_settle_batch(uuid[], bigint[], text[], text, text);
DROP FUNCTION pixshift.credit_hold(uuid, bigint, text, text);
DROP FUNCTION pixshift.credit_expire(integer);
DROP FUNCTION pixshift.credit_daily(uuid);
DROP FUNCTION pixshift.credit_grant(uuid, text, bigint, text, timestamptz, text, text, text, text);
DROP FUNCTION pixshift.credit_init_user(uuid);
DROP FUNCTION pixshift.credit_lock(uuid);
DROP FUNCTION pixshift.credit_new_day(uuid);
DROP FUNCTION pixshift.credit_add(uuid, text, bigint, text, timestamptz, text, text, text, text);
DROP FUNCTION pixshift.credit_expire_user(uuid);
DROP FUNCTION pixshift.credit_post(uuid, text, text, bigint, bigint, uuid, text, text, text, text);
DROP TABLE pixshift.ledger_entries, pixshift.hold_lines, pixshift.holds, pixshift.grants,
    pixshift.wallets, pixshift.subscription_credits, pixshift.credit_packages,
    pixshift.credit_profile;
DROP FUNCTION pixshift.ledger_hash(bytea, uuid, bigint, text, text, bigint, bigint, bigint, uuid, text,
    text, text, text, timestamptz);
DROP FUNCTION pixshift.wallet_check();
DROP FUNCTION pixshift.grant_guard();
DROP FUNCTION pixshift.hold_guard();
DROP DOMAIN pixshift.credit_note, pixshift.credit_amount, pixshift.credit_key, pixshift.credit_scope,
    pixshift.grant_kind;
