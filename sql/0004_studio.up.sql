-- The studio: transformation types, prompts, images and the jobs that make images out of images
-- (docs/internals/studio.md, docs/internals/jobs.md).
--
-- A job is one row.  Lock order everywhere: job (by id), hold, wallet.  A running job belongs to the
-- holder of its lease_token; whoever comes with another token changes nothing ("fenced").
-- Refusals have SQLSTATEs of their own: PX429 a limit (DETAIL is JSON), PX404 no such row, PX409 not in
-- this state; those of the ledger pass through.

-- ---------------------------------------------------------------------------------------------
-- What users choose from.

CREATE TABLE pixshift.transformation_types (
    id              uuid PRIMARY KEY DEFAULT pixshift.uuid7(),
    name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    description     text NOT NULL DEFAULT '' CHECK (length(description) <= 1000),
    prompt_template text NOT NULL CHECK (length(prompt_template) BETWEEN 1 AND 4000),
    enabled         boolean NOT NULL DEFAULT true,
    deleted_at      timestamptz,             -- used once, so its history must still resolve (C-16)
    created_at      timestamptz NOT NULL DEFAULT pixshift.now(),
    updated_at      timestamptz NOT NULL DEFAULT pixshift.now()
);
CREATE UNIQUE INDEX transformation_types_name ON pixshift.transformation_types (lower(name))
    WHERE deleted_at IS NULL;

INSERT INTO pixshift.transformation_types (name, description, prompt_template) VALUES
    ('Sepia', 'Warm brown tones of an old photograph.',
     'Turn this photograph into an antique sepia print: warm brown tones, soft contrast, fine grain and '
     'slightly darkened corners. Keep people, objects and composition exactly as they are.'),
    ('Pencil Sketch', 'A drawing in graphite.',
     'Redraw this photograph as a detailed pencil sketch on white paper with clean outlines and '
     'hatching for the shadows. Keep faces, proportions and composition exactly as they are.'),
    ('Poster', 'Flat colours and strong outlines.',
     'Turn this photograph into a screen-printed poster: a few flat tones, bold ink outlines and a '
     'simplified background. Keep the subject recognisable and the composition as it is.'),
    ('Vivid Colours', 'Stronger colours and contrast.',
     'Make this photograph vivid: richer, more saturated colours, deeper contrast and crisp detail, '
     'while skin stays natural. Change nothing else.'),
    ('Background Blur', 'A sharp subject before a soft background.',
     'Blur the background of this photograph as a fast portrait lens would, with a shallow depth of '
     'field. Keep the main subject perfectly sharp and change nothing else.'),
    ('Golden Crown', 'A crown for whoever is in the picture.',
     'Place a realistic golden crown on the head of the main person in this photograph, fitted to the '
     'head, with light and shadow that match the scene. Change nothing else.');

-- Every change of a prompt is a new version; one version of each type is in use.
CREATE TABLE pixshift.prompts (
    id           uuid PRIMARY KEY DEFAULT pixshift.uuid7(),
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    type         text NOT NULL CHECK (type IN ('system', 'top_only', 'full_outfit')),
    content      text NOT NULL CHECK (length(content) BETWEEN 1 AND 8000),
    version      integer NOT NULL CHECK (version >= 1),
    is_active    boolean NOT NULL DEFAULT false,
    created_by   uuid,
    notes        text CHECK (length(notes) <= 1000),
    activated_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT pixshift.now(),
    UNIQUE (type, version)
);
CREATE UNIQUE INDEX prompts_active ON pixshift.prompts (type) WHERE is_active;

INSERT INTO pixshift.prompts (name, type, content, version, is_active, activated_at) VALUES
    ('System', 'system',
     'You dress a person in given garments. Keep the face, hair, body shape, pose, hands and background '
     'of the person exactly as they are. Fit each garment naturally, with true colours, pattern, '
     'folds and shadows. Return one photorealistic image.', 1, true, pixshift.now()),
    ('Top only', 'top_only',
     'Replace only the upper garment of the person with the given top. Leave trousers, skirt, shoes and '
     'accessories unchanged.', 1, true, pixshift.now()),
    ('Full outfit', 'full_outfit',
     'Replace the whole outfit of the person with the given top and, where one is given, the given '
     'bottom, so that they make one outfit. Leave shoes and accessories unchanged.', 1, true,
     pixshift.now());

-- Makes one version the active one of its type.
CREATE FUNCTION pixshift.prompt_activate(p_id uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    kind text;
BEGIN
    SELECT type INTO kind FROM pixshift.prompts WHERE id = p_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('prompt:' || kind, 0));
    UPDATE pixshift.prompts SET is_active = false WHERE type = kind AND is_active AND id <> p_id;
    UPDATE pixshift.prompts SET is_active = true, activated_at = pixshift.now()
     WHERE id = p_id AND NOT is_active;
    RETURN true;
END
$$;

-- A new version; active when asked for.
CREATE FUNCTION pixshift.prompt_add(p_type text, p_name text, p_content text, p_notes text, p_by uuid,
                                    p_active boolean) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    new_id uuid;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('prompt:' || p_type, 0));
    INSERT INTO pixshift.prompts (name, type, content, version, created_by, notes)
    SELECT p_name, p_type, p_content, coalesce(max(version), 0) + 1, p_by, p_notes
      FROM pixshift.prompts WHERE type = p_type
    RETURNING id INTO new_id;
    IF p_active THEN
        PERFORM pixshift.prompt_activate(new_id);
    END IF;
    RETURN new_id;
END
$$;

-- ---------------------------------------------------------------------------------------------
-- Images: objects of the storage plugin.  The row comes before the object (state pending), so that
-- every object is known and can be swept; it stays when the object is gone, to say so.

CREATE TABLE pixshift.images (
    id                  uuid PRIMARY KEY,
    user_id             uuid NOT NULL REFERENCES pixshift.users (id) ON DELETE RESTRICT,
    kind                text NOT NULL CHECK (kind IN ('upload', 'input', 'result')),
    state               text NOT NULL DEFAULT 'pending'
                        CHECK (state IN ('pending', 'ready', 'deleted')),
    job_id              uuid,                -- of inputs and results
    key                 text NOT NULL UNIQUE CHECK (length(key) BETWEEN 1 AND 512),
    mime                text NOT NULL CHECK (mime IN ('image/jpeg', 'image/png', 'image/webp')),
    width               integer NOT NULL CHECK (width > 0),
    height              integer NOT NULL CHECK (height > 0),
    bytes               bigint NOT NULL CHECK (bytes > 0),
    sha256              text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    retention           text NOT NULL CHECK (retention IN ('none', 'ephemeral', 'persistent')),
    lifetime_ms         bigint,              -- NULL = for good
    created_at          timestamptz NOT NULL DEFAULT pixshift.now(),
    first_downloaded_at timestamptz,
    delete_after        timestamptz,
    deleted_at          timestamptz,
    CONSTRAINT images_deleted CHECK ((state = 'deleted') = (deleted_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX images_due ON pixshift.images (delete_after)
    WHERE deleted_at IS NULL AND delete_after IS NOT NULL;
CREATE INDEX images_user ON pixshift.images (user_id, created_at DESC);
CREATE INDEX images_job ON pixshift.images (job_id) WHERE job_id IS NOT NULL;

-- ---------------------------------------------------------------------------------------------
-- Jobs.  No foreign keys to users (its wallet was locked when the job was made), types (never deleted
-- once used) and images (rows are never deleted): each would lock a row that many jobs share.

CREATE TABLE pixshift.jobs (
    id                  uuid PRIMARY KEY,
    user_id             uuid NOT NULL,
    operation           text NOT NULL CHECK (operation IN ('transformation', 'tryon', 'generation',
                                                           'enhancement', 'noop')),
    state               text NOT NULL DEFAULT 'queued'
                        CHECK (state IN ('queued', 'waiting_payment', 'running', 'succeeded', 'failed',
                                         'canceled', 'expired')),
    type_id             uuid,
    params              jsonb NOT NULL DEFAULT '{}',
    prompt_used         text CHECK (length(prompt_used) <= 16000),
    inputs              jsonb NOT NULL DEFAULT '[]',
    retention           text NOT NULL DEFAULT 'ephemeral'
                        CHECK (retention IN ('none', 'ephemeral', 'persistent')),
    hold_id             uuid NOT NULL UNIQUE,
    cost                bigint NOT NULL CHECK (cost >= 0),
    credits_used        bigint NOT NULL DEFAULT 0 CHECK (credits_used BETWEEN 0 AND cost),
    pricing_tier_locked text,
    idem                text CHECK (length(idem) BETWEEN 1 AND 200),
    request_id          text,
    priority            smallint NOT NULL DEFAULT 100,
    run_at              timestamptz NOT NULL,
    deadline            timestamptz NOT NULL,
    provider            text,
    attempt             integer NOT NULL DEFAULT 0,      -- provider tries
    max_attempts        integer NOT NULL,
    claims              integer NOT NULL DEFAULT 0,      -- leases that were not given back in order
    max_claims          integer NOT NULL,
    leases              integer NOT NULL DEFAULT 0,      -- leases ever: names the result object
    retry_count         integer NOT NULL DEFAULT 0,      -- redrives by user or admin
    lease_token         uuid,
    lease_owner         uuid,
    lease_until         timestamptz,
    cancel_requested    timestamptz,
    result_image        uuid,
    error_code          text,
    error_message       text CHECK (length(error_message) <= 1000),
    processing_time_ms  bigint,
    last_seq            integer NOT NULL DEFAULT 0,
    created_at          timestamptz NOT NULL,
    started_at          timestamptz,
    completed_at        timestamptz,
    updated_at          timestamptz NOT NULL,
    hidden_at           timestamptz,                     -- deleted by its owner
    CONSTRAINT jobs_lease CHECK ((state = 'running') = (lease_token IS NOT NULL)),
    CONSTRAINT jobs_lease_whole CHECK ((lease_token IS NULL) = (lease_owner IS NULL)
                                       AND (lease_token IS NULL) = (lease_until IS NULL)),
    CONSTRAINT jobs_attempts CHECK (attempt BETWEEN 0 AND max_attempts),
    CONSTRAINT jobs_claims CHECK (claims BETWEEN 0 AND max_claims),
    CONSTRAINT jobs_done CHECK ((state IN ('succeeded', 'failed', 'canceled', 'expired'))
                                = (completed_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX jobs_queue ON pixshift.jobs (priority, run_at) WHERE state = 'queued';
CREATE INDEX jobs_running ON pixshift.jobs (lease_owner) WHERE state = 'running';
CREATE INDEX jobs_deadline ON pixshift.jobs (deadline)
    WHERE state IN ('queued', 'waiting_payment', 'running');
CREATE INDEX jobs_user_state ON pixshift.jobs (user_id, state);
CREATE INDEX jobs_user_created ON pixshift.jobs (user_id, created_at DESC);
CREATE INDEX jobs_state ON pixshift.jobs (state, created_at DESC);
CREATE UNIQUE INDEX jobs_idem ON pixshift.jobs (user_id, idem) WHERE idem IS NOT NULL;
CREATE INDEX jobs_type ON pixshift.jobs (type_id, state) WHERE type_id IS NOT NULL;

-- One row per try at a provider, written before the first exchange is sent.  A row without an end is a
-- try whose outcome nobody saw: it is taken up again (token) or repeated under the same number.
CREATE TABLE pixshift.job_attempts (
    job_id         uuid NOT NULL,
    retry          integer NOT NULL DEFAULT 0,           -- jobs.retry_count then
    attempt        integer NOT NULL CHECK (attempt >= 1),
    provider       text NOT NULL,
    phase          integer NOT NULL DEFAULT 0,
    token          text NOT NULL DEFAULT '' CHECK (length(token) <= 511),
    resume_at      timestamptz,                          -- of a plugin that waits
    remote_id      text CHECK (length(remote_id) <= 500),
    sends          integer NOT NULL DEFAULT 1,
    started_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    outcome        text,                                 -- ok, or the class of the failure
    message        text CHECK (length(message) <= 1000),
    model          text CHECK (length(model) <= 200),
    cost_micro_usd bigint,
    PRIMARY KEY (job_id, retry, attempt),
    CONSTRAINT job_attempts_end CHECK ((ended_at IS NULL) = (outcome IS NULL))
);

-- What happened to a job, in order; a stream can be resumed behind any of them.
CREATE TABLE pixshift.job_events (
    job_id uuid NOT NULL,
    seq    integer NOT NULL,
    event  text NOT NULL CHECK (event ~ '^job\.[a-z_]+$'),
    data   jsonb NOT NULL DEFAULT '{}',
    at     timestamptz NOT NULL,
    PRIMARY KEY (job_id, seq)
);

-- Jobs that were given up after their last try.
CREATE TABLE pixshift.dead_letters (
    job_id      uuid NOT NULL,
    retry       integer NOT NULL,
    reason      text NOT NULL,
    at          timestamptz NOT NULL,
    redriven_at timestamptz,
    PRIMARY KEY (job_id, retry)
);

-- Jobs made by a subject (user, key, address) within a fixed window of a limit.
CREATE TABLE pixshift.job_counters (
    subject      text NOT NULL,
    rule         text NOT NULL,
    window_start timestamptz NOT NULL,
    made         integer NOT NULL,
    PRIMARY KEY (subject, rule)
) WITH (fillfactor = 70);

-- A worker lives as long as its database session holds the advisory lock (pixshift.worker_class(),
-- lock_key): the lock of a dead one is free at once.
CREATE TABLE pixshift.workers (
    id         uuid PRIMARY KEY,
    lock_key   integer GENERATED ALWAYS AS IDENTITY UNIQUE,
    host       text NOT NULL,
    pid        integer NOT NULL,
    started_at timestamptz NOT NULL,
    stopped_at timestamptz
);

CREATE FUNCTION pixshift.worker_class() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 1348029259 $$;     -- 'PXWK'

-- ---------------------------------------------------------------------------------------------
-- Creating.

-- Counts one more job for each rule [{"name","subject","limit","window_ms"}]; windows stand on the
-- clock (a day is the UTC day), so that a limit is exact. Raising undoes all counts.
CREATE FUNCTION pixshift.job_count_rules(p_rules jsonb, p_at timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    r      record;
    width  bigint;
    start  bigint;
    so_far integer;
BEGIN
    FOR r IN SELECT * FROM jsonb_to_recordset(p_rules)
                        AS x (name text, subject text, "limit" bigint, window_ms bigint)
    LOOP
        width := r.window_ms * 1000;
        start := pixshift.usec(p_at) / width * width;
        INSERT INTO pixshift.job_counters AS c VALUES (r.subject, r.name, pixshift.from_usec(start), 1)
        ON CONFLICT (subject, rule) DO UPDATE
           SET made = CASE WHEN c.window_start = excluded.window_start THEN c.made + 1 ELSE 1 END,
               window_start = excluded.window_start
        RETURNING made INTO so_far;
        IF so_far > r.limit THEN
            RAISE EXCEPTION 'limit %', r.name USING ERRCODE = 'PX429', DETAIL = jsonb_build_object(
                'policy', r.name, 'limit', r.limit,
                'retry_after', (start + width - pixshift.usec(p_at)) / 1000000 + 1)::text;
        END IF;
    END LOOP;
END
$$;

-- At most p_open unfinished jobs per user. The caller holds the user's lock.
CREATE FUNCTION pixshift.job_check_open(p_user uuid, p_open integer) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    unfinished integer;
BEGIN
    SELECT count(*) INTO unfinished FROM (
        SELECT 1 FROM pixshift.jobs
         WHERE user_id = p_user AND state IN ('queued', 'running', 'waiting_payment') LIMIT p_open) x;
    IF unfinished >= p_open THEN
        RAISE EXCEPTION 'too many unfinished jobs' USING ERRCODE = 'PX429',
            DETAIL = jsonb_build_object('open', unfinished, 'limit', p_open)::text;
    END IF;
END
$$;

-- One transaction: limits, hold, job, event. The same id or idem again returns the first job.
CREATE FUNCTION pixshift.job_create(p_id uuid, p_user uuid, p_operation text, p_type uuid, p_params jsonb,
                                    p_prompt text, p_inputs jsonb, p_retention text, p_cost bigint,
                                    p_scope text, p_tier text, p_idem text, p_request text,
                                    p_open integer, p_rules jsonb, p_deadline_ms bigint,
                                    p_attempts integer, p_claims integer)
RETURNS TABLE (job_id uuid, created boolean) LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    at    timestamptz := pixshift.now();
    first uuid;
    hold  uuid;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('jobs:' || p_user, 0));
    SELECT j.id INTO first FROM pixshift.jobs j WHERE j.id = p_id;
    IF first IS NULL AND p_idem IS NOT NULL THEN
        SELECT j.id INTO first FROM pixshift.jobs j WHERE j.user_id = p_user AND j.idem = p_idem;
    END IF;
    IF first IS NOT NULL THEN
        RETURN QUERY SELECT first, false;
        RETURN;
    END IF;
    PERFORM pixshift.job_check_open(p_user, p_open);
    PERFORM pixshift.job_count_rules(p_rules, at);
    hold := pixshift.credit_hold(p_user, p_cost, p_scope, 'job:' || p_id);
    INSERT INTO pixshift.jobs (id, user_id, operation, type_id, params, prompt_used, inputs, retention,
                               hold_id, cost, pricing_tier_locked, idem, request_id, run_at, deadline,
                               max_attempts, max_claims, last_seq, created_at, updated_at)
    VALUES (p_id, p_user, p_operation, p_type, p_params, p_prompt, p_inputs, p_retention, hold, p_cost,
            p_tier, p_idem, p_request, at, at + p_deadline_ms * interval '1 millisecond', p_attempts,
            p_claims, 1, at, at);
    INSERT INTO pixshift.job_events VALUES (p_id, 1, 'job.queued', '{}', at);
    RETURN QUERY SELECT p_id, true;
END
$$;

-- ---------------------------------------------------------------------------------------------
-- Ending.

-- Ends jobs whose rows the caller has locked: the hold is captured (succeeded) or released, the image
-- becomes ready, an event and the outbox rows are written. All arrays have one element per job.
CREATE FUNCTION pixshift.job_end(p_ids uuid[], p_states text[], p_images uuid[], p_codes text[],
                                 p_messages text[], p_dead boolean[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    at    timestamptz := pixshift.now();
    holds uuid[];
    takes bigint[];
    refs  text[];
    keeps_nothing uuid[];
BEGIN
    IF cardinality(p_ids) = 0 THEN
        RETURN;
    END IF;
    SELECT array_agg(j.hold_id), array_agg(CASE WHEN x.state = 'succeeded' THEN j.cost END),
           array_agg(j.id::text), array_agg(j.id) FILTER (WHERE j.retention = 'none')
      INTO holds, takes, refs, keeps_nothing
      FROM unnest(p_ids, p_states) AS x (id, state) JOIN pixshift.jobs j ON j.id = x.id;
    PERFORM pixshift.credit_settle_batch(holds, takes, refs, 'job');
    WITH x AS (
        SELECT * FROM unnest(p_ids, p_states, p_images, p_codes, p_messages, p_dead)
                        AS u (id, state, image, code, message, dead)
    ), done AS (
        UPDATE pixshift.jobs j
           SET state = x.state, lease_token = NULL, lease_owner = NULL, lease_until = NULL,
               credits_used = CASE WHEN x.state = 'succeeded' THEN j.cost ELSE 0 END,
               result_image = x.image, error_code = x.code, error_message = left(x.message, 1000),
               completed_at = at, updated_at = at, last_seq = j.last_seq + 1,
               processing_time_ms = (extract(epoch FROM at - j.started_at) * 1000)::bigint
          FROM x WHERE j.id = x.id
        RETURNING j.id, j.user_id, j.operation, j.state, j.last_seq, j.retry_count, j.credits_used,
                  j.error_code, j.error_message, j.result_image, j.retention, x.dead
    ), events AS (
        INSERT INTO pixshift.job_events
        SELECT d.id, d.last_seq, 'job.' || d.state,
               CASE WHEN d.error_code IS NULL THEN '{}'::jsonb
                    ELSE jsonb_build_object('error_code', d.error_code, 'error_message',
                                            d.error_message) END, at
          FROM done d
    ), letters AS (
        INSERT INTO pixshift.dead_letters (job_id, retry, reason, at)
        SELECT d.id, d.retry_count, coalesce(d.error_code, 'UNKNOWN'), at FROM done d WHERE d.dead
        ON CONFLICT DO NOTHING
    ), pictures AS (
        UPDATE pixshift.images i
           SET state = 'ready', delete_after = at + i.lifetime_ms * interval '1 millisecond'
          FROM done d WHERE i.id = d.result_image AND i.state = 'pending'
    ), topics AS (
        SELECT d.*, 'job.' || d.state AS topic FROM done d
        UNION ALL
        SELECT d.*, d.operation || CASE WHEN d.state = 'succeeded' THEN '.completed'
                                        ELSE '.failed' END
          FROM done d WHERE d.operation IN ('tryon', 'transformation')
    )
    INSERT INTO pixshift.outbox (topic, user_id, aggregate_type, aggregate_id, key, payload)
    SELECT t.topic, t.user_id, 'job', t.id::text,
           'job:' || t.id || ':' || t.topic || CASE WHEN t.retry_count > 0
                                                    THEN ':' || t.retry_count ELSE '' END,
           jsonb_build_object('job_id', t.id, 'operation', t.operation, 'status', t.state,
                              'credits_used', t.credits_used, 'error_code', t.error_code,
                              'error_message', t.error_message)
      FROM topics t
    ON CONFLICT (key) DO NOTHING;
    -- Private inputs of jobs that keep nothing.
    IF keeps_nothing IS NOT NULL THEN
        UPDATE pixshift.images i SET delete_after = at
         WHERE i.job_id = ANY (keeps_nothing) AND i.kind = 'input' AND i.deleted_at IS NULL;
    END IF;
    PERFORM pg_notify('pixshift_job', x.id || ' ' || x.state)
       FROM unnest(p_ids, p_states) AS x (id, state);
    PERFORM pg_notify('pixshift_outbox', '');
END
$$;

-- Ends a worker's jobs; only those still under its leases. Returns the ids that were ended.
CREATE FUNCTION pixshift.job_finish(p_ids uuid[], p_tokens uuid[], p_states text[], p_images uuid[],
                                    p_codes text[], p_messages text[], p_dead boolean[])
RETURNS SETOF uuid LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    held record;
BEGIN
    SELECT array_agg(y.id) AS ids, array_agg(y.state) AS states, array_agg(y.image) AS images,
           array_agg(y.code) AS codes, array_agg(y.message) AS messages, array_agg(y.dead) AS dead
      INTO held
      FROM (SELECT j.id, x.state, x.image, x.code, x.message, x.dead
              FROM unnest(p_ids, p_tokens, p_states, p_images, p_codes, p_messages, p_dead)
                     AS x (id, token, state, image, code, message, dead)
              JOIN pixshift.jobs j ON j.id = x.id AND j.lease_token = x.token
             ORDER BY j.id FOR UPDATE OF j) y;
    IF held.ids IS NULL THEN
        RETURN;
    END IF;
    PERFORM pixshift.job_end(held.ids, held.states, held.images, held.codes, held.messages, held.dead);
    RETURN QUERY SELECT unnest(held.ids);
END
$$;

-- ---------------------------------------------------------------------------------------------
-- Working.

-- Leases up to p_limit queued jobs, most urgent first, with a new token each.  What a dead worker left
-- stands in front (job_reap).
CREATE FUNCTION pixshift.job_claim(p_worker uuid, p_limit integer, p_lease_ms bigint)
RETURNS TABLE (id uuid, user_id uuid, operation text, params text, prompt text, inputs text,
               retention text, cost bigint, token uuid, lease integer, attempt integer,
               max_attempts integer, retry integer, deadline bigint, request_id text,
               open_provider text, open_phase integer, open_token text, open_resume bigint)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_sort = on AS $$
DECLARE
    at timestamptz := pixshift.now();
BEGIN
    RETURN QUERY
    WITH picked AS (
        SELECT j.id FROM pixshift.jobs j WHERE j.state = 'queued' AND j.run_at <= at
         ORDER BY j.priority, j.run_at LIMIT p_limit FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE pixshift.jobs j
           SET state = 'running', lease_token = gen_random_uuid(), lease_owner = p_worker,
               lease_until = at + p_lease_ms * interval '1 millisecond', claims = j.claims + 1,
               leases = j.leases + 1, started_at = coalesce(j.started_at, at), updated_at = at,
               last_seq = j.last_seq + 1
          FROM picked p WHERE j.id = p.id
        RETURNING j.*
    ), events AS (
        INSERT INTO pixshift.job_events SELECT t.id, t.last_seq, 'job.running', '{}', at FROM taken t
    ), told AS (
        SELECT t.*, pg_notify('pixshift_job', t.id || ' running') FROM taken t
    )
    SELECT t.id, t.user_id, t.operation, t.params::text, t.prompt_used, t.inputs::text, t.retention,
           t.cost, t.lease_token, t.leases, t.attempt, t.max_attempts, t.retry_count,
           pixshift.usec(t.deadline), t.request_id, a.provider, a.phase, a.token,
           pixshift.usec(a.resume_at)
      FROM told t
      LEFT JOIN pixshift.job_attempts a
             ON t.attempt > 0 AND a.job_id = t.id AND a.retry = t.retry_count AND a.attempt = t.attempt
            AND a.ended_at IS NULL;
END
$$;

-- Extends all leases of a worker; returns them, with those that shall be given up marked.
CREATE FUNCTION pixshift.job_heartbeat(p_worker uuid, p_lease_ms bigint)
RETURNS TABLE (id uuid, token uuid, cancel boolean) LANGUAGE sql AS $$
    UPDATE pixshift.jobs
       SET lease_until = pixshift.now() + p_lease_ms * interval '1 millisecond'
     WHERE lease_owner = p_worker AND state = 'running'
    RETURNING id, lease_token, cancel_requested IS NOT NULL
$$;

-- Before a provider is called: the row of the try; NULL when the lease is lost. p_again repeats the try
-- whose outcome nobody saw.
CREATE FUNCTION pixshift.attempt_begin(p_job uuid, p_token uuid, p_provider text, p_again boolean)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := pixshift.now();
    j  record;
BEGIN
    UPDATE pixshift.jobs SET attempt = attempt + CASE WHEN p_again THEN 0 ELSE 1 END,
                             provider = p_provider
     WHERE id = p_job AND lease_token = p_token
    RETURNING attempt, retry_count INTO j;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO pixshift.job_attempts (job_id, retry, attempt, provider, started_at)
    VALUES (p_job, j.retry_count, j.attempt, p_provider, at)
    ON CONFLICT (job_id, retry, attempt) DO UPDATE SET sends = job_attempts.sends + 1;
    RETURN j.attempt;
END
$$;

-- What a plugin must remember over a restart; false when the lease is lost.
CREATE FUNCTION pixshift.attempt_note(p_job uuid, p_token uuid, p_phase integer, p_memory text,
                                      p_remote text, p_wait_ms bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE pixshift.job_attempts a
       SET phase = p_phase, token = p_memory, remote_id = coalesce(left(p_remote, 500), a.remote_id),
           resume_at = pixshift.now() + p_wait_ms * interval '1 millisecond'
      FROM pixshift.jobs j
     WHERE j.id = p_job AND j.lease_token = p_token AND a.job_id = j.id AND a.retry = j.retry_count
       AND a.attempt = j.attempt;
    RETURN FOUND;
END
$$;

CREATE FUNCTION pixshift.attempt_end(p_jobs uuid[], p_tokens uuid[], p_outcomes text[],
                                     p_messages text[], p_remotes text[], p_models text[],
                                     p_costs bigint[]) RETURNS integer
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    ended integer;
BEGIN
    UPDATE pixshift.job_attempts a
       SET ended_at = pixshift.now(), outcome = x.outcome, message = left(x.message, 1000),
           remote_id = coalesce(left(x.remote, 500), a.remote_id), model = left(x.model, 200),
           cost_micro_usd = nullif(x.cost, -1)
      FROM unnest(p_jobs, p_tokens, p_outcomes, p_messages, p_remotes, p_models, p_costs)
             AS x (job, token, outcome, message, remote, model, cost)
      JOIN pixshift.jobs j ON j.id = x.job AND j.lease_token = x.token
     WHERE a.job_id = j.id AND a.retry = j.retry_count AND a.attempt = j.attempt AND a.ended_at IS NULL;
    GET DIAGNOSTICS ended = ROW_COUNT;
    RETURN ended;
END
$$;

-- Gives leases back in order: to be run again after a pause, or at once by another worker. Such a lease
-- does not count as a claim that was lost.
CREATE FUNCTION pixshift.job_requeue(p_ids uuid[], p_tokens uuid[], p_delays_ms bigint[])
RETURNS SETOF uuid LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := pixshift.now();
BEGIN
    RETURN QUERY
    WITH back AS (
        SELECT j.id, x.delay
          FROM unnest(p_ids, p_tokens, p_delays_ms) AS x (id, token, delay)
          JOIN pixshift.jobs j ON j.id = x.id AND j.lease_token = x.token
         ORDER BY j.id FOR UPDATE OF j
    ), moved AS (
        UPDATE pixshift.jobs j
           SET state = 'queued', lease_token = NULL, lease_owner = NULL, lease_until = NULL,
               claims = j.claims - 1, last_seq = j.last_seq + 1, updated_at = at,
               run_at = at + b.delay * interval '1 millisecond'
          FROM back b WHERE j.id = b.id
        RETURNING j.id, j.last_seq, b.delay
    ), events AS (
        INSERT INTO pixshift.job_events
        SELECT m.id, m.last_seq, 'job.queued', jsonb_build_object('delay_ms', m.delay), at FROM moved m
    )
    SELECT m.id FROM moved m, pg_notify('pixshift_job', m.id || ' queued');
END
$$;

-- Every second, by any worker: frees what dead workers and lapsed leases hold, ends what is past its
-- deadline. p_self is alive whatever its lock says (it may just be reconnecting).
CREATE FUNCTION pixshift.job_reap(p_self uuid, p_limit integer)
RETURNS TABLE (rescued integer, dead integer, expired integer)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    at      timestamptz := pixshift.now();
    gone    uuid[];
    back    uuid[];
    lost    uuid[];
    stopped uuid[];
    late    uuid[];
BEGIN
    SELECT array_agg(o.lease_owner) INTO gone
      FROM (SELECT DISTINCT j.lease_owner FROM pixshift.jobs j
             WHERE j.state = 'running' AND j.lease_owner <> p_self) o
      LEFT JOIN pixshift.workers w ON w.id = o.lease_owner
     WHERE w.id IS NULL OR pg_try_advisory_xact_lock(pixshift.worker_class(), w.lock_key);
    SELECT array_agg(x.id) FILTER (WHERE NOT x.cancel AND x.more),
           array_agg(x.id) FILTER (WHERE NOT x.cancel AND NOT x.more),
           array_agg(x.id) FILTER (WHERE x.cancel)
      INTO back, lost, stopped
      FROM (SELECT j.id, j.cancel_requested IS NOT NULL AS cancel, j.claims < j.max_claims AS more
              FROM pixshift.jobs j
             WHERE j.state = 'running' AND (j.lease_owner = ANY (gone) OR j.lease_until < at)
             ORDER BY j.id LIMIT p_limit FOR UPDATE SKIP LOCKED) x;
    IF back IS NOT NULL THEN
        -- An hour ahead of all that came in order: a rescued job is the next one.
        WITH moved AS (
            UPDATE pixshift.jobs j
               SET state = 'queued', lease_token = NULL, lease_owner = NULL, lease_until = NULL,
                   run_at = at - interval '1 hour', last_seq = j.last_seq + 1, updated_at = at
             WHERE j.id = ANY (back) RETURNING j.id, j.last_seq)
        INSERT INTO pixshift.job_events
        SELECT m.id, m.last_seq, 'job.queued', '{"rescued":true}', at FROM moved m;
        PERFORM pg_notify('pixshift_job', x || ' queued') FROM unnest(back) AS x;
    END IF;
    IF lost IS NOT NULL THEN
        PERFORM pixshift.job_end(lost, array_fill('failed'::text, ARRAY[cardinality(lost)]),
            array_fill(NULL::uuid, ARRAY[cardinality(lost)]),
            array_fill('TRANSFORMATION_FAILED'::text, ARRAY[cardinality(lost)]),
            array_fill('The image could not be processed.'::text, ARRAY[cardinality(lost)]),
            array_fill(true, ARRAY[cardinality(lost)]));
    END IF;
    IF stopped IS NOT NULL THEN
        PERFORM pixshift.job_end(stopped, array_fill('canceled'::text, ARRAY[cardinality(stopped)]),
            array_fill(NULL::uuid, ARRAY[cardinality(stopped)]),
            array_fill('CANCELED'::text, ARRAY[cardinality(stopped)]),
            array_fill('The job was canceled.'::text, ARRAY[cardinality(stopped)]),
            array_fill(false, ARRAY[cardinality(stopped)]));
    END IF;
    -- A running job's worker ends it itself; ten seconds later somebody else does.
    SELECT array_agg(x.id) INTO late
      FROM (SELECT j.id FROM pixshift.jobs j
             WHERE j.state IN ('queued', 'waiting_payment', 'running')
               AND j.deadline < at - CASE WHEN j.state = 'running' THEN interval '10 seconds'
                                          ELSE interval '0' END
               AND j.deadline < at
             ORDER BY j.id LIMIT p_limit FOR UPDATE SKIP LOCKED) x;
    IF late IS NOT NULL THEN
        PERFORM pixshift.job_end(late, array_fill('expired'::text, ARRAY[cardinality(late)]),
            array_fill(NULL::uuid, ARRAY[cardinality(late)]),
            array_fill('EXPIRED'::text, ARRAY[cardinality(late)]),
            array_fill('The job took too long. You were not charged.'::text, ARRAY[cardinality(late)]),
            array_fill(false, ARRAY[cardinality(late)]));
    END IF;
    RETURN QUERY SELECT coalesce(cardinality(back), 0),
                        coalesce(cardinality(lost), 0), coalesce(cardinality(late), 0);
END
$$;

-- ---------------------------------------------------------------------------------------------
-- What users and admins do to a job. p_user NULL = an admin.

-- 'canceled' at once, 'canceling' where a worker must let go first, else the final state.
CREATE FUNCTION pixshift.job_cancel(p_id uuid, p_user uuid) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    now_in text;
BEGIN
    SELECT state INTO now_in FROM pixshift.jobs
     WHERE id = p_id AND (p_user IS NULL OR user_id = p_user) FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no job %', p_id USING ERRCODE = 'PX404';
    END IF;
    IF now_in = 'running' THEN
        UPDATE pixshift.jobs SET cancel_requested = coalesce(cancel_requested, pixshift.now())
         WHERE id = p_id;
        PERFORM pg_notify('pixshift_job', p_id || ' canceling');
        RETURN 'canceling';
    END IF;
    IF now_in IN ('queued', 'waiting_payment') THEN
        PERFORM pixshift.job_end(ARRAY[p_id], ARRAY['canceled'], ARRAY[NULL]::uuid[],
                                 ARRAY['CANCELED'], ARRAY['The job was canceled.'], ARRAY[false]);
        RETURN 'canceled';
    END IF;
    RETURN now_in;
END
$$;

-- Runs an unsuccessful job once more, with a new hold; the old one stays released.
CREATE FUNCTION pixshift.job_redrive(p_id uuid, p_user uuid, p_scope text, p_open integer,
                                     p_rules jsonb, p_deadline_ms bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    at   timestamptz := pixshift.now();
    j    pixshift.jobs;
    hold uuid;
BEGIN
    SELECT * INTO j FROM pixshift.jobs
     WHERE id = p_id AND (p_user IS NULL OR user_id = p_user) AND hidden_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no job %', p_id USING ERRCODE = 'PX404';
    END IF;
    IF j.state NOT IN ('failed', 'canceled', 'expired') THEN
        RAISE EXCEPTION 'job % is %', p_id, j.state USING ERRCODE = 'PX409';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('jobs:' || j.user_id, 0));
    PERFORM pixshift.job_check_open(j.user_id, p_open);
    PERFORM pixshift.job_count_rules(p_rules, at);
    hold := pixshift.credit_hold(j.user_id, j.cost, p_scope, 'job:' || p_id || ':' || j.retry_count + 1);
    UPDATE pixshift.jobs
       SET state = 'queued', hold_id = hold, attempt = 0, claims = 0, retry_count = retry_count + 1,
           run_at = at, deadline = at + p_deadline_ms * interval '1 millisecond', provider = NULL,
           cancel_requested = NULL, error_code = NULL, error_message = NULL, completed_at = NULL,
           started_at = NULL, processing_time_ms = NULL, updated_at = at, last_seq = last_seq + 1
     WHERE id = p_id;
    UPDATE pixshift.dead_letters SET redriven_at = pixshift.now() WHERE job_id = p_id AND redriven_at IS NULL;
    INSERT INTO pixshift.job_events VALUES (p_id, j.last_seq + 1, 'job.queued', '{"again":true}', at);
    PERFORM pg_notify('pixshift_job', p_id || ' queued');
END
$$;

-- ---------------------------------------------------------------------------------------------
-- Retention.

-- A result was handed out completely: it goes p_after_ms later, never later than it would have gone.
CREATE FUNCTION pixshift.image_downloaded(p_id uuid, p_after_ms bigint) RETURNS void
LANGUAGE sql AS $$
    UPDATE pixshift.images
       SET first_downloaded_at = coalesce(first_downloaded_at, pixshift.now()),
           delete_after = CASE WHEN retention = 'persistent' THEN delete_after
                               ELSE least(delete_after, coalesce(first_downloaded_at, pixshift.now())
                                                        + p_after_ms * interval '1 millisecond') END
     WHERE id = p_id AND deleted_at IS NULL AND first_downloaded_at IS NULL
$$;

-- True for the first who asks: an image that is kept by nobody is given out once (C-14).
CREATE FUNCTION pixshift.image_take_once(p_id uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    -- A moment, so that no sweep comes between this and the opening of the file.
    UPDATE pixshift.images SET first_downloaded_at = pixshift.now(),
           delete_after = least(delete_after, pixshift.now() + interval '5 seconds')
     WHERE id = p_id AND retention = 'none' AND state = 'ready' AND first_downloaded_at IS NULL;
    RETURN FOUND;
END
$$;

-- Housekeeping that nobody waits for; returns how many rows went.
CREATE FUNCTION pixshift.studio_purge(p_limit integer) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    WITH c AS (
        DELETE FROM pixshift.job_counters WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM pixshift.job_counters
             WHERE window_start < pixshift.now() - interval '32 days' LIMIT p_limit))
        RETURNING 1),
    w AS (
        DELETE FROM pixshift.workers w WHERE w.id IN (
            SELECT x.id FROM pixshift.workers x
             WHERE x.started_at < pixshift.now() - interval '1 day'
               AND NOT EXISTS (SELECT FROM pixshift.jobs j
                                WHERE j.lease_owner = x.id AND j.state = 'running')
               AND pg_try_advisory_xact_lock(pixshift.worker_class(), x.lock_key) LIMIT p_limit)
        RETURNING 1)
    SELECT (SELECT count(*) FROM c) + (SELECT count(*) FROM w)
$$;

-- ---------------------------------------------------------------------------------------------
-- For auditors.

CREATE VIEW pixshift.audit_job AS
SELECT id, user_id, operation, state, hold_id, cost, credits_used, provider, attempt, claims, retry_count,
       lease_token, result_image, error_code, created_at, started_at, completed_at
  FROM pixshift.jobs;

CREATE VIEW pixshift.violation_job_hold AS
SELECT 'job ' || j.id AS subject, format('job is %s, its hold is %s', j.state, h.state) AS detail
  FROM pixshift.jobs j LEFT JOIN pixshift.holds h ON h.id = j.hold_id
 WHERE CASE WHEN j.state IN ('queued', 'running', 'waiting_payment') THEN h.state = 'pending'
            WHEN j.state = 'succeeded' THEN h.state = 'captured' AND h.captured = j.credits_used
            ELSE h.state IN ('released', 'expired') AND j.credits_used = 0 END IS NOT TRUE;

CREATE VIEW pixshift.violation_hold_job AS
SELECT 'hold ' || h.id AS subject, 'is held for a job that does not exist' AS detail
  FROM pixshift.holds h
 WHERE h.state = 'pending' AND h.key LIKE 'job:%'
   AND NOT EXISTS (SELECT FROM pixshift.jobs j WHERE j.hold_id = h.id);
