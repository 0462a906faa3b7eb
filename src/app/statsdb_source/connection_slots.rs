//! The slots of the listener's connections. A connection that has neither logged in nor, where no password is asked
//! for, sent a first command is *silent*: it keeps its slot only while nobody else wants it. Pure: time is an argument.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Timestamp;
use crate::net::ClientNetwork;

/// Silent connections of one client, an address or a /64 of IPv6, at most. A coturn has one connection for each of its threads,
/// and logs in on all of them at once.
pub(super) const PER_CLIENT: usize = 128;

/// As many has a coturn that connects with all of its threads: it is no greedier than one who has one.
const FEW: usize = 32;

/// A connection that is younger than this may have sent its first command already: it is on its way. It gives way for
/// want of a slot only, not for its address.
const ON_THE_WAY: Duration = Duration::from_millis(250);

/// Which connection has a slot, and which must give way first.
#[derive(Debug)]
pub(super) struct ListenerSlots {
    most: usize,
    /// Slots that are taken.
    taken: usize,
    next: u64,
    /// By their numbers: the oldest first.
    silent: BTreeMap<u64, SilentConnection>,
    of_client: HashMap<ClientNetwork, BTreeSet<u64>>,
}

#[derive(Debug)]
struct SilentConnection {
    client: ClientNetwork,
    since: Timestamp,
    leave: Arc<Notify>,
}

/// A slot that was given.
#[derive(Clone, Debug)]
pub(super) struct ListenerSlot {
    number: u64,
    /// Notified when the connection must give way.
    pub(super) leave: Arc<Notify>,
}

impl ListenerSlots {
    /// So many slots, all of them free.
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: 0, next: 0, silent: BTreeMap::new(), of_client: HashMap::new() }
    }

    /// A slot for a new connection; `None` if all are taken by connections that are not silent.
    pub(super) fn admit(&mut self, now: Timestamp, peer: IpAddr) -> Option<ListenerSlot> {
        let client = ClientNetwork::from(peer);
        if let Some(numbers) = self.of_client.get(&client).filter(|numbers| numbers.len() >= PER_CLIENT)
            && let Some(&oldest) = numbers.first()
            && self.silent.get(&oldest).is_some_and(|silent| now.since(silent.since) >= ON_THE_WAY)
        {
            self.evict(oldest);
        }
        if self.taken >= self.most {
            let first = self.first_to_leave()?;
            self.evict(first);
        }
        let number = self.next;
        self.next += 1;
        self.taken += 1;
        let leave = Arc::new(Notify::new());
        self.silent.insert(number, SilentConnection { client, since: now, leave: Arc::clone(&leave) });
        self.of_client.entry(client).or_default().insert(number);
        Some(ListenerSlot { number, leave })
    }

    /// The connection is silent no more; false if it has lost its slot already.
    pub(super) fn has_spoken(&mut self, slot: &ListenerSlot) -> bool {
        self.forget(slot.number).is_some()
    }

    /// The connection is gone; `has_spoken` as it was answered.
    pub(super) fn leave(&mut self, slot: &ListenerSlot, has_spoken: bool) {
        if has_spoken || self.forget(slot.number).is_some() {
            self.taken = self.taken.saturating_sub(1);
        }
    }

    /// Slots in use.
    #[cfg(test)]
    pub(super) const fn taken(&self) -> usize {
        self.taken
    }

    /// The oldest silent connection of the client that has the most of them: so nobody loses a slot to a greedier one. One of
    /// those that have few, if nobody has more.
    fn first_to_leave(&self) -> Option<u64> {
        let few = FEW.min(self.most / 4);
        let greed = |numbers: &&BTreeSet<u64>| (numbers.len().max(few), Reverse(numbers.first().copied()));
        self.of_client.values().max_by_key(greed)?.first().copied()
    }

    fn evict(&mut self, number: u64) {
        if let Some(silent) = self.forget(number) {
            self.taken = self.taken.saturating_sub(1);
            silent.leave.notify_one();
        }
    }

    fn forget(&mut self, number: u64) -> Option<SilentConnection> {
        let silent = self.silent.remove(&number)?;
        if let Some(numbers) = self.of_client.get_mut(&silent.client) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.of_client.remove(&silent.client);
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
    fn must_leave(slot: &ListenerSlot) -> bool {
        let mut leave = std::pin::pin!(slot.leave.notified());
        leave.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_oldest_that_is_silent_gives_way_to_a_newcomer() {
        let mut slots = ListenerSlots::new(3);
        let [one, two, three] = [1, 2, 3].map(|host| slots.admit(at(0), peer(host)).unwrap());
        assert!(slots.has_spoken(&one));
        let four = slots.admit(at(1), peer(4)).unwrap();
        assert_eq!([&one, &two, &three, &four].map(must_leave), [false, true, false, false]);
        // Too late.
        assert!(!slots.has_spoken(&two));
        slots.leave(&two, false);
        assert!(slots.has_spoken(&three) && slots.has_spoken(&four));
        assert!(slots.admit(at(2), peer(5)).is_none(), "all are in use");
        slots.leave(&three, true);
        let five = slots.admit(at(3), peer(5)).unwrap();
        slots.leave(&five, false);
        slots.leave(&four, true);
        slots.leave(&one, true);
        assert_eq!((slots.taken, slots.silent.len(), slots.of_client.len()), (0, 0, 0));
    }

    /// A coturn that connects keeps its slot, however fast others ask for theirs.
    #[test]
    fn nobody_loses_a_slot_to_one_who_has_more() {
        let mut slots = ListenerSlots::new(5);
        let coturn = slots.admit(at(0), peer(1)).unwrap();
        let in_network = |host: u128| IpAddr::V6((0x2001_0db8 << 96 | host).into());
        let greedy: Vec<ListenerSlot> =
            (0..10).map(|millis| slots.admit(at(millis), in_network(millis.into())).unwrap()).collect();
        let left: Vec<bool> = greedy.iter().map(must_leave).collect();
        assert_eq!(left.iter().filter(|&&left| left).count(), 6);
        assert!(left.iter().take(6).all(|&left| left), "the oldest of them");
        // Of two that have as many the older one.
        let mut slots = ListenerSlots::new(4);
        let each = [1, 2, 2, 1].map(|host| slots.admit(at(0), peer(host)).unwrap());
        slots.admit(at(1), peer(3)).unwrap();
        assert_eq!(each.each_ref().map(must_leave), [true, false, false, false]);
        assert!(!must_leave(&coturn));
    }

    /// All connections of a coturn come at once; who attacks may have many addresses.
    #[test]
    fn who_has_few_is_not_the_greediest() {
        let mut slots = ListenerSlots::new(128);
        let others: Vec<ListenerSlot> =
            (0..124).map(|host| slots.admit(at(0), peer(host)).unwrap()).collect();
        let coturn: Vec<ListenerSlot> = (0..32).map(|_| slots.admit(at(1), peer(200)).unwrap()).collect();
        assert!(!coturn.iter().any(must_leave));
        assert_eq!(others.iter().filter(|slot| must_leave(slot)).count(), 28);
    }

    #[test]
    fn an_address_keeps_no_more_silent_ones_than_its_share() {
        let mut slots = ListenerSlots::new(10 * PER_CLIENT);
        let other = slots.admit(at(0), peer(1)).unwrap();
        let share: Vec<ListenerSlot> =
            (0..PER_CLIENT).map(|_| slots.admit(at(0), peer(2)).unwrap()).collect();
        // What these send may be on its way.
        let young = slots.admit(at(249), peer(2)).unwrap();
        assert!(!share.iter().any(must_leave));
        slots.leave(&young, false);
        let next = slots.admit(at(250), peer(2)).unwrap();
        assert_eq!(share.iter().filter(|slot| must_leave(slot)).count(), 1);
        assert!(!must_leave(&other) && !must_leave(&next));
        // One that has spoken is none of them.
        assert!(slots.has_spoken(&share[1]));
        slots.admit(at(600), peer(2)).unwrap();
        assert!(!share.iter().any(must_leave));
    }
}
