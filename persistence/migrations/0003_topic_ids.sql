-- A topic that is deleted and created again counts its offsets from 0 again: coordinates say which topic of that name they are of.

-- The raw topic this database began with. Its records are those with an empty epoch; of every other, the epoch is '@' and the topic's id.
CREATE TABLE raw_topic (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    topic_id text        NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE events ADD COLUMN raw_epoch text NOT NULL DEFAULT '';
ALTER TABLE duplicates ADD COLUMN raw_epoch text NOT NULL DEFAULT '';
ALTER TABLE duplicates DROP CONSTRAINT duplicates_pkey, ADD PRIMARY KEY (raw_partition, raw_offset, raw_epoch);

-- The topics whose offsets consumer_offsets holds.
CREATE TABLE read_topics (
    topic    text PRIMARY KEY,
    topic_id text        NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE OR REPLACE VIEW event_fates AS
    SELECT raw_partition, raw_offset, source, event_id, 'stored' AS fate, stored_at AS settled_at, raw_epoch FROM events
    UNION ALL
    SELECT raw_partition, raw_offset, source, event_id, 'duplicate' AS fate, seen_at AS settled_at, raw_epoch FROM duplicates;

CREATE OR REPLACE VIEW stored_events AS
    SELECT source, event_id, event_type, schema_version, entity_key, occurred_at, received_at, stored_at, amount, currency, payload,
           content_hash, schema_id, secret_id, trace_id, raw_partition, raw_offset, raw_epoch
    FROM events;

CREATE OR REPLACE VIEW duplicate_deliveries AS
    SELECT source, event_id, received_at, seen_at, raw_partition, raw_offset, raw_epoch FROM duplicates;

CREATE VIEW first_raw_topic AS SELECT topic_id FROM raw_topic;

-- Offsets that were found behind what the group had committed to Kafka: the database was restored, or set back by hand.
CREATE TABLE set_back_offsets (
    consumer_group text        NOT NULL,
    topic          text        NOT NULL,
    partition      integer     NOT NULL,
    next_offset    bigint, -- null: none
    committed      bigint      NOT NULL,
    found_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE VIEW set_back AS SELECT consumer_group, topic, partition, next_offset, committed, found_at FROM set_back_offsets;
