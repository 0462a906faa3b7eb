//! The coturns that report to a listener, by the address that they come from, as far as the log and `doctor` say it. Pure:
//! time is an argument.
//!
//! An address is connected from its first connection of a coturn until it has had none for a minute. Many coturns have
//! their idle connections cut by a proxy or NAT and connect again with their next event; a line for each would say nothing.

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
            return None;
        }
        if self.by_address.len() >= ADDRESSES {
            return None;
        }
        self.by_address.insert(peer, Presence { open: 1, last: now });
        Some(ClientNotice::Connected { peer })
    }

    /// A connection that had entered is over.
    pub(super) fn leave(&mut self, now: Timestamp, peer: IpAddr) {
        if let Some(presence) = self.by_address.get_mut(&peer) {
            presence.open = presence.open.saturating_sub(1);
            presence.last = now;
        }
    }

    /// Lets time pass; `is_explained` where the log says already why none has connected.
    pub(super) fn advance(&mut self, now: Timestamp, is_explained: bool) -> Vec<ClientNotice> {
        let is_over =
            |_: &IpAddr, presence: &mut Presence| presence.open == 0 && now.since(presence.last) >= ABSENT;
        let over = self.by_address.extract_if(is_over);
        let mut notices: Vec<_> = over.map(|(peer, _)| ClientNotice::Disconnected { peer }).collect();
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
