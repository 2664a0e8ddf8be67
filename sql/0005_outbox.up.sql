-- The outbox: what happened, written in the same transaction that made it happen. Whoever delivers
-- (webhooks, mail) reads it in order and keeps its own progress; a rolled-back change leaves no row.
CREATE TABLE pixshift.outbox (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic          text NOT NULL CHECK (topic ~ '^[a-z]+(\.[a-z_]+)+$' AND length(topic) <= 64),
    user_id        uuid,                      -- whose event it is; NULL for the platform's own
    aggregate_type text NOT NULL CHECK (length(aggregate_type) BETWEEN 1 AND 32),
    aggregate_id   text NOT NULL CHECK (length(aggregate_id) BETWEEN 1 AND 128),
    -- One cause gives one event: 'job:<id>:succeeded'.
    key            text NOT NULL UNIQUE CHECK (length(key) BETWEEN 1 AND 200),
    payload        jsonb NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL DEFAULT pixshift.now(),
    next_at        timestamptz NOT NULL DEFAULT pixshift.now(),   -- when delivery may try (again)
    attempts       integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    done_at        timestamptz,
    last_error     text CHECK (length(last_error) <= 1000)
);
-- What waits for delivery, oldest first.
CREATE INDEX outbox_due ON pixshift.outbox (next_at, id) WHERE done_at IS NULL;
CREATE INDEX outbox_aggregate ON pixshift.outbox (aggregate_type, aggregate_id);

-- What an event says is fixed once it is written; only its delivery moves on.
CREATE FUNCTION pixshift.outbox_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.topic, NEW.user_id, NEW.aggregate_type, NEW.aggregate_id, NEW.key, NEW.payload,
        NEW.created_at) IS DISTINCT FROM
       (OLD.id, OLD.topic, OLD.user_id, OLD.aggregate_type, OLD.aggregate_id, OLD.key, OLD.payload,
        OLD.created_at) THEN
        RAISE EXCEPTION 'an outbox event cannot be rewritten' USING ERRCODE = 'PX403';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER outbox_guard BEFORE UPDATE ON pixshift.outbox
    FOR EACH ROW EXECUTE FUNCTION pixshift.outbox_guard();

-- Writes one event into the caller's transaction and wakes the deliverer when that commits.
-- Returns its id; a repeated key changes nothing and returns NULL.
CREATE FUNCTION pixshift.outbox_put(p_topic text, p_user uuid, p_type text, p_id text, p_key text,
                                    p_payload jsonb)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    new_id bigint;
BEGIN
    INSERT INTO pixshift.outbox (topic, user_id, aggregate_type, aggregate_id, key, payload)
    VALUES (p_topic, p_user, p_type, p_id, p_key, coalesce(p_payload, '{}'))
    ON CONFLICT (key) DO NOTHING
    RETURNING id INTO new_id;
    IF new_id IS NOT NULL THEN
        PERFORM pg_notify('pixshift_outbox', '');
    END IF;
    RETURN new_id;
END
$$;

-- Stable columns for auditors (docs/internals/credit.md).
CREATE VIEW pixshift.audit_outbox AS
SELECT id, topic, user_id, aggregate_type, aggregate_id, key, created_at,
       done_at IS NOT NULL AS delivered, attempts
  FROM pixshift.outbox;
