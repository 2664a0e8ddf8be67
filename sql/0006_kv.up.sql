-- The durable backend of the cache: small values with an expiry, and rate limits that hold across
-- machines. Nothing here is the only copy of anything that matters.
CREATE TABLE pixshift.kv (
    key        text PRIMARY KEY CHECK (length(key) BETWEEN 1 AND 200),
    value      bytea NOT NULL CHECK (length(value) <= 4096),
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX kv_expired ON pixshift.kv (expires_at);

-- GCRA: tat is the theoretical arrival time of the next event, in nanoseconds since 1970.
CREATE TABLE pixshift.rate (
    key text PRIMARY KEY CHECK (length(key) BETWEEN 1 AND 200),
    tat bigint NOT NULL
) WITH (fillfactor = 70);

-- Now plus a time to live in milliseconds; never beyond a century.
CREATE FUNCTION pixshift.kv_expiry(ttl_ms bigint) RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT pixshift.now() + least(ttl_ms, 3155760000000) * interval '1 millisecond'
$$;

-- Adds to a counter kept as decimal text; the expiry of a live counter stays, so that its window
-- begins with its first event.
CREATE FUNCTION pixshift.kv_add(p_key text, p_delta bigint, p_ttl_ms bigint) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    INSERT INTO pixshift.kv AS k (key, value, expires_at)
    VALUES (p_key, convert_to(p_delta::text, 'UTF8'), pixshift.kv_expiry(p_ttl_ms))
    ON CONFLICT (key) DO UPDATE SET
        value = CASE WHEN k.expires_at <= pixshift.now() THEN EXCLUDED.value
                     ELSE convert_to((convert_from(k.value, 'UTF8')::bigint + p_delta)::text, 'UTF8') END,
        expires_at = CASE WHEN k.expires_at <= pixshift.now() THEN EXCLUDED.expires_at
                          ELSE k.expires_at END
    RETURNING convert_from(value, 'UTF8')::bigint
$$;

-- One take. Returns the arrival time before it (0 for an unknown key) and the time it was decided at,
-- from which the caller computes the same verdict. The locked row makes takes follow each other.
CREATE FUNCTION pixshift.rate_take(p_key text, p_step bigint, p_burst bigint, p_cost bigint,
                                   OUT tat bigint, OUT now bigint)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    ahead bigint;
BEGIN
    IF p_cost > 0 THEN
        INSERT INTO pixshift.rate AS r (key, tat) VALUES (p_key, 0) ON CONFLICT (key) DO NOTHING;
        SELECT r.tat INTO rate_take.tat FROM pixshift.rate r WHERE r.key = p_key FOR UPDATE;
    ELSE
        SELECT r.tat INTO rate_take.tat FROM pixshift.rate r WHERE r.key = p_key;
    END IF;
    rate_take.tat := coalesce(rate_take.tat, 0);
    rate_take.now := pixshift.usec(pixshift.now()) * 1000;
    ahead := least(greatest(rate_take.tat - rate_take.now, 0), p_burst) + p_cost * p_step;
    IF p_cost > 0 AND ahead <= p_burst THEN
        UPDATE pixshift.rate r SET tat = rate_take.now + ahead WHERE r.key = p_key;
    END IF;
END
$$;

-- Removes at most p_limit expired rows of each table; returns how many.
CREATE FUNCTION pixshift.kv_purge(p_limit integer) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    WITH old AS (
        DELETE FROM pixshift.kv WHERE key IN (
            SELECT key FROM pixshift.kv WHERE expires_at <= pixshift.now()
             LIMIT p_limit FOR UPDATE SKIP LOCKED)
        RETURNING 1),
    full_again AS (
        DELETE FROM pixshift.rate WHERE key IN (
            SELECT key FROM pixshift.rate WHERE tat <= pixshift.usec(pixshift.now()) * 1000
             LIMIT p_limit FOR UPDATE SKIP LOCKED)
        RETURNING 1)
    SELECT (SELECT count(*) FROM old) + (SELECT count(*) FROM full_again)
$$;
