//! The memory of what is being sent: each rendering counts once, however many read it, and those who read slowest are cut off
//! when all of them together have become too large, of the address that reads the most.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Bytes;

use super::progress::ConnectionProgress;
use crate::metrics::WebRefusal;
use crate::net::ClientNetwork;

/// Renderings that somebody still reads or waits for.
#[derive(Clone, Debug)]
pub(super) struct UnsentPages {
    ledger: Arc<Ledger>,
}

#[derive(Debug)]
struct Ledger {
    most: usize,
    held: Mutex<HeldRenderings>,
}

#[derive(Debug, Default)]
struct HeldRenderings {
    next: u64,
    /// By age: a higher number was rendered later.
    by_number: BTreeMap<u64, HeldRendering>,
    next_reader: u64,
    /// Renderings whose readers were cut off since the first were; `None` while all may read on.
    cut_off: Option<u64>,
}

#[derive(Debug)]
struct HeldRendering {
    bytes: usize,
    readers: BTreeMap<u64, Arc<ConnectionProgress>>,
    is_cut_off: bool,
}

/// A page; it is freed with its last reader.
#[derive(Debug)]
pub(super) struct Rendering {
    number: u64,
    body: Bytes,
    ledger: Arc<Ledger>,
}

impl UnsentPages {
    /// At most `most` bytes of pages, or two pages where they are larger.
    pub(super) fn new(most: usize) -> Self {
        Self { ledger: Arc::new(Ledger { most, held: Mutex::default() }) }
    }

    /// Room for a page of so many bytes: readers of others are cut off until it fits.
    pub(super) fn make_room(&self, bytes: usize) {
        let most = self.ledger.most.max(bytes.saturating_mul(2));
        let mut held = self.ledger.held();
        let held = &mut *held;
        let mut unsent = bytes.saturating_add(held.staying());
        while unsent > most {
            let Some(oldest) = held.next_to_go() else { return };
            oldest.is_cut_off = true;
            unsent -= oldest.bytes;
            oldest.readers.values().for_each(|reader| reader.end(WebRefusal::UnsentLimit));
            if held.cut_off.is_none() {
                tracing::warn!(
                    limit_bytes = most,
                    "clients do not read the page: the slowest of them are cut off"
                );
            }
            held.cut_off = Some(held.cut_off.unwrap_or(0).saturating_add(1));
        }
    }

    /// The page, counted as long as anybody has it.
    pub(super) fn hold(&self, body: impl Into<Bytes>) -> Arc<Rendering> {
        let body = body.into();
        self.make_room(body.len());
        let mut held = self.ledger.held();
        let number = held.next;
        held.next += 1;
        let page = HeldRendering { bytes: body.len(), readers: BTreeMap::new(), is_cut_off: false };
        held.by_number.insert(number, page);
        Arc::new(Rendering { number, body, ledger: Arc::clone(&self.ledger) })
    }
}

impl Ledger {
    fn held(&self) -> MutexGuard<'_, HeldRenderings> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldRenderings {
    /// Bytes whose readers are not cut off.
    fn staying(&self) -> usize {
        self.by_number.values().filter(|page| !page.is_cut_off).map(|page| page.bytes).sum()
    }

    /// The rendering that is read by none but those who read the most; of these the oldest. One that nobody reads was made
    /// just now, for those who are about to take it.
    fn next_to_go(&mut self) -> Option<&mut HeldRendering> {
        let staying = || self.by_number.iter().filter(|(_, page)| !page.is_cut_off);
        let mut counts: HashMap<ClientNetwork, usize> = HashMap::new();
        for reader in staying().flat_map(|(_, page)| page.readers.values()) {
            *counts.entry(reader.network).or_default() += 1;
        }
        let fewest = |page: &HeldRendering| {
            page.readers.values().filter_map(|reader| counts.get(&reader.network)).min().copied()
        };
        let read = staying().filter_map(|(&number, page)| Some((Reverse(fewest(page)?), number)));
        let (_, number) = read.min()?;
        self.by_number.get_mut(&number)
    }
}

impl Rendering {
    /// The page for this connection, which ends if its memory is needed before it is sent.
    pub(super) fn body_for(self: &Arc<Self>, connection: &Arc<ConnectionProgress>) -> Bytes {
        let mut held = self.ledger.held();
        let number = held.next_reader;
        held.next_reader += 1;
        if let Some(page) = held.by_number.get_mut(&self.number) {
            if page.is_cut_off {
                connection.end(WebRefusal::UnsentLimit);
            }
            page.readers.insert(number, Arc::clone(connection));
        }
        drop(held);
        Bytes::from_owner(Reading { number, rendering: Arc::clone(self) })
    }
}

impl Drop for Rendering {
    fn drop(&mut self) {
        let mut held = self.ledger.held();
        held.by_number.remove(&self.number);
        if held.cut_off.is_some()
            && held.staying() <= self.ledger.most / 2
            && let Some(pages) = held.cut_off.take()
        {
            tracing::info!(pages, "clients read the page again");
        }
    }
}

/// A rendering in the hands of one connection.
struct Reading {
    number: u64,
    rendering: Arc<Rendering>,
}

impl AsRef<[u8]> for Reading {
    fn as_ref(&self) -> &[u8] {
        &self.rendering.body
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut held = self.rendering.ledger.held();
        if let Some(page) = held.by_number.get_mut(&self.rendering.number) {
            page.readers.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    fn connection() -> Arc<ConnectionProgress> {
        ConnectionProgress::of("192.0.2.1")
    }

    async fn must_end(connection: &ConnectionProgress) -> bool {
        timeout(Duration::ZERO, connection.ended()).await.is_ok()
    }

    #[tokio::test]
    async fn a_page_counts_once_and_until_its_last_reader_has_it() {
        let unsent = UnsentPages::new(100);
        let page = unsent.hold(vec![b'a'; 40]);
        let connections = [connection(), connection()];
        let [one, other] = [0, 1].map(|at| page.body_for(&connections[at]));
        drop(page);
        assert_eq!((unsent.ledger.held().staying(), one.len()), (40, 40));
        drop(one);
        assert_eq!(unsent.ledger.held().staying(), 40);
        drop(other);
        assert!(unsent.ledger.held().by_number.is_empty());
    }

    #[tokio::test]
    async fn readers_of_the_oldest_page_are_cut_off_for_a_new_one() {
        let unsent = UnsentPages::new(100);
        let connections = [connection(), connection(), connection(), connection()];
        let first = unsent.hold(vec![b'a'; 40]);
        let bodies = [0, 1].map(|at| first.body_for(&connections[at]));
        let second = unsent.hold(vec![b'b'; 40]);
        let _second_body = second.body_for(&connections[2]);
        assert!(!must_end(&connections[0]).await, "both fit");
        let third = unsent.hold(vec![b'c'; 40]);
        assert!(must_end(&connections[0]).await && must_end(&connections[1]).await);
        assert!(!must_end(&connections[2]).await);
        // Who was about to take the page that is to go.
        let _late = first.body_for(&connections[3]);
        assert!(must_end(&connections[3]).await);
        assert_eq!(unsent.ledger.held().cut_off, Some(1));
        drop((bodies, first, third, second));
    }

    #[tokio::test]
    async fn two_pages_fit_however_large_they_are() {
        let unsent = UnsentPages::new(10);
        let connections = [connection(), connection()];
        let pages = [b'a', b'b'].map(|byte| unsent.hold(vec![byte; 1000]));
        let _bodies = [0, 1].map(|at| pages[at].body_for(&connections[at]));
        assert!(!must_end(&connections[0]).await);
        let _third = unsent.hold(vec![b'c'; 1000]);
        assert!(must_end(&connections[0]).await && !must_end(&connections[1]).await);
    }

    #[tokio::test]
    async fn a_reader_that_has_finished_is_left_alone() {
        let unsent = UnsentPages::new(10);
        let (done, slow, later) = (connection(), connection(), connection());
        let pages = [b'a', b'b'].map(|byte| unsent.hold(vec![byte; 10]));
        let _bodies = [pages[0].body_for(&slow), pages[1].body_for(&later)];
        drop(pages[0].body_for(&done));
        unsent.make_room(10);
        assert!(must_end(&slow).await && !must_end(&done).await && !must_end(&later).await);
    }

    #[tokio::test]
    async fn who_reads_the_most_goes_before_who_reads_one() {
        let unsent = UnsentPages::new(30);
        let honest = ConnectionProgress::of("192.0.2.2");
        let greedy = [connection(), connection(), connection()];
        // The honest one has the oldest page, and one of the greedy reads the same.
        let shared = unsent.hold(vec![b'a'; 10]);
        let pages = [unsent.hold(vec![b'b'; 10]), unsent.hold(vec![b'c'; 10])];
        let _bodies = [
            shared.body_for(&honest),
            shared.body_for(&greedy[0]),
            pages[0].body_for(&greedy[1]),
            pages[1].body_for(&greedy[2]),
        ];
        unsent.make_room(10);
        assert!(must_end(&greedy[1]).await, "the oldest that only greedy ones read");
        assert!(!must_end(&honest).await && !must_end(&greedy[0]).await && !must_end(&greedy[2]).await);
    }
}
