//! Which of the exporter's flags a subcommand reads. Those of its own are not among them: their names have no dot.

/// Beginnings of the flags that each subcommand reads.
const READ_BY: [(&str, &[&str]); 9] = [
    ("replay", &["log.", "coturn.", "allocation.", "session.", "metrics."]),
    ("record", &["log.", "redis.", "coturn."]),
    // It looks at the keys and at the listener, and listens nowhere itself.
    (
        "doctor",
        &[
            "log.",
            "redis.",
            "statsdb.listen-address",
            "statsdb.password-file",
            "statsdb.behind-proxy",
            "statsdb.tls-",
            // For its certificate.
            "web.config.file",
            "coturn.",
            "allocation.max-lifetime",
            "allocation.grace",
            "session.by",
            "session.rest-separator",
        ],
    ),
    // It looks at the keys only.
    ("prune", &["log.", "redis.", "coturn.", "allocation.max-lifetime", "allocation.grace"]),
    // Where the exporter listens, and whether by TLS.
    ("healthcheck", &["log.", "web.listen-address", "web.config.file"]),
    ("usage", &["log.", "store.path", "ledger.postgres-password-file"]),
    ("ledger", &["log.", "ledger.postgres-password-file"]),
    ("demo", &["log."]),
    ("simulate", &["log."]),
];

/// Whether a subcommand reads the flag of this id: it refuses the others, and its help leaves them out.
pub(super) fn reads(command: &str, id: &str) -> bool {
    let read = READ_BY.iter().find(|(name, _)| *name == command).map(|(_, read)| read);
    read.is_none_or(|read| !id.contains('.') || read.iter().any(|beginning| id.starts_with(beginning)))
}
