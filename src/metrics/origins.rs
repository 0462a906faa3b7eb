//! Where each family of [`names`] comes from, and a query worth having of it, for `docs/metrics.md`. The program reads
//! none of it; a test holds the groups to all families, in the order of the page, and each query to the families and
//! labels that it names.

use super::names::{self, Family};

/// Families with one heading.
#[derive(Clone, Copy, Debug)]
pub struct FamilyGroup {
    /// The heading.
    pub title: &'static str,
    /// What they have in common: where the numbers come from, when they are there.
    pub about: &'static str,
    /// The families, in the order of the page.
    pub origins: &'static [FamilyOrigin],
}

/// What the documentation says of a family beyond its name, type, labels and help.
#[derive(Clone, Copy, Debug)]
pub struct FamilyOrigin {
    /// The family.
    pub family: Family,
    /// What its numbers are made of.
    pub from: &'static str,
    /// What the query answers.
    pub answers: &'static str,
    /// In `PromQL`, for any number of exporters.
    pub query: &'static str,
}

macro_rules! groups {
    ($($title:literal $about:literal { $($id:ident: $from:literal; $answers:literal $query:literal;)* })*) => {
        /// Every family, in the order of the page.
        pub const GROUPS: &[FamilyGroup] = &[$(FamilyGroup {
            title: $title,
            about: $about,
            origins: &[$(FamilyOrigin { family: names::$id, from: $from, answers: $answers, query: $query }),*],
        }),*];
    };
}

groups! {
    "Allocations"
    "coturn's `status` events; at the start, after a gap and every five minutes the status keys in Redis as well." {
        ALLOCATIONS: "the table of live allocations, at the moment of the scrape";
            "Live allocations of each realm" "sum by (realm) (coturn_allocations)";
        ALLOCATIONS_OPENED: "status `new`";
            "New allocations a minute" "60 * sum by (realm) (rate(coturn_allocations_opened_total[5m]))";
        ALLOCATIONS_ADOPTED: "the first sign of an allocation whose `new` was not seen";
            "Allocations of which the beginning was missed"
            "sum by (realm) (increase(coturn_allocations_adopted_total[1h]))";
        ALLOCATIONS_CLOSED: "status `deleted`, or the rule that concludes an end without it ([ends](docs/semantics.md#ends))";
            "The share of ends that were not clean"
            "sum by (realm) (increase(coturn_allocations_closed_total{cause=\"expired\"}[6h]))\n\
             / sum by (realm) (increase(coturn_allocations_closed_total{cause=~\"released|expired|disconnected\"}[6h]))";
        ALLOCATIONS_RELAYED: "traffic reports and totals, when they pass the threshold";
            "The share of allocations that were used"
            "sum by (realm) (increase(coturn_allocations_relayed_total[6h]))\n\
             / sum by (realm) (increase(coturn_allocations_opened_total[6h]))";
        ALLOCATION_REFRESHES: "status `refreshed` with a lifetime above 0";
            "Refreshes a minute for each live allocation"
            "60 * sum by (realm) (rate(coturn_allocation_refreshes_total[15m]))\n\
             / sum by (realm) (coturn_allocations)";
        ALLOCATION_DURATION: "the moments of `new` and `deleted`";
            "How long the longest tenth of allocations lasts, at least"
            "histogram_quantile(0.9, sum by (realm, le) (increase(coturn_allocation_duration_seconds_bucket[6h])))";
        ALLOCATIONS_OVER_MAX_LIFETIME: "the table of live allocations";
            "Old allocations that do relay: long calls"
            "sum by (realm) (coturn_allocations_over_max_lifetime)\n\
             - sum by (realm) (coturn_orphaned_allocations{reason=\"idle\"})";
        ORPHANED_ALLOCATIONS: "the table: age, lifetimes and the last report of traffic ([orphans](docs/semantics.md#orphans))";
            "The share of live allocations that leak"
            "sum by (realm) (coturn_orphaned_allocations{reason=\"idle\"})\n\
             / sum by (realm) (coturn_allocations)";
        ALLOCATIONS_ORPHANED: "the moment at which an allocation becomes an orphan";
            "New leaks of the last hour"
            "sum by (realm) (increase(coturn_allocations_orphaned_total{reason=\"idle\"}[1h]))";
        OLDEST_ALLOCATION: "the table of live allocations";
            "Age of the oldest allocation, in seconds"
            "time() - min by (realm) (coturn_oldest_allocation_start_timestamp_seconds)";
    }
    "Sessions"
    "The same events; a session is made of allocations ([sessions](docs/semantics.md#sessions))." {
        OLDEST_SESSION: "the table of open sessions";
            "Age of the oldest session, in seconds"
            "time() - min by (realm) (coturn_oldest_session_start_timestamp_seconds)";
        SESSIONS: "the table of open sessions";
            "The most sessions at one time today" "max_over_time(sum(coturn_sessions)[1d:1m])";
        SESSIONS_OPENED: "the status `new` of a session's first allocation";
            "New sessions a minute" "60 * sum by (realm) (rate(coturn_sessions_opened_total[5m]))";
        SESSIONS_ADOPTED: "a session whose first allocation was adopted";
            "Sessions of which the beginning was missed"
            "sum by (realm) (increase(coturn_sessions_adopted_total[1h]))";
        SESSIONS_CLOSED: "the end of a session's last allocation, and its totals";
            "The share of sessions that needed the relay"
            "sum by (realm) (increase(coturn_sessions_closed_total{path=\"relayed\"}[6h]))\n\
             / sum by (realm) (increase(coturn_sessions_closed_total[6h]))";
        SESSION_DURATION: "the moments of `new` and `deleted` of all allocations of a session";
            "Median length of sessions that found another path"
            "histogram_quantile(0.5, sum by (realm, le) (increase(coturn_session_duration_seconds_bucket{path=\"unrelayed\"}[6h])))";
        SESSION_RELAY_DURATION: "the same of the allocations that relayed";
            "Median length of relayed sessions"
            "histogram_quantile(0.5, sum by (realm, le) (increase(coturn_session_relay_duration_seconds_bucket[6h])))";
        SESSION_RELAYED_BYTES: "traffic reports and totals of a session's allocations";
            "Mean payload of a relayed session, in bytes"
            "sum by (realm) (increase(coturn_session_relayed_bytes_sum[6h]))\n\
             / sum by (realm) (increase(coturn_session_relayed_bytes_count[6h]))";
        SESSION_ALLOCATIONS: "the allocations of a session, counted at its end";
            "Mean number of allocations of a session"
            "sum by (realm) (increase(coturn_session_allocations_sum[6h]))\n\
             / sum by (realm) (increase(coturn_session_allocations_count[6h]))";
    }
    "Traffic"
    "coturn's reports per 4096 packets (`traffic`, `traffic/peer`) and its totals at an allocation's end (`total_traffic`, `total_traffic/peer`)." {
        RELAYED_BYTES: "reports, and what totals have beyond them";
            "Payload that leaves towards peers, in bit/s"
            "8 * sum by (realm) (rate(coturn_relayed_bytes_total{leg=\"peer\", direction=\"sent\"}[5m]))";
        RELAYED_PACKETS: "reports, and what totals have beyond them";
            "Packets a second towards clients"
            "sum by (realm) (rate(coturn_relayed_packets_total{leg=\"client\", direction=\"sent\"}[5m]))";
        RECOVERED_BYTES: "totals, less the sum of the reports";
            "The share of relayed bytes whose reports were lost"
            "sum by (realm) (increase(coturn_recovered_bytes_total[1h]))\n\
             / sum by (realm) (increase(coturn_relayed_bytes_total[1h]))";
        RECOVERED_PACKETS: "totals, less the sum of the reports";
            "Packets whose reports were lost, by leg"
            "sum by (leg) (increase(coturn_recovered_packets_total[1h]))";
        UNSEEN_BYTES: "totals of adopted allocations, less what was seen";
            "Bytes that an earlier process may have counted"
            "sum by (realm) (increase(coturn_unseen_bytes_total{leg=\"peer\"}[1d]))";
        UNSEEN_PACKETS: "totals of adopted allocations, less what was seen";
            "The same in packets" "sum by (realm) (increase(coturn_unseen_packets_total{leg=\"peer\"}[1d]))";
        UNALLOCATED_BYTES: "totals of clients that never got an allocation";
            "Bytes a second of STUN probes and refused logins" "sum(rate(coturn_unallocated_bytes_total[5m]))";
        UNALLOCATED_PACKETS: "totals of clients that never got an allocation";
            "Packets a second of those" "sum(rate(coturn_unallocated_packets_total[5m]))";
    }
    "Servers"
    "The field `local` of a status, the address at which the client reached coturn; limits from coturn's own file." {
        SERVER_ALLOCATIONS: "the table of live allocations";
            "The servers with the most allocations" "topk(5, sum by (server) (coturn_server_allocations))";
        SERVER_LAST_SEEN: "any event of the server";
            "Servers from which nothing came for ten minutes"
            "time() - max by (server) (coturn_server_last_seen_timestamp_seconds) > 600";
        SERVER_CLOSED: "as `coturn_allocations_closed_total`";
            "Servers that died or were restarted in the last hour"
            "sum by (server) (increase(coturn_server_allocations_closed_total{cause=~\"abandoned|replaced\"}[1h])) > 0";
        SERVER_RELAY_PORTS: "`min-port`, `max-port` and `relay-ip` of `--coturn.config-file`";
            "The share of relay ports in use"
            "sum by (job, instance) (coturn_allocations)\n\
             / sum by (job, instance) (coturn_server_relay_ports)";
        SERVER_QUOTA: "`total-quota` of `--coturn.config-file`";
            "The share of the quota that each realm uses"
            "sum by (job, instance, realm) (coturn_allocations)\n\
             / on (job, instance) group_left () coturn_server_quota_allocations";
    }
    "The stream"
    "The exporter's own account of each source." {
        SOURCE_UP: "the state of the subscription, or of the listener";
            "Sources that are down" "coturn_exporter_source_up == 0";
        SOURCE_ALLOCATIONS: "the table of live allocations";
            "Live allocations of each source" "sum by (source) (coturn_exporter_source_allocations)";
        MESSAGES: "every message that was understood";
            "Messages a second, by kind" "sum by (kind) (rate(coturn_exporter_messages_total[5m]))";
        REJECTED_MESSAGES: "messages that do not follow coturn's grammar";
            "What was not understood, and why"
            "sum by (source, reason) (increase(coturn_exporter_rejected_messages_total[1h])) > 0";
        DROPPED_MESSAGES: "nothing: it reads no faster than it counts";
            "Anything but 0 is a bug"
            "sum by (source) (increase(coturn_exporter_dropped_messages_total[1d])) > 0";
        GAPS: "the end of a subscription; a reply that did not come";
            "Interruptions of the last day" "sum by (source) (increase(coturn_exporter_gaps_total[1d]))";
        GAP_SECONDS: "the clock, from the last reply to the next subscription";
            "The share of the last day that was watched"
            "1 - sum by (source) (increase(coturn_exporter_gap_seconds_total[1d])) / 86400";
        LAST_MESSAGE: "the clock, at each message";
            "Seconds since coturn last said anything"
            "time() - max by (source) (coturn_exporter_last_message_timestamp_seconds)";
        LONG_LIFETIMES: "the lifetime in a status";
            "Whether `--allocation.max-lifetime` is too short"
            "sum by (source, outcome) (increase(coturn_exporter_long_lifetimes_total[1h])) > 0";
        RESYNCS: "each scan of the status keys that begins";
            "Scans an hour; twelve are usual" "sum by (source) (increase(coturn_exporter_resyncs_total[1h]))";
        RESYNC_DURATION: "the clock, over the last complete scan";
            "Scans that take longer than ten seconds" "coturn_exporter_resync_duration_seconds > 10";
        RESYNC_OK: "the end of the last scan";
            "Sources whose keys cannot be read" "coturn_exporter_resync_ok == 0";
        STATUS_KEYS: "the last complete scan";
            "Keys that dead servers left behind"
            "sum by (source) (coturn_exporter_status_keys{state=\"stale\"})";
    }
    "The listener"
    "Connections to `--statsdb.listen-address`; absent without it. The `forward` families need `--statsdb.forward-url` as well." {
        STATSDB_CONNECTIONS: "open connections that have logged in";
            "Connections of coturn" "sum by (source) (coturn_exporter_statsdb_connections)";
        STATSDB_TURNED_AWAY: "connections that the exporter closed";
            "Connections that found no place, or used none"
            "sum by (source, reason) (increase(coturn_exporter_statsdb_refused_connections_total[1h])) > 0";
        STATSDB_REFUSED: "commands answered with an error";
            "Wrong passwords and foreign commands of the last hour"
            "sum by (source, reason) (increase(coturn_exporter_statsdb_refused_commands_total[1h])) > 0";
        STATSDB_REFUSED_CLIENTS: "addresses whose commands were refused for their login";
            "Addresses that do not get in now" "sum by (source) (coturn_exporter_statsdb_refused_clients) > 0";
        STATSDB_COTURN_SEEN: "the first command that only a coturn sends";
            "Listeners that no coturn has ever reached" "coturn_exporter_statsdb_coturn_seen == 0";
        FORWARD_UP: "the connection to the Redis of `--statsdb.forward-url`";
            "Redis servers that get nothing now" "coturn_exporter_statsdb_forward_up == 0";
        FORWARDED: "its answers that are no errors";
            "Commands a second that it takes"
            "sum by (source) (rate(coturn_exporter_statsdb_forwarded_commands_total[5m]))";
        FORWARD_DROPPED: "what it did not get, or refused";
            "What it missed in the last hour"
            "sum by (source) (increase(coturn_exporter_statsdb_forward_dropped_commands_total[1h])) > 0";
        FORWARD_WITHHELD: "commands that are not of coturn's form";
            "Commands that were kept from it"
            "sum by (source) (increase(coturn_exporter_statsdb_forward_withheld_commands_total[1h])) > 0";
    }
    "Settings, contradictions, limits"
    "What `INFO` and `CONFIG GET` of a Redis say, and what the rules of the table refuse." {
        REDIS_SETTING_OK: "`INFO` and `CONFIG GET` at each connection and scan; for `dbname` the keys themselves";
            "Settings by which messages or keys are lost" "coturn_exporter_redis_setting_ok == 0";
        ANOMALIES: "reports and totals that contradict each other ([traffic](docs/semantics.md#traffic-and-totals))";
            "Contradictions of the last day"
            "sum by (kind) (increase(coturn_exporter_accounting_anomalies_total[1d])) > 0";
        FOLDED_LABEL_VALUES: "the caps on realms and servers";
            "Whether realms or servers share `_other`"
            "sum by (label) (coturn_exporter_folded_label_values_total) > 0";
        REFUSED_ALLOCATIONS: "a table that is full";
            "Allocations that had no place" "increase(coturn_exporter_refused_allocations_total[1h]) > 0";
        EVICTED_ALLOCATIONS: "a table that is full";
            "Ended allocations that gave way" "increase(coturn_exporter_evicted_allocations_total[1h]) > 0";
    }
    "Store and sinks"
    "Files of `--store.path`, and what takes sessions from its ledger; absent without them." {
        STORE_OK: "the last write, and a look at the directory each second";
            "Stores that are not written" "coturn_exporter_store_ok == 0";
        STORE_BYTES: "the sizes of the files";
            "Growth of the store in a day, in bytes" "delta(coturn_exporter_store_bytes[1d])";
        STORE_LAST_SNAPSHOT: "the moment at which a snapshot was complete";
            "Age of the newest snapshot, in seconds"
            "time() - coturn_exporter_store_last_snapshot_timestamp_seconds";
        LEDGER_LOST: "the table, where nothing more may wait";
            "What the ledger will never have" "increase(coturn_exporter_ledger_lost_records_total[1d]) > 0";
        SINK_UP: "answers of the sink, or none";
            "Sinks that take nothing" "coturn_exporter_sink_up == 0";
        SINK_PENDING: "the ledger, less what the sink has confirmed";
            "What waits, for each sink" "sum by (sink) (coturn_exporter_sink_pending_events)";
        SINK_OLDEST: "the ledger";
            "How long the oldest has waited, in seconds"
            "time() - min by (sink) (coturn_exporter_sink_oldest_pending_timestamp_seconds)";
        SINK_DELIVERED: "answers of the sink";
            "Sessions or events a minute" "60 * sum by (sink) (rate(coturn_exporter_sink_delivered_total[5m]))";
        SINK_FAILED: "answers of the sink, or none";
            "Deliveries that failed in the last hour"
            "sum by (sink) (increase(coturn_exporter_sink_failed_total[1h])) > 0";
        SINK_DROPPED: "the ledger, where it gives something up";
            "What a sink will never get" "sum by (sink) (increase(coturn_exporter_sink_dropped_total[1d])) > 0";
    }
    "Certificates"
    "The certificates that the exporter shows, as they are in use; absent without TLS." {
        CERTIFICATE_NOT_BEFORE: "the first certificate of the file, read again when it changes";
            "Lifetimes of the certificates, in days"
            "(coturn_exporter_tls_certificate_not_after_timestamp_seconds\n\
             - coturn_exporter_tls_certificate_not_before_timestamp_seconds) / 86400";
        CERTIFICATE_NOT_AFTER: "the first certificate of the file, read again when it changes";
            "Days that are left" "(coturn_exporter_tls_certificate_not_after_timestamp_seconds - time()) / 86400";
    }
    "The process"
    "The exporter itself; `process_*` from the kernel, as of every Prometheus client." {
        DROPPED_LOG_LINES: "the queue of the log";
            "Lines of the log that are missing" "increase(coturn_exporter_dropped_log_lines_total[1h]) > 0";
        HTTP_REFUSALS: "the web server";
            "Clients that got no page, by reason"
            "sum by (reason) (increase(coturn_exporter_http_refusals_total[1h])) > 0";
        BUILD_INFO: "the build";
            "Versions in use" "count by (version) (coturn_exporter_build_info)";
        PROCESS_CPU: "the kernel";
            "Processors in use" "rate(process_cpu_seconds_total{job=\"coturn\"}[5m])";
        PROCESS_RESIDENT: "the kernel";
            "Memory for each live allocation, in bytes"
            "sum by (job, instance) (process_resident_memory_bytes)\n\
             / sum by (job, instance) (coturn_allocations)";
        PROCESS_VIRTUAL: "the kernel";
            "Virtual memory" "process_virtual_memory_bytes{job=\"coturn\"}";
        PROCESS_OPEN_FDS: "the kernel";
            "The share of file descriptors in use"
            "process_open_fds{job=\"coturn\"} / process_max_fds{job=\"coturn\"}";
        PROCESS_MAX_FDS: "the kernel";
            "Limits below what the defaults need" "process_max_fds{job=\"coturn\"} < 2048";
        PROCESS_THREADS: "the kernel";
            "Threads" "process_threads{job=\"coturn\"}";
        PROCESS_START_TIME: "the clock, at the start";
            "Restarts of the exporter in the last day"
            "changes(process_start_time_seconds{job=\"coturn\"}[1d])";
    }
}
