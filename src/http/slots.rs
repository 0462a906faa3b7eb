//! The open connections, and which of them gives way when one more comes than there may be.
//!
//! A newcomer is always let in: whoever wants to shut others out would have to be faster than they ask, for ever. The one
//! that goes is of the address that has the most connections, so that nobody loses a place to a greedier one.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::progress::ConnectionProgress;
use crate::metrics::WebRefusal;
use crate::net::ClientNetwork;

/// Of all places one address may have a quarter, and this many where that is less.
const LEAST_PER_ADDRESS: usize = 16;

/// The open connections.
#[derive(Debug)]
pub(super) struct WebSlots {
    limit: usize,
    per_network: usize,
    order: Arc<AtomicU64>,
    open: Mutex<OpenConnections>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    next: u64,
    by_number: BTreeMap<u64, Arc<ConnectionProgress>>,
    counts: HashMap<ClientNetwork, usize>,
    /// Connections that gave way since the first one did; `None` while there is room for all.
    gave_way: Option<u64>,
}

/// A connection's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct WebSlot {
    number: u64,
    places: Arc<WebSlots>,
    pub(super) progress: Arc<ConnectionProgress>,
}

impl WebSlots {
    pub(super) fn new(limit: usize) -> Self {
        let per_network = (limit / 4).max(LEAST_PER_ADDRESS).min(limit);
        Self { limit, per_network, order: Arc::default(), open: Mutex::default() }
    }

    /// A place for a new connection; if there is none, an older connection must end.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> WebSlot {
        let network = ClientNetwork::from(peer);
        let progress = Arc::new(ConnectionProgress::new(network, Arc::clone(&self.order)));
        let mut open = self.open();
        if open.count(network) >= self.per_network {
            // Where one address may have all places, it is their number that was reached.
            let why = if self.per_network < self.limit {
                WebRefusal::AddressLimit
            } else {
                WebRefusal::ConnectionLimit
            };
            self.make_room(&mut open, why, |other| other == network);
        } else if open.by_number.len() >= self.limit {
            let most = open.most();
            let counts = open.counts.clone();
            let has_most = |other| counts.get(&other) == Some(&most);
            self.make_room(&mut open, WebRefusal::ConnectionLimit, has_most);
        }
        let number = open.next;
        open.next += 1;
        open.by_number.insert(number, Arc::clone(&progress));
        *open.counts.entry(network).or_default() += 1;
        WebSlot { number, places: Arc::clone(self), progress }
    }

    fn make_room(
        &self,
        open: &mut OpenConnections,
        why: WebRefusal,
        is_considered: impl Fn(ClientNetwork) -> bool,
    ) {
        let considered = open.by_number.iter().filter(|(_, progress)| is_considered(progress.network));
        let Some((&number, _)) = considered.min_by_key(|(_, progress)| progress.rank()) else { return };
        let Some(progress) = open.remove(number) else { return };
        progress.end(why);
        if open.gave_way.is_none() {
            tracing::warn!(
                reason = why.as_str(),
                limit = self.limit,
                limit_per_address = self.per_network,
                address = %progress.network,
                "too many connections to the web server: the oldest of the address that has the most give way to new ones"
            );
        }
        open.gave_way = Some(open.gave_way.unwrap_or(0).saturating_add(1));
    }

    fn leave(&self, number: u64) {
        let mut open = self.open();
        open.remove(number);
        // Half full, not just below the limit: under a flood the state would turn with every connection.
        if open.gave_way.is_some()
            && open.by_number.len() <= self.limit / 2
            && open.most() <= self.per_network / 2
            && let Some(closed) = open.gave_way.take()
        {
            tracing::info!(closed, "no connection to the web server has to give way any more");
        }
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnections {
    fn count(&self, network: ClientNetwork) -> usize {
        self.counts.get(&network).copied().unwrap_or(0)
    }

    /// The most connections that one address has.
    fn most(&self) -> usize {
        self.counts.values().copied().max().unwrap_or(0)
    }

    /// `None` if it gave way before.
    fn remove(&mut self, number: u64) -> Option<Arc<ConnectionProgress>> {
        let progress = self.by_number.remove(&number)?;
        if let Some(count) = self.counts.get_mut(&progress.network) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&progress.network);
            }
        }
        Some(progress)
    }
}

impl Drop for WebSlot {
    fn drop(&mut self) {
        self.places.leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::progress::ConnectionStage;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The connections that must end, by their position.
    fn ended(places: &[WebSlot]) -> Vec<usize> {
        let is_ended = |place: &WebSlot| !place.places.open().by_number.contains_key(&place.number);
        places.iter().enumerate().filter(|(_, place)| is_ended(place)).map(|(at, _)| at).collect()
    }

    #[test]
    fn idle_ones_go_first_then_the_half_asked_then_slow_readers_the_oldest_of_them() {
        let places = Arc::new(WebSlots::new(6));
        let enter = || places.enter(address("192.0.2.1"));
        let stages = [
            ConnectionStage::Answer { handed: false },
            ConnectionStage::Answer { handed: true },
            ConnectionStage::Answer { handed: true },
            ConnectionStage::Head,
            ConnectionStage::Idle,
            ConnectionStage::Idle,
        ];
        let mut open: Vec<WebSlot> = stages.iter().map(|_| enter()).collect();
        for (place, stage) in open.iter().zip(stages) {
            place.progress.begin(stage);
        }
        // The first of the readers has been at it for longer than the second, since a later moment.
        open[1].progress.begin(ConnectionStage::Answer { handed: true });
        let mut gone = Vec::new();
        for _ in stages {
            // Newcomers are answered at once, so that they are no candidates here.
            let newcomer = enter();
            newcomer.progress.begin(ConnectionStage::Answer { handed: false });
            open.push(newcomer);
            let now: Vec<usize> = ended(&open).into_iter().filter(|at| !gone.contains(at)).collect();
            gone.extend(now);
        }
        assert_eq!(gone, [4, 5, 3, 2, 1, 0]);
    }

    #[test]
    fn who_has_the_most_gives_way_and_an_address_has_no_more_than_its_share() {
        let places = Arc::new(WebSlots::new(64));
        assert_eq!(places.per_network, 16);
        let mut greedy: Vec<WebSlot> = (0..17).map(|_| places.enter(address("192.0.2.1"))).collect();
        assert_eq!(ended(&greedy), [0], "its own oldest");
        let second: Vec<WebSlot> = (0..15).map(|_| places.enter(address("192.0.2.2"))).collect();
        let honest: Vec<WebSlot> =
            (0..34).map(|n| places.enter(address(&format!("198.51.100.{n}")))).collect();
        assert_eq!(ended(&greedy), [0, 1], "all places are taken, and it has the most");
        assert_eq!((ended(&second).len(), ended(&honest).len()), (0, 0));
        // Two that have the most: the older connection goes.
        let newcomer = places.enter(address("203.0.113.1"));
        assert_eq!((ended(&greedy), ended(&second)), (vec![0, 1, 2], vec![]));
        assert_eq!(places.open().gave_way, Some(3));
        drop((newcomer, second));
        assert_eq!(places.open().gave_way, Some(3), "one address still has more than half of its share");
        greedy.truncate(10);
        drop(honest);
        assert_eq!(places.open().gave_way, None);
        assert_eq!(places.open().by_number.len(), 7);
    }

    #[test]
    fn few_places_are_for_one_address_as_well() {
        let places = Arc::new(WebSlots::new(2));
        let open = [0, 1, 2].map(|_| places.enter(address("192.0.2.1")));
        assert_eq!(ended(&open), [0]);
        assert_eq!(places.open().by_number.len(), 2);
    }
}
