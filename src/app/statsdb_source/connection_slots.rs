//! The places of the listener's connections. A connection that has neither logged in nor, where no password is asked
//! for, said a first command is *silent*: it keeps its place only while nobody else wants it. Pure: time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Timestamp;

/// Silent connections of one address, at most. A coturn has one connection for each of its threads, and logs in on all
/// of them at once.
pub(super) const PER_ADDRESS: usize = 128;

/// A connection that is younger than this may have said its first words already: they are on their way. It gives way for
/// want of a place only, not for its address.
const ON_THE_WAY: Duration = Duration::from_millis(250);

/// Who has a place, and who must give way first.
#[derive(Debug)]
pub(super) struct ListenerSlots {
    most: usize,
    /// ListenerSlots that are taken.
    taken: usize,
    next: u64,
    /// By their numbers: the oldest first.
    silent: BTreeMap<u64, SilentConnection>,
    of_address: HashMap<IpAddr, BTreeSet<u64>>,
}

#[derive(Debug)]
struct SilentConnection {
    peer: IpAddr,
    since: Timestamp,
    leave: Arc<Notify>,
}

/// A place that was given.
#[derive(Clone, Debug)]
pub(super) struct ListenerSlot {
    number: u64,
    /// Notified when the connection must give way.
    pub(super) leave: Arc<Notify>,
}

impl ListenerSlots {
    /// So many, all of them free.
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: 0, next: 0, silent: BTreeMap::new(), of_address: HashMap::new() }
    }

    /// A place for a new connection; `None` if all are taken by connections that are not silent.
    pub(super) fn admit(&mut self, now: Timestamp, peer: IpAddr) -> Option<ListenerSlot> {
        let of_address = self.of_address.get(&peer);
        if let Some(numbers) = of_address.filter(|numbers| numbers.len() >= PER_ADDRESS)
            && let Some(&oldest) = numbers.first()
            && self.silent.get(&oldest).is_some_and(|silent| now.since(silent.since) >= ON_THE_WAY)
        {
            self.evict(oldest);
        }
        if self.taken >= self.most {
            let (&oldest, _) = self.silent.first_key_value()?;
            self.evict(oldest);
        }
        let number = self.next;
        self.next += 1;
        self.taken += 1;
        let leave = Arc::new(Notify::new());
        self.silent.insert(number, SilentConnection { peer, since: now, leave: Arc::clone(&leave) });
        self.of_address.entry(peer).or_default().insert(number);
        Some(ListenerSlot { number, leave })
    }

    /// The connection is silent no more; false if it has lost its place already.
    pub(super) fn has_spoken(&mut self, place: &ListenerSlot) -> bool {
        self.forget(place.number).is_some()
    }

    /// The connection is gone; `has_spoken` as it was answered.
    pub(super) fn leave(&mut self, place: &ListenerSlot, has_spoken: bool) {
        if has_spoken || self.forget(place.number).is_some() {
            self.taken = self.taken.saturating_sub(1);
        }
    }

    fn evict(&mut self, number: u64) {
        if let Some(silent) = self.forget(number) {
            self.taken = self.taken.saturating_sub(1);
            silent.leave.notify_one();
        }
    }

    fn forget(&mut self, number: u64) -> Option<SilentConnection> {
        let silent = self.silent.remove(&number)?;
        if let Some(numbers) = self.of_address.get_mut(&silent.peer) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.of_address.remove(&silent.peer);
            }
        }
        Some(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future as _;
    use std::net::Ipv4Addr;
    use std::task::{Context, Waker};

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn peer(host: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, host).into()
    }

    /// Whether it was asked to leave.
    fn must_leave(place: &ListenerSlot) -> bool {
        let mut leave = std::pin::pin!(place.leave.notified());
        leave.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_oldest_that_is_silent_gives_way_to_a_newcomer() {
        let mut places = ListenerSlots::new(3);
        let [one, two, three] = [1, 2, 3].map(|host| places.admit(at(0), peer(host)).unwrap());
        assert!(places.has_spoken(&one));
        let four = places.admit(at(1), peer(4)).unwrap();
        assert_eq!([&one, &two, &three, &four].map(must_leave), [false, true, false, false]);
        // Too late.
        assert!(!places.has_spoken(&two));
        places.leave(&two, false);
        assert!(places.has_spoken(&three) && places.has_spoken(&four));
        assert!(places.admit(at(2), peer(5)).is_none(), "all are in use");
        places.leave(&three, true);
        let five = places.admit(at(3), peer(5)).unwrap();
        places.leave(&five, false);
        places.leave(&four, true);
        places.leave(&one, true);
        assert_eq!((places.taken, places.silent.len(), places.of_address.len()), (0, 0, 0));
    }

    #[test]
    fn an_address_keeps_no_more_silent_ones_than_its_share() {
        let mut places = ListenerSlots::new(10 * PER_ADDRESS);
        let other = places.admit(at(0), peer(1)).unwrap();
        let share: Vec<ListenerSlot> =
            (0..PER_ADDRESS).map(|_| places.admit(at(0), peer(2)).unwrap()).collect();
        // What these say may be on its way.
        let young = places.admit(at(249), peer(2)).unwrap();
        assert!(!share.iter().any(must_leave));
        places.leave(&young, false);
        let next = places.admit(at(250), peer(2)).unwrap();
        assert_eq!(share.iter().filter(|place| must_leave(place)).count(), 1);
        assert!(!must_leave(&other) && !must_leave(&next));
        // One that has spoken is none of them.
        assert!(places.has_spoken(&share[1]));
        places.admit(at(600), peer(2)).unwrap();
        assert!(!share.iter().any(must_leave));
    }
}
