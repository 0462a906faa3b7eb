//! What the table gives to a ledger: sessions that began, allocations that ended or became orphans, sessions that closed, each
//! under a number of its own, held until the ledger has it. A ledger that keeps the number of the last one takes none twice,
//! whatever is replayed.

use super::Table;
use crate::clock::Timestamp;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::input::Input;
use crate::state::record::events::{OpenedSession, OrphanedAllocation};
use crate::state::record::{AllocationRecord, SessionRecord};
use crate::state::storage::queue::Queue;

/// More than so many ended allocations, and so many of all others, do not wait; the next ones are lost to the ledger.
const MAX_WAITING: usize = 200_000;

/// Notices of what began or became an orphan give way earlier: without them the ledger lacks nothing.
const MAX_NOTICES: usize = 50_000;

/// Something for the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// An allocation ended. One that is overdue may live again or report its totals still: its sums come again then, under
    /// its old serial number.
    Allocation(AllocationRecord),
    /// A session closed; its allocations came before.
    Session(SessionRecord),
    /// A session began. There is none for one that an earlier process has announced.
    Opened(OpenedSession),
    /// An allocation became an orphan.
    Orphaned(OrphanedAllocation),
}

impl Output {
    /// It is for others only: the ledger has no row of it.
    pub const fn is_notice(&self) -> bool {
        matches!(OutputKind::of(self), OutputKind::Notice)
    }
}

/// Outputs of one kind share the room for them.
#[derive(Clone, Copy, Debug)]
pub(super) enum OutputKind {
    Allocation,
    Session,
    Notice,
}

impl OutputKind {
    const fn of(output: &Output) -> Self {
        match output {
            Output::Allocation(_) => Self::Allocation,
            Output::Session(_) => Self::Session,
            Output::Opened(_) | Output::Orphaned(_) => Self::Notice,
        }
    }

    const fn count_mut(self, counts: &mut [usize; 3]) -> &mut usize {
        let [allocations, sessions, notices] = counts;
        match self {
            Self::Allocation => allocations,
            Self::Session => sessions,
            Self::Notice => notices,
        }
    }

    const fn most(self) -> usize {
        match self {
            Self::Allocation | Self::Session => MAX_WAITING,
            Self::Notice => MAX_NOTICES,
        }
    }
}

/// Outputs that wait for a ledger.
#[derive(Debug)]
pub(in crate::state) struct Outputs {
    /// The number of the next one.
    pub(in crate::state) next: u64,
    /// In the order of their numbers, of which some may be missing.
    pub(in crate::state) waiting: Queue<(u64, Output)>,
    /// How many of them are of each [`OutputKind`].
    of_kind: [usize; 3],
    /// Those that nobody took for too long.
    pub(in crate::state) lost: u64,
}

impl Outputs {
    pub(in crate::state) const fn new(first: u64) -> Self {
        Self { next: first, waiting: Queue::new(), of_kind: [0; 3], lost: 0 }
    }

    /// Adds one, if there is room. It has a number in any case.
    pub(super) fn add(&mut self, kind: OutputKind, output: impl FnOnce() -> Output) {
        let number = self.next;
        self.next += 1;
        let waiting = kind.count_mut(&mut self.of_kind);
        if *waiting >= kind.most() {
            self.lost += 1;
            return;
        }
        *waiting += 1;
        self.waiting.push_back((number, output()));
    }

    /// The same once more, to be written only.
    pub(super) fn share(&mut self) -> Self {
        Self { waiting: self.waiting.share(), next: self.next, of_kind: self.of_kind, lost: self.lost }
    }

    pub(super) fn drop_up_to(&mut self, number: u64) {
        while self.waiting.front().is_some_and(|&(first, _)| first <= number) {
            if let Some((_, output)) = self.waiting.pop_front() {
                *OutputKind::of(&output).count_mut(&mut self.of_kind) -= 1;
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
            Self::Opened(session) => {
                to.byte(2);
                session.write(to);
            }
            Self::Orphaned(allocation) => {
                to.byte(3);
                allocation.write(to);
            }
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        match from.byte()? {
            0 => Persist::read(from).map(Self::Allocation),
            1 => Persist::read(from).map(Self::Session),
            2 => Persist::read(from).map(Self::Opened),
            3 => Persist::read(from).map(Self::Orphaned),
            _ => Err(Unreadable::Malformed("a number stands for no output")),
        }
    }
}

impl Persist for Outputs {
    fn write(&self, to: &mut ImageWriter<'_>) {
        let Self { next, waiting, of_kind: [allocations, ..], lost } = self;
        next.write(to);
        waiting.write(to);
        allocations.write(to);
        lost.write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let mut outputs = Self::new(Persist::read(from)?);
        outputs.waiting = Persist::read(from)?;
        let (allocations, lost): (usize, u64) = (Persist::read(from)?, Persist::read(from)?);
        outputs.lost = lost;
        for (_, output) in outputs.waiting.iter() {
            *OutputKind::of(output).count_mut(&mut outputs.of_kind) += 1;
        }
        if outputs.next == 0 || outputs.of_kind.first() != Some(&allocations) {
            return Err(Unreadable::Malformed("the outputs are not as many as they should be"));
        }
        Ok(outputs)
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

    /// A ledger has all of them up to this number.
    pub fn ledger_written(&mut self, now: Timestamp, up_to: u64) {
        self.note(now, &Input::LedgerWritten { up_to });
        self.pass(now);
        if let Some(outputs) = self.changes.outputs_mut() {
            outputs.drop_up_to(up_to);
        }
    }
}
