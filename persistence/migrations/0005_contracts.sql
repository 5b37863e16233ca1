-- Which contract an event satisfies, with its version: payment.authorized.v1. Rows of version 0.1 have none: their event type names it.
ALTER TABLE events ADD COLUMN contract text;
-- What the vendor says of a version is no longer kept; instances of version 0.1 that are still running write it.
ALTER TABLE events ALTER COLUMN schema_version DROP NOT NULL;

CREATE OR REPLACE VIEW stored_events AS
    SELECT source, event_id, event_type, schema_version, entity_key, occurred_at, received_at, stored_at, amount, currency, payload,
           content_hash, schema_id, secret_id, trace_id, raw_partition, raw_offset, raw_epoch, coalesce(contract, event_type) AS contract
    FROM events;
