-- What became of requests that carried an Idempotency-Key; kept for 24 hours.
CREATE TABLE pixshift.idempotency (
    subject      text NOT NULL CHECK (length(subject) BETWEEN 3 AND 200),  -- user:<uuid> or ip:<address>
    key          text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    route        text NOT NULL CHECK (length(route) <= 300),
    digest       text NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),  -- of method, path, query and body
    owner        text NOT NULL,             -- who runs it; only that one may finish it
    state        text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done')),
    status       integer CHECK (status BETWEEN 100 AND 599),
    headers      jsonb,
    body         text,                      -- sealed; NULL when the reply was too large to keep
    created_at   timestamptz NOT NULL DEFAULT pixshift.now(),
    -- A request that has not ended by now died; a repetition may take its key over.
    locked_until timestamptz NOT NULL DEFAULT pixshift.now() + interval '15 seconds',
    expires_at   timestamptz NOT NULL DEFAULT pixshift.now() + interval '24 hours',
    PRIMARY KEY (subject, key),
    CHECK ((state = 'done') = (status IS NOT NULL))
);
CREATE INDEX idempotency_expired ON pixshift.idempotency (expires_at);
