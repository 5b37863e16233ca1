-- A look at the cluster. Once persistence and the index have read all of it, every raw record before validator_next has its fate.
CREATE TABLE audit_checkpoints (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    topic          text        NOT NULL, -- the raw topic
    low            json        NOT NULL, -- {"partition": offset}
    high           json        NOT NULL,
    validator_next json        NOT NULL, -- what the validator had committed
    validated_ends json        NOT NULL, -- read after it
    dlq_ends       json, -- read after persistence had passed validated_ends
    reached_at     timestamptz
);

-- How far every raw record is accounted for.
CREATE TABLE audit_frontier (
    topic        text        NOT NULL,
    partition    integer     NOT NULL,
    first_offset bigint      NOT NULL, -- the oldest ever seen
    next_offset  bigint      NOT NULL, -- all before it were looked at
    high         bigint      NOT NULL, -- the topic's end at the last look
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, partition)
);

-- Records without a fate, or with two. Kept when healed.
CREATE TABLE audit_findings (
    topic     text        NOT NULL,
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    kind      text        NOT NULL CHECK (kind IN ('gap', 'double_fate')),
    detail    text        NOT NULL,
    found_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    healed_at timestamptz,
    PRIMARY KEY (topic, partition, "offset", kind)
);
