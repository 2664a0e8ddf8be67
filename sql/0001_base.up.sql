-- The schema, the record of migrations, the clock, ids and the rights of the running service.
CREATE SCHEMA IF NOT EXISTS pixshift;

CREATE TABLE pixshift.schema_migrations (
    version    integer PRIMARY KEY CHECK (version > 0),
    name       text NOT NULL,
    sha256     text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE pixshift.schema_migrations IS
    'One row per applied file of sql/; a changed file that is applied already is refused.';

-- The only clock that SQL of PixShift may ask: the wall clock plus the test clock's offset in
-- microseconds, which each session carries as pixshift.clock_offset (absent outside tests).
CREATE FUNCTION pixshift.now() RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT clock_timestamp() + coalesce(
        nullif(current_setting('pixshift.clock_offset', true), '')::bigint, 0)
        * interval '1 microsecond'
$$;

-- Microseconds since 1970: how times travel to C and into hashes.
CREATE FUNCTION pixshift.usec(t timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- By way of an interval: extract(… FROM timestamptz) counts as depending on the time zone, which
    -- would keep this function from being inlined.
    SELECT (extract(epoch FROM t - timestamptz 'epoch') * 1000000)::bigint
$$;

-- The way back. 0 and NULL mean "never" and give NULL.
CREATE FUNCTION pixshift.from_usec(us bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN us <> 0 THEN to_timestamp(us / 1000000.0::float8) END
$$;

-- UUIDv7 (RFC 9562): 48 bits of milliseconds, then 74 random bits; new keys go to the right end of
-- their index. Uses the real clock, so that ids stay in order when a test turns its clock back.
CREATE FUNCTION pixshift.uuid7() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(set_byte(
        overlay(uuid_send(gen_random_uuid()) PLACING
                substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                FROM 1 FOR 6),
        6, (get_byte(uuid_send(gen_random_uuid()), 6) & 15) | 112), 'hex')::uuid
$$;

-- Trigger for tables whose rows are never changed or removed.
CREATE FUNCTION pixshift.refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %.% is not allowed', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'PX403';
END
$$;

-- Gives the running service's role what it needs; the owner of the schema is another role, so that
-- the service can neither drop a trigger nor change a protected table. A slice narrows the rights of
-- its own tables in a function named pixshift.grant_app_<slice>(role name).
CREATE FUNCTION pixshift.grant_app(app_role name) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    narrower record;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA pixshift TO %I', app_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pixshift TO %I',
                   app_role);
    EXECUTE format('GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA pixshift TO %I', app_role);
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pixshift TO %I', app_role);
    EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON pixshift.schema_migrations FROM %I', app_role);
    FOR narrower IN
        SELECT p.proname FROM pg_proc p
         WHERE p.pronamespace = 'pixshift'::regnamespace AND p.proname LIKE 'grant\_app\_%'
         ORDER BY p.proname
    LOOP
        EXECUTE format('SELECT pixshift.%I(%L)', narrower.proname, app_role);
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION pixshift.grant_app(name) FROM PUBLIC;
