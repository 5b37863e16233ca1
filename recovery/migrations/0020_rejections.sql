-- Refused requests, as the edge wrote them to events.rejections.v1: a sample for people, kept for days. No part of the audit, since a refused
-- request is no accepted webhook. Rows are deleted by age and by number of each source and code.
CREATE TABLE rejections (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic_partition integer NOT NULL,
    topic_offset    bigint NOT NULL,
    at              timestamptz NOT NULL,
    source          text NOT NULL,
    code            text NOT NULL,
    status          integer NOT NULL,
    detail          text NOT NULL,
    scheme          text,
    peer            text NOT NULL,
    user_agent      text,
    skew_seconds    bigint,
    parts           json NOT NULL,
    body_bytes      bigint,
    body_sha256     text,
    trace_id        text,
    -- of the same source and code since the one before, not written by that edge process
    left_out        bigint NOT NULL,
    -- of sources with capture_rejected: method, query and headers; the body
    captured        json,
    body            bytea,
    captured_until  timestamptz,
    -- a record that is read again; with its time, since a topic that is made anew counts its offsets from 0 again
    UNIQUE (topic_partition, topic_offset, at)
);
CREATE INDEX rejections_of_group ON rejections (source, code, id DESC);
CREATE INDEX rejections_at ON rejections (at);
CREATE INDEX rejections_captured ON rejections (captured_until) WHERE captured_until IS NOT NULL;
