//! The one table behind its lock: for the sources that write it and the pages that read it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::sync::watch;

use super::Ingest;
use crate::clock::{Clock, Timestamp};
use crate::details::{Inspect, Listing};
use crate::metrics::{Observe, View};
use crate::state::rows::{AllocationRow, AllocationWalk, RowQuery, RowWalk, SessionRow, SessionWalk};

/// The one table, shared by the sources that write and the scrapes that read.
#[derive(Clone, Debug)]
pub struct SharedTable {
    ingest: Arc<Mutex<Ingest>>,
    /// The table's; not known before the table is there.
    clock: Arc<OnceLock<Arc<dyn Clock>>>,
    process_clock: Arc<dyn Clock>,
    is_there: watch::Sender<bool>,
}

impl SharedTable {
    /// Shares `ingest`, whose time `clock` tells.
    pub fn new(ingest: Ingest, clock: Arc<dyn Clock>) -> Self {
        let shared = Self::to_be_loaded(ingest, Arc::clone(&clock));
        shared.begin(clock);
        shared
    }

    /// Shares a table that must be loaded first; until [`SharedTable::begin`] nobody but who loads it may touch it.
    pub fn to_be_loaded(ingest: Ingest, process_clock: Arc<dyn Clock>) -> Self {
        Self {
            ingest: Arc::new(Mutex::new(ingest)),
            clock: Arc::default(),
            process_clock,
            is_there: watch::Sender::new(false),
        }
    }

    /// The table is there, and `clock` tells its time.
    pub fn begin(&self, clock: Arc<dyn Clock>) {
        // It begins once.
        let _ = self.clock.set(clock);
        self.is_there.send_replace(true);
    }

    /// Whether the table may be used.
    pub fn is_there(&self) -> bool {
        *self.is_there.borrow()
    }

    /// Waits until the table may be used. May be dropped and called again.
    pub async fn there(&self) {
        // The sender is `self`, so the channel cannot close while this waits.
        let _ = self.is_there.subscribe().wait_for(|is_there| *is_there).await;
    }

    fn clock(&self) -> &dyn Clock {
        self.clock.get().unwrap_or(&self.process_clock).as_ref()
    }

    /// The present moment of the table's time line.
    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }

    /// The present moment of a time line of this process' own, which does not step when the table is there: for what has
    /// nothing to do with the table.
    pub fn process_now(&self) -> Timestamp {
        self.process_clock.now()
    }

    /// The time since the machine was booted.
    pub fn since_boot(&self) -> Duration {
        self.clock().since_boot()
    }

    /// A moment of the table by the wall clock.
    pub fn to_wall(&self, moment: Timestamp) -> Timestamp {
        self.clock().to_wall(moment)
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
        let now = self.now();
        let mut ingest = self.lock();
        ingest.advance(now);
        ingest.view(self.to_wall(now))
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
        let mut now = self.now();
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
        Listing { found, wall: self.to_wall(now) }
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
