//! Every family of the page: name, type, labels, help. Once, here; the collector, the documentation and the tests read it.
//!
//! Names and labels are a contract with dashboards: a change is a breaking one.

/// What a family's values do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyType {
    /// Only rises, while the process lives.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Observations over edges.
    Histogram,
}

/// One metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// The metric's name.
    pub name: &'static str,
    /// What its values do.
    pub kind: FamilyType,
    /// Label names, in the order of their values.
    pub labels: &'static [&'static str],
    /// What it means, whose view it is, what must not be done with it.
    pub help: &'static str,
}

impl Family {
    /// The name without what `OpenMetrics` puts behind it in the samples: `_total`, `_info`.
    pub fn open_metrics_name(&self) -> &'static str {
        let suffix = if self.kind == FamilyType::Counter { "_total" } else { "_info" };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }

    /// The unit that the name ends in.
    pub fn unit(&self) -> Option<&'static str> {
        let name = self.open_metrics_name();
        ["seconds", "bytes"]
            .into_iter()
            .find(|unit| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
    }
}

macro_rules! families {
    ($($(#[$meta:meta])* $id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $($(#[$meta])* #[doc = concat!("`", $name, "`")] pub const $id: Family = Family {
            name: $name, kind: FamilyType::$kind, labels: &[$($label),*], help: $help,
        };)*

        /// Every family, in the order of the documentation.
        pub const ALL: &[Family] = &[$($id),*];
    };
}

families! {
    ALLOCATIONS: Gauge "coturn_allocations" ["realm", "transport"]
        "Live allocations (relay addresses held by clients) by how the client reaches the server, from coturn's status \
         events. Orphans of reason overdue are not among them.";
    ALLOCATIONS_OPENED: Counter "coturn_allocations_opened_total" ["realm", "transport"]
        "Allocations whose birth (status new) was seen.";
    ALLOCATIONS_ADOPTED: Counter "coturn_allocations_adopted_total" ["realm"]
        "Allocations first seen in the middle of their life or at its end: by a refresh, a key in Redis, traffic or \
         their deletion. opened + adopted - closed = live.";
    ALLOCATIONS_CLOSED: Counter "coturn_allocations_closed_total" ["realm", "cause"]
        "Allocations that ended. released: the client asked for it; expired: the client vanished; disconnected: its \
         connection closed, or it was killed or drained; replaced: its server was restarted, or a new allocation has \
         its key; abandoned: its server died, or coturn lost the end; missed: the end was in a gap in the stream. The \
         share of unclean ends is expired / (released + expired + disconnected); even correct clients have some.";
    ALLOCATIONS_RELAYED: Counter "coturn_allocations_relayed_total" ["realm"]
        "Allocations that were used, not merely gathered: more packets passed on the peer leg than \
         --session.relayed-packets, at least one of them from a peer (coturn before 4.5.1.2: on the client leg, at \
         least one of them to the client).";
    ALLOCATION_REFRESHES: Counter "coturn_allocation_refreshes_total" ["realm"]
        "Refreshes that granted a lifetime; a refresh with lifetime 0 (a release) is not among them.";
    ALLOCATION_DURATION: Histogram "coturn_allocation_duration_seconds" ["realm"]
        "How long allocations lasted; only those whose birth was seen and whose end coturn reported (released, expired, \
         disconnected).";
    ALLOCATIONS_OVER_MAX_LIFETIME: Gauge "coturn_allocations_over_max_lifetime" ["realm"]
        "Live allocations older than --allocation.max-lifetime. Age alone is no fault: coturn's maximum limits one \
         grant, not the age. Those that relay nothing are orphans of reason idle.";
    ORPHANED_ALLOCATIONS: Gauge "coturn_orphaned_allocations" ["realm", "reason"]
        "Allocations that nobody uses. idle: live, older than --allocation.max-lifetime, and no allocation gathered \
         together with it has relayed for --allocation.idle-after: a client that was never closed; its share is idle / \
         coturn_allocations. overdue: not live; its lifetime has passed and no end was reported: its server died or the \
         end was lost. The reasons are disjoint.";
    ALLOCATIONS_ORPHANED: Counter "coturn_allocations_orphaned_total" ["realm", "reason"]
        "Allocations that became an orphan. An allocation that relays again and becomes idle again counts again.";
    OLDEST_ALLOCATION: Gauge "coturn_oldest_allocation_start_timestamp_seconds" ["realm"]
        "When the oldest live allocation started, in seconds since 1970; for an adopted one, when its last status \
         before the adoption was. Absent without live allocations.";
    OLDEST_SESSION: Gauge "coturn_oldest_session_start_timestamp_seconds" ["realm"]
        "When the oldest open session started, in seconds since 1970. Absent without open sessions.";
    SESSIONS: Gauge "coturn_sessions" ["realm"]
        "Open sessions: users (with --session.by client: users and client hosts) that hold at least one live \
         allocation, or lingered within --session.linger.";
    SESSIONS_OPENED: Counter "coturn_sessions_opened_total" ["realm"]
        "Sessions whose first allocation was opened: its birth was seen.";
    SESSIONS_ADOPTED: Counter "coturn_sessions_adopted_total" ["realm"]
        "Sessions whose first allocation was adopted.";
    SESSIONS_CLOSED: Counter "coturn_sessions_closed_total" ["realm", "path"]
        "Sessions that ended, counted once their last totals have arrived (10 s later at most). relayed: one of their \
         allocations relayed; unrelayed: they gathered and found another path, or none.";
    SESSION_DURATION: Histogram "coturn_session_duration_seconds" ["realm", "path"]
        "From the first opening to the last end of a session; only sessions that were observed as a whole.";
    SESSION_RELAY_DURATION: Histogram "coturn_session_relay_duration_seconds" ["realm"]
        "From the first opening to the last end over those allocations of a session that relayed, of relayed sessions \
         watched as a whole. A spare allocation left open does not stretch it.";
    SESSION_RELAYED_BYTES: Histogram "coturn_session_relayed_bytes" ["realm"]
        "Bytes of relayed sessions on the peer leg (payload), both directions together (coturn before 4.5.1.2: client \
         leg).";
    SESSION_ALLOCATIONS: Histogram "coturn_session_allocations" ["realm"]
        "Allocations per session: browsers gather several and use one.";
    RELAYED_BYTES: Counter "coturn_relayed_bytes_total" ["realm", "leg", "direction"]
        "Bytes relayed, as coturn counts them, from its traffic reports and totals. leg client: whole TURN messages \
         between client and coturn; leg peer: payload between the relay and the peers. direction: as coturn sees it. \
         Adding legs or directions counts a relayed byte more than once. Reports come per 4096 packets and at the \
         end, so rates are bursty. coturn from 4.11 on counts 4 bytes too many per ChannelData packet in the peer \
         leg's sent.";
    RELAYED_PACKETS: Counter "coturn_relayed_packets_total" ["realm", "leg", "direction"]
        "Packets relayed, as coturn counts them; legs and directions as in coturn_relayed_bytes_total.";
    RECOVERED_BYTES: Counter "coturn_recovered_bytes_total" ["realm", "leg", "direction"]
        "The part of coturn_relayed_bytes_total whose reports were lost and that only coturn's totals revealed.";
    RECOVERED_PACKETS: Counter "coturn_recovered_packets_total" ["realm", "leg", "direction"]
        "The part of coturn_relayed_packets_total that only coturn's totals revealed.";
    UNSEEN_BYTES: Counter "coturn_unseen_bytes_total" ["realm", "leg", "direction"]
        "Bytes that adopted allocations had relayed before they were first seen, from their totals. Not part of \
         coturn_relayed_bytes_total: an earlier process may have exported them.";
    UNSEEN_PACKETS: Counter "coturn_unseen_packets_total" ["realm", "leg", "direction"]
        "Packets that adopted allocations had relayed before they were first seen; not part of \
         coturn_relayed_packets_total.";
    UNALLOCATED_BYTES: Counter "coturn_unallocated_bytes_total" ["direction"]
        "Client-leg bytes of sessions that never got an allocation: STUN probes, refused logins, moved clients \
         resuming.";
    UNALLOCATED_PACKETS: Counter "coturn_unallocated_packets_total" ["direction"]
        "Client-leg packets of sessions that never got an allocation.";
    SERVER_ALLOCATIONS: Gauge "coturn_server_allocations" ["source", "server"]
        "Live allocations by the address at which clients reach the server. Empty where no status contains it: coturn \
         before 4.6, and allocations known by their traffic only.";
    SERVER_LAST_SEEN: Gauge "coturn_server_last_seen_timestamp_seconds" ["source", "server"]
        "When the server's last event arrived, in seconds since 1970. Dropped 24 h after it.";
    SERVER_CLOSED: Counter "coturn_server_allocations_closed_total" ["source", "server", "cause"]
        "Allocations that ended, by server; causes as in coturn_allocations_closed_total.";
    SERVER_RELAY_PORTS: Gauge "coturn_server_relay_ports" ["relay_ip"]
        "Relay ports of coturn by the address that has them: max-port - min-port + 1. Each live allocation holds one. From \
         coturn's file (--coturn.config-file), which is that of one server; absent without it. relay_ip is empty where \
         the file names no address.";
    SERVER_QUOTA: Gauge "coturn_server_quota_allocations" []
        "coturn's total-quota: the most allocations that a realm may have live at one time. From coturn's file \
         (--coturn.config-file); absent without it, and where it sets no limit.";
    SOURCE_UP: Gauge "coturn_exporter_source_up" ["source"]
        "1 while the source is subscribed and resynced (or cannot be resynced for lack of rights), else 0. A listener is \
         up while it listens; whether a coturn reports there is coturn_exporter_statsdb_coturn_seen.";
    SOURCE_ALLOCATIONS: Gauge "coturn_exporter_source_allocations" ["source"]
        "Live allocations by the source that reported them.";
    MESSAGES: Counter "coturn_exporter_messages_total" ["source", "kind"]
        "Messages accepted. kind: as in the channel; a status by its first word.";
    REJECTED_MESSAGES: Counter "coturn_exporter_rejected_messages_total" ["source", "reason"]
        "Messages not understood; they change nothing.";
    DROPPED_MESSAGES: Counter "coturn_exporter_dropped_messages_total" ["source"]
        "Messages that reached the exporter and were discarded before they were counted. It reads no faster than it \
         counts, so this stays 0. What the Redis of --statsdb.forward-url missed is \
         coturn_exporter_statsdb_forward_dropped_commands_total; what was lost before it reached the exporter is in \
         coturn_exporter_gaps_total.";
    GAPS: Counter "coturn_exporter_gaps_total" ["source"]
        "How often the subscription was interrupted. What was published meanwhile is lost, except what totals recover.";
    GAP_SECONDS: Counter "coturn_exporter_gap_seconds_total" ["source"]
        "Seconds for which the subscription was interrupted; includes a gap that lasts.";
    LAST_MESSAGE: Gauge "coturn_exporter_last_message_timestamp_seconds" ["source"]
        "When the last message arrived, in seconds since 1970. Absent before the first.";
    LONG_LIFETIMES: Counter "coturn_exporter_long_lifetimes_total" ["source", "outcome"]
        "Granted lifetimes above --allocation.max-lifetime. believed: up to a day, most likely because coturn's \
         max-allocate-lifetime is longer than the flag; set the flag to it. cut: above a day (or the flag, where that \
         is more), treated as a day; no coturn should be set so.";
    RESYNCS: Counter "coturn_exporter_resyncs_total" ["source"]
        "Scans of the status keys that were started.";
    RESYNC_DURATION: Gauge "coturn_exporter_resync_duration_seconds" ["source"]
        "How long the last complete scan took. Absent before the first.";
    RESYNC_OK: Gauge "coturn_exporter_resync_ok" ["source"]
        "1 if the last scan was complete, 0 if it failed or is not permitted. Absent before the first.";
    STATUS_KEYS: Gauge "coturn_exporter_status_keys" ["source", "state"]
        "Status keys found by the last complete scan. stale: idle for longer than any lifetime allows, left behind by a \
         server that died; they are not counted as live.";
    STATSDB_CONNECTIONS: Gauge "coturn_exporter_statsdb_connections" ["source"]
        "Connections that coturn has open to --statsdb.listen-address: those that have logged in or, without a \
         password, have sent a first command.";
    STATSDB_TURNED_AWAY: Counter "coturn_exporter_statsdb_refused_connections_total" ["source", "reason"]
        "Connections that the exporter closed. full: --statsdb.max-connections were open and in use. The others had not \
         logged in or, without a password, had sent nothing. silent: for 10 s; gave_way: another connection needed the \
         place; unread: they did not read the answers.";
    STATSDB_REFUSED: Counter "coturn_exporter_statsdb_refused_commands_total" ["source", "reason"]
        "Commands answered with an error: unknown, arguments (a wrong number of them), login (not logged in yet), \
         password (a wrong one), too_long, malformed. attack: a line of an HTTP request, by which a web page may try to \
         run commands here; its connection is closed, and nothing after it is accepted.";
    STATSDB_REFUSED_CLIENTS: Gauge "coturn_exporter_statsdb_refused_clients" ["source"]
        "Client addresses that send no or a wrong password to --statsdb.listen-address: nothing that they report is \
         counted. An address counts from its first refused command until it logs in, or until 10 minutes after the last \
         of its refused connections was closed (75 minutes where the exporter closed it because it did not log in); \
         1024 at most.";
    STATSDB_COTURN_SEEN: Gauge "coturn_exporter_statsdb_coturn_seen" ["source"]
        "1 once a coturn has connected to --statsdb.listen-address since the exporter started: it asked for its keys, \
         as each coturn does at its start, or reported. Otherwise 0; health checks and other clients do not count.";
    FORWARD_UP: Gauge "coturn_exporter_statsdb_forward_up" ["source"]
        "1 while the Redis of --statsdb.forward-url is connected, otherwise 0.";
    FORWARDED: Counter "coturn_exporter_statsdb_forwarded_commands_total" ["source"]
        "Commands that the Redis of --statsdb.forward-url has accepted.";
    FORWARD_DROPPED: Counter "coturn_exporter_statsdb_forward_dropped_commands_total" ["source"]
        "Commands that the Redis of --statsdb.forward-url missed: it was slow or not connected, its connection ended \
         before it answered, or it answered with an error. They are counted on this page all the same; only readers of \
         that Redis miss them.";
    FORWARD_WITHHELD: Counter "coturn_exporter_statsdb_forward_withheld_commands_total" ["source"]
        "Commands that were not forwarded to the Redis of --statsdb.forward-url because they do not have the form of \
         coturn's: PUBLISH on a channel of an allocation, SET or DEL of its status key.";
    REDIS_SETTING_OK: Gauge "coturn_exporter_redis_setting_ok" ["source", "setting"]
        "1 where Redis is set as coturn and this exporter need it, 0 where it loses messages or status keys; the \
         subcommand doctor explains. cluster-enabled: 0 on a node of a Redis Cluster, which refuses the keys of other \
         nodes' slots; maxmemory-policy: 0 where keys may be evicted, or have no idle times; dbname: 0 if the keys of \
         live allocations are not in the db of --redis.url, because coturn's redis-statsdb names another one, or \
         because a coturn has just started and deleted them; absent where missing keys prove nothing. The others are \
         absent where CONFIG is forbidden, and for these two INFO too.";
    ANOMALIES: Counter "coturn_exporter_accounting_anomalies_total" ["kind"]
        "Contradictions in coturn's counts; nothing is added for them. total_below_sum: a total below the sum of the \
         reports; ambiguous_total: a 32-bit peer total that allows no conclusion; shared_key: a key used by two \
         servers, whose totals are ignored for 24 h; implausible: a report or total of more than can be relayed in the \
         time (100 Gbit/s).";
    FOLDED_LABEL_VALUES: Counter "coturn_exporter_folded_label_values_total" ["label"]
        "Realms and servers counted as _other: --metrics.max-realms or --metrics.max-servers was reached, or the name \
         is longer than 128 bytes.";
    REFUSED_ALLOCATIONS: Counter "coturn_exporter_refused_allocations_total" []
        "Allocations not stored because the table was full (--allocation.max-count of them, or 128 bytes of names for \
         each), each counted once. Only their client-leg traffic is counted, as unallocated.";
    EVICTED_ALLOCATIONS: Counter "coturn_exporter_evicted_allocations_total" []
        "Records of ended allocations that were removed early because the table was full (--allocation.max-count): \
         first overdue ones, which are no longer orphans then, then those that waited for their totals. Totals that \
         arrive later count as unseen.";
    STORE_OK: Gauge "coturn_exporter_store_ok" []
        "1 while the store (--store.path) can be written, 0 while it cannot, or while its directory or files are gone, \
         replaced or damaged: a restart in that state begins with counters at 0. Absent without a store.";
    STORE_BYTES: Gauge "coturn_exporter_store_bytes" []
        "Room that the files of the store (--store.path) take on the disk, the ledger's among them. Absent without a \
         store.";
    STORE_LAST_SNAPSHOT: Gauge "coturn_exporter_store_last_snapshot_timestamp_seconds" []
        "When the newest snapshot of the table was made, from which a restart begins. Absent without a store, and before \
         the first.";
    LEDGER_LOST: Counter "coturn_exporter_ledger_lost_records_total" []
        "Ended allocations, closed sessions and events that the ledger (--store.path) will never have: it could not be \
         written for so long that 200000 ended allocations, as many sessions or 50000 events waited already. Sums of \
         sessions lack them; all other metrics have them. Absent without a store.";
    SINK_UP: Gauge "coturn_exporter_sink_up" ["sink"]
        "1 if the last delivery was taken, 0 if it failed or was refused. The sink postgres is tried at the start, and again \
         when its connection is lost, though nothing waits; of a web hook it is absent before its first event.";
    SINK_PENDING: Gauge "coturn_exporter_sink_pending_events" ["sink"]
        "Finished sessions (sink postgres) or events (of a web hook, by its host and port) in the ledger that the sink does \
         not have yet; 1000000 stands for that and more. Absent without --ledger.postgres-url and --events.url.";
    SINK_OLDEST: Gauge "coturn_exporter_sink_oldest_pending_timestamp_seconds" ["sink"]
        "When the session ended or the event happened that waits for the sink longest. Absent while nothing waits.";
    SINK_DELIVERED: Counter "coturn_exporter_sink_delivered_total" ["sink"]
        "Sessions or events that the sink has confirmed, ever; one that is sent again after a failure or a restart may \
         count again.";
    SINK_FAILED: Counter "coturn_exporter_sink_failed_total" ["sink"]
        "Deliveries that failed, ever, among them attempts to connect to PostgreSQL while nothing waits. What was in them \
         waits and is tried again; the log says why.";
    SINK_DROPPED: Counter "coturn_exporter_sink_dropped_total" ["sink"]
        "Sessions or events that the sink will never get: they waited for longer than --events.max-age or \
         --store.retention, more than --events.max-pending waited, or a web hook refused this one again and again.";
    CERTIFICATE_NOT_BEFORE: Gauge "coturn_exporter_tls_certificate_not_before_timestamp_seconds" ["listener"]
        "From when on the certificate that the exporter shows is valid, in seconds since 1970. listener as in \
         coturn_exporter_tls_certificate_not_after_timestamp_seconds. Absent without TLS.";
    CERTIFICATE_NOT_AFTER: Gauge "coturn_exporter_tls_certificate_not_after_timestamp_seconds" ["listener"]
        "Until when the certificate that the exporter shows is valid, in seconds since 1970; of a file with several, the \
         first. listener statsdb: to coturn (--statsdb.tls-cert-file); web: to Prometheus (--web.config.file). Absent \
         without TLS.";
    DROPPED_LOG_LINES: Counter "coturn_exporter_dropped_log_lines_total" []
        "Lines of the exporter's log that were lost: 1 MiB of them waited for a reader of standard error that had \
         stopped, or standard error could not be written. The log says where lines are missing. No other number is \
         affected.";
    HTTP_REFUSALS: Counter "coturn_exporter_http_refusals_total" ["reason"]
        "Clients of the web server that did not get a whole answer. connection_limit: an older connection was closed \
         for a new one because --web.max-connections were open; address_limit: the same, because its address had a \
         quarter of them; head_timeout: no request arrived in time; answer_timeout: the answer was not read, or not \
         made, in time; unsent_limit: the slowest readers, closed because unread pages had used all memory allowed for \
         them; busy: answered 503 because --web.max-requests pages were being rendered; host: details requested by a \
         host name that --web.details-host does not allow, answered 403; tls_handshake: no TLS came of the handshake, for \
         another protocol or a certificate that is not accepted; unauthorized: no login or a wrong one, answered 401; \
         rate_limit: more requests than rate_limit allows, or more logins than can be verified, answered 429.";
    BUILD_INFO: Gauge "coturn_exporter_build_info" ["version", "revision", "rustversion"]
        "1, with what this exporter was built from.";
    PROCESS_CPU: Counter "process_cpu_seconds_total" []
        "CPU time of the exporter, user and system, in seconds.";
    PROCESS_RESIDENT: Gauge "process_resident_memory_bytes" []
        "Resident memory of the exporter, in bytes.";
    PROCESS_VIRTUAL: Gauge "process_virtual_memory_bytes" []
        "Virtual memory of the exporter, in bytes.";
    PROCESS_OPEN_FDS: Gauge "process_open_fds" []
        "Open file descriptors of the exporter.";
    PROCESS_MAX_FDS: Gauge "process_max_fds" []
        "Limit of the exporter's file descriptors.";
    PROCESS_THREADS: Gauge "process_threads" []
        "Threads of the exporter.";
    PROCESS_START_TIME: Gauge "process_start_time_seconds" []
        "When the exporter started, in seconds since 1970.";
}

/// The family of that name.
pub fn named(name: &str) -> Option<Family> {
    ALL.iter().find(|family| family.name == name).copied()
}

/// The names that are most like a misspelt one, best first.
pub fn near(name: &str) -> [&'static str; 3] {
    let mut best: Vec<(f64, &'static str)> = ALL
        .iter()
        .map(|family| (strsim::normalized_damerau_levenshtein(family.name, name), family.name))
        .collect();
    best.sort_by(|one, other| other.0.total_cmp(&one.0));
    std::array::from_fn(|place| best.get(place).map_or("", |(_, name)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for family in ALL {
            let name = family.name;
            assert!(name.starts_with("coturn_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), family.kind == FamilyType::Counter, "{name}");
            for reserved in ["_created", "_bucket", "_sum", "_count"] {
                assert!(!name.ends_with(reserved), "{name}");
            }
            assert!(family.help.ends_with('.') && !family.help.contains("  "), "{name}: {}", family.help);
            for label in family.labels {
                assert!(
                    !["user", "remote", "id", "job", "instance", "type"].contains(label),
                    "{name} {label}"
                );
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = ALL.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    /// No sample of one family is taken for one of another, which `OpenMetrics` forbids.
    #[test]
    fn names_are_unique_with_what_stands_behind_them() {
        let samples = |family: &Family| {
            let name = family.open_metrics_name();
            let suffixes: &[&str] = match family.kind {
                FamilyType::Counter => &["", "_total", "_created"],
                FamilyType::Gauge => &["", "_info"],
                FamilyType::Histogram => &["", "_bucket", "_sum", "_count", "_created"],
            };
            suffixes.iter().map(move |suffix| format!("{name}{suffix}"))
        };
        let mut names: Vec<_> = ALL.iter().flat_map(samples).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|two| two[0] == two[1]);
        assert_eq!(twice, None);
    }

    #[test]
    fn the_unit_is_the_end_of_the_name() {
        for (family, name, unit) in [
            (RELAYED_BYTES, "coturn_relayed_bytes", Some("bytes")),
            (SESSION_DURATION, "coturn_session_duration_seconds", Some("seconds")),
            (ALLOCATIONS, "coturn_allocations", None),
            (BUILD_INFO, "coturn_exporter_build", None),
        ] {
            assert_eq!((family.open_metrics_name(), family.unit()), (name, unit));
        }
    }
}
