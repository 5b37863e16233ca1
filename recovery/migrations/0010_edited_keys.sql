-- The key that a replay of an edit is sent with: what its source's pointer finds in the edited value. Null, as of edits made before: the key of
-- the dead letter.
ALTER TABLE edits ADD COLUMN key bytea;
