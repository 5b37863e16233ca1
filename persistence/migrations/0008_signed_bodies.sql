-- Signed bodies of events whose ids are not signed: the same body under another id is a copy, for as long as its vendor may send it again.
CREATE TABLE signed_bodies (
    source      text COLLATE "C" NOT NULL,
    digest      bytea       NOT NULL, -- SHA-256 of the signed bytes
    item        integer     NOT NULL, -- which event of the body
    event_id    text        NOT NULL, -- under which it is stored
    received_at timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    PRIMARY KEY (source, digest, item)
);
CREATE INDEX signed_bodies_until ON signed_bodies (until);

-- Of a copy: the id under which its body is stored. Null: the event was delivered again under its own.
ALTER TABLE duplicates ADD COLUMN same_body_as text;

CREATE OR REPLACE VIEW duplicate_deliveries AS
    SELECT source, event_id, received_at, seen_at, raw_partition, raw_offset, raw_epoch, same_body_as FROM duplicates;

CREATE VIEW known_bodies AS SELECT source, digest, item, event_id, until FROM signed_bodies;
