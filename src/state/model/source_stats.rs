//! Statistics of each source: messages, gaps, scans, connections. Counters go on over a restart; gauges of a process are at
//! rest after it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::state::image::persist;
use crate::wire::{Kind, Rejection};

/// The state of one source's link and what came over it.
#[derive(Clone, Debug, Default)]
pub struct SourceStats {
    /// Messages accepted, by [`Kind`].
    pub messages: [u64; Kind::ALL.len()],
    /// Messages not understood, by [`Rejection`].
    pub rejected: [u64; Rejection::ALL.len()],
    /// Interruptions of the subscription.
    pub gaps: u64,
    /// Length of the gaps that are over.
    pub gap_time: Duration,
    /// Begin of the present gap.
    pub gap_since: Option<Timestamp>,
    /// When the last message came.
    pub last_message: Option<Timestamp>,
    /// All that was published up to this moment has been applied.
    pub received_until: Option<Timestamp>,
    /// Scans begun.
    pub resyncs: u64,
    /// How long the last finished scan took.
    pub resync_duration: Option<Duration>,
    /// Whether the last scan came to its end.
    pub resync_ok: Option<bool>,
    /// What the last finished scan found.
    pub status_keys: Option<StatusKeys>,
    /// The listener, where the source is one.
    pub statsdb: Option<StatsdbStats>,
    /// Settings of Redis that could be read, and whether each is as required.
    pub settings_ok: BTreeMap<Box<str>, bool>,
}

/// What coturn's own connections do.
#[derive(Clone, Debug, Default)]
pub struct StatsdbStats {
    /// Connections that are open, and have logged in or said a first command.
    pub connections: u64,
    /// Connections that the exporter closed or did not accept, by reason.
    pub refused_connections: CountsByReason,
    /// Commands answered with an error, by reason.
    pub refused: CountsByReason,
    /// Addresses of clients that gave no or a wrong password.
    pub refused_clients: u64,
    /// A coturn has connected since the start.
    pub coturn_seen: bool,
    /// The second Redis that commands are forwarded to, if there is one: what the present process forwarded to it.
    pub forward: Option<ForwardStats>,
    /// What the processes before this one forwarded.
    pub forwarded_before: ForwardStats,
}

/// A number for each value of the label `reason`.
pub type CountsByReason = BTreeMap<Box<str>, u64>;

impl StatsdbStats {
    /// How forwarding goes, where it is done; the processes before this one included.
    pub fn forwarded(&self) -> Option<ForwardStats> {
        self.forward.map(|present| present.with(self.forwarded_before))
    }

    /// The process has ended: its connections are gone, and it forwards nothing more.
    fn rest(&mut self) {
        if let Some(present) = self.forward.take() {
            self.forwarded_before = ForwardStats { up: false, ..present.with(self.forwarded_before) };
        }
        (self.connections, self.refused_clients, self.coturn_seen) = (0, 0, false);
    }
}

/// Commands of the listener that are forwarded to a second Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardStats {
    /// The second Redis is connected.
    pub up: bool,
    /// Commands that it accepted.
    pub sent: u64,
    /// Commands that it missed: it was slow or not there, or answered with an error.
    pub dropped: u64,
    /// Commands that are not forwarded because they do not have the form of coturn's.
    pub withheld: u64,
}

impl ForwardStats {
    /// Its numbers, with those of the processes before.
    const fn with(self, before: Self) -> Self {
        Self {
            up: self.up,
            sent: self.sent.saturating_add(before.sent),
            dropped: self.dropped.saturating_add(before.dropped),
            withheld: self.withheld.saturating_add(before.withheld),
        }
    }
}

/// What a scan of the status keys found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusKeys {
    /// Keys of allocations that are live, or may be.
    pub live: u64,
    /// Keys older than any lifetime allows.
    pub stale: u64,
}

impl SourceStats {
    /// Counts an accepted message.
    pub fn accepted(&mut self, now: Timestamp, kind: Kind) {
        if let Some(count) = self.messages.get_mut(kind as usize) {
            *count += 1;
        }
        self.last_message = Some(now);
    }

    /// Counts a message that was not understood.
    pub fn rejected(&mut self, reason: Rejection) {
        if let Some(count) = self.rejected.get_mut(reason.index()) {
            *count += 1;
        }
    }

    /// The subscription is interrupted since `since`. A second call within a gap changes nothing.
    pub fn gap_begins(&mut self, since: Timestamp) {
        if self.gap_since.is_none() {
            self.gap_since = Some(since);
            self.gaps += 1;
        }
    }

    /// The subscription is confirmed again.
    pub fn gap_ends(&mut self, now: Timestamp) {
        if let Some(since) = self.gap_since.take() {
            self.gap_time = self.gap_time.saturating_add(now.since(since));
        }
    }

    /// The link is lost: the gap began when the source was last known to be well. What a listener does not take, nobody tells.
    pub(in crate::state) fn link_lost(&mut self, now: Timestamp) {
        let last = if self.statsdb.is_some() { None } else { self.received_until.max(self.last_message) };
        self.gap_begins(last.unwrap_or(now));
    }

    /// The process has ended: what is true of it only is at rest.
    pub(in crate::state) fn rest(&mut self) {
        (self.resync_ok, self.resync_duration, self.status_keys) = (None, None, None);
        self.settings_ok.clear();
        if let Some(statsdb) = &mut self.statsdb {
            statsdb.rest();
        }
    }

    /// Length of all gaps, the present one included.
    pub fn gap_time(&self, now: Timestamp) -> Duration {
        self.gap_time.saturating_add(self.gap_since.map_or(Duration::ZERO, |since| now.since(since)))
    }
}

persist! {
    SourceStats {
        messages, rejected, gaps, gap_time, gap_since, last_message, received_until, resyncs, resync_duration, resync_ok,
        status_keys, statsdb, settings_ok
    }
}
persist! {
    StatsdbStats {
        connections, refused_connections, refused, refused_clients, coturn_seen, forward, forwarded_before
    }
}
persist! { ForwardStats { up, sent, dropped, withheld } }
persist! { StatusKeys { live, stale } }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_counted_once_and_timed_while_it_lasts() {
        let at = |s: u64| Timestamp::from_millis(s * 1000);
        let mut stats = SourceStats::default();
        stats.gap_begins(at(10));
        stats.gap_begins(at(12));
        assert_eq!((stats.gaps, stats.gap_time(at(15))), (1, Duration::from_secs(5)));
        stats.gap_ends(at(20));
        stats.gap_ends(at(30));
        assert_eq!((stats.gaps, stats.gap_time(at(40))), (1, Duration::from_secs(10)));
    }
}
