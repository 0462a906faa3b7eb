//! How many instructions each step of an event's way takes, and a page: valgrind counts them on a fixed replay. No
//! clock is read, so a busy machine changes nothing. Writes `docs/benchmarks.md`; with `CHECK=1` it writes nothing and
//! fails where more is needed than that file says.
//!
//! A step is run twice in processes of their own, the second time with more rounds. The difference is what the rounds
//! took; what it took to start and to fill the table is in both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a program for developers: it says what failed and ends"
)]

#[path = "parts/document.rs"]
mod document;
#[path = "parts/steps.rs"]
mod steps;
#[path = "parts/stream.rs"]
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod stream;

use std::fmt::Write as _;
use std::process::{Command, ExitCode};

use steps::Step;

/// In the order of the table.
const STEPS: [Step; 12] = [
    Step::Framing,
    Step::ParseTraffic,
    Step::ParseStatus,
    Step::Traffic,
    Step::Refresh,
    Step::Life,
    Step::Whole,
    Step::Snapshot { live: 100_000 },
    PAGE,
    Step::Page { live: 100_000 },
    Step::Live { live: 100_000 },
    DETAILS,
];

/// The page, and among how many.
const PAGE: Step = Step::Page { live: PAGE_LIVE };
const PAGE_LIVE: u64 = 1000;

/// Instructions for each sample of the page in text.
const SAMPLE_BUDGET: f64 = 300.0;

/// The details among as many as their budget is about.
const DETAILS: Step = Step::Details { live: 100_000 };

/// The budget of the details, 50 ms, in instructions: a processor of today does two or more in a nanosecond of this work
/// (25 millions in 12 ms, when this was written). It holds whatever is recorded, and on a busy machine, too.
const DETAILS_BUDGET: f64 = 50e6 * 2.0;

/// Live allocations among which an event finds its own.
const LIVE: u64 = 10_000;

/// Rounds of the first and of the second run: so many more that it does not matter that no two runs fill the table with
/// the same number of instructions.
const fn rounds(step: Step) -> [u64; 2] {
    match step {
        Step::Snapshot { .. } => [10, 10_010],
        Step::Page { .. } | Step::Live { .. } => [2, 22],
        Step::Details { .. } => [1, 3],
        _ => [20, 60],
    }
}

/// More than this, over what is recorded, is a step back. Seeds of hash tables alone make far less.
const TOLERANCE: f64 = 1.05;

/// What another compiler than the recorded one may make of the same source.
const TOLERANCE_OF_ANOTHER_COMPILER: f64 = 1.25;

const PART: &str = "instructions";
const RUN: &str = "--run";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == RUN) {
        let number = |at: usize| arguments[at].parse::<usize>().unwrap();
        run(STEPS[number(at + 1)], number(at + 2));
        return ExitCode::SUCCESS;
    }
    let measured: Vec<(String, f64)> = (0..STEPS.len())
        .map(|number| {
            let step = STEPS[number];
            let rounds = rounds(step);
            let [fewer, more] = rounds.map(|rounds| count(number, rounds));
            assert!(
                more > fewer,
                "{step}: {more} instructions in {} rounds, {fewer} in {}",
                rounds[1],
                rounds[0]
            );
            let items = (rounds[1] - rounds[0]) * step.items();
            let each = (more - fewer) as f64 / items as f64;
            println!("{:30} {each:>10.0}", step.to_string());
            (step.to_string(), each)
        })
        .collect();
    let budget = within_budget(&measured);
    if std::env::var("CHECK").is_ok_and(|check| check == "1") {
        let recorded = check(&measured, &document::read(PART));
        return if budget { recorded } else { ExitCode::FAILURE };
    }
    document::write(PART, &table(&measured));
    if budget { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the details and the page keep to their budgets; says so if not.
fn within_budget(measured: &[(String, f64)]) -> bool {
    let is_within = |step: Step, budget: f64, of_what: &str| {
        let name = step.to_string();
        let (_, each) = measured.iter().find(|(step, _)| *step == name).expect("it was measured");
        if *each > budget {
            eprintln!("{name}: {each:.0} instructions, {budget:.0} are its budget {of_what}");
        }
        *each <= budget
    };
    let samples = steps::samples(PAGE_LIVE) as f64;
    let is_page_within = is_within(PAGE, SAMPLE_BUDGET * samples, "for its samples");
    is_within(DETAILS, DETAILS_BUDGET, "of 50 ms") && is_page_within
}

fn run(step: Step, rounds: usize) {
    // The same in both runs: what it takes to prepare them does not count.
    let [_, most] = self::rounds(step);
    let mut round = step.prepare(LIVE, most);
    for _ in 0..rounds {
        round();
    }
}

/// Instructions of a whole process that runs a step.
fn count(step: usize, rounds: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args([RUN, &step.to_string(), &rounds.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("valgrind: {error}; apt-get install valgrind"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    collected.unwrap_or_else(|| panic!("no count in {said}")).1.trim().parse().expect("a count")
}

/// As it is recorded above the table.
fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().expect("rustc, which has built this");
    let version = String::from_utf8(output.stdout).expect("text");
    let number = version.split_whitespace().nth(1).expect("rustc and its version");
    format!("With rustc {number}.")
}

fn table(measured: &[(String, f64)]) -> String {
    let mut text = format!("{}\n\n| step | instructions |\n| --- | --- |\n", compiler());
    for (step, each) in measured {
        writeln!(text, "| {step} | {each:.0} |").unwrap();
    }
    text
}

/// Compares with the table as recorded.
fn check(measured: &[(String, f64)], recorded: &str) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let compiler = compiler();
    let tolerance = if recorded.contains(&compiler) {
        TOLERANCE
    } else {
        println!("{compiler} Another is recorded: a step may differ by {TOLERANCE_OF_ANOTHER_COMPILER}");
        TOLERANCE_OF_ANOTHER_COMPILER
    };
    for (step, each) in measured {
        let row = recorded.lines().find_map(|line| line.strip_prefix(&format!("| {step} | ")));
        let Some(before) = row.and_then(|row| row.trim_end_matches([' ', '|']).parse::<f64>().ok()) else {
            eprintln!("{step}: not in docs/benchmarks.md; `make instructions` writes it");
            code = ExitCode::FAILURE;
            continue;
        };
        if *each > before * tolerance || *each < before / tolerance {
            eprintln!(
                "{step}: {each:.0} instructions, {before:.0} recorded; `make instructions` records anew"
            );
            code = ExitCode::FAILURE;
        }
    }
    code
}
