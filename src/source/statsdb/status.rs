//! How it stands with the listener, in its own part of INFO: `doctor` reads there whether it is an exporter that listens,
//! whether a coturn has connected, and whether clients are refused.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The part's name.
pub(super) const OURS: &str = "coturn_exporter";

/// What the log and the metrics say of the listener's clients as well.
#[derive(Debug, Default)]
pub struct ListenerStatus {
    refused_clients: AtomicU64,
    coturn_seen: AtomicBool,
}

/// The same as INFO says it to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReportedStatus {
    pub(super) has_password: bool,
    pub(super) coturn_seen: bool,
    pub(super) refused_clients: u64,
}

impl ListenerStatus {
    /// So many client addresses are refused; a coturn has connected since the start.
    pub fn set(&self, refused_clients: u64, coturn_seen: bool) {
        self.refused_clients.store(refused_clients, Ordering::Relaxed);
        self.coturn_seen.store(coturn_seen, Ordering::Relaxed);
    }

    pub(super) fn as_info(&self, has_password: bool) -> String {
        let (coturn_seen, refused_clients) =
            (self.coturn_seen.load(Ordering::Relaxed), self.refused_clients.load(Ordering::Relaxed));
        format!(
            "# Coturn_exporter\r\ncoturn_exporter:1\r\npassword:{}\r\ncoturn_seen:{}\r\n\
             refused_clients:{refused_clients}\r\n",
            u8::from(has_password),
            u8::from(coturn_seen),
        )
    }
}

impl ReportedStatus {
    /// Reads INFO; `None` where it is not an exporter's.
    pub(super) fn parse(info: &str) -> Option<Self> {
        let value =
            |name: &str| info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'));
        value("coturn_exporter")?;
        Some(Self {
            has_password: value("password") == Some("1"),
            coturn_seen: value("coturn_seen") == Some("1"),
            refused_clients: value("refused_clients").and_then(|count| count.parse().ok()).unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let status = ListenerStatus::default();
        let read =
            |status: &ListenerStatus, has_password| ReportedStatus::parse(&status.as_info(has_password));
        let nothing = ReportedStatus { has_password: false, coturn_seen: false, refused_clients: 0 };
        assert_eq!(read(&status, false), Some(nothing));
        status.set(3, true);
        let some = ReportedStatus { has_password: true, coturn_seen: true, refused_clients: 3 };
        assert_eq!(read(&status, true), Some(some));
        assert_eq!(ReportedStatus::parse("# Server\r\nredis_version:7.0.0\r\n"), None);
    }
}
