-- Automatic recovery: where a policy stands.
CREATE TABLE policies (
    name           text PRIMARY KEY,
    fingerprint    text        NOT NULL, -- of the policy, the contracts and the version it was last looked at with
    looked_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    stopped_at     timestamptz,
    stopped_reason text -- until the fingerprint changes
);

-- What automatic recovery did with a dead letter. Written before it is sent: a crash can cost a try, never grant one.
CREATE TABLE policy_tries (
    dead_letter_id bigint PRIMARY KEY,
    tries          integer     NOT NULL DEFAULT 0, -- never set back
    next_try_at    timestamptz NOT NULL DEFAULT '-infinity',
    failed_with    text -- the fingerprint under which today's checks refuse it: not asked again under the same
);
