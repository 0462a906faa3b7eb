//! Ids as proof that the process behind a server address is new.
//!
//! An id is thread x 10^15 + n, and n rises with each session that the thread accepts, from 1 at the start of the process
//! (every version up to 4.17.1). So an allocation that is born with an n that was seen before at the same address and
//! thread belongs to a new process. Births do not come in the order of their ids: an id is taken when the client
//! connects, the birth follows with its login, and coturn gives that 60 s. So an n *below* one that was seen proves a
//! new process only when that one was seen longer ago than a client may take. Until then its allocation may be of either.

use super::ids::ServerId;
use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::image::{Persist, persist};
use crate::state::storage::slab_map::SlabMap;
use crate::wire::AllocationId;

/// Ids of one thread lie between its number times this and the next.
const PER_THREAD: u64 = 1_000_000_000_000_000;

/// More threads than coturn can have.
const MAX_THREADS: u64 = 1024;

/// A client without an allocation is disconnected after 60 s (`TURN_MAX_TO_ALLOCATE_TIMEOUT`, every version up to 4.17.1);
/// half as much again for an event that is late.
pub(crate) const LOGIN: Duration = Duration::from_secs(90);

/// The highest id is remembered in steps of so long.
const STEP_MILLIS: u64 = 10_000;

/// A new process has hardly given so many ids more than the old one without a birth that is proof.
const UNPROVEN_RISE: u64 = 64;

/// Threads of all servers that are remembered.
const MAX_REMEMBERED: usize = 4096;

/// A thread without a status for so long gives its place away.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

/// How long nothing is proven where two processes were found to share an address.
const REST: Duration = Duration::from_secs(24 * 3600);

/// The thread that gave an id, and its count; `None` for an id that no coturn gives.
pub(crate) fn parts(id: AllocationId) -> Option<(u64, u64)> {
    let (thread, count) = (id.0 / PER_THREAD, id.0 % PER_THREAD);
    (thread < MAX_THREADS).then_some((thread, count))
}

/// A server by its number in the table, and its port.
type Address = (ServerId, u16);

/// Proof that the process behind an address is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewProcess {
    /// When the old process' thread that gave the id last reported a status, as far as that is sure.
    pub(crate) last_status: Timestamp,
    /// What this thread gave birth to from then on may be the new process'; [`Timestamp::MAX`] if that is nothing.
    pub(crate) unsure_since: Timestamp,
    /// When this was last proven for the address, by whichever thread; [`Timestamp::ZERO`] if never.
    pub(crate) proven_before: Timestamp,
}

/// Ids seen, by server address and thread.
#[derive(Debug, Default)]
pub(crate) struct SeenIds {
    /// When a process was last proven to be new.
    proven: SlabMap<Address, Timestamp>,
    threads: SlabMap<(Address, u64), Thread>,
    /// Addresses that two processes share, and until when that is remembered.
    resting: SlabMap<Address, Timestamp>,
}

impl SeenIds {
    /// A status of an allocation that its process knows, and that began at `started`.
    pub(crate) fn see(&mut self, now: Timestamp, address: Address, id: AllocationId, started: Timestamp) {
        if let Some((thread, count)) = self.thread(now, address, id) {
            thread.meet(started);
            thread.see(now, count);
        }
    }

    /// An allocation whose birth was not received, and which seems to have begun at `started`.
    pub(crate) fn adopt(&mut self, now: Timestamp, address: Address, id: AllocationId, started: Timestamp) {
        let Some((thread, count)) = self.thread(now, address, id) else { return };
        let is_first = thread.unsure.is_none_or(|unsure| started < unsure.since);
        if count < thread.highest && started > thread.last_status && is_first {
            thread.doubt(started);
        }
    }

    /// The end or the release of an allocation that began at `started`.
    pub(crate) fn see_end(&mut self, address: Address, id: AllocationId, started: Timestamp) {
        let thread = parts(id).and_then(|(thread, _)| self.threads.get_mut(&(address, thread)));
        if let Some(thread) = thread {
            thread.meet(started);
        }
    }

    /// A birth; gives the proof, if it is one.
    pub(crate) fn birth(&mut self, now: Timestamp, address: Address, id: AllocationId) -> Option<NewProcess> {
        let rests = self.resting.get(&address).is_some_and(|&until| now < until);
        let (thread, count) = self.thread(now, address, id)?;
        if rests || !thread.proves_restart(now, count) {
            if count < thread.highest && thread.unsure.is_none() {
                thread.doubt(now);
            }
            thread.see(now, count);
            return None;
        }
        let (unsure_since, last_status) = match thread.unsure {
            Some(UnsureBirths { since, last_status, .. }) => (since, last_status),
            None => (Timestamp::MAX, thread.last_status),
        };
        *thread = Thread::default();
        thread.see(now, count);
        if self.proven.len() >= MAX_REMEMBERED {
            self.proven.retain(|_, proven| now.since(*proven) < MEMORY);
        }
        let proven_before = self.proven.insert(address, now).unwrap_or(Timestamp::ZERO);
        Some(NewProcess { last_status, unsure_since, proven_before })
    }

    /// Two processes share the address: nothing is proven there for a day. True if that is news.
    pub(crate) fn rest(&mut self, now: Timestamp, address: Address) -> bool {
        self.resting.retain(|_, until| now < *until);
        let is_new = !self.resting.contains_key(&address) && self.resting.len() < MAX_REMEMBERED;
        if is_new {
            self.resting.insert(address, now.plus(REST));
        }
        is_new
    }

    fn thread(&mut self, now: Timestamp, address: Address, id: AllocationId) -> Option<(&mut Thread, u64)> {
        let (thread, count) = parts(id)?;
        let key = (address, thread);
        if self.threads.len() >= MAX_REMEMBERED && !self.threads.contains_key(&key) {
            self.threads.retain(|_, thread| now.since(thread.last_status) < MEMORY);
            if self.threads.len() >= MAX_REMEMBERED {
                return None;
            }
        }
        let thread = self.threads.entry_or_default(key);
        if now.since(thread.last_status) >= MEMORY {
            // Nothing of then lives, and a forgotten server may have given its number to another.
            *thread = Thread::default();
        }
        Some((thread, count))
    }
}

/// The counts that one thread has used.
#[derive(Clone, Debug, Default)]
struct Thread {
    highest: u64,
    /// Of the counts up to the highest, which were seen.
    recent: RecentCounts,
    /// The highest of those that were seen longer ago than a login takes.
    settled: Option<u64>,
    /// How the highest rose since, by steps of time.
    rising: VecDeque<Rise>,
    last_status: Timestamp,
    /// Births below the highest, since the process from before them last showed that it lives.
    unsure: Option<UnsureBirths>,
}

/// Births below the highest count: of clients that were slow to log in, or of a new process that is not proven yet.
#[derive(Clone, Copy, Debug)]
struct UnsureBirths {
    since: Timestamp,
    /// The last before them.
    last_status: Timestamp,
    /// The highest count then.
    highest: u64,
}

impl Thread {
    fn proves_restart(&mut self, now: Timestamp, count: u64) -> bool {
        self.settle(now);
        self.settled.is_some_and(|settled| count <= settled) || self.recent.contains(self.highest, count)
    }

    fn see(&mut self, now: Timestamp, count: u64) {
        self.settle(now);
        self.last_status = now;
        if count > self.highest {
            // A new process soon gives what the old one gave last, and more.
            self.unsure = self.unsure.filter(|unsure| {
                now.since(unsure.since) <= LOGIN && count.saturating_sub(unsure.highest) <= UNPROVEN_RISE
            });
            self.recent.rise(self.highest, count);
            self.highest = count;
            match self.rising.back_mut() {
                Some(step) if now < step.ends => step.highest = count,
                _ => self.rising.push_back(Rise { ends: end_of_step(now), highest: count }),
            }
        }
        self.recent.insert(self.highest, count);
    }

    /// An allocation that began at `started` is reported: if it was there before the unsure births, so was its process, and they
    /// are its own.
    fn meet(&mut self, started: Timestamp) {
        self.unsure = self.unsure.filter(|unsure| started >= unsure.since);
    }

    /// From then on births may be of a new process.
    fn doubt(&mut self, since: Timestamp) {
        let (last_status, highest) = (self.last_status, self.highest);
        self.unsure = Some(UnsureBirths { since, last_status, highest });
    }

    fn settle(&mut self, now: Timestamp) {
        while let Some(step) = self.rising.front()
            && now >= step.ends.plus(LOGIN)
        {
            self.settled = Some(step.highest);
            self.rising.pop_front();
        }
    }
}

/// The highest count of some seconds.
#[derive(Clone, Debug)]
struct Rise {
    /// All of it was seen before.
    ends: Timestamp,
    highest: u64,
}

/// Steps begin at multiples of [`STEP_MILLIS`].
fn end_of_step(now: Timestamp) -> Timestamp {
    Timestamp::from_millis((now.as_millis() / STEP_MILLIS + 1) * STEP_MILLIS)
}

/// A set of the last [`RecentCounts::SPAN`] counts up to the highest.
#[derive(Clone, Debug, Default)]
struct RecentCounts([u64; Self::WORDS]);

impl RecentCounts {
    const WORDS: usize = 16;
    const SPAN: u64 = 64 * Self::WORDS as u64;

    /// Whether the count was seen; false for one that is too far below the highest to say.
    fn contains(&self, highest: u64, count: u64) -> bool {
        count <= highest && highest - count < Self::SPAN && self.word(count) & bit(count) != 0
    }

    fn insert(&mut self, highest: u64, count: u64) {
        if count <= highest && highest - count < Self::SPAN {
            self.change(count, |word| word | bit(count));
        }
    }

    /// The highest count rises; what falls out below makes room for what is new above.
    fn rise(&mut self, from: u64, to: u64) {
        for count in (from + 1..=to).rev().take(Self::WORDS * 64) {
            self.change(count, |word| word & !bit(count));
        }
    }

    fn word(&self, count: u64) -> u64 {
        self.0.get(place(count)).copied().unwrap_or_default()
    }

    fn change(&mut self, count: u64, to: impl FnOnce(u64) -> u64) {
        if let Some(word) = self.0.get_mut(place(count)) {
            *word = to(*word);
        }
    }
}

const fn bit(count: u64) -> u64 {
    1 << (count % 64)
}

const fn place(count: u64) -> usize {
    (count / 64) as usize % RecentCounts::WORDS
}

persist! { SeenIds { proven, threads, resting } }
persist! { Thread { highest, recent, settled, rising, last_status, since 5 unsure = None } }
persist! { UnsureBirths { since, last_status, highest } }
persist! { Rise { ends, highest } }

impl SeenIds {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        let Self { proven, threads, resting } = self;
        Self { proven: proven.share(), threads: threads.share(), resting: resting.share() }
    }
}

/// Bits that are mostly set or mostly not: as they are.
impl Persist for RecentCounts {
    fn write(&self, to: &mut ImageWriter<'_>) {
        for word in &self.0 {
            to.raw(&word.to_le_bytes());
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let mut counts = Self::default();
        for word in &mut counts.0 {
            *word = u64::from_le_bytes(from.array()?);
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Address = (ServerId(7), 3478);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn id(thread: u64, count: u64) -> AllocationId {
        AllocationId(thread * PER_THREAD + count)
    }

    fn proof(last_status: u64, proven_before: u64) -> NewProcess {
        let unsure_since = Timestamp::MAX;
        NewProcess { last_status: at(last_status), unsure_since, proven_before: at(proven_before) }
    }

    /// Whether the last of these births, each `(second, thread, count)`, proves a restart, and none before it.
    fn proves(births: &[(u64, u64, u64)]) -> bool {
        let mut seen = SeenIds::default();
        let (last, before) = births.split_last().unwrap();
        for &(second, thread, count) in before {
            assert_eq!(seen.birth(at(second), ADDRESS, id(thread, count)), None, "{second}: {count}");
        }
        seen.birth(at(last.0), ADDRESS, id(last.1, last.2)).is_some()
    }

    #[test]
    fn births_out_of_order_are_of_one_process_for_as_long_as_a_login_takes() {
        assert!(!proves(&[(0, 0, 5), (1, 0, 4), (2, 0, 9), (90, 0, 8)]));
        assert!(!proves(&[(0, 0, 5), (99, 0, 4)]));
        assert!(proves(&[(0, 0, 5), (100, 0, 4)]));
        assert!(
            !proves(&[(0, 0, 5), (1_000, 0, 6), (1_001, 1, 1), (1_002, 0, 7)]),
            "each thread counts for itself"
        );
        assert!(proves(&[(0, 0, 5), (1_000, 0, 6), (1_001, 0, 1)]));
    }

    #[test]
    fn a_count_that_was_seen_is_proof_at_once() {
        assert!(proves(&[(0, 0, 1), (1, 0, 2), (2, 0, 1)]));
        assert!(proves(&[(0, 0, 1), (1, 0, 1024), (2, 0, 1)]));
        assert!(!proves(&[(0, 0, 1), (1, 0, 1025), (2, 0, 1)]), "too far below to be remembered");
        assert!(!proves(&[(0, 0, 1), (1, 0, 5001), (2, 0, 10_001)]), "counts that rise prove nothing");
    }

    #[test]
    fn busy_threads_settle_too() {
        let mut seen = SeenIds::default();
        for second in 0..300 {
            assert_eq!(seen.birth(at(second), ADDRESS, id(0, 2000 * (second + 1))), None);
        }
        // The step of the seconds 200 to 209 ended 90 seconds ago.
        assert_eq!(seen.birth(at(300), ADDRESS, id(0, 2000 * 210 + 1)), None);
        let proof = NewProcess { unsure_since: at(300), ..proof(299, 0) };
        assert_eq!(seen.birth(at(300), ADDRESS, id(0, 2000 * 210 - 1)), Some(proof));
    }

    #[test]
    fn after_the_proof_it_is_the_new_process_that_counts() {
        let mut seen = SeenIds::default();
        seen.birth(at(0), ADDRESS, id(0, 50));
        seen.see(at(600), ADDRESS, id(0, 50), at(0));
        assert_eq!(seen.birth(at(1_000), ADDRESS, id(0, 1)), Some(proof(600, 0)));
        assert_eq!(seen.birth(at(1_001), ADDRESS, id(1, 1)), None);
        for count in 2..60 {
            assert_eq!(seen.birth(at(1_000 + count), ADDRESS, id(0, count)), None, "{count}");
        }
        assert_eq!(seen.birth(at(1_100), (ServerId(8), 3478), id(0, 3)), None, "another server");
        assert_eq!(seen.birth(at(1_200), ADDRESS, id(1, 1)), Some(proof(1_001, 1_000)), "and another proof");
    }

    /// A process that ran for less than a login takes gives no proof by its highest count yet.
    #[test]
    fn births_before_the_proof_may_be_of_the_new_process() {
        // The births, what follows them, and since when and after which status births are unsure.
        let births = [(1, 10), (2, 30), (3, 20)];
        for (then, expected) in [
            (None, Some((3, 2))),
            (Some((4, 20, 3)), Some((3, 2))),
            (Some((4, 10, 1)), None),
            // As high may be the new process, until a login is over.
            (Some((93, 31, 93)), Some((3, 2))),
            (Some((94, 31, 94)), None),
        ] {
            let mut seen = SeenIds::default();
            for (second, count) in births {
                assert_eq!(seen.birth(at(second), ADDRESS, id(0, count)), None);
            }
            if let Some((second, count, started)) = then {
                seen.see(at(second), ADDRESS, id(0, count), at(started));
            }
            let expected = match (expected, then) {
                (Some((since, last)), _) => NewProcess { unsure_since: at(since), ..proof(last, 0) },
                (None, then) => proof(then.unwrap().0, 0),
            };
            assert_eq!(seen.birth(at(95), ADDRESS, id(0, 10)), Some(expected), "{then:?}");
            // Nothing of it stays with the new process.
            assert_eq!(seen.birth(at(96), ADDRESS, id(0, 10)), Some(proof(95, 95)));
        }
    }

    /// A slow login is usual in a busy process, and does not make all that follows unsure.
    #[test]
    fn counts_that_rise_far_are_no_new_process() {
        for (highest, unsure) in [(93, Some((2, 1))), (94, Some((2, 1))), (95, None)] {
            let mut seen = SeenIds::default();
            for (second, count) in [(1, 10), (1, 30), (2, 20), (3, highest)] {
                assert_eq!(seen.birth(at(second), ADDRESS, id(0, count)), None);
            }
            let expected = match unsure {
                Some((since, last)) => NewProcess { unsure_since: at(since), ..proof(last, 0) },
                None => proof(3, 0),
            };
            assert_eq!(seen.birth(at(40), ADDRESS, id(0, 10)), Some(expected), "{highest}");
        }
    }

    /// An allocation that began unseen below the highest.
    #[test]
    fn what_began_in_a_gap_may_be_of_the_new_process() {
        for (adopted, since, last_status) in [
            (&[(210, 1), (205, 2), (220, 3)][..], 205, 1),
            (&[(220, 9)], u64::MAX, 300),
            // From before a status that was received.
            (&[(1, 2)], u64::MAX, 300),
        ] {
            let mut seen = SeenIds::default();
            seen.birth(at(1), ADDRESS, id(0, 5));
            for &(started, count) in adopted {
                seen.adopt(at(300), ADDRESS, id(0, count), at(started));
            }
            seen.see(at(300), ADDRESS, id(0, 5), at(299));
            let found = seen.birth(at(310), ADDRESS, id(0, 4)).unwrap();
            let since = if since == u64::MAX { Timestamp::MAX } else { at(since) };
            assert_eq!((found.unsure_since, found.last_status), (since, at(last_status)), "{adopted:?}");
        }
    }

    #[test]
    fn nothing_is_proven_for_a_day_where_two_processes_share_an_address() {
        let mut seen = SeenIds::default();
        seen.birth(at(0), ADDRESS, id(0, 50));
        assert!(seen.rest(at(10), ADDRESS));
        assert!(!seen.rest(at(20), ADDRESS), "no news");
        assert_eq!(seen.birth(at(86_400), ADDRESS, id(0, 1)), None);
        assert_eq!(seen.birth(at(86_410), ADDRESS, id(0, 1)), Some(proof(86_400, 0)));
    }

    #[test]
    fn ids_that_no_coturn_gives_prove_nothing() {
        let mut seen = SeenIds::default();
        for second in [0, 1_000] {
            assert_eq!(seen.birth(at(second), ADDRESS, AllocationId(u64::MAX)), None);
        }
        assert!(seen.threads.is_empty());
    }
}
