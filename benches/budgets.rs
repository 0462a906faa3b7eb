//! Every budget as a row of a table: what it is, what was measured, against whom, whether it is met. Real servers, the
//! release build, one run. Prints, and writes `docs/benchmarks.md`. Not part of the tests: figures of a noisy machine
//! decide nothing by themselves, ratios do.
//!
//! `BENCH_EVENTS` says how many events (2,000,000), `BENCH_LIVE` how many are a million live allocations. Names of parts
//! as arguments (`cpu keeping-up million wait page store ledger resync idle`) run these only. Only a whole run writes the document.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a program for developers: it says what failed and ends"
)]

#[path = "../tests/common/mod.rs"]
pub mod common;
#[path = "parts/contest.rs"]
mod contest;
#[path = "parts/document.rs"]
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod document;
#[path = "parts/gauge.rs"]
mod gauge;
#[path = "parts/idle.rs"]
mod idle;
#[path = "parts/keeping_up.rs"]
mod keeping_up;
#[path = "parts/ledger.rs"]
mod ledger;
#[path = "parts/million.rs"]
mod million;
#[path = "parts/page.rs"]
mod page;
#[path = "parts/publisher.rs"]
mod publisher;
#[path = "parts/resync.rs"]
mod resync;
#[path = "parts/row.rs"]
mod row;
#[path = "parts/store.rs"]
mod store;
#[path = "parts/store_start.rs"]
mod store_start;
#[path = "parts/stream.rs"]
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod stream;
#[path = "parts/wait.rs"]
mod wait;

use contest::Contest;
use row::Row;

/// Events of the contest, and live allocations of what is measured beside many.
const EVENTS: u64 = 2_000_000;
const LIVE: u64 = 1_000_000;

const PARTS: [&str; 9] =
    ["cpu", "keeping-up", "million", "wait", "page", "store", "ledger", "resync", "idle"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [flag, address, events] = &arguments[..]
        && flag == contest::FLOOR
    {
        return contest::floor(address.parse().unwrap(), events.parse().unwrap());
    }
    if let Some(unknown) = arguments.iter().find(|argument| !PARTS.contains(&argument.as_str())) {
        panic!("no part {unknown:?}; there are {PARTS:?}");
    }
    let (events, live) = (scale("BENCH_EVENTS", EVENTS), scale("BENCH_LIVE", LIVE));
    let is_whole = arguments.is_empty() && (events, live) == (EVENTS, LIVE);
    let header = format!(
        "Version {}, {} cores, load {} before it began.",
        env!("CARGO_PKG_VERSION"),
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        gauge::load()
    );
    println!("{header}\n");
    let (mut rows, mut figures) = (Vec::new(), String::new());
    for part in
        PARTS.into_iter().filter(|part| arguments.is_empty() || arguments.iter().any(|name| name == part))
    {
        let more: Vec<Row> = match part {
            "cpu" => {
                let contest = Contest::run(events, live);
                figures = contest.table();
                println!("{figures}");
                contest.rows()
            }
            "keeping-up" => keeping_up::rows(events, live),
            "million" => million::rows(live),
            "wait" => wait::rows(live),
            "page" => page::rows(),
            "store" => store::rows(live),
            "ledger" => ledger::rows(),
            "resync" => resync::rows(live),
            _ => idle::rows(),
        };
        println!("{}", row::table(&more));
        rows.extend(more);
    }
    // The document has one run, and all of it.
    if is_whole {
        document::write("figures", &figures);
        document::write("budgets", &format!("{header}\n\n{}", row::table(&rows)));
    }
}

fn scale(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |number| number.parse().expect("a number"))
}
