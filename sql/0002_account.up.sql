-- Accounts: users, the ways in (identities, sessions, refresh tokens, API keys) and what was tried
-- (docs/internals/account.md).  Secrets that a client presents are stored as SHA-256 only.
--
-- A user's row is never deleted while a financial row refers to it (C-41): deleting an account takes
-- the ways in and the personal data away and leaves an opaque id.

CREATE TABLE pixshift.users (
    id                 uuid PRIMARY KEY DEFAULT pixshift.uuid7(),
    -- Compared without case: stored with ASCII letters in lower case. NULL for accounts made by phone
    -- and for deleted ones.
    email              text CHECK (email !~ '[A-Z]' AND length(email) BETWEEN 3 AND 254),
    is_email_verified  boolean NOT NULL DEFAULT false,
    phone              text CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),              -- E.164
    phone_verified     boolean NOT NULL DEFAULT false,
    password_hash      text,
    first_name         text CHECK (length(first_name) <= 100),
    last_name          text CHECK (length(last_name) <= 100),
    profile_picture    text CHECK (length(profile_picture) <= 2048),
    -- The identity that made the account (C-5); a user may sign in with several.
    auth_provider      text NOT NULL DEFAULT 'email' CHECK (auth_provider ~ '^[a-z0-9_]{1,32}$'),
    role               text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    admin_scope        text CHECK (admin_scope IN ('super', 'support', 'finance')),
    -- Set by an admin: replaces the derived entitlement until the time given, NULL = for good (C-3).
    entitlement        text CHECK (entitlement IN ('free', 'paid', 'subscriber')),
    entitlement_until  timestamptz,
    pricing_tier       text CHECK (pricing_tier ~ '^[a-zA-Z0-9_-]{1,64}$'),
    is_active          boolean NOT NULL DEFAULT true,
    is_suspended       boolean NOT NULL DEFAULT false,
    suspended_reason   text CHECK (length(suspended_reason) <= 1000),
    -- Sessions and tokens made before this moment are void.
    not_before         timestamptz NOT NULL DEFAULT 'epoch',
    metadata           jsonb NOT NULL DEFAULT '{}',
    last_login         timestamptz,
    deleted_at         timestamptz,
    created_at         timestamptz NOT NULL DEFAULT pixshift.now(),
    updated_at         timestamptz NOT NULL DEFAULT pixshift.now(),
    CONSTRAINT users_admin_scope CHECK ((role = 'admin') = (admin_scope IS NOT NULL)),
    CONSTRAINT users_phone_verified CHECK (phone IS NOT NULL OR NOT phone_verified)
);
CREATE UNIQUE INDEX users_email ON pixshift.users (email);
-- A phone number identifies one user once it is proven; anybody may claim it before (C-27).
CREATE UNIQUE INDEX users_phone_verified ON pixshift.users (phone) WHERE phone_verified;
CREATE INDEX users_role ON pixshift.users (role);
CREATE INDEX users_auth_provider ON pixshift.users (auth_provider);
CREATE INDEX users_created ON pixshift.users (created_at DESC, id DESC);

-- Who vouches for a user: (google, sub), (email, address), (sms, number) … (C-5).
CREATE TABLE pixshift.identities (
    id         uuid PRIMARY KEY DEFAULT pixshift.uuid7(),
    user_id    uuid NOT NULL REFERENCES pixshift.users (id) ON DELETE CASCADE,
    kind       text NOT NULL CHECK (kind ~ '^[a-z0-9_]{1,32}$'),
    subject    text NOT NULL CHECK (length(subject) BETWEEN 1 AND 512),
    email      text,
    created_at timestamptz NOT NULL DEFAULT pixshift.now(),
    last_used  timestamptz,
    UNIQUE (kind, subject)
);
CREATE INDEX identities_user ON pixshift.identities (user_id);

-- One row per login. Its id travels in access tokens, so that ending the row ends them; the opaque
-- secret (cookie or bearer) and the refresh tokens of the login hang on it.
CREATE TABLE pixshift.sessions (
    id            uuid PRIMARY KEY DEFAULT pixshift.uuid7(),
    id_hash       bytea UNIQUE CHECK (length(id_hash) = 32),   -- NULL: tokens only, no opaque secret
    user_id       uuid NOT NULL REFERENCES pixshift.users (id) ON DELETE CASCADE,
    csrf          text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT pixshift.now(),
    last_activity timestamptz NOT NULL DEFAULT pixshift.now(),
    expires_at    timestamptz NOT NULL,                        -- of the opaque secret, in any case
    purge_at      timestamptz NOT NULL,                        -- when nothing of it can be valid
    user_agent    text CHECK (length(user_agent) <= 400),
    ip            text CHECK (length(ip) <= 64)
) WITH (fillfactor = 80);
CREATE INDEX sessions_user ON pixshift.sessions (user_id);
CREATE INDEX sessions_purge ON pixshift.sessions (purge_at);

-- Refresh tokens; the chain of a login is its session (`family`). A token that was rotated keeps its
-- successor, sealed with a key made from the old token itself, for the seconds in which a client whose
-- reply was lost may ask again.
CREATE TABLE pixshift.refresh_tokens (
    token_hash  bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    family      uuid NOT NULL REFERENCES pixshift.sessions (id) ON DELETE CASCADE,
    fingerprint bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT pixshift.now(),
    expires_at  timestamptz NOT NULL,
    rotated_at  timestamptz,
    successor   text,
    CONSTRAINT refresh_successor CHECK ((rotated_at IS NULL) = (successor IS NULL))
);
-- A chain has one live end.
CREATE UNIQUE INDEX refresh_tokens_live ON pixshift.refresh_tokens (family) WHERE rotated_at IS NULL;
CREATE INDEX refresh_tokens_family ON pixshift.refresh_tokens (family);

CREATE TABLE pixshift.api_keys (
    id          uuid PRIMARY KEY DEFAULT pixshift.uuid7(),
    user_id     uuid NOT NULL REFERENCES pixshift.users (id) ON DELETE CASCADE,
    name        text NOT NULL DEFAULT 'Default API Key' CHECK (length(name) BETWEEN 1 AND 100),
    key_hash    bytea NOT NULL UNIQUE CHECK (length(key_hash) = 32),
    key_prefix  text NOT NULL,                    -- scheme tag and 8 random characters (C-39)
    test_mode   boolean NOT NULL DEFAULT false,
    scopes      text[] NOT NULL DEFAULT '{jobs:write,jobs:read,credits:read}',
    is_active   boolean NOT NULL DEFAULT true,
    expires_at  timestamptz,
    last_used   timestamptz,
    usage_count bigint NOT NULL DEFAULT 0 CHECK (usage_count >= 0),
    created_at  timestamptz NOT NULL DEFAULT pixshift.now(),
    revoked_at  timestamptz
) WITH (fillfactor = 80);
CREATE INDEX api_keys_user ON pixshift.api_keys (user_id);
CREATE INDEX api_keys_active ON pixshift.api_keys (user_id) WHERE is_active;

-- Failed logins in a row per account name, whether the account exists or not; `subject` is a keyed
-- hash, so that the table lists nobody's address.
CREATE TABLE pixshift.login_failures (
    subject       text PRIMARY KEY CHECK (length(subject) = 64),
    failures      integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    last_at       timestamptz NOT NULL DEFAULT pixshift.now(),
    blocked_until timestamptz
) WITH (fillfactor = 80);
CREATE INDEX login_failures_last ON pixshift.login_failures (last_at);

-- free, paid or subscriber (C-3): what an admin set, else what the grants say. plpgsql, because the
-- ledger's tables come with a later migration.
CREATE FUNCTION pixshift.user_entitlement(p_user uuid) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    forced text;
BEGIN
    SELECT u.entitlement INTO forced FROM pixshift.users u
     WHERE u.id = p_user
       AND (u.entitlement_until IS NULL OR u.entitlement_until > pixshift.now());
    IF forced IS NOT NULL THEN
        RETURN forced;
    END IF;
    IF EXISTS (SELECT 1 FROM pixshift.grants g
                WHERE g.user_id = p_user AND g.kind = 'subscription'
                  AND (g.expires_at IS NULL OR g.expires_at > pixshift.now())) THEN
        RETURN 'subscriber';
    END IF;
    IF EXISTS (SELECT 1 FROM pixshift.grants g
                WHERE g.user_id = p_user AND g.kind = 'purchase') THEN
        RETURN 'paid';
    END IF;
    RETURN 'free';
END
$$;

-- Ends every login of a user: the rows go, and whatever was issued before now is void.
CREATE FUNCTION pixshift.end_logins(p_user uuid) RETURNS timestamptz
LANGUAGE sql VOLATILE AS $$
    DELETE FROM pixshift.sessions WHERE user_id = p_user;
    UPDATE pixshift.users SET not_before = pixshift.now() WHERE id = p_user RETURNING not_before;
$$;

-- Removes what can never be valid again; returns how many rows. For the worker's timer.
CREATE FUNCTION pixshift.account_purge(p_limit integer) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    WITH s AS (
        DELETE FROM pixshift.sessions WHERE id IN (
            SELECT id FROM pixshift.sessions WHERE purge_at <= pixshift.now()
             LIMIT p_limit FOR UPDATE SKIP LOCKED)
        RETURNING 1),
    f AS (
        DELETE FROM pixshift.login_failures WHERE subject IN (
            SELECT subject FROM pixshift.login_failures
             WHERE last_at <= pixshift.now() - interval '2 days'
             LIMIT p_limit FOR UPDATE SKIP LOCKED)
        RETURNING 1)
    SELECT (SELECT count(*) FROM s) + (SELECT count(*) FROM f)
$$;

CREATE FUNCTION pixshift.grant_app_account(app_role name) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('REVOKE DELETE, TRUNCATE ON pixshift.users FROM %I', app_role);
END
$$;
REVOKE EXECUTE ON FUNCTION pixshift.grant_app_account(name) FROM PUBLIC;
