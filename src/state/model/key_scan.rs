//! What the status keys in Redis tell that the events did not: at the start, and after a gap.
//!
//! Keys are hints. Events win; a key that is missing proves little (any coturn that starts wipes all keys of its db),
//! and the time since it was set is known to the second only, if nobody has read it meanwhile.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::image::{Persist, persist};
use crate::state::storage::queue::Queue;
use crate::state::storage::slab_map::SlabMap;

/// Redis tells idle times in whole seconds, and a SET and its event are not one moment.
pub(crate) const PRECISION: Duration = Duration::from_secs(2);

/// The Redis that the keys of a source are read from.
#[derive(Clone, Debug)]
pub(crate) struct KnownRedis {
    /// Its process, a blank, and the history of its data.
    id: Arc<str>,
    /// When it was seen last.
    seen_at: Timestamp,
    /// Up to then the source is known to have been this one; [`Timestamp::MAX`] while it is.
    until: Timestamp,
}

impl KnownRedis {
    pub(crate) fn new(id: &str, now: Timestamp) -> Self {
        Self { id: id.into(), seen_at: now, until: Timestamp::MAX }
    }

    /// The link was lost, which had been received until `lost_at`.
    pub(crate) fn lose_link(&mut self, lost_at: Timestamp) {
        self.until = self.until.min(lost_at);
    }

    /// The Redis of that id was seen: whether it is this one. If it is another one while the source `is_up`, it became so
    /// after this one was seen last.
    pub(crate) fn is_seen_again(&mut self, id: &str, now: Timestamp, is_up: bool) -> bool {
        let is_this_one = *self.id == *id;
        if is_this_one {
            (self.seen_at, self.until) = (now, Timestamp::MAX);
        } else if is_up {
            self.until = self.until.min(self.seen_at);
        }
        is_this_one
    }

    /// Whether the Redis of that id is the same process.
    pub(crate) fn is_of_process(&self, id: &str) -> bool {
        process_of(&self.id) == process_of(id)
    }

    /// Up to when it was received, where the link was received until `lost_at` and the Redis of that `id` is seen now.
    pub(crate) fn received_until(&self, lost_at: Timestamp, id: &str) -> Timestamp {
        let until = self.until.min(lost_at);
        // The process is the same, its data became that of another one: at some time after they were seen.
        if self.is_of_process(id) { until.min(self.seen_at) } else { until }
    }
}

fn process_of(id: &str) -> &str {
    id.split_once(' ').map_or(id, |(process, _)| process)
}

/// The Redis is another one than before a gap: a replica that became the master, or one that came back with what was on
/// its disk. Such a Redis may lack the last writes of the one before, and only the last: it has them in their order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OtherRedis {
    /// Up to then the one before was received.
    pub(crate) until: Timestamp,
    /// What was received or read from then on came from this one.
    pub(crate) since: Timestamp,
}

/// A scan that goes on.
#[derive(Debug)]
pub(crate) struct ScanProgress {
    pub(crate) began: Timestamp,
    /// The source was up before: events were missed.
    pub(crate) after_gap: bool,
    /// A key may be missing though its allocation lives: a node of a cluster, memory that ran out.
    pub(crate) may_miss_keys: bool,
    /// When the youngest allocation was born of those whose keys came from the Redis before this one: this one has all that was
    /// written until then. [`Timestamp::ZERO`] where there is none, or it is no other one.
    pub(crate) kept_until: Timestamp,
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

    /// The key was found of an allocation that was born at `born_at`, and seems set at `set_at`: if not on this Redis, then the
    /// SET of the birth is among the writes that this one has. When others came is not sure: they may seem as young as the
    /// copy that they came with.
    pub(crate) fn found(&mut self, other: Option<OtherRedis>, set_at: Timestamp, born_at: Timestamp) {
        if other.is_some_and(|other| set_at.plus(PRECISION) <= other.until) {
            self.kept_until = self.kept_until.max(set_at.min(born_at));
        }
    }
}

/// What it proves that a scan has not found a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Absence {
    pub(crate) may_miss_keys: bool,
    pub(crate) kept_until: Timestamp,
    pub(crate) other: Option<OtherRedis>,
}

impl Absence {
    /// Whether the key of a status of `granted_at`, last read at `read_at`, was deleted; otherwise it may have been lost.
    pub(crate) fn is_end(self, (granted_at, read_at): (Timestamp, Timestamp)) -> bool {
        let may_be_lost = self.other.is_some_and(|other| granted_at < other.since && read_at < other.since);
        !self.may_miss_keys && (!may_be_lost || granted_at.plus(PRECISION) < self.kept_until)
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
    /// Whether an unknown key that seems set at `set_at` may be of an allocation that lives; the process of Redis began at
    /// `redis_began`. Keys that it loaded from its disk seem set then, whenever they were, and however long the load took (Redis
    /// 7.0.15 run): if that was in the gap, their allocations may have ended since.
    // docs/semantics.md#which-keys-are-read
    pub(crate) fn includes(self, set_at: Option<Timestamp>, redis_began: Timestamp) -> bool {
        let loaded_until = redis_began.plus(PRECISION);
        match self {
            Self::All => true,
            Self::SetSince(lost_at) if loaded_until > lost_at => {
                set_at.is_some_and(|set_at| set_at >= loaded_until && set_at.plus(PRECISION) >= lost_at)
            }
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

persist! { KnownRedis { id, seen_at, until } }
persist! { OtherRedis { until, since } }
persist! {
    ScanProgress { began, after_gap, may_miss_keys, since 4 kept_until = Timestamp::ZERO, adopts, ended, found }
}
persist! { LeftoverKeys { by_key, in_order } }

impl ScanProgress {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        let Self { began, after_gap, may_miss_keys, kept_until, adopts, ended, found } = self;
        let ended = ended.share();
        Self {
            began: *began,
            after_gap: *after_gap,
            may_miss_keys: *may_miss_keys,
            kept_until: *kept_until,
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
