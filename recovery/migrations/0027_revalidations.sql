-- A revalidation is a job, too: its items are rows, named by their raw records, whose contract may be outdone by one of today's. Such an item has no
-- dead letter; in the place of one's number it has its own position, below zero.
ALTER TABLE replay_jobs
    ADD COLUMN kind text NOT NULL DEFAULT 'replay' CHECK (kind IN ('replay', 'revalidation'));
ALTER TABLE replay_items
    ADD COLUMN raw_partition integer,
    ADD COLUMN raw_offset    bigint,
    ADD COLUMN raw_epoch     text,
    ADD COLUMN source        text,
    ADD COLUMN event_id      text,
    ADD COLUMN contract      text, -- that its row had when it was planned
    ADD CONSTRAINT replay_items_of_row
        CHECK (dead_letter_id > 0
               OR dead_letter_id = -position AND num_nulls(raw_partition, raw_offset, raw_epoch, source, event_id, contract) = 0),
    DROP CONSTRAINT replay_items_state_check,
    ADD CONSTRAINT replay_items_state_check
        CHECK (state IN ('pending', 'sending', 'sent', 'stored', 'duplicate', 'filtered', 'retyped', 'processed', 'failed', 'skipped')),
    DROP CONSTRAINT replay_items_would_check,
    ADD CONSTRAINT replay_items_would_check
        CHECK (would IN ('store', 'duplicate', 'filter', 'retype', 'unchanged', 'process', 'fail'));
