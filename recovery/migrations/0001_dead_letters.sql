-- What dead letters have in common: what on-call reads first. Counts are kept by the triggers below, in the transaction that changes them.
CREATE TABLE groups (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stage      text COLLATE "C" NOT NULL,
    code       text COLLATE "C" NOT NULL,
    source     text COLLATE "C" NOT NULL, -- empty: not known
    event_type text COLLATE "C" NOT NULL, -- empty: not readable; (other): beyond the bound on the number of groups
    open       bigint      NOT NULL DEFAULT 0,
    replaying  bigint      NOT NULL DEFAULT 0,
    resolved   bigint      NOT NULL DEFAULT 0,
    discarded  bigint      NOT NULL DEFAULT 0,
    bytes      bigint      NOT NULL DEFAULT 0, -- of values and headers that are kept
    first_seen timestamptz,
    last_seen  timestamptz,
    sample     bigint, -- a dead letter
    UNIQUE (stage, code, source, event_type)
);

-- Texts that are compared and never sorted for people are COLLATE "C": a locale's order costs a flood half its speed.
-- One row a dead event: where it came from identifies it. A replay that fails again replaces the verdict; the older one goes to failures.
CREATE TABLE dead_letters (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state            text COLLATE "C" NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replaying', 'resolved', 'discarded')),
    group_id         bigint      NOT NULL, -- of groups, which are never deleted; a foreign key would cost every row of a flood
    -- Of ours: topic, partition and offset of the raw record, and no group. Of others': what their headers say, else the dead letter's own.
    origin_topic     text COLLATE "C" NOT NULL,
    origin_partition integer     NOT NULL,
    origin_offset    bigint      NOT NULL,
    origin_group     text COLLATE "C" NOT NULL DEFAULT '',
    family           text        NOT NULL, -- whose headers: eventflow, share_group, connect, spring, streams, unknown
    dlq_partition    integer     NOT NULL, -- the newest copy in the dead-letter topic
    dlq_offset       bigint      NOT NULL,
    consumer_group   text        NOT NULL, -- that failed; empty when not known
    failed_topic     text, -- the record that failed, when it was another than the origin
    failed_partition integer,
    failed_offset    bigint,
    detail           text        NOT NULL,
    disposition      text        NOT NULL,
    attempts         integer     NOT NULL,
    replay_count     integer     NOT NULL DEFAULT 0,
    first_failed_at  timestamptz NOT NULL,
    last_failed_at   timestamptz NOT NULL,
    received_at      timestamptz,
    indexed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    service_version  text,
    event_id         text COLLATE "C",
    entity_key       text COLLATE "C",
    trace_id         text COLLATE "C",
    key              bytea,
    value            bytea, -- null: Kafka's null, or dropped by the limits
    value_bytes      integer, -- null: Kafka's null
    value_sha256     bytea,
    headers          json        NOT NULL, -- [[name, text or null or {"base64": ...}], ...] in order
    edit_id          bigint, -- of edits: what a replay would send instead
    job_id           text, -- the replay it is, or was last, part of
    resolution       text, -- stored or duplicate, once resolved
    settled_at       timestamptz,
    settled_by       text,
    reason           text, -- of a discard
    kept_bytes       integer     NOT NULL DEFAULT 0, -- of value and headers
    dropped_at       timestamptz, -- value and headers dropped by the limits
    UNIQUE (origin_topic, origin_partition, origin_offset, origin_group)
);
CREATE INDEX dead_letters_group ON dead_letters (group_id, state, id);
CREATE INDEX dead_letters_event_id ON dead_letters (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX dead_letters_entity_key ON dead_letters (entity_key) WHERE entity_key IS NOT NULL;
CREATE INDEX dead_letters_trace_id ON dead_letters (trace_id) WHERE trace_id IS NOT NULL;
-- A time range is answered from this index alone: reading the rows themselves would be gigabytes.
CREATE INDEX dead_letters_failed_at ON dead_letters (last_failed_at, group_id, state, id);
CREATE INDEX dead_letters_settled ON dead_letters (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX dead_letters_to_drop ON dead_letters (settled_at) WHERE settled_at IS NOT NULL AND dropped_at IS NULL;
-- Index-only scans need the visibility map, which a table that only grows would get late.
ALTER TABLE dead_letters SET (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
-- A row is just above what PostgreSQL compresses; its own compression is several times slower, but a server may be built without lz4.
DO $$
BEGIN
    ALTER TABLE dead_letters ALTER COLUMN value SET COMPRESSION lz4, ALTER COLUMN headers SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value THEN
    NULL;
END $$;

-- Earlier verdicts on a dead event, and further copies of one.
CREATE TABLE failures (
    dead_letter_id bigint      NOT NULL,
    dlq_partition  integer     NOT NULL,
    dlq_offset     bigint      NOT NULL,
    stage          text        NOT NULL,
    code           text        NOT NULL,
    consumer_group text        NOT NULL,
    detail         text        NOT NULL,
    replay_count   integer     NOT NULL,
    failed_at      timestamptz NOT NULL,
    value          bytea, -- null also where it is that of the dead letter
    headers        json        NOT NULL,
    dropped_at     timestamptz, -- value and headers dropped by the limits
    PRIMARY KEY (dead_letter_id, dlq_partition, dlq_offset)
);
CREATE INDEX failures_to_drop ON failures (failed_at) WHERE dropped_at IS NULL;

-- What a person made of a value. The original stays in dead_letters.
CREATE TABLE edits (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dead_letter_id bigint      NOT NULL,
    edited_by      text        NOT NULL,
    edited_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason         text        NOT NULL DEFAULT '',
    value          bytea       NOT NULL,
    patch          json        NOT NULL -- JSON Patch (RFC 6902) from the original, for people
);
CREATE INDEX edits_dead_letter ON edits (dead_letter_id);

-- Patches applied, by the key their sender gave: the same again is answered and not applied. Forgotten after a month.
CREATE TABLE done_once (
    key    text COLLATE "C" PRIMARY KEY,
    asked  bytea       NOT NULL, -- SHA-256 of selection and patch
    answer json        NOT NULL,
    at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX done_once_at ON done_once (at);

-- Where the index goes on reading. Moved in the transaction that indexes, by compare-and-set: a zombie loses.
CREATE TABLE consumer_offsets (
    consumer_group text        NOT NULL,
    topic          text        NOT NULL,
    partition      integer     NOT NULL,
    next_offset    bigint      NOT NULL,
    stored         bigint      NOT NULL DEFAULT 0, -- new dead letters
    duplicate      bigint      NOT NULL DEFAULT 0, -- copies and further failures
    dead_lettered  bigint      NOT NULL DEFAULT 0, -- always 0: nothing is too broken to be indexed
    moved_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer_group, topic, partition)
);

-- The Kafka cluster whose offsets these are.
CREATE TABLE kafka_cluster (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    cluster_id text        NOT NULL,
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Groups are locked in order of their numbers: two transactions that count the same ones wait for each other and never in a circle.
CREATE FUNCTION count_dead_letters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM 1 FROM groups WHERE id IN (SELECT group_id FROM new_rows) ORDER BY id FOR UPDATE;
        UPDATE groups g
        SET open = g.open + n.open, replaying = g.replaying + n.replaying, resolved = g.resolved + n.resolved,
            discarded = g.discarded + n.discarded, bytes = g.bytes + n.bytes, first_seen = least(g.first_seen, n.first_seen),
            last_seen = greatest(g.last_seen, n.last_seen), sample = coalesce(g.sample, n.sample)
        FROM (SELECT group_id, count(*) FILTER (WHERE state = 'open') AS open, count(*) FILTER (WHERE state = 'replaying') AS replaying,
                     count(*) FILTER (WHERE state = 'resolved') AS resolved, count(*) FILTER (WHERE state = 'discarded') AS discarded,
                     sum(kept_bytes) AS bytes, min(first_failed_at) AS first_seen, max(last_failed_at) AS last_seen, min(id) AS sample
              FROM new_rows GROUP BY group_id) n
        WHERE g.id = n.group_id;
    ELSIF EXISTS (SELECT FROM new_rows n JOIN old_rows o USING (id)
                  WHERE (n.group_id, n.state, n.kept_bytes, n.first_failed_at, n.last_failed_at)
                        IS DISTINCT FROM (o.group_id, o.state, o.kept_bytes, o.first_failed_at, o.last_failed_at)) THEN
        -- Not for an edit: its groups would be locked, and with them the index, until the last page of a patch is through.
        PERFORM 1 FROM groups WHERE id IN (SELECT group_id FROM new_rows UNION SELECT group_id FROM old_rows) ORDER BY id FOR UPDATE;
        UPDATE groups g
        SET open = g.open + n.open, replaying = g.replaying + n.replaying, resolved = g.resolved + n.resolved,
            discarded = g.discarded + n.discarded, bytes = g.bytes + n.bytes, first_seen = least(g.first_seen, n.first_seen),
            last_seen = greatest(g.last_seen, n.last_seen), sample = coalesce(g.sample, n.sample)
        FROM (SELECT group_id, coalesce(sum(sign) FILTER (WHERE state = 'open'), 0) AS open,
                     coalesce(sum(sign) FILTER (WHERE state = 'replaying'), 0) AS replaying,
                     coalesce(sum(sign) FILTER (WHERE state = 'resolved'), 0) AS resolved,
                     coalesce(sum(sign) FILTER (WHERE state = 'discarded'), 0) AS discarded,
                     sum(sign * kept_bytes) AS bytes,
                     min(first_failed_at) FILTER (WHERE sign = 1) AS first_seen, max(last_failed_at) FILTER (WHERE sign = 1) AS last_seen,
                     min(id) FILTER (WHERE sign = 1) AS sample
              FROM (SELECT group_id, state, kept_bytes, first_failed_at, last_failed_at, id, 1 AS sign FROM new_rows
                    UNION ALL SELECT group_id, state, kept_bytes, first_failed_at, last_failed_at, id, -1 FROM old_rows) both_rows
              GROUP BY group_id) n
        WHERE g.id = n.group_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_new AFTER INSERT ON dead_letters REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_dead_letters();
CREATE TRIGGER count_changed AFTER UPDATE ON dead_letters REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_dead_letters();
