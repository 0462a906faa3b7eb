//! How it stands with the listener, in its own part of INFO: `doctor` reads there whether it is an exporter that listens,
//! which coturns are connected, when the last event came, and whether clients are refused.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;

/// The part's name.
pub(in crate::source) const OURS: &str = "coturn_exporter";

/// The answer to a client that asks for this part and has not logged in: a Redis with a password says the same without our
/// name.
pub(super) const LOGIN_WANTED: &str = "NOAUTH Authentication required by coturn-exporter.";

/// What is said to a subscriber, who takes the listener for a Redis.
pub(in crate::source) const NOBODY_IS_TOLD: &str =
    "here a coturn-exporter listens for coturn (--statsdb.listen-address), which is no Redis";

/// Addresses that INFO names, at most.
const MOST_NAMED: usize = 16;

/// What the log and the metrics say of the listener's clients as well.
#[derive(Debug, Default)]
pub struct ListenerStatus(Mutex<ReporterNow>);

/// How it stands at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ReporterNow {
    /// Client addresses that are refused for their password.
    pub refused_clients: u64,
    /// A coturn has connected since the exporter started.
    pub coturn_seen: bool,
    /// The addresses that a coturn is connected from now.
    pub connected: Vec<IpAddr>,
    /// When the last event came that was understood, also to an earlier process of the same store.
    pub last_event: Option<Timestamp>,
}

/// The same as INFO says it to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReportedStatus {
    pub(super) has_password: bool,
    pub(super) now: ReporterNow,
    /// Addresses in `now.connected`, and those that INFO does not name.
    pub(super) connected: u64,
}

impl ListenerStatus {
    /// Shows this from now on, but for the last event.
    pub fn set_clients(&self, refused_clients: u64, coturn_seen: bool, connected: Vec<IpAddr>) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last_event = now.last_event;
        *now = ReporterNow { refused_clients, coturn_seen, connected, last_event };
    }

    /// Shows this last event from now on.
    pub fn set_last_event(&self, last_event: Option<Timestamp>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last_event = last_event;
    }

    pub(super) fn as_info(&self, has_password: bool) -> String {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let named: Vec<_> = now.connected.iter().take(MOST_NAMED).map(IpAddr::to_string).collect();
        format!(
            "# Coturn_exporter\r\ncoturn_exporter:1\r\npassword:{}\r\ncoturn_seen:{}\r\nrefused_clients:{}\r\n\
             connected_addresses:{}\r\nconnected_from:{}\r\nlast_event_ms:{}\r\n",
            u8::from(has_password),
            u8::from(now.coturn_seen),
            now.refused_clients,
            now.connected.len(),
            named.join(","),
            now.last_event.map_or(0, Timestamp::as_millis),
        )
    }
}

impl ReportedStatus {
    /// Reads INFO; `None` where it is not an exporter's.
    pub(super) fn parse(info: &str) -> Option<Self> {
        let value =
            |name: &str| info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'));
        value("coturn_exporter")?;
        let number = |name| value(name).and_then(|number| number.parse().ok()).unwrap_or(0);
        let last_event = number("last_event_ms");
        let connected: Vec<_> = value("connected_from")
            .unwrap_or_default()
            .split(',')
            .filter_map(|address| address.parse().ok())
            .collect();
        Some(Self {
            has_password: value("password") == Some("1"),
            connected: number("connected_addresses"),
            now: ReporterNow {
                refused_clients: number("refused_clients"),
                coturn_seen: value("coturn_seen") == Some("1"),
                connected,
                last_event: (last_event > 0).then(|| Timestamp::from_millis(last_event)),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: &ListenerStatus, has_password: bool) -> ReportedStatus {
        ReportedStatus::parse(&status.as_info(has_password)).expect("an exporter's")
    }

    #[test]
    fn what_is_written_is_read() {
        let status = ListenerStatus::default();
        let nothing = ReportedStatus { has_password: false, now: ReporterNow::default(), connected: 0 };
        assert_eq!(read(&status, false), nothing);
        let connected: Vec<IpAddr> = vec![[192, 0, 2, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
        status.set_clients(3, true, connected.clone());
        status.set_last_event(Some(Timestamp::from_millis(5)));
        let now = ReporterNow {
            refused_clients: 3,
            coturn_seen: true,
            connected,
            last_event: Some(Timestamp::from_millis(5)),
        };
        assert_eq!(read(&status, true), ReportedStatus { has_password: true, now, connected: 2 });
        assert_eq!(ReportedStatus::parse("# Server\r\nredis_version:7.0.0\r\n"), None);
    }

    #[test]
    fn info_stays_short_however_many_are_connected() {
        let status = ListenerStatus::default();
        status.set_clients(0, true, (0..=255).map(|host| [192, 0, 2, host].into()).collect());
        let seen = read(&status, false);
        assert_eq!((seen.connected, seen.now.connected.len()), (256, MOST_NAMED));
    }
}
