//! One allocation of a client: when it refreshes, what it relays, how it ends.

use super::profile::Profile;
use super::server::Server;
use std::time::Duration;

/// What is granted, as coturn does by default.
pub(super) const LIFETIME: Duration = Duration::from_secs(600);

/// A client refreshes a minute before the end.
pub(super) const REFRESH: Duration = Duration::from_secs(540);

/// What is left of a grant then.
const LAST_MINUTE: Duration = Duration::from_secs(60);

/// coturn reports each 4096 packets.
const REPORT: u64 = 4096;

/// What a client is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Relays, and gives back.
    Talks,
    /// Relays, and vanishes.
    Vanishes,
    /// Gathers, finds another path, gives back.
    Gathers,
    /// Gathers and refreshes for as long as its page is open: it never closes its connection.
    Leaks,
}

/// Milliseconds of the service's time throughout.
#[derive(Debug)]
pub(super) struct SimulatedAllocation {
    pub(super) server: usize,
    /// `turn/realm/.../allocation/<id>`.
    pub(super) key: String,
    /// Transport and addresses, as a status has them.
    pub(super) path: String,
    pub(super) habit: Habit,
    pub(super) ends_at: u64,
    pub(super) refresh_at: u64,
    /// Packets a second in each direction, and bytes in each.
    pub(super) rate: u64,
    pub(super) size: u64,
    /// Thousandths of packets not reported yet, over both directions of both legs.
    pub(super) unreported: u64,
    /// Packets and bytes: client received and sent, peer received and sent.
    pub(super) totals: [(u64, u64); 4],
    pub(super) last: u64,
}

impl SimulatedAllocation {
    pub(super) fn open(&self, profile: &Profile, server: &mut Server) {
        server.set(
            &self.channel("status"),
            &format!("new lifetime={}, {}", profile.published(LIFETIME), self.path),
        );
    }

    /// Its life up to `now`; false when it is over.
    pub(super) fn live_on(&mut self, now: u64, profile: &Profile, server: &mut Server) -> bool {
        let until = now.min(self.ends_at);
        if matches!(self.habit, Habit::Talks | Habit::Vanishes) {
            // Both directions, on both legs.
            self.unreported += until.saturating_sub(self.last) * self.rate * 4;
        }
        self.last = until;
        let is_over = now >= self.ends_at;
        if is_over || self.unreported >= REPORT * 1000 {
            self.report(is_over, server);
        }
        if is_over {
            return self.end(now, server);
        }
        if now >= self.refresh_at && self.ends_at > self.refresh_at + millis(LAST_MINUTE) {
            self.refresh_at = now + millis(REFRESH);
            server.set(
                &self.channel("status"),
                &format!("refreshed lifetime={}, {}", profile.published(LIFETIME), self.path),
            );
        }
        true
    }

    fn report(&mut self, all: bool, server: &mut Server) {
        let packets = self.unreported / 1000;
        let packets = if all { packets / 4 } else { REPORT / 4 * (packets / REPORT) };
        self.unreported -= packets * 4 * 1000;
        let (payload, whole) = (packets * self.size, packets * (self.size + 4));
        let deltas = [(packets, whole), (packets, whole), (packets, payload), (packets, payload)];
        for (total, delta) in self.totals.iter_mut().zip(deltas) {
            *total = (total.0 + delta.0, total.1 + delta.1);
        }
        let [client_received, client_sent, peer_received, peer_sent] = deltas;
        server.publish(&self.channel("traffic"), &counters(client_received, client_sent));
        server.publish(&self.channel("traffic/peer"), &counters(peer_received, peer_sent));
    }

    /// Its client is done; false when it has ended, true when it waits for the end of its grant.
    fn end(&mut self, now: u64, server: &mut Server) -> bool {
        let grant_ends = self.refresh_at + millis(LAST_MINUTE);
        if self.habit == Habit::Vanishes && now < grant_ends {
            // Nobody refreshes it.
            (self.ends_at, self.habit) = (grant_ends, Habit::Gathers);
            return true;
        }
        if self.ends_at < self.refresh_at {
            server.set(&self.channel("status"), &format!("refreshed lifetime=0, {}", self.path));
        }
        server.delete(&self.channel("status"));
        let [client_received, client_sent, peer_received, peer_sent] = self.totals;
        server.publish(&self.channel("total_traffic"), &counters(client_received, client_sent));
        // 32 bits wide in coturn.
        let wrapped = |(packets, bytes): (u64, u64)| (packets % (1 << 32), bytes % (1 << 32));
        server.publish(
            &self.channel("total_traffic/peer"),
            &counters(wrapped(peer_received), wrapped(peer_sent)),
        );
        false
    }

    fn channel(&self, kind: &str) -> String {
        format!("{}/{kind}", self.key)
    }
}

fn counters(received: (u64, u64), sent: (u64, u64)) -> String {
    format!("rcvp={}, rcvb={}, sentp={}, sentb={}", received.0, received.1, sent.0, sent.1)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
