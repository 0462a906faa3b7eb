-- Ledgers: one row for each store of an exporter.
CREATE TABLE coturn_ledger.store (
    store_id uuid PRIMARY KEY,
    exporter text NOT NULL,
    last_revision bigint NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

COMMENT ON TABLE coturn_ledger.store IS 'Ledgers of exporters: one row for each store (--store.path) that has ever delivered';
COMMENT ON COLUMN coturn_ledger.store.store_id IS 'UUID of the ledger; it is made once, with the store';
COMMENT ON COLUMN coturn_ledger.store.exporter IS 'Name of the exporter (--exporter.name) at its last delivery; it may change';
COMMENT ON COLUMN coturn_ledger.store.last_revision IS 'Newest revision of a session of this ledger that is in the table session';
COMMENT ON COLUMN coturn_ledger.store.first_seen IS 'Time of the first delivery';
COMMENT ON COLUMN coturn_ledger.store.last_seen IS 'Time of the last delivery';

-- Finished sessions, by the month (UTC) in which they ended.
CREATE TABLE coturn_ledger.session (
    store_id uuid NOT NULL,
    session bigint NOT NULL,
    ended timestamptz NOT NULL,
    revision bigint NOT NULL,
    source text NOT NULL,
    realm text NOT NULL,
    user_name text NOT NULL,
    user_name_bytes bytea,
    user_id text NOT NULL,
    user_id_bytes bytea,
    client text,
    server text NOT NULL,
    transport text NOT NULL,
    cause text NOT NULL,
    started timestamptz NOT NULL,
    relay_started timestamptz,
    relay_ended timestamptz,
    allocations bigint NOT NULL,
    is_partial boolean NOT NULL,
    relayed_bytes bigint NOT NULL,
    client_received_bytes bigint NOT NULL,
    client_received_packets bigint NOT NULL,
    client_sent_bytes bigint NOT NULL,
    client_sent_packets bigint NOT NULL,
    peer_received_bytes bigint NOT NULL,
    peer_received_packets bigint NOT NULL,
    peer_sent_bytes bigint NOT NULL,
    peer_sent_packets bigint NOT NULL,
    -- `ended` is in it because it says which partition a row is in; it does not change after a session has ended.
    PRIMARY KEY (store_id, session, ended)
) PARTITION BY RANGE (ended);

-- What a user relayed in a time: the question of an invoice.
CREATE INDEX session_user_id_ended ON coturn_ledger.session (user_id, ended);
-- What a realm relayed in a time.
CREATE INDEX session_realm_ended ON coturn_ledger.session (realm, ended);
-- All sessions of a time: rows arrive about in the order in which sessions end, so a few pages say where a day is.
CREATE INDEX session_ended ON coturn_ledger.session USING brin (ended) WITH (pages_per_range = 32);

-- What belongs to no month that was made.
CREATE TABLE coturn_ledger.session_default PARTITION OF coturn_ledger.session DEFAULT;

COMMENT ON TABLE coturn_ledger.session IS 'Finished TURN sessions of all exporters, each once; partitions by the month (UTC) of ended';
COMMENT ON TABLE coturn_ledger.session_default IS 'Sessions of months without a partition of their own; make_months moves them out';
COMMENT ON COLUMN coturn_ledger.session.store_id IS 'Ledger that the session is of; see the table store';
COMMENT ON COLUMN coturn_ledger.session.session IS 'Number of the session in its ledger; with store_id it is unique for ever';
COMMENT ON COLUMN coturn_ledger.session.ended IS 'Last end of an allocation of the session; it does not change any more';
COMMENT ON COLUMN coturn_ledger.session.revision IS 'Number of the event of the ledger that changed the session last; a row is only replaced by one with a higher revision';
COMMENT ON COLUMN coturn_ledger.session.source IS 'Source that the exporter met the session on';
COMMENT ON COLUMN coturn_ledger.session.realm IS 'Realm; empty where coturn has none';
COMMENT ON COLUMN coturn_ledger.session.user_name IS 'Whole user name; not exact where user_name_bytes is not null';
COMMENT ON COLUMN coturn_ledger.session.user_name_bytes IS 'User name byte for byte, where user_name cannot hold it: no UTF-8, a NUL, or more than 1000 bytes';
COMMENT ON COLUMN coturn_ledger.session.user_id IS 'User id of a TURN REST name, else the whole name; not exact where user_id_bytes is not null';
COMMENT ON COLUMN coturn_ledger.session.user_id_bytes IS 'User id byte for byte, where user_id cannot hold it';
COMMENT ON COLUMN coturn_ledger.session.client IS 'Address and port of the client of the last allocation that relayed; null if not known';
COMMENT ON COLUMN coturn_ledger.session.server IS 'Host of the TURN server of that allocation';
COMMENT ON COLUMN coturn_ledger.session.transport IS 'How the client reached the server: udp, tcp, tls or dtls';
COMMENT ON COLUMN coturn_ledger.session.cause IS 'How the last allocation that relayed ended';
COMMENT ON COLUMN coturn_ledger.session.started IS 'First opening of an allocation of the session';
COMMENT ON COLUMN coturn_ledger.session.relay_started IS 'First opening of an allocation that relayed; null if none did';
COMMENT ON COLUMN coturn_ledger.session.relay_ended IS 'Last end of an allocation that relayed; null if none did';
COMMENT ON COLUMN coturn_ledger.session.allocations IS 'Number of allocations';
COMMENT ON COLUMN coturn_ledger.session.is_partial IS 'Not watched from first opening to last end: times and sums are those that are known';
COMMENT ON COLUMN coturn_ledger.session.relayed_bytes IS 'Bytes of the peer leg, both directions (of coturn before 4.5.1.2: of the client leg)';
COMMENT ON COLUMN coturn_ledger.session.client_received_bytes IS 'Bytes that the server received from the client';
COMMENT ON COLUMN coturn_ledger.session.client_received_packets IS 'Packets that the server received from the client';
COMMENT ON COLUMN coturn_ledger.session.client_sent_bytes IS 'Bytes that the server sent to the client';
COMMENT ON COLUMN coturn_ledger.session.client_sent_packets IS 'Packets that the server sent to the client';
COMMENT ON COLUMN coturn_ledger.session.peer_received_bytes IS 'Bytes that the server received from peers';
COMMENT ON COLUMN coturn_ledger.session.peer_received_packets IS 'Packets that the server received from peers';
COMMENT ON COLUMN coturn_ledger.session.peer_sent_bytes IS 'Bytes that the server sent to peers';
COMMENT ON COLUMN coturn_ledger.session.peer_sent_packets IS 'Packets that the server sent to peers';

-- Makes the partitions of the months (UTC) of these moments, and moves into them what the default partition has of them.
-- It has the rights of its owner, so that an exporter needs none to change tables: it makes months from 2015 to the end of
-- next year, and does nothing else.
CREATE FUNCTION coturn_ledger.make_months(moments timestamptz[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $make_months$
DECLARE
    month timestamp;
    partition text;
    lower_bound timestamptz;
    upper_bound timestamptz;
BEGIN
    FOR month IN
        SELECT DISTINCT date_trunc('month', moment AT TIME ZONE 'UTC') AS first
        FROM unnest(moments) AS moment
        WHERE moment >= timestamptz '2015-01-01 00:00:00+00'
            AND moment < (date_trunc('year', now() AT TIME ZONE 'UTC') + interval '2 years') AT TIME ZONE 'UTC'
        ORDER BY first
    LOOP
        partition := 'session_' || to_char(month, 'YYYYMM');
        CONTINUE WHEN to_regclass('coturn_ledger.' || partition) IS NOT NULL;
        -- One at a time, and nobody inserts between the move and the new partition.
        PERFORM pg_advisory_xact_lock(7165061902);
        LOCK TABLE coturn_ledger.session IN SHARE ROW EXCLUSIVE MODE;
        -- With the lock on a table, and not before, this session learns of tables that others have made.
        CONTINUE WHEN to_regclass('coturn_ledger.' || partition) IS NOT NULL;
        lower_bound := month AT TIME ZONE 'UTC';
        upper_bound := (month + interval '1 month') AT TIME ZONE 'UTC';
        EXECUTE format('CREATE TABLE coturn_ledger.%I (LIKE coturn_ledger.session INCLUDING ALL)', partition);
        EXECUTE format(
            'WITH moved AS (DELETE FROM coturn_ledger.session_default WHERE ended >= %L AND ended < %L RETURNING *) '
            'INSERT INTO coturn_ledger.%I SELECT * FROM moved', lower_bound, upper_bound, partition);
        EXECUTE format(
            'ALTER TABLE coturn_ledger.session ATTACH PARTITION coturn_ledger.%I FOR VALUES FROM (%L) TO (%L)',
            partition, lower_bound, upper_bound);
    END LOOP;
END
$make_months$;

REVOKE ALL ON FUNCTION coturn_ledger.make_months(timestamptz[]) FROM PUBLIC;
COMMENT ON FUNCTION coturn_ledger.make_months(timestamptz[]) IS 'Makes the partitions of the months (UTC) of these moments';

CREATE VIEW coturn_ledger.usage_by_user_day AS
SELECT
    (ended AT TIME ZONE 'UTC')::date AS day,
    user_id,
    user_id_bytes,
    count(*) AS sessions,
    count(*) FILTER (WHERE relay_started IS NOT NULL) AS relayed_sessions,
    count(*) FILTER (WHERE is_partial) AS partial_sessions,
    sum(allocations) AS allocations,
    floor(sum(extract(epoch FROM greatest(ended - started, interval '0'))::numeric)) AS seconds,
    floor(coalesce(sum(extract(epoch FROM greatest(relay_ended - relay_started, interval '0'))::numeric), 0))
        AS relay_seconds,
    sum(relayed_bytes) AS relayed_bytes,
    sum(client_received_bytes) AS client_received_bytes,
    sum(client_received_packets) AS client_received_packets,
    sum(client_sent_bytes) AS client_sent_bytes,
    sum(client_sent_packets) AS client_sent_packets,
    sum(peer_received_bytes) AS peer_received_bytes,
    sum(peer_received_packets) AS peer_received_packets,
    sum(peer_sent_bytes) AS peer_sent_bytes,
    sum(peer_sent_packets) AS peer_sent_packets
FROM coturn_ledger.session
GROUP BY 1, 2, 3;

CREATE VIEW coturn_ledger.usage_by_realm_day AS
SELECT
    (ended AT TIME ZONE 'UTC')::date AS day,
    realm,
    count(*) AS sessions,
    count(*) FILTER (WHERE relay_started IS NOT NULL) AS relayed_sessions,
    count(*) FILTER (WHERE is_partial) AS partial_sessions,
    sum(allocations) AS allocations,
    floor(sum(extract(epoch FROM greatest(ended - started, interval '0'))::numeric)) AS seconds,
    floor(coalesce(sum(extract(epoch FROM greatest(relay_ended - relay_started, interval '0'))::numeric), 0))
        AS relay_seconds,
    sum(relayed_bytes) AS relayed_bytes,
    sum(client_received_bytes) AS client_received_bytes,
    sum(client_received_packets) AS client_received_packets,
    sum(client_sent_bytes) AS client_sent_bytes,
    sum(client_sent_packets) AS client_sent_packets,
    sum(peer_received_bytes) AS peer_received_bytes,
    sum(peer_received_packets) AS peer_received_packets,
    sum(peer_sent_bytes) AS peer_sent_bytes,
    sum(peer_sent_packets) AS peer_sent_packets
FROM coturn_ledger.session
GROUP BY 1, 2;

COMMENT ON VIEW coturn_ledger.usage_by_user_day IS 'What each user used on each day (UTC) on which sessions ended; seconds are rounded down once for each sum';
COMMENT ON VIEW coturn_ledger.usage_by_realm_day IS 'What each realm used on each day (UTC) on which sessions ended; seconds are rounded down once for each sum';
