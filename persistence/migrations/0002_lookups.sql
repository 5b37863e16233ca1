-- What traces and dry runs read, kept stable like a topic, and indexes that answer it.
--
-- Building the indexes holds persistence's writes, not its reads, for as long as it takes (a minute at 10 million rows); the stages wait and
-- lose nothing. sqlx runs migrations under a lock that another starting instance waits for, and CREATE INDEX CONCURRENTLY would wait for that
-- instance in turn. Who cannot spare the minute makes the three indexes by hand beforehand, concurrently and by these names: they are left as
-- they are.

-- An event id is looked up without its source. ON CONFLICT (source, event_id) takes a unique index on both columns in any order.
CREATE UNIQUE INDEX IF NOT EXISTS events_event_id_source ON events (event_id, source);
CREATE INDEX IF NOT EXISTS events_trace_id ON events (trace_id) WHERE trace_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS duplicates_event_id_source ON duplicates (event_id, source);
-- One made concurrently that failed is left invalid by PostgreSQL, and would be taken for the index that is meant.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_index WHERE NOT indisvalid AND indexrelid IN
               ('events_event_id_source'::regclass, 'events_trace_id'::regclass, 'duplicates_event_id_source'::regclass)) THEN
        RAISE EXCEPTION 'an index made by hand is invalid: drop events_event_id_source, events_trace_id and duplicates_event_id_source, then start again';
    END IF;
END $$;
ALTER TABLE events DROP CONSTRAINT events_source_event_id_key;
DROP INDEX duplicates_event;

CREATE VIEW stored_events AS
    SELECT source, event_id, event_type, schema_version, entity_key, occurred_at, received_at, stored_at, amount, currency, payload,
           content_hash, schema_id, secret_id, trace_id, raw_partition, raw_offset
    FROM events;

CREATE VIEW duplicate_deliveries AS
    SELECT source, event_id, received_at, seen_at, raw_partition, raw_offset FROM duplicates;

-- How far each group has read: every record before next_offset has its row or its acknowledged dead letter.
CREATE VIEW read_offsets AS
    SELECT consumer_group, topic, partition, next_offset, moved_at FROM consumer_offsets;
