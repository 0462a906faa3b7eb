//! Every capture of `tests/golden` against the page that is expected of it.
//!
//! `<case>.jsonl` is replayed up to its last event and compared with `<case>.metrics`. Where that page is not the last
//! word (something lives, lingers, waits for totals or is held), `<case>.later.metrics` is the page of a day and two
//! hours later, when all of it has ended.
//!
//! `UPDATE_GOLDEN=1 cargo test --test pure golden::` writes the expected pages anew. Read the difference before it is committed:
//! these pages say what the exporter does, `truth.rs`, `browser.rs` and `cases.rs` say what is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::common;
use common::golden::{self, LATER};
use common::naive;
use common::prometheus::promtool_check;
use common::update;
use coturn_exporter::state::{SessionBy, Settings};

/// The one case whose expected page is kept in full: the contract of names, types and help texts. The others hold
/// samples only, so that a better sentence does not touch them all.
const WITH_COMMENTS: &str = "mixed-4.6.1";

/// So many realms that their zeros would be most of the repository; only what is not 0 is kept.
const WITHOUT_ZEROS: &str = "case-many-realms";

/// What a replay of a case is set to: the defaults, with few exceptions.
fn settings(case: &str) -> Settings {
    match case {
        "case-session-by-client" => Settings { session_by: SessionBy::Client, ..Settings::default() },
        _ => Settings::default(),
    }
}

fn page(case: &str, until: Option<f64>) -> String {
    golden::page(settings(case), &golden::capture(case), until)
}

/// What is kept of a page.
fn kept(case: &str, page: &str) -> String {
    let wanted = |line: &&str| {
        (case == WITH_COMMENTS || !line.starts_with('#')) && !(case == WITHOUT_ZEROS && line.ends_with(" 0"))
    };
    page.lines().filter(wanted).fold(String::new(), |text, line| text + line + "\n")
}

/// The expected pages of a case by their files: one, or two when time changes anything. Servers do not count: they are
/// always forgotten in the end.
fn expected_pages(case: &str) -> BTreeMap<PathBuf, String> {
    let last = naive::events(&golden::capture(case)).last().expect("an event").at;
    let (page, later) = (page(case, None), page(case, Some(last + LATER)));
    let lasting = |page: &str| -> Vec<String> {
        let lasts = |line: &&str| !line.starts_with('#') && !line.starts_with("coturn_server_");
        page.lines().filter(lasts).map(str::to_owned).collect()
    };
    let mut pages = BTreeMap::new();
    if lasting(&page) != lasting(&later) {
        pages.insert(golden::dir().join(format!("{case}.later.metrics")), kept(case, &later));
    }
    pages.insert(golden::dir().join(format!("{case}.metrics")), kept(case, &page));
    pages
}

/// Values by series; a comment is a series without a value.
fn series(page: &str) -> BTreeMap<&str, &str> {
    page.lines()
        .map(
            |line| {
                if line.starts_with('#') { (line, "") } else { line.rsplit_once(' ').unwrap_or((line, "")) }
            },
        )
        .collect()
}

/// The lines in which two pages differ, series by series; empty when they are the same.
fn difference(expected: &str, got: &str) -> String {
    let mut difference = String::new();
    if expected == got {
        return difference;
    }
    let (old, new) = (series(expected), series(got));
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (old, new) = (old.get(name), new.get(name));
        if old != new {
            let told = |value: Option<&&str>| value.map_or("absent".to_owned(), |value| (*value).to_owned());
            writeln!(difference, "    {name}: expected {}, got {}", told(old), told(new)).expect("a String");
        }
    }
    if difference.is_empty() {
        difference.push_str("    the same lines in another order\n");
    }
    difference
}

#[test]
fn every_capture_replays_to_its_expected_page() {
    let update = update::is_wanted("GOLDEN");
    let mut complaints = String::new();
    let mut wanted = BTreeSet::new();
    for case in golden::names(".jsonl") {
        for (path, got) in expected_pages(&case) {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if update {
                std::fs::write(&path, &got).expect("a writable tests/golden");
            }
            match std::fs::read_to_string(&path) {
                Ok(expected) => {
                    let difference = difference(&expected, &got);
                    if !difference.is_empty() {
                        write!(complaints, "{name}:\n{difference}").expect("a String");
                    }
                }
                Err(error) => writeln!(complaints, "{name}: {error}").expect("a String"),
            }
            wanted.insert(name);
        }
    }
    for case in golden::names(".metrics") {
        let name = format!("{case}.metrics");
        if !wanted.contains(&name) {
            if update {
                std::fs::remove_file(golden::dir().join(&name)).expect("a writable tests/golden");
            } else {
                writeln!(complaints, "{name}: no capture asks for it").expect("a String");
            }
        }
    }
    assert!(complaints.is_empty(), "UPDATE_GOLDEN=1 writes them anew, if this is meant:\n{complaints}");
}

#[test]
fn promtool_has_no_objection_to_any_page() {
    let mut complaints = String::new();
    for case in golden::names(".jsonl") {
        let last = naive::events(&golden::capture(&case)).last().expect("an event").at;
        for until in [None, Some(last + LATER)] {
            let (content, said) = promtool_check(&page(&case, until));
            if !content || !said.is_empty() {
                writeln!(complaints, "{case} until {until:?}:\n{said}").expect("a String");
            }
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
}

/// The instrument itself: what it does not see, no test sees.
#[test]
fn a_difference_is_found_and_named() {
    let page = "a{b=\"c d\"} 1\ne 2\n";
    assert_eq!(difference(page, page), "");
    let found = difference(page, "a{b=\"c d\"} 3\nf 2\n");
    for line in ["a{b=\"c d\"}: expected 1, got 3", "e: expected 2, got absent", "f: expected absent, got 2"]
    {
        assert!(found.contains(line), "{found}");
    }
    assert!(difference(page, "e 2\na{b=\"c d\"} 1\n").contains("another order"));
}
