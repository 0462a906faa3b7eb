//! The coturns that report to a listener, by the address that they come from, as far as the log and `doctor` say it. Pure:
//! time is an argument.
//!
//! An address is connected from its first connection of a coturn until it has had none for a minute. Many coturns have
//! their idle connections cut by a proxy or NAT and connect again with their next event; a line for each would say nothing.
//! Where the process at an address has died, its next connection is news, however soon it comes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::client_notices::ClientNotice;
use crate::clock::Timestamp;

/// How long after the start it is logged that no coturn has connected: one that runs already connects with its next event,
/// one that starts at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long an address without a connection counts as connected.
const ABSENT: Duration = Duration::from_secs(60);

/// The log says that a process died up to a second after the verdict. That a coturn is back is said after that.
const DEATH_LOGGED: Duration = Duration::from_secs(2);

/// Addresses at one time, at most: more are served, and not named in the log.
const ADDRESSES: usize = 1024;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Coturns {
    since: Timestamp,
    has_seen_one: bool,
    is_absence_reported: bool,
    by_address: HashMap<IpAddr, Presence>,
}

#[derive(Debug)]
struct Presence {
    open: usize,
    /// When the last of its connections closed; of no meaning while one is open.
    last: Timestamp,
    logged: Logged,
}

/// What the log says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logged {
    /// A coturn has connected.
    Connected,
    /// Its coturn is gone, by a verdict of this moment.
    Gone(Timestamp),
    /// As before; a coturn has connected since, and that is to be said.
    GoneAndBack(Timestamp),
}

impl Presence {
    /// A coturn is back after its death; gives whether that is to be logged now.
    fn is_return_due(&mut self, now: Timestamp) -> bool {
        let (Logged::Gone(died) | Logged::GoneAndBack(died)) = self.logged else { return false };
        let is_due = now.since(died) >= DEATH_LOGGED;
        self.logged = if is_due { Logged::Connected } else { Logged::GoneAndBack(died) };
        is_due
    }
}

impl Coturns {
    /// None yet; the listener listens since `since`.
    pub(super) fn new(since: Timestamp) -> Self {
        Self { since, has_seen_one: false, is_absence_reported: false, by_address: HashMap::new() }
    }

    /// Whether one has connected since the start.
    pub(super) const fn has_seen_one(&self) -> bool {
        self.has_seen_one
    }

    /// The addresses with an open connection, in order.
    pub(super) fn connected(&self) -> Vec<IpAddr> {
        let open = self.by_address.iter().filter(|(_, presence)| presence.open > 0);
        let mut addresses: Vec<_> = open.map(|(peer, _)| *peer).collect();
        addresses.sort_unstable();
        addresses
    }

    /// A connection from `peer` turned out to be a coturn's.
    pub(super) fn enter(&mut self, now: Timestamp, peer: IpAddr) -> Option<ClientNotice> {
        self.has_seen_one = true;
        if let Some(presence) = self.by_address.get_mut(&peer) {
            presence.open += 1;
            return presence.is_return_due(now).then_some(ClientNotice::Connected { peer });
        }
        if self.by_address.len() >= ADDRESSES {
            return None;
        }
        self.by_address.insert(peer, Presence { open: 1, last: now, logged: Logged::Connected });
        Some(ClientNotice::Connected { peer })
    }

    /// A connection that had entered is over.
    pub(super) fn leave(&mut self, now: Timestamp, peer: IpAddr) {
        if let Some(presence) = self.by_address.get_mut(&peer) {
            presence.open = presence.open.saturating_sub(1);
            presence.last = now;
        }
    }

    /// By its closed connections the process at `peer` has died, and the log is to say so.
    pub(super) fn die(&mut self, now: Timestamp, peer: IpAddr) {
        if let Some(presence) = self.by_address.get_mut(&peer) {
            presence.logged = Logged::Gone(now);
        }
    }

    /// Lets time pass; `is_explained` where the log says already why none has connected.
    pub(super) fn advance(&mut self, now: Timestamp, is_explained: bool) -> Vec<ClientNotice> {
        let mut notices = Vec::new();
        for (&peer, presence) in &mut self.by_address {
            if matches!(presence.logged, Logged::GoneAndBack(_)) && presence.is_return_due(now) {
                notices.push(ClientNotice::Connected { peer });
            }
        }
        let is_over =
            |_: &IpAddr, presence: &mut Presence| presence.open == 0 && now.since(presence.last) >= ABSENT;
        for (peer, presence) in self.by_address.extract_if(is_over) {
            // Of one that died the log has said so.
            if presence.logged == Logged::Connected {
                notices.push(ClientNotice::Disconnected { peer });
            }
        }
        let is_absent = !self.has_seen_one && !is_explained;
        if is_absent && !self.is_absence_reported && now.since(self.since) >= PATIENCE {
            self.is_absence_reported = true;
            notices.push(ClientNotice::NoCoturn);
        }
        notices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn peer(host: u16) -> IpAddr {
        let [high, low] = host.to_be_bytes();
        [192, 0, high, low].into()
    }

    #[test]
    fn an_address_connects_once_and_is_gone_after_a_minute_without_a_connection() {
        let mut coturns = Coturns::new(at(0));
        assert_eq!(coturns.enter(at(1), peer(1)), Some(ClientNotice::Connected { peer: peer(1) }));
        assert_eq!(coturns.enter(at(1), peer(1)), None, "another of its threads");
        assert_eq!(coturns.connected(), [peer(1)]);
        coturns.leave(at(2), peer(1));
        assert_eq!(coturns.advance(at(1000), false), [], "it has one");
        coturns.leave(at(1000), peer(1));
        assert_eq!((coturns.connected(), coturns.advance(at(1059), false)), (vec![], vec![]));
        // Cut when idle, and back with the next event.
        assert_eq!(coturns.enter(at(1059), peer(1)), None);
        coturns.leave(at(1060), peer(1));
        assert_eq!(coturns.advance(at(1119), false), []);
        assert_eq!(coturns.advance(at(1120), false), [ClientNotice::Disconnected { peer: peer(1) }]);
        assert_eq!(coturns.advance(at(9999), false), [], "once");
        assert_eq!(coturns.enter(at(9999), peer(1)), Some(ClientNotice::Connected { peer: peer(1) }));
    }

    #[test]
    fn after_a_death_the_next_connection_is_told_once() {
        let connected = ClientNotice::Connected { peer: peer(1) };
        let mut coturns = Coturns::new(at(0));
        coturns.enter(at(1), peer(1));
        for death in [10, 20] {
            coturns.leave(at(death), peer(1));
            coturns.die(at(death + 1), peer(1));
            // Another of its connections, judged a moment later.
            coturns.die(at(death + 1), peer(1));
            assert_eq!(coturns.advance(at(death + 3), false), [], "it is not back");
            assert_eq!(coturns.enter(at(death + 3), peer(1)), Some(connected));
            for second in [3, 4] {
                assert_eq!(coturns.enter(at(death + second), peer(1)), None, "another of its threads");
                coturns.leave(at(death + 4), peer(1));
            }
        }
        assert_eq!(coturns.advance(at(30), false), []);
        coturns.leave(at(30), peer(1));
        coturns.die(at(31), peer(1));
        assert_eq!(coturns.advance(at(90), false), [], "the log says already that it is gone");
        assert_eq!(coturns.enter(at(91), peer(1)), Some(connected));
    }

    #[test]
    fn a_return_is_told_after_the_death_and_not_of_a_neighbour_that_lives() {
        let connected = ClientNotice::Connected { peer: peer(1) };
        let mut coturns = Coturns::new(at(0));
        // Two coturns at one address, of which one dies.
        coturns.enter(at(1), peer(1));
        coturns.enter(at(1), peer(1));
        coturns.leave(at(10), peer(1));
        coturns.die(at(11), peer(1));
        assert_eq!(coturns.advance(at(20), false), []);
        assert_eq!(coturns.enter(at(20), peer(1)), Some(connected));
        // Back before the table's clock has logged the death.
        coturns.leave(at(30), peer(1));
        coturns.die(at(31), peer(1));
        assert_eq!((coturns.enter(at(31), peer(1)), coturns.enter(at(32), peer(1))), (None, None));
        assert_eq!(coturns.advance(at(32), false), []);
        assert_eq!(coturns.advance(at(33), false), [connected]);
        assert_eq!(coturns.advance(at(34), false), []);
    }

    #[test]
    fn a_listener_without_a_coturn_says_so_once_after_a_minute() {
        let mut coturns = Coturns::new(at(1000));
        assert_eq!(coturns.advance(at(1059), false), []);
        assert_eq!(coturns.advance(at(1060), true), [], "the reason is in the log");
        assert_eq!(coturns.advance(at(1061), false), [ClientNotice::NoCoturn]);
        assert_eq!(coturns.advance(at(5000), false), []);
        assert!(!coturns.has_seen_one());
        let mut coturns = Coturns::new(at(1000));
        coturns.enter(at(1001), peer(1));
        coturns.leave(at(1001), peer(1));
        assert_eq!(coturns.advance(at(1060), false), []);
        assert!(coturns.has_seen_one());
    }

    #[test]
    fn strangers_fill_a_bounded_room() {
        let mut coturns = Coturns::new(at(0));
        let named = (0..2000).filter(|host| coturns.enter(at(1), peer(*host)).is_some()).count();
        assert_eq!(named, ADDRESSES);
        coturns.leave(at(1), peer(1999));
        assert_eq!(coturns.connected().len(), ADDRESSES);
    }
}
