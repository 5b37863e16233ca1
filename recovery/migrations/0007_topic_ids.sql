-- A topic that is deleted and created again counts its offsets from 0 again: coordinates say which topic of that name they are of. The raw
-- topic the index began with goes by its name, every other by its name, '@' and its id: in dead_letters.origin_topic and in the audit.
CREATE TABLE raw_topic (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    topic_id text        NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Whether an origin is a raw record: of the raw topic, or of one that had its name before. No topic has an @ in its name.
CREATE FUNCTION of_raw_topic(origin text, raw text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    'SELECT origin = raw OR starts_with(origin, raw || ''@'')';

-- The topics whose offsets consumer_offsets holds.
CREATE TABLE read_topics (
    topic    text PRIMARY KEY,
    topic_id text        NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE audit_findings
    DROP CONSTRAINT audit_findings_kind_check,
    ADD CONSTRAINT audit_findings_kind_check CHECK (kind IN ('gap', 'double_fate', 'end_behind', 'compacted'));

-- Offsets that were found behind what the group had committed to Kafka: the database was restored, or set back by hand.
CREATE TABLE set_back_offsets (
    consumer_group text        NOT NULL,
    topic          text        NOT NULL,
    partition      integer     NOT NULL,
    next_offset    bigint, -- null: none
    committed      bigint      NOT NULL,
    found_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What was done about it: open dead letters whose records turned out to be stored are resolved, once all was read again.
CREATE TABLE restores (
    found_at timestamptz PRIMARY KEY, -- of the newest of the offsets it is about
    resolved bigint      NOT NULL,
    done_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
