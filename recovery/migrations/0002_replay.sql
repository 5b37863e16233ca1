-- A replay: an exact selection, frozen, and what became of each of its dead letters.
CREATE TABLE replay_jobs (
    id               text PRIMARY KEY, -- short, for people; the ef.replay_id of what it sends
    state            text        NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'running', 'paused', 'stopped', 'finished')),
    selection        json        NOT NULL,
    reason           text        NOT NULL DEFAULT '',
    created_by       text        NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    idempotency_key  text UNIQUE,
    policy           text, -- of automatic recovery; null: a person
    items            integer     NOT NULL,
    needs_confirmation boolean   NOT NULL,
    approved_by      text,
    approved_at      timestamptz,
    dry_run_at       timestamptz,
    rate             double precision NOT NULL DEFAULT 100, -- records a second
    blocked          text, -- why it cannot go on just now
    claimed_at       timestamptz, -- the chunk in hand, and by which instance: another one waits until no acknowledgement of it can be on its way
    claimed_by       text,
    sending_from     json, -- per topic and partition: where its retry records of the chunk in hand can begin
    started_at       timestamptz,
    finished_at      timestamptz
);
CREATE INDEX replay_jobs_state ON replay_jobs (state);

CREATE TABLE replay_items (
    job_id         text        NOT NULL REFERENCES replay_jobs,
    dead_letter_id bigint      NOT NULL,
    position       integer     NOT NULL,
    value_sha256   bytea, -- of what was selected: another value is skipped
    edit_id        bigint,
    state          text        NOT NULL DEFAULT 'pending'
                   CHECK (state IN ('pending', 'sending', 'sent', 'stored', 'duplicate', 'failed', 'skipped')),
    code           text, -- of a failed or skipped one
    detail         text,
    would          text CHECK (would IN ('store', 'duplicate', 'fail')), -- the dry run's verdict
    would_code     text,
    would_detail   text,
    replay_count   integer,
    sent_at        timestamptz,
    settled_at     timestamptz,
    PRIMARY KEY (job_id, dead_letter_id)
);
CREATE INDEX replay_items_letter ON replay_items (dead_letter_id);
CREATE INDEX replay_items_state ON replay_items (job_id, state, position);
CREATE INDEX replay_items_awaited ON replay_items (dead_letter_id) WHERE state IN ('sending', 'sent');

-- Who did what, when, why. Append-only: by permission for those who have one to lose, by trigger for all.
CREATE TABLE audit_log (
    seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    who     text        NOT NULL,
    action  text        NOT NULL, -- such as replay.apply
    job_id  text,
    dead_letter_id bigint,
    reason  text        NOT NULL DEFAULT '',
    counts  json        NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_letter ON audit_log (dead_letter_id) WHERE dead_letter_id IS NOT NULL;
CREATE INDEX audit_log_job ON audit_log (job_id) WHERE job_id IS NOT NULL;
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM PUBLIC, CURRENT_USER;

-- Running recovery roles, so that a person on the database alone learns that a replay would wait for one.
CREATE TABLE instances (
    instance text PRIMARY KEY,
    seen_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
