-- Events that a rule of their source says are not wanted: accepted, and known by coordinates, source, id and type.
CREATE TABLE filtered (
    raw_partition integer     NOT NULL,
    raw_offset    bigint      NOT NULL,
    raw_epoch     text        NOT NULL,
    source        text        NOT NULL,
    event_id      text        NOT NULL,
    event_type    text        NOT NULL,
    rule          text        NOT NULL,
    received_at   timestamptz,
    seen_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (raw_partition, raw_offset, raw_epoch)
);
CREATE INDEX filtered_event_id_source ON filtered (event_id, source);
ALTER TABLE consumer_offsets ADD COLUMN filtered bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE VIEW event_fates AS
    SELECT raw_partition, raw_offset, source, event_id, 'stored' AS fate, stored_at AS settled_at, raw_epoch FROM events
    UNION ALL
    SELECT raw_partition, raw_offset, source, event_id, 'duplicate' AS fate, seen_at AS settled_at, raw_epoch FROM duplicates
    UNION ALL
    SELECT raw_partition, raw_offset, source, event_id, 'filtered' AS fate, seen_at AS settled_at, raw_epoch FROM filtered;

CREATE VIEW filtered_events AS
    SELECT source, event_id, event_type, rule, received_at, seen_at, raw_partition, raw_offset, raw_epoch FROM filtered;
