DROP VIEW pixshift.credit_transactions, pixshift.user_credits, pixshift.audit_hold,
    pixshift.audit_ledger, pixshift.audit_balance;
DROP FUNCTION pixshift.ledger_verify();
DROP VIEW pixshift.violation_chain, pixshift.violation_orphan, pixshift.violation_duplicate,
    pixshift.violation_grant_entries, pixshift.violation_hold_entries, pixshift.violation_hold_state,
    pixshift.violation_entry_balance, pixshift.violation_seq_gap, pixshift.violation_negative,
    pixshift.violation_grant_held, pixshift.violation_hold_lines, pixshift.violation_wallet_used,
    pixshift.violation_wallet_holds, pixshift.violation_wallet_grants,
    pixshift.violation_wallet_entries;
