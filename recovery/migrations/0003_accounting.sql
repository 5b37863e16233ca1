-- A look at the cluster. Once persistence and the index have read all of it, every raw record before validator_next has its fate.
CREATE TABLE audit_checkpoints (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    topic          text        NOT NULL, -- the raw topic
    low            jsonb       NOT NULL, -- {"partition": offset}
    high           jsonb       NOT NULL,
    validator_next jsonb       NOT NULL, -- what the validator had committed
    validated_ends jsonb       NOT NULL, -- read after it
    dlq_ends       jsonb, -- read after persistence had passed validated_ends
    reached_at     timestamptz
);
CREATE INDEX audit_checkpoints_pending ON audit_checkpoints (topic, id) WHERE reached_at IS NULL;
CREATE INDEX audit_checkpoints_at ON audit_checkpoints (topic, at);

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

-- What was found, by pages of offsets. A page is looked at again when a replay touches it, and each in its turn.
CREATE TABLE audit_pages (
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    page        bigint      NOT NULL, -- offset / page size
    next_offset bigint      NOT NULL, -- all of the page before it were looked at
    stored      bigint      NOT NULL DEFAULT 0,
    duplicate   bigint      NOT NULL DEFAULT 0,
    open        bigint      NOT NULL DEFAULT 0,
    replaying   bigint      NOT NULL DEFAULT 0,
    discarded   bigint      NOT NULL DEFAULT 0,
    absent      bigint      NOT NULL DEFAULT 0, -- offsets without a record
    gap         bigint      NOT NULL DEFAULT 0,
    double_fate bigint      NOT NULL DEFAULT 0,
    examined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, partition, page)
);
CREATE INDEX audit_pages_examined ON audit_pages (topic, examined_at);
CREATE INDEX audit_pages_unsettled ON audit_pages (topic) WHERE replaying > 0 OR gap > 0 OR double_fate > 0;

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
CREATE INDEX audit_findings_now ON audit_findings (topic, partition, "offset") WHERE healed_at IS NULL;

-- Offsets that Kafka was asked about and holds no record at (a transaction's marker, for one): no fate is owed for them.
CREATE TABLE audit_absent (
    topic     text    NOT NULL,
    partition integer NOT NULL,
    "offset"  bigint  NOT NULL,
    PRIMARY KEY (topic, partition, "offset")
);

-- What the audit asks of dead letters, without reading them.
CREATE INDEX dead_letters_unsettled ON dead_letters (origin_topic, state, origin_partition, origin_offset)
    WHERE origin_group = '' AND state IN ('open', 'replaying');
CREATE INDEX dead_letters_settled_at ON dead_letters (settled_at) WHERE settled_at IS NOT NULL;
