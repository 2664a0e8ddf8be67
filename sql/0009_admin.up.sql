-- The audit log (docs/internals/admin.md): who did what, appended in the transaction of the act.
--
-- Rows are chained by hash in 16 chains, so that admins do not wait for each other; each chain's head
-- is a row that is locked last of all in a transaction.  The service's role can read and append
-- (through audit_put alone), nothing else; triggers refuse the rest even to the owner.
CREATE TABLE pixshift.audit_log (
    id          uuid PRIMARY KEY,
    chain       smallint NOT NULL CHECK (chain BETWEEN 0 AND 15),
    seq         bigint NOT NULL CHECK (seq > 0),
    admin_id    uuid,                  -- no foreign key: the row outlives the person (C-41)
    admin_email text,                  -- or "ctl:<login name>", "system"
    action      text NOT NULL CHECK (action ~ '^[a-z_]+(\.[a-z_]+)+$' AND length(action) <= 64),
    entity_type text NOT NULL CHECK (entity_type ~ '^[A-Z][A-Z_]{0,39}$'),
    entity_id   text CHECK (length(entity_id) <= 128),
    old_value   jsonb,
    new_value   jsonb,
    ip_address  text CHECK (length(ip_address) <= 64),
    user_agent  text CHECK (length(user_agent) <= 400),
    request_id  text CHECK (length(request_id) <= 128),
    created_at  timestamptz NOT NULL,
    prev_hash   bytea NOT NULL,
    hash        bytea NOT NULL CHECK (length(hash) = 32),
    UNIQUE (chain, seq)
);
CREATE INDEX audit_log_admin ON pixshift.audit_log (admin_id);
CREATE INDEX audit_log_created ON pixshift.audit_log (created_at DESC, id DESC);
CREATE INDEX audit_log_entity ON pixshift.audit_log (entity_type, entity_id);
CREATE INDEX audit_log_action ON pixshift.audit_log (action);

CREATE TRIGGER audit_log_fixed BEFORE UPDATE OR DELETE ON pixshift.audit_log
    FOR EACH ROW EXECUTE FUNCTION pixshift.refuse_change();
CREATE TRIGGER audit_log_kept BEFORE TRUNCATE ON pixshift.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION pixshift.refuse_change();

-- The last link of each chain: without it, cutting off a chain's end could not be seen.
CREATE TABLE pixshift.audit_heads (
    chain smallint PRIMARY KEY CHECK (chain BETWEEN 0 AND 15),
    seq   bigint NOT NULL DEFAULT 0,
    hash  bytea NOT NULL DEFAULT '\x'
) WITH (fillfactor = 50);
INSERT INTO pixshift.audit_heads (chain) SELECT generate_series(0, 15);

CREATE FUNCTION pixshift.audit_hash(r pixshift.audit_log) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(r.prev_hash || convert_to(ROW(r.id, r.chain, r.seq, r.admin_id, r.admin_email,
        r.action, r.entity_type, r.entity_id, r.old_value, r.new_value, r.ip_address, r.user_agent,
        r.request_id, pixshift.usec(r.created_at))::text, 'UTF8'))
$$;

CREATE FUNCTION pixshift.audit_put(p_admin uuid, p_email text, p_action text, p_type text, p_id text,
                                   p_old jsonb, p_new jsonb, p_ip text, p_agent text, p_request text)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r    pixshift.audit_log;
    head pixshift.audit_heads;
BEGIN
    r.id := pixshift.uuid7();
    r.chain := get_byte(uuid_send(r.id), 15) & 15;
    SELECT * INTO STRICT head FROM pixshift.audit_heads WHERE chain = r.chain FOR UPDATE;
    r.seq := head.seq + 1;
    r.admin_id := p_admin;
    r.admin_email := p_email;
    r.action := p_action;
    r.entity_type := p_type;
    r.entity_id := p_id;
    r.old_value := p_old;
    r.new_value := p_new;
    r.ip_address := left(p_ip, 64);
    r.user_agent := left(p_agent, 400);
    r.request_id := left(p_request, 128);
    r.created_at := pixshift.now();
    r.prev_hash := head.hash;
    r.hash := pixshift.audit_hash(r);
    INSERT INTO pixshift.audit_log SELECT (r).*;
    UPDATE pixshift.audit_heads SET seq = r.seq, hash = r.hash WHERE chain = r.chain;
    RETURN r.id;
END
$$;
REVOKE EXECUTE ON FUNCTION pixshift.audit_put(uuid, text, text, text, text, jsonb, jsonb, text, text,
                                              text) FROM PUBLIC;

-- Among the invariants that ledger_verify() runs: changed rows, missing rows, a cut-off end.
CREATE VIEW pixshift.violation_audit_chain AS
SELECT 'audit ' || x.chain || ' ' || x.seq AS subject,
       CASE WHEN x.seq <> x.prev_seq + 1 THEN format('follows number %s', x.prev_seq)
            WHEN x.prev_hash <> x.before THEN 'does not follow the row before it'
            ELSE 'its content is not what was hashed' END AS detail
  FROM (SELECT a.chain, a.seq, a.prev_hash, a.hash, pixshift.audit_hash(a) AS should,
               coalesce(lag(a.hash) OVER w, ''::bytea) AS before,
               coalesce(lag(a.seq) OVER w, 0) AS prev_seq
          FROM pixshift.audit_log a WINDOW w AS (PARTITION BY a.chain ORDER BY a.seq)) x
 WHERE x.seq <> x.prev_seq + 1 OR x.prev_hash <> x.before OR x.hash <> x.should
UNION ALL
SELECT 'audit ' || h.chain, format('the head is number %s, the last row %s', h.seq, coalesce(l.seq, 0))
  FROM pixshift.audit_heads h
  LEFT JOIN LATERAL (SELECT seq, hash FROM pixshift.audit_log a WHERE a.chain = h.chain
                      ORDER BY seq DESC LIMIT 1) l ON true
 WHERE (h.seq, h.hash) IS DISTINCT FROM (coalesce(l.seq, 0), coalesce(l.hash, ''::bytea));

-- Money that came in, one row per payment minus its refunds, in units of its currency. Payments come
-- with a later migration, which replaces this view; until then there are none.
CREATE VIEW pixshift.revenue AS
SELECT NULL::uuid AS user_id, NULL::numeric(20, 2) AS amount, NULL::text AS currency,
       NULL::timestamptz AS paid_at
 WHERE false;

CREATE FUNCTION pixshift.grant_app_admin(app_role name) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON pixshift.audit_log FROM %I', app_role);
    EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON pixshift.audit_heads FROM %I', app_role);
END
$$;
REVOKE EXECUTE ON FUNCTION pixshift.grant_app_admin(name) FROM PUBLIC;
