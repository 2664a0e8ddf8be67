-- The credit ledger: wallets, grants, holds and append-only entries (docs/internals/credit.md).
--
-- One user's money is one wallet row; everything that changes it locks that row first, so that all of
-- a user's changes form one line.  Lock order everywhere: job, hold, wallet, then grants and entries;
-- several users always in the order of their ids.
--
-- Double entry: each entry moves `amount` between the user's account and the system account that its
-- kind names (grant: issued, usage: revenue, expire: expired, refund: revenue).  System accounts carry
-- no running row: it would serialise all users; their balance is minus the sum of their entries.
--
-- Refusals have SQLSTATEs of their own: PX402 not enough credits (DETAIL is JSON), PX403 not allowed,
-- PX404 no such wallet or hold, PX409 conflicts with what happened before, PX422 a bad argument.

-- What the deployment gives away; one row.
CREATE TABLE pixshift.credit_profile (
    one           boolean PRIMARY KEY DEFAULT true CHECK (one),
    lifetime_free bigint NOT NULL DEFAULT 5 CHECK (lifetime_free BETWEEN 0 AND 1000000),
    daily_free    bigint NOT NULL DEFAULT 3 CHECK (daily_free BETWEEN 0 AND 1000000),
    initial       bigint NOT NULL DEFAULT 0 CHECK (initial BETWEEN 0 AND 1000000)
);
INSERT INTO pixshift.credit_profile DEFAULT VALUES;

-- What can be bought and what a subscription brings; billing sells them.
CREATE TABLE pixshift.credit_packages (
    id          text PRIMARY KEY,
    name        text NOT NULL,
    credits     bigint NOT NULL CHECK (credits > 0),
    price_minor bigint NOT NULL CHECK (price_minor > 0),
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    is_active   boolean NOT NULL DEFAULT true
);
INSERT INTO pixshift.credit_packages (id, name, credits, price_minor, currency) VALUES
    ('starter', 'Starter', 100, 999, 'USD'), ('pro', 'Pro', 500, 3999, 'USD'),
    ('enterprise', 'Enterprise', 2000, 14999, 'USD');

CREATE TABLE pixshift.subscription_credits (
    plan            text PRIMARY KEY,
    monthly_credits bigint NOT NULL CHECK (monthly_credits > 0),
    max_rollover    bigint NOT NULL CHECK (max_rollover >= monthly_credits)
);
INSERT INTO pixshift.subscription_credits VALUES
    ('starter', 100, 600), ('pro', 500, 3000), ('business', 2500, 15000);

-- Domains for columns that are written once: a table's CHECKs are all evaluated at every update of a
-- row, a domain's only when a value is put in, and wallets, grants and holds are updated for each job.
CREATE DOMAIN pixshift.grant_kind AS text CHECK (VALUE IN (
    'lifetime_free', 'daily_free', 'subscription', 'purchase', 'promo', 'refund', 'admin'));
CREATE DOMAIN pixshift.credit_scope AS text CHECK (VALUE ~ '^[a-z_]{1,32}$');
CREATE DOMAIN pixshift.credit_key AS text CHECK (length(VALUE) BETWEEN 1 AND 200);
CREATE DOMAIN pixshift.credit_amount AS bigint CHECK (VALUE BETWEEN 0 AND 1000000000000);
CREATE DOMAIN pixshift.credit_note AS text CHECK (length(VALUE) <= 500);

-- ---------------------------------------------------------------------------------------------
-- Tables.  Only wallets refers to users by a foreign key: every other row is written by the functions
-- below under the lock of a wallet that exists, nothing here is ever deleted, and four more
-- foreign-key checks per job would be the greatest part of its cost.  violation_orphan watches.

-- posted = what the entries add up to = sum of grants.remaining; held = the part reserved by pending
-- holds.  Room is left in the pages so that the constant updates stay within them (HOT).
CREATE TABLE pixshift.wallets (
    user_id    uuid PRIMARY KEY REFERENCES pixshift.users (id) ON DELETE RESTRICT,
    posted     bigint NOT NULL DEFAULT 0,
    held       bigint NOT NULL DEFAULT 0,
    total_used bigint NOT NULL DEFAULT 0,
    last_seq   bigint NOT NULL DEFAULT 0,
    last_hash  bytea NOT NULL DEFAULT '\x',
    daily_on   date,                     -- UTC day of the last daily grant
    created_at timestamptz NOT NULL DEFAULT pixshift.now(),
    CONSTRAINT wallet_bounds CHECK (held >= 0 AND held <= posted AND total_used >= 0)
) WITH (fillfactor = 50);

CREATE TABLE pixshift.grants (
    id         uuid PRIMARY KEY DEFAULT pixshift.uuid7(),
    user_id    uuid NOT NULL,
    kind       pixshift.grant_kind NOT NULL,
    scope      pixshift.credit_scope NOT NULL,
    amount     pixshift.credit_amount NOT NULL,
    remaining  bigint NOT NULL,
    held       bigint NOT NULL DEFAULT 0,
    expires_at timestamptz,              -- NULL = never
    created_at timestamptz NOT NULL DEFAULT pixshift.now(),
    key        pixshift.credit_key NOT NULL UNIQUE,
    -- The rows that a balance or a hold must look at.
    open       boolean NOT NULL GENERATED ALWAYS AS
               (remaining > 0 OR kind = 'lifetime_free') STORED,
    CONSTRAINT grant_bounds CHECK (held >= 0 AND held <= remaining AND remaining <= amount)
) WITH (fillfactor = 70);
CREATE INDEX grants_open ON pixshift.grants (user_id) WHERE open;
CREATE INDEX grants_due ON pixshift.grants (expires_at) WHERE open AND expires_at IS NOT NULL;

CREATE TABLE pixshift.holds (
    id             uuid PRIMARY KEY,
    user_id        uuid NOT NULL,
    amount         pixshift.credit_amount NOT NULL,
    captured       bigint NOT NULL DEFAULT 0,
    refunded       bigint NOT NULL DEFAULT 0,
    scope          pixshift.credit_scope NOT NULL,
    state          text NOT NULL DEFAULT 'pending',
    key            pixshift.credit_key NOT NULL UNIQUE,
    reason         pixshift.credit_note,
    created_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    CONSTRAINT hold_bounds CHECK (refunded >= 0 AND refunded <= captured AND captured <= amount),
    CONSTRAINT hold_state CHECK (CASE state WHEN 'pending' THEN captured = 0 AND ended_at IS NULL
                                            WHEN 'captured' THEN ended_at IS NOT NULL
                                            WHEN 'released' THEN captured = 0 AND ended_at IS NOT NULL
                                            WHEN 'expired' THEN captured = 0 AND ended_at IS NOT NULL
                                            ELSE false END)
) WITH (fillfactor = 80);
CREATE INDEX holds_pending ON pixshift.holds (user_id) WHERE state = 'pending';

-- Which grants a hold was taken from, in burn order.  What a capture took of each line follows from
-- holds.captured (lines are used up from the first), so lines never change.
CREATE TABLE pixshift.hold_lines (
    hold_id  uuid NOT NULL,
    n        smallint NOT NULL,
    grant_id uuid NOT NULL,
    amount   pixshift.credit_amount NOT NULL,
    PRIMARY KEY (hold_id, n)
);

CREATE TABLE pixshift.ledger_entries (
    user_id        uuid NOT NULL,
    seq            bigint NOT NULL,
    kind           text NOT NULL,
    source         text NOT NULL,        -- kind of the grant; of a usage: 'hold'
    amount         bigint NOT NULL,
    balance_after  bigint NOT NULL,
    held_after     bigint NOT NULL,
    hold_id        uuid,
    idem           text NOT NULL UNIQUE,
    reference_type pixshift.credit_note,
    reference_id   pixshift.credit_note,
    note           pixshift.credit_note,
    created_at     timestamptz NOT NULL,
    prev_hash      bytea NOT NULL,
    hash           bytea NOT NULL,
    PRIMARY KEY (user_id, seq),
    CONSTRAINT entry_sign CHECK (CASE kind WHEN 'grant'  THEN amount > 0
                                           WHEN 'usage'  THEN amount < 0
                                           WHEN 'expire' THEN amount < 0
                                           WHEN 'refund' THEN amount > 0
                                           ELSE false END),
    CONSTRAINT entry_bounds CHECK (seq >= 1 AND held_after >= 0 AND held_after <= balance_after
                                   AND length(hash) = 32)
);
-- One capture per hold, whatever its key says.
CREATE UNIQUE INDEX ledger_usage_once ON pixshift.ledger_entries (hold_id) WHERE kind = 'usage';

-- ---------------------------------------------------------------------------------------------
-- What may never happen, whoever tries.

CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pixshift.ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION pixshift.refuse_change();
CREATE TRIGGER hold_lines_fixed BEFORE UPDATE OR DELETE OR TRUNCATE ON pixshift.hold_lines
    FOR EACH STATEMENT EXECUTE FUNCTION pixshift.refuse_change();
CREATE TRIGGER holds_kept BEFORE DELETE OR TRUNCATE ON pixshift.holds
    FOR EACH STATEMENT EXECUTE FUNCTION pixshift.refuse_change();
CREATE TRIGGER grants_kept BEFORE DELETE OR TRUNCATE ON pixshift.grants
    FOR EACH STATEMENT EXECUTE FUNCTION pixshift.refuse_change();
CREATE TRIGGER wallets_kept BEFORE DELETE OR TRUNCATE ON pixshift.wallets
    FOR EACH STATEMENT EXECUTE FUNCTION pixshift.refuse_change();

CREATE FUNCTION pixshift.hold_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> OLD.id OR NEW.user_id <> OLD.user_id OR NEW.amount <> OLD.amount
       OR NEW.scope <> OLD.scope OR NEW.key <> OLD.key OR NEW.created_at <> OLD.created_at THEN
        RAISE EXCEPTION 'the owner, amount, scope and key of hold % are fixed', OLD.id
            USING ERRCODE = 'PX403';
    END IF;
    -- A final hold keeps its state; a captured one may only count what is given back.
    IF OLD.state <> 'pending'
       AND (OLD.state <> 'captured' OR NEW.state <> 'captured' OR NEW.captured <> OLD.captured
            OR NEW.ended_at <> OLD.ended_at OR NEW.reason IS DISTINCT FROM OLD.reason
            OR NEW.refunded < OLD.refunded) THEN
        RAISE EXCEPTION 'hold % is % and cannot change', OLD.id, OLD.state USING ERRCODE = 'PX403';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER hold_guard BEFORE UPDATE ON pixshift.holds
    FOR EACH ROW EXECUTE FUNCTION pixshift.hold_guard();

CREATE FUNCTION pixshift.grant_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the owner, kind, amount, expiry and key of grant % are fixed', OLD.id
        USING ERRCODE = 'PX403';
END
$$;
CREATE TRIGGER grant_guard BEFORE UPDATE OF id, user_id, kind, scope, amount, expires_at, created_at, key
    ON pixshift.grants FOR EACH ROW EXECUTE FUNCTION pixshift.grant_guard();

-- At commit a wallet must agree with its entries, grants and pending holds.  This about halves the
-- throughput: on unless the setting pixshift.credit_check is 'off' (ALTER DATABASE … SET, or
-- options=-c in the connection string).
CREATE FUNCTION pixshift.wallet_check() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    w    pixshift.wallets;
    last record;
    g    record;
    pending bigint;
BEGIN
    SELECT * INTO w FROM pixshift.wallets WHERE user_id = NEW.user_id;
    SELECT e.seq, e.balance_after, e.hash INTO last FROM pixshift.ledger_entries e
     WHERE e.user_id = w.user_id ORDER BY e.seq DESC LIMIT 1;
    SELECT coalesce(sum(remaining), 0) AS remaining, coalesce(sum(held), 0) AS held INTO g
      FROM pixshift.grants WHERE user_id = w.user_id AND open;
    SELECT coalesce(sum(amount), 0) INTO pending FROM pixshift.holds
     WHERE user_id = w.user_id AND state = 'pending';
    IF (w.last_seq, w.posted, w.last_hash)
           IS DISTINCT FROM (coalesce(last.seq, 0), coalesce(last.balance_after, 0),
                             coalesce(last.hash, ''::bytea))
       OR g.remaining <> w.posted OR g.held <> w.held OR pending <> w.held THEN
        RAISE EXCEPTION 'wallet % is inconsistent', w.user_id
            USING ERRCODE = 'PX500', DETAIL = format(
                'posted %s, held %s, seq %s; last entry %s at seq %s; grants %s, held %s; pending %s',
                w.posted, w.held, w.last_seq, last.balance_after, last.seq, g.remaining, g.held,
                pending);
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER wallet_check AFTER INSERT OR UPDATE ON pixshift.wallets
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (coalesce(current_setting('pixshift.credit_check', true), '') <> 'off')
    EXECUTE FUNCTION pixshift.wallet_check();

-- ---------------------------------------------------------------------------------------------
-- Inside.  These expect the wallet's row to be locked by the caller and are not granted to anybody.

-- The chain: each entry's hash covers the one before it and every column of its own row.  A composite's
-- text form quotes, so that no two rows can spell alike.
CREATE FUNCTION pixshift.ledger_hash(prev bytea, user_id uuid, seq bigint, kind text, source text,
                                     amount bigint, balance_after bigint, held_after bigint,
                                     hold_id uuid, idem text, reference_type text, reference_id text,
                                     note text, created_at timestamptz)
RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(prev || convert_to(ROW(user_id, seq, kind, source, amount, balance_after, held_after,
                                         hold_id, idem, reference_type, reference_id, note,
                                         pixshift.usec(created_at))::text, 'UTF8'))
$$;

-- Appends one entry and moves the wallet with it.
CREATE FUNCTION pixshift.credit_post(p_user uuid, p_kind text, p_source text, p_amount bigint,
                                     p_used bigint, p_hold uuid, p_idem text, p_ref_type text,
                                     p_ref_id text, p_note text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    w  pixshift.wallets;
    at timestamptz := pixshift.now();
    h  bytea;
BEGIN
    SELECT * INTO w FROM pixshift.wallets WHERE user_id = p_user;
    h := pixshift.ledger_hash(w.last_hash, p_user, w.last_seq + 1, p_kind, p_source, p_amount,
                              w.posted + p_amount, w.held, p_hold, p_idem, p_ref_type, p_ref_id,
                              p_note, at);
    INSERT INTO pixshift.ledger_entries
    VALUES (p_user, w.last_seq + 1, p_kind, p_source, p_amount, w.posted + p_amount, w.held, p_hold,
            p_idem, p_ref_type, p_ref_id, p_note, at, w.last_hash, h);
    UPDATE pixshift.wallets
       SET posted = posted + p_amount, total_used = total_used + p_used,
           last_seq = last_seq + 1, last_hash = h
     WHERE user_id = p_user;
END
$$;

-- Takes away what is free in grants that are past their time. What a hold has reserved stays until the
-- hold ends.
CREATE FUNCTION pixshift.credit_expire_user(p_user uuid) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    g record;
    seq bigint;
    total bigint := 0;
BEGIN
    FOR g IN SELECT id, kind, remaining - held AS free FROM pixshift.grants
              WHERE user_id = p_user AND open AND expires_at <= pixshift.now() AND remaining > held
              ORDER BY expires_at, id
    LOOP
        SELECT last_seq + 1 INTO seq FROM pixshift.wallets WHERE user_id = p_user;
        UPDATE pixshift.grants SET remaining = held WHERE id = g.id;
        PERFORM pixshift.credit_post(p_user, 'expire', g.kind, -g.free, 0, NULL,
                                     'expire:' || g.id || ':' || seq, 'grant', g.id::text, NULL);
        total := total + g.free;
    END LOOP;
    RETURN total;
END
$$;

CREATE FUNCTION pixshift.credit_add(p_user uuid, p_kind text, p_amount bigint, p_scope text,
                                    p_expires timestamptz, p_key text, p_ref_type text,
                                    p_ref_id text, p_note text)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    new_id uuid;
BEGIN
    INSERT INTO pixshift.grants (user_id, kind, scope, amount, remaining, expires_at, key)
    VALUES (p_user, p_kind, p_scope, p_amount, p_amount, p_expires, p_key)
    RETURNING id INTO new_id;
    PERFORM pixshift.credit_post(p_user, 'grant', p_kind, p_amount, 0, NULL, 'grant:' || p_key,
                                 p_ref_type, p_ref_id, p_note);
    RETURN new_id;
END
$$;

-- Today's free credits, once per UTC day: yesterday's remainder goes by an entry of its own, so that
-- the daily allowance is set, never added up (C-9, D-5).
CREATE FUNCTION pixshift.credit_new_day(p_user uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    today date := (pixshift.now() AT TIME ZONE 'UTC')::date;
    gift  bigint;
BEGIN
    PERFORM pixshift.credit_expire_user(p_user);
    UPDATE pixshift.wallets SET daily_on = today
     WHERE user_id = p_user AND (daily_on IS NULL OR daily_on < today);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT daily_free INTO gift FROM pixshift.credit_profile;
    IF gift > 0 THEN
        PERFORM pixshift.credit_add(p_user, 'daily_free', gift, 'any',
                                    (today + 1)::timestamp AT TIME ZONE 'UTC',
                                    'daily:' || p_user || ':' || today, 'daily', today::text, NULL);
    END IF;
    RETURN true;
END
$$;

CREATE FUNCTION pixshift.credit_lock(p_user uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM pixshift.wallets WHERE user_id = p_user FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'user % has no wallet', p_user USING ERRCODE = 'PX404';
    END IF;
END
$$;

-- ---------------------------------------------------------------------------------------------
-- The functions that the service calls.  They run with the owner's rights: the service's role can
-- read these tables but change them in no other way.  All access is by key, and a plan lives as long
-- as its session: so plans are made once (planning anew for each array costs more than the work), and
-- without sequential scans and hash joins, which look cheap while the tables are small.

-- A wallet with the gifts of the deployment's profile. Repeating it changes nothing.
CREATE FUNCTION pixshift.credit_init_user(p_user uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    profile pixshift.credit_profile;
BEGIN
    INSERT INTO pixshift.wallets (user_id) VALUES (p_user) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO profile FROM pixshift.credit_profile;
    IF profile.lifetime_free > 0 THEN
        PERFORM pixshift.credit_add(p_user, 'lifetime_free', profile.lifetime_free, 'transformation',
                                    NULL, 'lifetime:' || p_user, 'signup', NULL, NULL);
    END IF;
    IF profile.initial > 0 THEN
        PERFORM pixshift.credit_add(p_user, 'promo', profile.initial, 'any', NULL,
                                    'initial:' || p_user, 'signup', NULL, NULL);
    END IF;
    PERFORM pixshift.credit_new_day(p_user);
END
$$;

-- Adds credits. The same key again returns the first grant; with other facts it is PX409.
CREATE FUNCTION pixshift.credit_grant(p_user uuid, p_kind text, p_amount bigint, p_scope text,
                                      p_expires timestamptz, p_key text, p_ref_type text,
                                      p_ref_id text, p_note text)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    g pixshift.grants;
BEGIN
    IF p_amount IS NULL OR p_amount < 1 OR p_key IS NULL THEN
        RAISE EXCEPTION 'a grant needs an amount of at least 1 and a key' USING ERRCODE = 'PX422';
    END IF;
    PERFORM pixshift.credit_lock(p_user);
    SELECT * INTO g FROM pixshift.grants WHERE key = p_key;
    IF NOT FOUND THEN
        RETURN pixshift.credit_add(p_user, p_kind, p_amount, p_scope, p_expires, p_key, p_ref_type,
                                   p_ref_id, p_note);
    END IF;
    IF (g.user_id, g.kind, g.amount, g.scope) <> (p_user, p_kind, p_amount, p_scope) THEN
        RAISE EXCEPTION 'key % was used for another grant', p_key USING ERRCODE = 'PX409';
    END IF;
    RETURN g.id;
END
$$;

-- Makes today's free credits when they are due and expires what is due; true when it was a new day.
CREATE FUNCTION pixshift.credit_daily(p_user uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pixshift.credit_lock(p_user);
    RETURN pixshift.credit_new_day(p_user);
END
$$;

-- Expires due grants of up to p_limit users; returns how many credits went. For the worker's timer.
CREATE FUNCTION pixshift.credit_expire(p_limit integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    u     uuid;
    total bigint := 0;
BEGIN
    FOR u IN SELECT w.user_id FROM pixshift.wallets w
              WHERE w.user_id IN (SELECT g.user_id FROM pixshift.grants g
                                   WHERE g.open AND g.expires_at <= pixshift.now()
                                     AND g.remaining > g.held LIMIT p_limit)
              ORDER BY w.user_id FOR NO KEY UPDATE OF w SKIP LOCKED
    LOOP
        total := total + pixshift.credit_expire_user(u);
    END LOOP;
    RETURN total;
END
$$;

-- Reserves credits: one call, under the wallet's lock. Burn order: a grant made for this scope before
-- one for any, then the soonest expiry, then the oldest.
CREATE FUNCTION pixshift.credit_hold(p_user uuid, p_amount bigint, p_scope text, p_key text)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    w      record;
    h      record;
    g      record;
    at     timestamptz := pixshift.now();
    new_id uuid;
    need   bigint := p_amount;
    have   bigint := 0;
    due    boolean := false;
    ids    uuid[] := '{}';
    takes  bigint[] := '{}';
BEGIN
    IF p_amount IS NULL OR p_amount < 0 OR p_scope IS NULL OR p_key IS NULL THEN
        RAISE EXCEPTION 'a hold needs an amount of at least 0, a scope and a key'
            USING ERRCODE = 'PX422';
    END IF;
    SELECT held, daily_on INTO w FROM pixshift.wallets WHERE user_id = p_user FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'user % has no wallet', p_user USING ERRCODE = 'PX404';
    END IF;
    SELECT id, user_id, amount, scope INTO h FROM pixshift.holds WHERE key = p_key;
    IF FOUND THEN
        IF h.user_id <> p_user OR h.amount <> p_amount OR h.scope <> p_scope THEN
            RAISE EXCEPTION 'key % was used for another hold', p_key USING ERRCODE = 'PX409';
        END IF;
        RETURN h.id;
    END IF;
    IF w.daily_on IS NULL OR w.daily_on < (at AT TIME ZONE 'UTC')::date THEN
        PERFORM pixshift.credit_new_day(p_user);
    END IF;
    FOR g IN SELECT id, remaining - held AS free, expires_at FROM pixshift.grants
              WHERE user_id = p_user AND open AND remaining > held AND scope IN (p_scope, 'any')
              ORDER BY (scope = 'any'), expires_at NULLS LAST, created_at, id
    LOOP
        IF g.expires_at <= at THEN
            due := true;
        ELSE
            have := have + g.free;
            IF need > 0 THEN
                ids := ids || g.id;
                takes := takes || least(need, g.free);
                need := need - least(need, g.free);
            END IF;
        END IF;
    END LOOP;
    IF need > 0 THEN
        RAISE EXCEPTION 'not enough credits' USING ERRCODE = 'PX402', DETAIL = format(
            '{"required":%s,"available":%s,"held":%s}', p_amount, have, w.held);
    END IF;
    IF due THEN
        PERFORM pixshift.credit_expire_user(p_user);
    END IF;
    new_id := pixshift.uuid7();
    -- Nearly every hold has one line; it and the hold and the wallet are written in one statement.
    WITH a AS (
        INSERT INTO pixshift.holds (id, user_id, amount, scope, key, created_at)
        VALUES (new_id, p_user, p_amount, p_scope, p_key, at)
    ), b AS (
        UPDATE pixshift.grants SET held = held + takes[1] WHERE id = ids[1] RETURNING id
    ), c AS (
        INSERT INTO pixshift.hold_lines (hold_id, n, grant_id, amount)
        SELECT new_id, 1, id, takes[1] FROM b
    )
    UPDATE pixshift.wallets SET held = held + p_amount WHERE user_id = p_user;
    FOR i IN 2 .. cardinality(ids) LOOP
        UPDATE pixshift.grants SET held = held + takes[i] WHERE id = ids[i];
        INSERT INTO pixshift.hold_lines VALUES (new_id, i, ids[i], takes[i]);
    END LOOP;
    RETURN new_id;
END
$$;

-- Ends many holds of many users at once: captures amounts[i] of holds[i] (NULL releases all of it; what
-- is not captured goes back to the same grants, and expires at once where their time is over).
-- refs[i] names the cause in the entry. A hold that ended in this very way already is passed over; one
-- that ended otherwise is PX409. Returns how many were ended now.
CREATE FUNCTION pixshift.credit_settle_batch(p_holds uuid[], p_amounts bigint[], p_refs text[],
                                             p_ref_type text DEFAULT 'job',
                                             p_reason text DEFAULT NULL)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_hashjoin = off
SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    at    timestamptz := pixshift.now();
    h     record;
    l     record;
    seen  integer := 0;
    done  integer := 0;
    last_hold uuid;
    -- the wallet being worked on
    u     uuid;
    posted bigint; held bigint; used bigint; seq bigint; chain bytea;
    take  bigint; left_ bigint; part bigint;
    -- entries made by one hold: at most one usage and one expiry per line
    k text; src text; amt bigint; idem text; note_ text; prev bytea;
    -- collected changes
    h_id uuid[] := '{}'; h_state text[] := '{}'; h_cap bigint[] := '{}';
    g_id uuid[] := '{}'; g_rem bigint[] := '{}'; g_held bigint[] := '{}';
    w_id uuid[] := '{}'; w_posted bigint[] := '{}'; w_held bigint[] := '{}'; w_used bigint[] := '{}';
    w_seq bigint[] := '{}'; w_hash bytea[] := '{}';
    e pixshift.ledger_entries[] := '{}';
BEGIN
    FOR h IN
        SELECT o.id, o.user_id, o.amount, o.state, o.captured, i.take, i.ref,
               w.posted, w.held, w.total_used, w.last_seq, w.last_hash
          FROM unnest(p_holds, p_amounts, p_refs) AS i (hold, take, ref)
          JOIN pixshift.holds o ON o.id = i.hold
          JOIN pixshift.wallets w ON w.user_id = o.user_id
         ORDER BY o.user_id, o.id
           FOR UPDATE OF o FOR NO KEY UPDATE OF w
    LOOP
        seen := seen + 1;
        IF h.id = last_hold THEN
            RAISE EXCEPTION 'hold % is named twice', h.id USING ERRCODE = 'PX422';
        END IF;
        last_hold := h.id;
        IF h.take < 0 OR h.take > h.amount THEN
            RAISE EXCEPTION 'hold % has %, cannot capture %', h.id, h.amount, h.take
                USING ERRCODE = 'PX422';
        END IF;
        IF h.state <> 'pending' THEN
            IF h.take IS NULL AND h.state <> 'captured'
               OR h.take IS NOT NULL AND h.state = 'captured' AND h.captured = h.take THEN
                CONTINUE;
            END IF;
            RAISE EXCEPTION 'hold % is % already', h.id, h.state USING ERRCODE = 'PX409';
        END IF;
        IF u IS DISTINCT FROM h.user_id THEN
            IF u IS NOT NULL THEN
                w_id := w_id || u; w_posted := w_posted || posted; w_held := w_held || held;
                w_used := w_used || used; w_seq := w_seq || seq; w_hash := w_hash || chain;
            END IF;
            u := h.user_id; posted := h.posted; held := h.held; used := h.total_used;
            seq := h.last_seq; chain := h.last_hash;
        END IF;
        done := done + 1;
        take := coalesce(h.take, 0);
        held := held - h.amount;
        h_id := h_id || h.id;
        h_cap := h_cap || take;
        h_state := h_state || CASE WHEN h.take IS NOT NULL THEN 'captured'
                                   WHEN p_reason = 'expired' THEN 'expired' ELSE 'released' END;
        IF take > 0 THEN
            seq := seq + 1;
            posted := posted - take;
            used := used + take;
            prev := chain;
            idem := 'capture:' || h.id;
            chain := pixshift.ledger_hash(prev, u, seq, 'usage', 'hold', -take, posted, held, h.id,
                                          idem, p_ref_type, h.ref, p_reason, at);
            e := e || ROW(u, seq, 'usage', 'hold', -take, posted, held, h.id, idem, p_ref_type, h.ref,
                          p_reason, at, prev, chain)::pixshift.ledger_entries;
        END IF;
        left_ := take;
        FOR l IN SELECT x.grant_id, x.amount, g.kind, g.expires_at
                   FROM pixshift.hold_lines x JOIN pixshift.grants g ON g.id = x.grant_id
                  WHERE x.hold_id = h.id ORDER BY x.n
        LOOP
            part := least(left_, l.amount);
            left_ := left_ - part;
            IF part < l.amount AND l.expires_at <= at THEN
                seq := seq + 1;
                posted := posted - (l.amount - part);
                prev := chain;
                idem := 'expire:' || l.grant_id || ':' || seq;
                chain := pixshift.ledger_hash(prev, u, seq, 'expire', l.kind, part - l.amount, posted,
                                              held, h.id, idem, 'grant', l.grant_id::text, NULL, at);
                e := e || ROW(u, seq, 'expire', l.kind, part - l.amount, posted, held, h.id, idem,
                              'grant', l.grant_id::text, NULL, at, prev,
                              chain)::pixshift.ledger_entries;
                part := l.amount;
            END IF;
            g_id := g_id || l.grant_id; g_rem := g_rem || part; g_held := g_held || l.amount;
        END LOOP;
    END LOOP;
    IF seen <> cardinality(p_holds) THEN
        RAISE EXCEPTION 'of % holds only % exist', cardinality(p_holds), seen USING ERRCODE = 'PX404';
    END IF;
    IF done = 0 THEN
        RETURN 0;
    END IF;
    w_id := w_id || u; w_posted := w_posted || posted; w_held := w_held || held;
    w_used := w_used || used; w_seq := w_seq || seq; w_hash := w_hash || chain;
    WITH a AS (
        UPDATE pixshift.holds o
           SET state = x.state, captured = x.cap, ended_at = at, reason = p_reason
          FROM unnest(h_id, h_state, h_cap) AS x (id, state, cap) WHERE o.id = x.id
    ), b AS (
        UPDATE pixshift.grants g SET remaining = g.remaining - x.rem, held = g.held - x.held
          FROM (SELECT y.id, sum(y.rem) AS rem, sum(y.held) AS held
                  FROM unnest(g_id, g_rem, g_held) AS y (id, rem, held) GROUP BY y.id) x
         WHERE g.id = x.id
    ), c AS (
        INSERT INTO pixshift.ledger_entries SELECT * FROM unnest(e)
    )
    UPDATE pixshift.wallets w
       SET posted = x.posted, held = x.held, total_used = x.used, last_seq = x.seq, last_hash = x.hash
      FROM unnest(w_id, w_posted, w_held, w_used, w_seq, w_hash)
           AS x (id, posted, held, used, seq, hash)
     WHERE w.user_id = x.id;
    RETURN done;
END
$$;

-- One hold. p_amount ≤ held is taken, the rest released; final.
CREATE FUNCTION pixshift.credit_capture(p_hold uuid, p_amount bigint, p_ref_type text, p_ref_id text)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_amount IS NULL THEN
        RAISE EXCEPTION 'a capture needs an amount' USING ERRCODE = 'PX422';
    END IF;
    RETURN pixshift.credit_settle_batch(ARRAY[p_hold], ARRAY[p_amount], ARRAY[p_ref_id],
                                        p_ref_type) = 1;
END
$$;

CREATE FUNCTION pixshift.credit_release(p_hold uuid, p_reason text)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN pixshift.credit_settle_batch(ARRAY[p_hold], ARRAY[NULL]::bigint[], ARRAY[NULL]::text[],
                                        NULL, p_reason) = 1;
END
$$;

-- Gives captured credits back, at most what was captured, the last burned first: into the grant they
-- came from, or, when its time is over, into a new grant of kind refund with the same scope and no
-- expiry. So nobody loses by a late refund and a bound credit never turns into a free one.
CREATE FUNCTION pixshift.credit_refund(p_hold uuid, p_amount bigint, p_key text, p_note text)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    h     pixshift.holds;
    l     record;
    at    timestamptz := pixshift.now();
    first record;
    low   bigint;      -- the refunded credits are those from low to high of the captured ones
    high  bigint;
    back  bigint;
BEGIN
    IF p_amount IS NULL OR p_amount < 1 OR p_key IS NULL THEN
        RAISE EXCEPTION 'a refund needs an amount of at least 1 and a key' USING ERRCODE = 'PX422';
    END IF;
    SELECT * INTO h FROM pixshift.holds WHERE id = p_hold FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no hold %', p_hold USING ERRCODE = 'PX404';
    END IF;
    PERFORM pixshift.credit_lock(h.user_id);
    SELECT hold_id, amount INTO first FROM pixshift.ledger_entries WHERE idem = 'refund:' || p_key;
    IF FOUND THEN
        IF first.hold_id <> p_hold OR first.amount <> p_amount THEN
            RAISE EXCEPTION 'key % was used for another refund', p_key USING ERRCODE = 'PX409';
        END IF;
        RETURN false;
    END IF;
    IF h.refunded + p_amount > h.captured THEN
        RAISE EXCEPTION 'of % captured credits % are refunded, % more is too much', h.captured,
            h.refunded, p_amount USING ERRCODE = 'PX409';
    END IF;
    high := h.captured - h.refunded;
    low := high - p_amount;
    FOR l IN SELECT x.n, x.grant_id, x.amount, g.kind, g.scope, g.expires_at,
                    (sum(x.amount) OVER (ORDER BY x.n) - x.amount)::bigint AS start
               FROM pixshift.hold_lines x JOIN pixshift.grants g ON g.id = x.grant_id
              WHERE x.hold_id = p_hold ORDER BY x.n DESC
    LOOP
        back := least(high, l.start + l.amount) - greatest(low, l.start);
        CONTINUE WHEN back <= 0;
        IF l.expires_at <= at THEN
            INSERT INTO pixshift.grants (user_id, kind, scope, amount, remaining, key)
            VALUES (h.user_id, 'refund', l.scope, back, back, 'refund:' || p_key || ':' || l.n);
        ELSE
            UPDATE pixshift.grants SET remaining = remaining + back WHERE id = l.grant_id;
        END IF;
    END LOOP;
    UPDATE pixshift.holds SET refunded = refunded + p_amount WHERE id = p_hold;
    SELECT reference_type, reference_id INTO first FROM pixshift.ledger_entries
     WHERE hold_id = p_hold AND kind = 'usage';
    PERFORM pixshift.credit_post(h.user_id, 'refund', 'hold', p_amount, -p_amount, p_hold,
                                 'refund:' || p_key, first.reference_type, first.reference_id, p_note);
    RETURN true;
END
$$;

-- ---------------------------------------------------------------------------------------------
-- Rights: nobody but the owner calls the inner functions; the service reads and calls, it never writes.
REVOKE EXECUTE ON FUNCTION
    pixshift.credit_post(uuid, text, text, bigint, bigint, uuid, text, text, text, text),
    pixshift.credit_expire_user(uuid), pixshift.credit_new_day(uuid), pixshift.credit_lock(uuid),
    pixshift.credit_add(uuid, text, bigint, text, timestamptz, text, text, text, text),
    pixshift.credit_init_user(uuid), pixshift.credit_daily(uuid), pixshift.credit_expire(integer),
    pixshift.credit_grant(uuid, text, bigint, text, timestamptz, text, text, text, text),
    pixshift.credit_hold(uuid, bigint, text, text), pixshift.credit_release(uuid, text),
    pixshift.credit_capture(uuid, bigint, text, text),
    pixshift.credit_refund(uuid, bigint, text, text),
    pixshift.credit_settle_batch(uuid[], bigint[], text[], text, text)
    FROM PUBLIC;

CREATE FUNCTION pixshift.grant_app_credit(app_role name) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON pixshift.wallets, pixshift.grants,
                    pixshift.holds, pixshift.hold_lines, pixshift.ledger_entries FROM %I', app_role);
    EXECUTE format('REVOKE EXECUTE ON FUNCTION
                    pixshift.credit_post(uuid, text, text, bigint, bigint, uuid, text, text, text, text),
                    pixshift.credit_expire_user(uuid), pixshift.credit_new_day(uuid),
                    pixshift.credit_lock(uuid),
                    pixshift.credit_add(uuid, text, bigint, text, timestamptz, text, text, text, text)
                    FROM %I', app_role);
END
$$;
REVOKE EXECUTE ON FUNCTION pixshift.grant_app_credit(name) FROM PUBLIC;
