//! Many events, and then nothing left of them but exact sums: on a virtual clock, and through a real Redis.
//!
//! `SOAK_EVENTS` and `SOAK_REDIS_EVENTS` say how many (`make soak`: a hundred millions, ten millions), `SOAK_SEED` which.
//! `make test` runs it with thirty millions and three, too. With many, memory is only seen to come back where the C
//! library gives it back: `make soak` sees to that.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

pub mod common;

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use common::models::lives::{End, Lives, Publish, Rules};
use common::net::flood::Flood;
use common::poll;
use common::readers::page::Page;
use common::servers::exporter::Exporter;
use common::servers::process::{peak_memory, resident_memory};
use common::servers::redis::Redis;
use common::turns;
use coturn_exporter::app::ingest::{Ingest, SharedTable};
use coturn_exporter::clock::{Clock, ManualClock, Timestamp};
use coturn_exporter::metrics::{Format, MetricsPage, Render};
use coturn_exporter::source::pubsub::{BATCH, Published};
use coturn_exporter::state::{Settings, SourceId};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that the table and the rest of this process hold, whatever the C library keeps of freed ones.
fn held() -> usize {
    let so_far = HEAP.stats();
    so_far.bytes_allocated - so_far.bytes_deallocated
}

const MIB: u64 = 1 << 20;

/// From nothing to nothing so often at least.
const CYCLES: usize = 3;

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |number| number.parse().expect(variable))
}

fn seed() -> u64 {
    let seed = number("SOAK_SEED", fastrand::u64(..));
    println!("SOAK_SEED={seed}");
    seed
}

/// Users at one time, each with two allocations in the mean: a hundred thousand at most, and some cycles in any case.
fn crowd(events: u64) -> u64 {
    (events / 200).clamp(500, 50_000)
}

/// Many come, go on round after round, and go; `pass` is told how far each round is, which begins near 0 and ends at 1.
fn cycle<P: Publish>(lives: &mut Lives, crowd: u64, out: &mut P, mut pass: impl FnMut(&mut P, f64)) {
    for user in 0..crowd {
        pass(out, user as f64 / crowd as f64);
        lives.come(out);
    }
    while lives.living() > 0 {
        let all = lives.living();
        // From the last: one that goes leaves its place to one that has had its turn.
        for at in (0..all).rev() {
            pass(out, (all - at) as f64 / all as f64);
            lives.go_on(at, out);
        }
    }
}

/// An exporter without a network, on a clock of its own.
struct Bench {
    clock: Arc<ManualClock>,
    shared: SharedTable,
    page: MetricsPage,
    round: Timestamp,
    last: f64,
    /// When those that wait are heard.
    next: Timestamp,
    /// Messages that are heard together; so many of them wait.
    batch: [(Vec<u8>, Vec<u8>); BATCH],
    waiting: usize,
}

const SOURCE: SourceId = SourceId(0);

/// Who comes later than this behind another is not heard together with it.
const TOGETHER: Duration = Duration::from_millis(100);

/// What a round takes: less than half of the grace, for who is the first of one round may be the last of the next.
const ROUND: Duration = Duration::from_secs(40);

impl Publish for Bench {
    fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        let (its_channel, its_payload) = &mut self.batch[self.waiting];
        its_channel.clear();
        its_channel.extend_from_slice(channel);
        its_payload.clear();
        its_payload.extend_from_slice(payload);
        self.waiting += 1;
        if self.waiting == BATCH {
            self.hear();
        }
    }
}

impl Bench {
    fn new() -> Self {
        let start = Timestamp::from_millis(1_000);
        let clock = Arc::new(ManualClock::at(start));
        let shared = SharedTable::new(
            Ingest::new(Settings::default(), &["soak"]),
            Arc::clone(&clock) as Arc<dyn Clock>,
        );
        shared.lock().link_up(start, SOURCE);
        let page = MetricsPage::of_capture(shared.clone());
        let batch = std::array::from_fn(|_| (Vec::new(), Vec::new()));
        Self { clock, shared, page, round: start, last: 0.0, next: start, batch, waiting: 0 }
    }

    /// The clock goes on with the round.
    fn pass(&mut self, part: f64) {
        if part <= self.last {
            self.round = self.round.plus(ROUND);
        }
        self.last = part;
        let next = self.round.plus(ROUND.mul_f64(part));
        if next.since(self.next) > TOGETHER {
            self.hear();
        }
        self.next = next;
    }

    /// Takes in what waits.
    fn hear(&mut self) {
        self.clock.set(self.next);
        let all = self.batch.each_ref().map(|(channel, payload)| Published::Message { channel, payload });
        let told = self.shared.lock().messages(self.next, SOURCE, &all[..self.waiting]);
        assert_eq!(told, self.waiting, "not all were understood");
        self.waiting = 0;
    }

    /// Long enough for all that is waited for.
    fn a_day_later(&mut self) {
        self.hear();
        (self.round, self.last) = (self.clock.now().plus(Duration::from_secs(26 * 3600)), 0.0);
        self.clock.set(self.round);
        self.shared.lock().advance(self.round);
    }

    fn page(&self) -> Page {
        Page::parse(&String::from_utf8(self.page.render(Format::Text)).unwrap())
    }
}

#[test]
fn events_of_many_days_leave_nothing_but_exact_sums() {
    const RULES: Rules = Rules {
        lifetime: 600,
        last_lifetime: 2,
        ends: &[End::Released, End::Disconnected, End::Expired, End::Untold, End::Replaced, End::Abandoned],
    };
    let _turn = turns::take();
    let events = number("SOAK_EVENTS", 500_000);
    let crowd = crowd(events);
    let mut bench = Bench::new();
    let mut lives = Lives::new(RULES, seed());
    let memory = || resident_memory(std::process::id());
    let before = memory();
    let (mut after_cycles, mut held_after) = (Vec::new(), Vec::new());
    while lives.events() < events || after_cycles.len() < CYCLES {
        cycle(&mut lives, crowd, &mut bench, Bench::pass);
        bench.a_day_later();
        lives.assert_told(&bench.page());
        after_cycles.push(memory());
        held_after.push(held());
    }
    println!("{} events in {} cycles of {crowd} users", lives.events(), after_cycles.len());
    let (first, last) = (*after_cycles.first().unwrap(), *after_cycles.last().unwrap());
    assert!(last <= first + first / 10 + 4 * MIB, "memory grows from cycle to cycle: {after_cycles:?}");
    // A hash table that is remembered for a while doubles at some number of entries, so a single crowd may leave more than
    // the one before it. What is never given back is there after each.
    let (first_held, last_held) = (held_after[0], *held_after[held_after.len() - 2..].iter().min().unwrap());
    // A quarter over all crowds, so less over those before the last but one: a leak of each crowd is seen as soon as ever.
    let crowds = held_after.len();
    let allowed = first_held / 4 * (crowds - 2) / (crowds - 1);
    assert!(last_held <= first_held + allowed, "more is held from cycle to cycle: {held_after:?}");
    given_back(before, peak_memory(std::process::id()), last)
        .unwrap_or_else(|kept| panic!("{kept}: {after_cycles:?}"));
}

/// Whether three quarters of what was needed are given back, but for some code and tables that are there once for all.
fn given_back(before: u64, peak: u64, now: u64) -> Result<(), String> {
    let told = format!("{} MiB before, {} at the peak, {} at the end", before / MIB, peak / MIB, now / MIB);
    let (kept, used) = (now.saturating_sub(before), peak.saturating_sub(before));
    if kept > used / 4 + 8 * MIB {
        return Err(told);
    }
    println!("{told}");
    Ok(())
}

/// Publishes as coturn does, key and message, as fast as the exporter takes it.
struct Publisher<'a> {
    redis: &'a Redis,
    flood: Flood,
    sent: u64,
}

impl Publish for Publisher<'_> {
    fn publish(&mut self, channel: &[u8], payload: &[u8]) {
        const AT_ONCE: u64 = 5_000;
        if channel.ends_with(b"/status") {
            match payload {
                b"deleted" => self.flood.command(&[b"DEL", channel]),
                _ => self.flood.command(&[b"SET", channel, payload]),
            }
        }
        self.flood.publish(channel, payload);
        self.sent += 1;
        if self.sent.is_multiple_of(AT_ONCE) {
            self.settle();
        }
    }
}

impl Publisher<'_> {
    /// Redis cuts off whoever lets 32 MB wait: that is shown elsewhere.
    fn settle(&mut self) {
        const WAITING: u64 = 4 * MIB;
        self.flood.settle();
        poll::until(poll::PATIENCE, "the exporter to come along", || match self.redis.backlog() {
            waiting if waiting <= WAITING => Ok(()),
            waiting => Err(format!("{waiting} bytes wait")),
        });
    }
}

#[test]
fn events_through_a_real_redis_leave_nothing_but_exact_sums() {
    // A lifetime of a second has as good as expired when it is granted.
    const RULES: Rules = Rules {
        lifetime: 3600,
        last_lifetime: 1,
        ends: &[End::Released, End::Disconnected, End::Expired, End::Untold, End::Replaced],
    };
    let _turn = turns::take();
    let events = number("SOAK_REDIS_EVENTS", 100_000);
    // Small: those that expire have 90 s until their next round.
    let crowd = crowd(events).min(10_000);
    let redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));
    let mut out = Publisher { redis: &redis, flood: Flood::connect(&redis), sent: 0 };
    let mut lives = Lives::new(RULES, seed());
    let memory = || resident_memory(exporter.process_id());
    let before = memory();
    let mut after_cycles = Vec::new();
    while lives.events() < events || after_cycles.len() < CYCLES {
        cycle(&mut lives, crowd, &mut out, |_, _| ());
        out.settle();
        after_cycles.push(memory());
    }
    let sent = out.sent as f64;
    poll::until(poll::PATIENCE, "all to be taken in", || {
        let heard = exporter.page().sum("coturn_exporter_messages_total", &[]);
        #[expect(clippy::float_cmp, reason = "counts, which f64 holds exactly")]
        if heard == sent { Ok(()) } else { Err(format!("{heard} of {sent}")) }
    });
    let unclaimed = "the last to be settled, what nobody claimed to be given up";
    exporter.until(unclaimed, |page| {
        let sessions = |what: &str| page.count(&format!("coturn_sessions_{what}_total"), &[]);
        let unsettled = sessions("opened") + sessions("adopted") - sessions("closed");
        let missing = lives.unallocated_packets() - page.count("coturn_unallocated_packets_total", &[]);
        if unsettled == 0 && missing == 0 { Ok(()) } else { Err(format!("{unsettled}, {missing}")) }
    });
    let page = exporter.page();
    lives.assert_told(&page);
    for nothing in ["coturn_exporter_gaps_total", "coturn_exporter_dropped_messages_total"] {
        assert_eq!(page.count(nothing, &[]), 0, "{nothing}");
    }
    println!("{} events in {} cycles of {crowd} users", lives.events(), after_cycles.len());
    let peak = exporter.peak_memory();
    // Who has come and gone is remembered for a while; the page lets time pass.
    poll::until(poll::PATIENCE, "memory to be given back", || {
        drop(exporter.page());
        given_back(before, peak, memory()).map_err(|kept| format!("{kept}: {after_cycles:?}"))
    });
}
