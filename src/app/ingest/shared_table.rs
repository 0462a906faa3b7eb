//! The one table behind its lock: for the sources that write it and the pages that read it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::Ingest;
use crate::clock::{Clock, Timestamp};
use crate::details::{Inspect, Listing};
use crate::metrics::{Observe, View};
use crate::state::rows::{AllocationRow, AllocationWalk, RowQuery, RowWalk, SessionRow, SessionWalk};

/// The one table, shared by the sources that write and the scrapes that read.
#[derive(Clone, Debug)]
pub struct SharedTable {
    ingest: Arc<Mutex<Ingest>>,
    clock: Arc<dyn Clock>,
}

impl SharedTable {
    /// Shares `ingest`, whose time `clock` tells.
    pub fn new(ingest: Ingest, clock: Arc<dyn Clock>) -> Self {
        Self { ingest: Arc::new(Mutex::new(ingest)), clock }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A moment of the table by the wall clock.
    pub fn to_wall(&self, moment: Timestamp) -> Timestamp {
        self.clock.to_wall(moment)
    }

    /// The table, for a short while; never across an `await`.
    ///
    /// # Panics
    ///
    /// If somebody panicked while writing: a table of which one part has been changed and another has not must not be
    /// served. The policy is that the program ends: whoever asks next panics as well, within a second the task that lets
    /// time pass; its panic is that of the whole program, which logs it and exits with code 1, and whoever supervises it
    /// starts it again. With a store it goes on from what was written last, without one its counters begin at 0. Nothing
    /// that is published is known to get there (the fuzz of the state tries).
    #[expect(clippy::expect_used, reason = "see above")]
    pub fn lock(&self) -> MutexGuard<'_, Ingest> {
        self.ingest.lock().expect("nobody panicked while writing the table")
    }
}

impl Observe for SharedTable {
    fn observe(&self) -> View {
        let now = self.clock.now();
        let mut ingest = self.lock();
        ingest.advance(now);
        ingest.view(self.clock.to_wall(now))
    }
}

/// Between two slices of a walk the table is left alone for so long. The lock is not fair: without a pause, whoever waits
/// for it could wait for the whole walk.
fn make_way() {
    const PAUSE: Duration = Duration::from_micros(50);
    std::thread::sleep(PAUSE);
}

impl SharedTable {
    fn walk<W: RowWalk>(&self, wanted: RowQuery) -> Listing<W::Row> {
        let mut walk = W::new(wanted);
        let mut now = self.clock.now();
        self.lock().advance(now);
        loop {
            let more = walk.step(&self.lock().table);
            if !more {
                break;
            }
            make_way();
        }
        let found = walk.found();
        now = now.max(found.now);
        Listing { found, wall: self.clock.to_wall(now) }
    }
}

impl Inspect for SharedTable {
    fn allocations(&self, wanted: RowQuery) -> Listing<AllocationRow> {
        self.walk::<AllocationWalk>(wanted)
    }

    fn sessions(&self, wanted: RowQuery) -> Listing<SessionRow> {
        self.walk::<SessionWalk>(wanted)
    }
}
