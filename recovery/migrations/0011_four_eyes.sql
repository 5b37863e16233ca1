-- Whether a replay sends a value that a person edited: then, where the role asks for it, a second person must approve it.
ALTER TABLE replay_jobs ADD COLUMN edited boolean NOT NULL DEFAULT false;
UPDATE replay_jobs j SET edited = true
WHERE j.finished_at IS NULL AND EXISTS (SELECT FROM replay_items i WHERE i.job_id = j.id AND i.edit_id IS NOT NULL);
-- What a person's replays of a day come to.
CREATE INDEX replay_jobs_started ON replay_jobs (created_by, started_at) WHERE started_at IS NOT NULL;
