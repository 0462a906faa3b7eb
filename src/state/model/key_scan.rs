//! What the status keys in Redis tell that the events did not: at the start, and after a gap.
//!
//! Keys are hints. Events win; a key that is missing proves little (any coturn that starts wipes all keys of its db),
//! and the time since it was set is known to the second only, if nobody has read it meanwhile.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::image::{Persist, persist};
use crate::state::storage::queue::Queue;
use crate::state::storage::slab_map::SlabMap;

/// Redis tells idle times in whole seconds, and a SET and its event are not one moment.
pub(crate) const PRECISION: Duration = Duration::from_secs(2);

/// Status keys that may be missing though their allocations live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostKeys {
    /// None: a key that is missing was deleted.
    None,
    /// Any: of a node of a cluster, or of a memory that ran out.
    Any,
    /// The newest: of a replica that became the master before it had them, or of a Redis that went down before it had written
    /// them to its disk. Only the last of its writes are missing, and all of before are there.
    Newest,
}

/// What a key proves that a scan does not find.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MissingKey {
    pub(crate) lost: LostKeys,
    /// When the newest was set of the keys that were found and were known before: up to then nothing was lost as the newest
    /// are.
    kept_until: Timestamp,
}

impl MissingKey {
    /// That its allocation has ended, if nothing else is said.
    pub(crate) const IS_DELETED: Self = Self { lost: LostKeys::None, kept_until: Timestamp::ZERO };

    /// A key was found that was set at `set_at`, by the status of `granted_at` or before.
    pub(crate) fn found(&mut self, set_at: Timestamp, granted_at: Timestamp) {
        self.kept_until = self.kept_until.max(set_at.min(granted_at));
    }

    /// Whether the key of a status of `granted_at`, if it is missing, was deleted and not lost.
    pub(crate) fn was_deleted(self, granted_at: Timestamp) -> bool {
        match self.lost {
            LostKeys::None => true,
            LostKeys::Any => false,
            LostKeys::Newest => granted_at.plus(PRECISION) < self.kept_until,
        }
    }
}

/// A scan that goes on.
#[derive(Debug)]
pub(crate) struct ScanProgress {
    pub(crate) began: Timestamp,
    /// The source was up before: events were missed.
    pub(crate) after_gap: bool,
    pub(crate) missing: MissingKey,
    pub(crate) adopts: Adopts,
    /// Keys that ended meanwhile.
    pub(crate) ended: SlabMap<u64, ()>,
    /// Records whose keys were found.
    pub(crate) found: u64,
}

impl ScanProgress {
    pub(crate) fn remember_end(&mut self, key: u64) {
        self.ended.insert(key, ());
    }
}

/// Which unknown keys belong to allocations that may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adopts {
    /// The source was never watched before: any.
    All,
    /// Those set in the gap. Events of an older one were received, and it has ended since: its DEL missed it, as that of coturn
    /// before 4.13 does for names with a `%`.
    SetSince(Timestamp),
    /// Nothing was missed: none.
    Nothing,
}

impl Adopts {
    // docs/semantics.md#which-keys-are-read
    pub(crate) fn includes(self, set_at: Option<Timestamp>) -> bool {
        match self {
            Self::All => true,
            Self::SetSince(lost_at) => set_at.is_none_or(|set_at| set_at.plus(PRECISION) >= lost_at),
            Self::Nothing => false,
        }
    }
}

/// Keys that were read and found to be left-overs: reading made them look young.
#[derive(Debug, Default)]
pub(crate) struct LeftoverKeys {
    /// When it was read, and when it had been set.
    by_key: SlabMap<u64, (Timestamp, Timestamp)>,
    in_order: Queue<u64>,
}

impl LeftoverKeys {
    /// More than so many are not remembered; the oldest is forgotten.
    const MAX_KEYS: usize = 65_536;

    pub(crate) fn remember(&mut self, key: u64, read_at: Timestamp, set_at: Timestamp) {
        if self.by_key.insert(key, (read_at, set_at)).is_none() {
            self.in_order.push_back(key);
        }
        if self.in_order.len() > Self::MAX_KEYS
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.by_key.remove(&oldest);
        }
    }

    /// When a key was set that seems set at `seeming`.
    pub(crate) fn set_at(&self, key: impl FnOnce() -> u64, seeming: Timestamp) -> Timestamp {
        if self.by_key.is_empty() {
            return seeming;
        }
        match self.by_key.get(&key()) {
            Some(&(read_at, set_at)) if seeming <= read_at.plus(PRECISION) => set_at.min(seeming),
            _ => seeming,
        }
    }
}

persist! { MissingKey { lost, since 4 kept_until = Timestamp::ZERO } }
persist! { ScanProgress { began, after_gap, missing, adopts, ended, found } }
persist! { LeftoverKeys { by_key, in_order } }

impl ScanProgress {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        let Self { began, after_gap, missing, adopts, ended, found } = self;
        let ended = ended.share();
        Self {
            began: *began,
            after_gap: *after_gap,
            missing: *missing,
            adopts: *adopts,
            ended,
            found: *found,
        }
    }
}

impl LeftoverKeys {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        Self { by_key: self.by_key.share(), in_order: self.in_order.share() }
    }
}

/// The first two as the flag that stood here before version 4.
impl Persist for LostKeys {
    fn write(&self, to: &mut ImageWriter<'_>) {
        to.byte(*self as u8);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let all = [Self::None, Self::Any, Self::Newest];
        let of_byte = all.get(usize::from(from.byte()?)).copied();
        of_byte.ok_or(Unreadable::Malformed("a number stands for no keys that may be missing"))
    }
}

impl Persist for Adopts {
    fn write(&self, to: &mut ImageWriter<'_>) {
        match self {
            Self::All => to.byte(0),
            Self::SetSince(lost_at) => {
                to.byte(1);
                lost_at.write(to);
            }
            Self::Nothing => to.byte(2),
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        match from.byte()? {
            0 => Ok(Self::All),
            1 => from.moment().map(Self::SetSince),
            2 => Ok(Self::Nothing),
            _ => Err(Unreadable::Malformed("a number stands for nothing that a scan adopts")),
        }
    }
}
