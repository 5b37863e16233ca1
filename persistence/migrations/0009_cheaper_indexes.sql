-- online: on a table that is there these indexes are made beforehand, while rows are stored (store/src/online.rs). Then this migration finds them.

-- What a stored row pays for is dedupe and its coordinates, two B-trees; texts are looked up in a summary of each 32 pages.

-- Ids are compared byte by byte. By the rules of a language that costs as much again as the rest of the index.
CREATE UNIQUE INDEX IF NOT EXISTS events_key ON events (event_id COLLATE "C", source COLLATE "C");
-- The audit reads ranges of it, and the epoch with them, without the rows.
CREATE INDEX IF NOT EXISTS events_coordinates ON events (raw_partition, raw_offset) INCLUDE (raw_epoch);
-- Storing a row costs it nothing: VACUUM adds new pages to the summary, and until then they are read.
CREATE INDEX IF NOT EXISTS events_texts ON events USING brin
    (event_id text_bloom_ops (n_distinct_per_range = 1000, false_positive_rate = 0.005),
     entity_key text_bloom_ops (n_distinct_per_range = 1000, false_positive_rate = 0.005),
     trace_id text_bloom_ops (n_distinct_per_range = 1000, false_positive_rate = 0.005)) WITH (pages_per_range = 32);
