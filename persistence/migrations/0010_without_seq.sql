-- What the indexes of the migration before replace. Nothing is rewritten: it takes moments.

-- One made concurrently that failed is left invalid by PostgreSQL, and would be taken for the index that is meant.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_index WHERE NOT indisvalid AND indexrelid IN
               ('events_key'::regclass, 'events_coordinates'::regclass, 'events_texts'::regclass)) THEN
        RAISE EXCEPTION 'an index is invalid: drop those of events_key, events_coordinates and events_texts that are, then start again';
    END IF;
END $$;
DROP INDEX events_event_id_source;
DROP INDEX events_raw;
DROP INDEX events_entity_key;
DROP INDEX events_trace_id;
-- A row is known by its event. Without a primary key, logical replication must be told how an update names a row.
ALTER TABLE events DROP COLUMN seq;
ALTER TABLE events REPLICA IDENTITY FULL;
-- So that the summary is never far behind, and the audit's ranges need no row, however large the table is.
ALTER TABLE events SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);
