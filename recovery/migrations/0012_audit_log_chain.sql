-- The audit log as a chain: the hash of each row covers the row before it, so that one that is changed, removed or put in shows
-- (eventflow dlq audit-log --verify, which computes it on its own). Number, time and hash are the trigger's, whatever is inserted.
ALTER TABLE audit_log ADD COLUMN hash bytea;

-- Each field as its length in bytes and its text, so that no two rows are the same bytes; '-' is null.
CREATE FUNCTION audit_log_hash(previous bytea, entry audit_log) RETURNS bytea LANGUAGE sql STABLE SET search_path = recovery, pg_temp AS $$
    SELECT sha256(coalesce(previous, ''::bytea) || convert_to(string_agg(
               coalesce(octet_length(convert_to(field, 'UTF8'::name)) || ':' || field, '-'), ',' ORDER BY place), 'UTF8'::name))
    FROM unnest(ARRAY[entry.seq::text, (extract(epoch FROM entry.at) * 1000000)::bigint::text, entry.who, entry.action, entry.job_id,
                      entry.dead_letter_id::text, entry.reason, entry.counts::text]) WITH ORDINALITY AS fields (field, place)
$$;

CREATE FUNCTION chain_audit_log() RETURNS trigger LANGUAGE plpgsql SET search_path = recovery, pg_temp AS $$
DECLARE
    previous audit_log;
BEGIN
    -- Until the transaction ends: else two would follow the same row.
    PERFORM pg_advisory_xact_lock(hashtextextended('eventflow audit log', 0));
    SELECT * INTO previous FROM audit_log ORDER BY seq DESC LIMIT 1;
    NEW.seq := coalesce(previous.seq, 0) + 1;
    NEW.at := clock_timestamp();
    NEW.hash := audit_log_hash(previous.hash, NEW);
    RETURN NEW;
END $$;

-- The rows that are there. Nobody else writes meanwhile: the new column holds the table until the end.
ALTER TABLE audit_log DISABLE TRIGGER append_only;
GRANT UPDATE ON audit_log TO CURRENT_USER;
DO $$
DECLARE
    entry audit_log;
    previous bytea;
BEGIN
    FOR entry IN SELECT * FROM audit_log ORDER BY seq LOOP
        previous := audit_log_hash(previous, entry);
        UPDATE audit_log SET hash = previous WHERE seq = entry.seq;
    END LOOP;
END $$;
REVOKE UPDATE ON audit_log FROM CURRENT_USER;
ALTER TABLE audit_log ENABLE TRIGGER append_only;
ALTER TABLE audit_log ALTER COLUMN hash SET NOT NULL;
CREATE TRIGGER chained BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION chain_audit_log();
