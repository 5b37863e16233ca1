-- What the edge could not prove of a dead letter's webhook (stale or unverified; null: all is proven), and who said that an unverified one is
-- genuine: no replay sends it before.
ALTER TABLE dead_letters
    ADD COLUMN unproven       text COLLATE "C",
    ADD COLUMN genuine_by     text,
    ADD COLUMN genuine_at     timestamptz,
    ADD COLUMN genuine_reason text;
-- Whether a replay sends what was not verified: then, where the role asks for it, a second person must approve it.
ALTER TABLE replay_jobs ADD COLUMN unverified boolean NOT NULL DEFAULT false;
