//! How long each step of an event's way takes, and a page: `cargo bench --bench steps`, with a part of a step's name to
//! pick some. Per event; a machine that does other things shows in `slowest`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a program for developers: it says what failed and ends"
)]

#[path = "parts/steps.rs"]
mod steps;
#[path = "parts/stream.rs"]
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod stream;

use divan::Bencher;
use divan::counter::ItemsCount;

use steps::Step;

/// Live allocations among which an event finds its own.
const LIVE: u64 = 50_000;

/// Of each step about events.
const ROUNDS: u32 = 1000;

fn main() {
    divan::main();
}

/// Rounds of events; what counts is how many a second they are.
#[divan::bench(sample_count = ROUNDS, sample_size = 1, args = [
    Step::Framing, Step::ParseTraffic, Step::ParseStatus, Step::Traffic, Step::Refresh, Step::Life, Step::Whole,
])]
fn events(bencher: Bencher<'_, '_>, step: Step) {
    repeat(bencher, step);
}

/// Pages of 100 realms.
#[divan::bench(args = [
    Step::Snapshot { live: 1000 }, Step::Snapshot { live: 100_000 },
    Step::Page { live: 1000 }, Step::Page { live: 100_000 }, Step::Live { live: 100_000 },
    Step::Details { live: 100_000 },
])]
fn pages(bencher: Bencher<'_, '_>, step: Step) {
    repeat(bencher, step);
}

fn repeat(bencher: Bencher<'_, '_>, step: Step) {
    let round = step.prepare(LIVE, ROUNDS.into());
    bencher.counter(ItemsCount::new(step.items())).bench_local(round);
}
