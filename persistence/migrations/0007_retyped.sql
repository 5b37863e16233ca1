-- Rows that were typed again: stored under the generic contract or an older version, and given what a contract that says more makes of the same
-- raw record. The row has what is true now; here is when that changed.
CREATE TABLE retyped (
    raw_partition   integer     NOT NULL,
    raw_offset      bigint      NOT NULL,
    raw_epoch       text        NOT NULL,
    source          text        NOT NULL,
    event_id        text        NOT NULL,
    contract_before text        NOT NULL,
    contract        text        NOT NULL,
    retyped_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (raw_partition, raw_offset, raw_epoch, contract)
);

-- Who edited what a row is made of: its raw record says something else, and it is not typed again from there. Rows of former versions do not say it.
ALTER TABLE events ADD COLUMN edited_by text;

CREATE OR REPLACE VIEW stored_events AS
    SELECT source, event_id, event_type, schema_version, entity_key, occurred_at, received_at, stored_at, amount, currency, payload,
           content_hash, schema_id, secret_id, trace_id, raw_partition, raw_offset, raw_epoch, coalesce(contract, event_type) AS contract, edited_by
    FROM events;

CREATE VIEW retyped_events AS
    SELECT source, event_id, contract_before, contract, retyped_at, raw_partition, raw_offset, raw_epoch FROM retyped;
