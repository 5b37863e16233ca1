-- A fourth fate: a rule of the event's source says that it is not wanted.
ALTER TABLE audit_pages ADD COLUMN filtered bigint NOT NULL DEFAULT 0;
ALTER TABLE consumer_offsets ADD COLUMN filtered bigint NOT NULL DEFAULT 0;
ALTER TABLE replay_items
    DROP CONSTRAINT replay_items_state_check,
    ADD CONSTRAINT replay_items_state_check
        CHECK (state IN ('pending', 'sending', 'sent', 'stored', 'duplicate', 'filtered', 'processed', 'failed', 'skipped')),
    DROP CONSTRAINT replay_items_would_check,
    ADD CONSTRAINT replay_items_would_check CHECK (would IN ('store', 'duplicate', 'filter', 'process', 'fail'));
