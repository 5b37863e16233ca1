-- Which rows of a batch are refused, and why. Each row, a JSON object, is tried alone, by a statement whose parameter it is, and undone: it
-- leaves no lock and no version behind that the next would have to pass. Only what can be a row's own fault is caught (store/src/fault.rs);
-- anything else ends the call.
CREATE FUNCTION refused_rows(statement text, batch text[])
    RETURNS TABLE (number integer, state text, message text, violated text) LANGUAGE plpgsql AS $$
BEGIN
    FOR place IN 1..cardinality(batch) LOOP
        BEGIN
            EXECUTE statement USING batch[place];
            RAISE SQLSTATE 'EF000';
        EXCEPTION
            WHEN SQLSTATE 'EF000' THEN
                NULL;
            WHEN data_exception OR program_limit_exceeded OR not_null_violation OR check_violation THEN
                number := place;
                GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, violated = CONSTRAINT_NAME;
                RETURN NEXT;
        END;
    END LOOP;
END $$;
