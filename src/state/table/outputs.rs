//! What the table gives to a ledger: allocations that ended and sessions that closed, each under a number of its own, held
//! until the ledger has it. A ledger that keeps the number of the last one takes none twice, whatever is replayed.

use super::Table;
use crate::clock::Timestamp;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::input::Input;
use crate::state::record::{AllocationRecord, SessionRecord};
use crate::state::storage::queue::Queue;

/// More than so many allocations, and so many sessions, do not wait; the next ones are lost to the ledger.
const MAX_WAITING: usize = 200_000;

/// Something that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// An allocation ended. One that is overdue may live again or report its totals still: its sums come again then, under
    /// its old serial number.
    Allocation(AllocationRecord),
    /// A session closed; its allocations came before.
    Session(SessionRecord),
}

/// Outputs that wait for a ledger.
#[derive(Debug)]
pub(in crate::state) struct Outputs {
    /// The number of the next one.
    pub(in crate::state) next: u64,
    /// In the order of their numbers, of which some may be missing.
    pub(in crate::state) waiting: Queue<(u64, Output)>,
    /// How many of them are allocations.
    allocations: usize,
    /// Those that nobody took for too long.
    pub(in crate::state) lost: u64,
}

impl Outputs {
    pub(in crate::state) const fn new(first: u64) -> Self {
        Self { next: first, waiting: Queue::new(), allocations: 0, lost: 0 }
    }

    /// Adds one, if there is room. It has a number in any case.
    pub(super) fn add(&mut self, output: impl FnOnce() -> Output, is_allocation: bool) {
        let number = self.next;
        self.next += 1;
        let waiting = if is_allocation { self.allocations } else { self.waiting.len() - self.allocations };
        if waiting >= MAX_WAITING {
            self.lost += 1;
            return;
        }
        self.allocations += usize::from(is_allocation);
        self.waiting.push_back((number, output()));
    }

    /// The same once more, to be written only.
    pub(super) fn share(&mut self) -> Self {
        Self {
            waiting: self.waiting.share(),
            next: self.next,
            allocations: self.allocations,
            lost: self.lost,
        }
    }

    pub(super) fn drop_up_to(&mut self, number: u64) {
        while self.waiting.front().is_some_and(|&(first, _)| first <= number) {
            if let Some((_, Output::Allocation(_))) = self.waiting.pop_front() {
                self.allocations -= 1;
            }
        }
    }
}

impl Persist for Output {
    fn write(&self, to: &mut ImageWriter<'_>) {
        match self {
            Self::Allocation(record) => {
                to.byte(0);
                record.write(to);
            }
            Self::Session(record) => {
                to.byte(1);
                record.write(to);
            }
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        match from.byte()? {
            0 => Persist::read(from).map(Self::Allocation),
            1 => Persist::read(from).map(Self::Session),
            _ => Err(Unreadable::Malformed("a number stands for no output")),
        }
    }
}

impl Persist for Outputs {
    fn write(&self, to: &mut ImageWriter<'_>) {
        let Self { next, waiting, allocations, lost } = self;
        next.write(to);
        waiting.write(to);
        allocations.write(to);
        lost.write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let (next, waiting): (u64, Queue<(u64, Output)>) = (Persist::read(from)?, Persist::read(from)?);
        let (allocations, lost): (usize, u64) = (Persist::read(from)?, Persist::read(from)?);
        let found = waiting.iter().filter(|(_, output)| matches!(output, Output::Allocation(_))).count();
        if next == 0 || found != allocations {
            return Err(Unreadable::Malformed("the outputs are not as many as they should be"));
        }
        Ok(Self { next, waiting, allocations, lost })
    }
}

impl Table {
    /// Those that wait with numbers above `after`, the first `most` of them.
    pub fn outputs(&self, after: u64, most: usize) -> Vec<(u64, Output)> {
        let Some(outputs) = self.changes.outputs() else { return Vec::new() };
        outputs.waiting.iter().skip_while(|(number, _)| *number <= after).take(most).cloned().collect()
    }

    /// The number of the last output, waiting or not; 0 before the first, and where there is no ledger.
    pub fn last_output(&self) -> u64 {
        self.changes.outputs().map_or(0, |outputs| outputs.next - 1)
    }

    /// Outputs that are lost to the ledger because too many waited, ever.
    pub fn lost_outputs(&self) -> u64 {
        self.changes.outputs().map_or(0, |outputs| outputs.lost)
    }

    /// A ledger has all of them up to this number.
    pub fn ledger_written(&mut self, now: Timestamp, up_to: u64) {
        self.note(now, &Input::LedgerWritten { up_to });
        self.pass(now);
        if let Some(outputs) = self.changes.outputs_mut() {
            outputs.drop_up_to(up_to);
        }
    }
}
