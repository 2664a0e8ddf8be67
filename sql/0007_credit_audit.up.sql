-- What auditors read: the ledger's invariants as views that must be empty, its hash chain, and views
-- with stable columns (docs/internals/credit.md).

-- ---------------------------------------------------------------------------------------------
-- Invariants.  Every view named violation_* has the columns (subject, detail) and must be empty;
-- ledger_verify() runs all of them, those of other slices too.

CREATE VIEW pixshift.violation_wallet_entries AS
SELECT w.user_id::text AS subject,
       format('wallet %s at seq %s, last entry %s at seq %s', w.posted, w.last_seq, e.balance_after,
              e.seq) AS detail
  FROM pixshift.wallets w
  LEFT JOIN LATERAL (SELECT seq, balance_after, hash FROM pixshift.ledger_entries
                      WHERE user_id = w.user_id ORDER BY seq DESC LIMIT 1) e ON true
 WHERE (w.last_seq, w.posted, w.last_hash)
       IS DISTINCT FROM (coalesce(e.seq, 0), coalesce(e.balance_after, 0), coalesce(e.hash, ''::bytea));

CREATE VIEW pixshift.violation_wallet_grants AS
SELECT w.user_id::text AS subject,
       format('posted %s, grants %s; held %s, grants hold %s', w.posted, coalesce(g.remaining, 0),
              w.held, coalesce(g.held, 0)) AS detail
  FROM pixshift.wallets w
  LEFT JOIN (SELECT user_id, sum(remaining) AS remaining, sum(held) AS held
               FROM pixshift.grants GROUP BY user_id) g USING (user_id)
 WHERE w.posted <> coalesce(g.remaining, 0) OR w.held <> coalesce(g.held, 0);

CREATE VIEW pixshift.violation_wallet_holds AS
SELECT w.user_id::text AS subject,
       format('held %s, pending holds %s', w.held, coalesce(h.amount, 0)) AS detail
  FROM pixshift.wallets w
  LEFT JOIN (SELECT user_id, sum(amount) AS amount FROM pixshift.holds WHERE state = 'pending'
              GROUP BY user_id) h USING (user_id)
 WHERE w.held <> coalesce(h.amount, 0);

CREATE VIEW pixshift.violation_wallet_used AS
SELECT w.user_id::text AS subject,
       format('total_used %s, entries say %s', w.total_used, coalesce(e.used, 0)) AS detail
  FROM pixshift.wallets w
  LEFT JOIN (SELECT user_id, -sum(amount) AS used FROM pixshift.ledger_entries
              WHERE kind IN ('usage', 'refund') GROUP BY user_id) e USING (user_id)
 WHERE w.total_used <> coalesce(e.used, 0);

CREATE VIEW pixshift.violation_hold_lines AS
SELECT h.id::text AS subject, format('hold %s, lines %s', h.amount, coalesce(l.amount, 0)) AS detail
  FROM pixshift.holds h
  LEFT JOIN (SELECT hold_id, sum(amount) AS amount FROM pixshift.hold_lines GROUP BY hold_id) l
    ON l.hold_id = h.id
 WHERE h.amount <> coalesce(l.amount, 0);

CREATE VIEW pixshift.violation_grant_held AS
SELECT g.id::text AS subject,
       format('held %s, lines of pending holds %s', g.held, coalesce(l.amount, 0)) AS detail
  FROM pixshift.grants g
  LEFT JOIN (SELECT x.grant_id, sum(x.amount) AS amount
               FROM pixshift.hold_lines x JOIN pixshift.holds h ON h.id = x.hold_id
              WHERE h.state = 'pending' GROUP BY x.grant_id) l ON l.grant_id = g.id
 WHERE g.held <> coalesce(l.amount, 0);

CREATE VIEW pixshift.violation_negative AS
SELECT user_id::text AS subject, format('wallet posted %s held %s', posted, held) AS detail
  FROM pixshift.wallets WHERE posted < 0 OR held < 0 OR held > posted OR total_used < 0
UNION ALL
SELECT id::text, format('grant remaining %s held %s of %s', remaining, held, amount)
  FROM pixshift.grants WHERE remaining < 0 OR held < 0 OR held > remaining OR remaining > amount
UNION ALL
SELECT user_id || ' ' || seq, format('entry balance_after %s held_after %s', balance_after, held_after)
  FROM pixshift.ledger_entries WHERE balance_after < 0 OR held_after < 0 OR held_after > balance_after;

CREATE VIEW pixshift.violation_seq_gap AS
SELECT user_id::text AS subject, format('seq %s follows %s', seq, prev) AS detail
  FROM (SELECT user_id, seq, coalesce(lag(seq) OVER (PARTITION BY user_id ORDER BY seq), 0) AS prev
          FROM pixshift.ledger_entries) x
 WHERE seq <> prev + 1;

CREATE VIEW pixshift.violation_entry_balance AS
SELECT user_id || ' ' || seq AS subject,
       format('%s + %s is not %s', before, amount, balance_after) AS detail
  FROM (SELECT user_id, seq, amount, balance_after,
               coalesce(lag(balance_after) OVER (PARTITION BY user_id ORDER BY seq), 0) AS before
          FROM pixshift.ledger_entries) x
 WHERE balance_after <> before + amount;

CREATE VIEW pixshift.violation_hold_state AS
SELECT id::text AS subject,
       format('%s: amount %s captured %s refunded %s', state, amount, captured, refunded) AS detail
  FROM pixshift.holds
 WHERE captured < 0 OR captured > amount OR refunded < 0 OR refunded > captured
    OR (state <> 'captured' AND captured <> 0) OR (state = 'pending') <> (ended_at IS NULL);

CREATE VIEW pixshift.violation_hold_entries AS
SELECT h.id::text AS subject,
       format('captured %s refunded %s, entries say %s and %s', h.captured, h.refunded,
              coalesce(e.used, 0), coalesce(e.refunded, 0)) AS detail
  FROM pixshift.holds h
  LEFT JOIN (SELECT hold_id, -sum(amount) FILTER (WHERE kind = 'usage') AS used,
                    sum(amount) FILTER (WHERE kind = 'refund') AS refunded
               FROM pixshift.ledger_entries WHERE hold_id IS NOT NULL GROUP BY hold_id) e
    ON e.hold_id = h.id
 WHERE h.captured <> coalesce(e.used, 0) OR h.refunded <> coalesce(e.refunded, 0);

CREATE VIEW pixshift.violation_grant_entries AS
SELECT g.id::text AS subject, format('grant of %s, entry of %s', g.amount, e.amount) AS detail
  FROM pixshift.grants g
  LEFT JOIN pixshift.ledger_entries e ON e.idem = 'grant:' || g.key AND e.user_id = g.user_id
 WHERE g.kind <> 'refund' AND g.amount IS DISTINCT FROM e.amount;

CREATE VIEW pixshift.violation_duplicate AS
SELECT idem AS subject, format('%s entries', count(*)) AS detail
  FROM pixshift.ledger_entries GROUP BY idem HAVING count(*) > 1
UNION ALL
SELECT user_id || ' ' || expires_at, format('%s daily grants', count(*))
  FROM pixshift.grants WHERE kind = 'daily_free' GROUP BY user_id, expires_at HAVING count(*) > 1
UNION ALL
SELECT user_id::text, format('%s lifetime grants', count(*))
  FROM pixshift.grants WHERE kind = 'lifetime_free' GROUP BY user_id HAVING count(*) > 1;

CREATE VIEW pixshift.violation_orphan AS
SELECT 'grant ' || g.id AS subject, 'no wallet' AS detail
  FROM pixshift.grants g WHERE NOT EXISTS (SELECT FROM pixshift.wallets w WHERE w.user_id = g.user_id)
UNION ALL
SELECT 'hold ' || h.id, 'no wallet'
  FROM pixshift.holds h WHERE NOT EXISTS (SELECT FROM pixshift.wallets w WHERE w.user_id = h.user_id)
UNION ALL
SELECT 'entries of ' || e.user_id, 'no wallet'
  FROM (SELECT DISTINCT user_id FROM pixshift.ledger_entries) e
 WHERE NOT EXISTS (SELECT FROM pixshift.wallets w WHERE w.user_id = e.user_id)
UNION ALL
SELECT 'line ' || l.hold_id || ' ' || l.n, 'no hold or grant, or not of one owner'
  FROM pixshift.hold_lines l
  LEFT JOIN pixshift.holds h ON h.id = l.hold_id LEFT JOIN pixshift.grants g ON g.id = l.grant_id
 WHERE h.user_id IS NULL OR g.user_id IS NULL OR h.user_id <> g.user_id;

CREATE VIEW pixshift.violation_chain AS
SELECT user_id || ' ' || seq AS subject,
       CASE WHEN prev_hash <> before THEN 'does not follow the entry before it'
            ELSE 'its content is not what was hashed' END AS detail
  FROM (SELECT e.*, coalesce(lag(hash) OVER (PARTITION BY user_id ORDER BY seq), ''::bytea) AS before
          FROM pixshift.ledger_entries e) x
 WHERE prev_hash <> before
    OR hash <> pixshift.ledger_hash(prev_hash, user_id, seq, kind, source, amount, balance_after,
                                    held_after, hold_id, idem, reference_type, reference_id, note,
                                    created_at);

CREATE FUNCTION pixshift.ledger_verify() RETURNS TABLE (name text, subject text, detail text)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v name;
BEGIN
    FOR v IN SELECT c.relname FROM pg_class c
              WHERE c.relnamespace = 'pixshift'::regnamespace AND c.relkind = 'v'
                AND c.relname LIKE 'violation\_%' ORDER BY c.relname
    LOOP
        RETURN QUERY EXECUTE format('SELECT %L::text, subject, detail FROM pixshift.%I',
                                    substr(v, length('violation_') + 1), v);
    END LOOP;
END
$$;

-- ---------------------------------------------------------------------------------------------
-- Stable columns for auditors and for those who know the tables by their other names.

CREATE VIEW pixshift.audit_balance AS
SELECT user_id, posted, held, posted - held AS available, total_used, last_seq FROM pixshift.wallets;

CREATE VIEW pixshift.audit_ledger AS
SELECT user_id, seq, kind, source, amount, balance_after, held_after, hold_id, idem, reference_type,
       reference_id, note, created_at, prev_hash, hash
  FROM pixshift.ledger_entries;

CREATE VIEW pixshift.audit_hold AS
SELECT id, user_id, amount, captured, refunded, scope, state, key, reason, created_at, ended_at
  FROM pixshift.holds;

CREATE VIEW pixshift.user_credits AS
SELECT user_id, posted - held AS credits, held, total_used, created_at FROM pixshift.wallets;

CREATE VIEW pixshift.credit_transactions AS
SELECT user_id, seq, kind, source, amount, balance_after, reference_type, reference_id, note, created_at
  FROM pixshift.ledger_entries;
