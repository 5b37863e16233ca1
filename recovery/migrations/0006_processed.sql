-- What a dry run expects of a stage that is not on the path to a row: it can read the value, and stores nothing that could be compared.
ALTER TABLE replay_items
    DROP CONSTRAINT replay_items_would_check,
    ADD CONSTRAINT replay_items_would_check CHECK (would IN ('store', 'duplicate', 'process', 'fail'));
