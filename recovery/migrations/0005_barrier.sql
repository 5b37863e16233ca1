-- A checkpoint of any pipeline: how far the first stage had come, and which ends must be passed next. Rows of version 0.1 keep the columns
-- they have; those that were reached then still say which offsets a time range had, and those that were not are taken again.
ALTER TABLE audit_checkpoints
    ADD COLUMN settled jsonb, -- {"partition": offset} that the first stage had committed
    ADD COLUMN barrier jsonb, -- {"stage": ..., "topic": ..., "ends": {"partition": offset}}
    ALTER COLUMN validator_next DROP NOT NULL,
    ALTER COLUMN validated_ends DROP NOT NULL;

-- A stage that is not on the path to a row stores nothing: a replay to it that did not fail again was processed.
ALTER TABLE replay_items
    DROP CONSTRAINT replay_items_state_check,
    ADD CONSTRAINT replay_items_state_check
        CHECK (state IN ('pending', 'sending', 'sent', 'stored', 'duplicate', 'processed', 'failed', 'skipped'));
