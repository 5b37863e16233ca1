-- One row per (source, event id). Clustered by arrival: ids are the vendors' and may be random.
CREATE TABLE events (
    seq            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source         text        NOT NULL,
    event_id       text        NOT NULL,
    event_type     text        NOT NULL,
    schema_version text        NOT NULL,
    entity_key     text,
    occurred_at    timestamptz NOT NULL,
    received_at    timestamptz,
    stored_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    amount         numeric,
    currency       text,
    payload        jsonb       NOT NULL,
    content_hash   bytea       NOT NULL,
    schema_id      integer     NOT NULL,
    secret_id      text,
    trace_id       text,
    raw_partition  integer     NOT NULL,
    raw_offset     bigint      NOT NULL,
    UNIQUE (source, event_id)
);
CREATE INDEX events_raw ON events (raw_partition, raw_offset);
CREATE INDEX events_entity_key ON events (entity_key) WHERE entity_key IS NOT NULL;

-- Every further delivery of a stored event, by the raw record that brought it.
CREATE TABLE duplicates (
    raw_partition integer     NOT NULL,
    raw_offset    bigint      NOT NULL,
    source        text        NOT NULL,
    event_id      text        NOT NULL,
    received_at   timestamptz,
    seen_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (raw_partition, raw_offset)
);
CREATE INDEX duplicates_event ON duplicates (source, event_id);

-- Where this group goes on reading. Moved in the transaction that stores, by compare-and-set: a zombie loses.
CREATE TABLE consumer_offsets (
    consumer_group text        NOT NULL,
    topic          text        NOT NULL,
    partition      integer     NOT NULL,
    next_offset    bigint      NOT NULL,
    stored         bigint      NOT NULL DEFAULT 0,
    duplicate      bigint      NOT NULL DEFAULT 0,
    dead_lettered  bigint      NOT NULL DEFAULT 0,
    moved_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer_group, topic, partition)
);

-- The Kafka cluster whose offsets these are.
CREATE TABLE kafka_cluster (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    cluster_id text        NOT NULL,
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What others may read; kept stable like a topic.
CREATE VIEW event_fates AS
    SELECT raw_partition, raw_offset, source, event_id, 'stored' AS fate, stored_at AS settled_at FROM events
    UNION ALL
    SELECT raw_partition, raw_offset, source, event_id, 'duplicate' AS fate, seen_at AS settled_at FROM duplicates;
