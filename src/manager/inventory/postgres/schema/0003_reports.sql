-- What machines say of themselves, and what of that somebody else than a manager may write.
--
-- A machine's own role is called as the machine, may log in, and nothing else:
--     CREATE ROLE "www.example.com" LOGIN PASSWORD '...';
--     GRANT USAGE ON SCHEMA reseed TO "www.example.com";
--     GRANT EXECUTE ON FUNCTION reseed.report(text) TO "www.example.com";

CREATE TABLE reseed.reports (
    host text PRIMARY KEY CHECK (host = lower(host COLLATE "C")),
    at timestamptz NOT NULL,
    received timestamptz NOT NULL DEFAULT now(),
    report jsonb NOT NULL
);
CREATE INDEX reports_at ON reseed.reports (at);
COMMENT ON TABLE reseed.reports IS 'The last report of each machine: reseed status --push';
COMMENT ON COLUMN reseed.reports.at IS 'When the machine made it, by its own clock';

-- Whoever may not write the table may report for the host that the role is called after. It is called by programs of
-- every version: its parameters never change.
CREATE FUNCTION reseed.report(said text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given jsonb;
    name text;
    made timestamptz;
    known timestamptz;
BEGIN
    IF octet_length(said) > 1048576 THEN
        PERFORM reseed.refuse('RS020', format('a report has at most 1048576 octets, and this one has %s', octet_length(said)));
    END IF;
    BEGIN
        given := said::jsonb;
        name := lower((given ->> 'host') COLLATE "C");
        made := (given ->> 'at')::timestamptz;
    EXCEPTION WHEN data_exception THEN
        PERFORM reseed.refuse('RS020', format('this is no report: %s', SQLERRM));
    END;
    IF name IS NULL OR made IS NULL THEN
        PERFORM reseed.refuse('RS020', 'this is no report: it says neither whose it is nor of when');
    END IF;
    IF session_user <> name AND NOT has_table_privilege(session_user, 'reseed.reports', 'INSERT') THEN
        PERFORM reseed.refuse('RS020', format('the role "%s" may report for the host of that name, and not for %s', session_user, name));
    END IF;
    PERFORM reseed.check_name(name);
    IF made > clock_timestamp() + interval '1 hour' THEN
        PERFORM reseed.refuse('RS020', format('the report of %s was made on %s, which is still to come; set that machine''s clock', name, made));
    END IF;
    INSERT INTO reseed.reports AS r (host, at, report) VALUES (name, made, given)
    ON CONFLICT (host) DO UPDATE SET at = EXCLUDED.at, received = now(), report = EXCLUDED.report WHERE r.at <= EXCLUDED.at;
    IF NOT FOUND THEN
        SELECT r.at INTO known FROM reseed.reports r WHERE r.host = name;
        PERFORM reseed.refuse('RS020', format('there is a later report of %s, of %s; this one was made on %s', name, known, made));
    END IF;
END $$;
REVOKE ALL ON FUNCTION reseed.report(text) FROM PUBLIC;
