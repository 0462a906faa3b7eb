//! Every capture of `tests/golden` against the page that is expected of it.
//!
//! `<case>.jsonl` is replayed up to its last event and compared with `<case>.metrics`. Where that page is not the last
//! word (something lives, lingers, waits for totals or is held), `<case>.later.metrics` is the page of a day and two
//! hours later, when all of it has ended.
//!
//! `UPDATE_GOLDEN=1 cargo test --test pure golden::` writes the expected pages anew. Read the difference before it is committed:
//! these pages say what the exporter does, `truth/`, `browser.rs` and `cases.rs` say what is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::common::models::naive;
use crate::common::readers::golden::{self, LATER};
use crate::common::readers::page::{Page, Series};
use crate::common::servers::prometheus::promtool_check;
use crate::common::update;
use coturn_exporter::state::{SessionBy, Settings};

/// The one case whose expected page is kept whole: the contract of names, types and help texts, and of which series there
/// are. Of the others the samples are kept that are not 0, so that a difference is short enough to be read. A series that
/// should be 0 and is not is a difference all the same, and `every_realm_has_the_same_series` finds one that is missing.
const WHOLE: &str = "mixed-4.6.1";

/// What a replay of a case is set to: the defaults, with few exceptions.
pub(crate) fn settings(case: &str) -> Settings {
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
    let wanted = |line: &&str| case == WHOLE || !(line.starts_with('#') || line.ends_with(" 0"));
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
            let text =
                |value: Option<&&str>| value.map_or("0 or absent".to_owned(), |value| (*value).to_owned());
            writeln!(difference, "    {name}: expected {}, got {}", text(old), text(new)).expect("a String");
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

/// What the zeros of the expected pages would show: each realm has all series from the moment it is seen, so has each
/// server, and so has the page for the rest. The oldest of what lives has a series only while something lives.
#[test]
fn every_realm_has_the_same_series() {
    let series_by_owner = |page: &Page| {
        let mut found = BTreeMap::<_, BTreeSet<Series>>::new();
        for (series, _) in page.iter().filter(|(series, _)| !series.name.starts_with("coturn_oldest_")) {
            let mut series = series.clone();
            let owner =
                ["realm", "server"].into_iter().find_map(|label| Some((label, series.labels.remove(label)?)));
            found.entry(owner.unwrap_or(("page", String::new()))).or_default().insert(series);
        }
        found
    };
    let whole = series_by_owner(&Page::parse(&page(WHOLE, None)));
    let expected: BTreeMap<_, _> = whole.into_iter().map(|((kind, _), series)| (kind, series)).collect();
    assert!(expected.len() == 3 && expected.values().all(|series| series.len() > 1), "{expected:#?}");
    for case in golden::names(".jsonl") {
        for ((kind, name), found) in series_by_owner(&Page::parse(&page(&case, None))) {
            let missing: Vec<_> = expected[kind].difference(&found).map(ToString::to_string).collect();
            let more: Vec<_> = found.difference(&expected[kind]).map(ToString::to_string).collect();
            let same = missing.is_empty() && more.is_empty();
            assert!(same, "{case}, {kind} {name:?}: without {missing:?}, with {more:?}");
        }
    }
}

/// The instrument itself: what it does not see, no test sees.
#[test]
fn a_difference_is_found_and_named() {
    let page = "a{b=\"c d\"} 1\ne 2\n";
    assert_eq!(difference(page, page), "");
    let found = difference(page, "a{b=\"c d\"} 3\nf 2\n");
    for line in [
        "a{b=\"c d\"}: expected 1, got 3",
        "e: expected 2, got 0 or absent",
        "f: expected 0 or absent, got 2",
    ] {
        assert!(found.contains(line), "{found}");
    }
    assert!(difference(page, "e 2\na{b=\"c d\"} 1\n").contains("another order"));
    // What should be 0 is not kept, and is found when it is not 0.
    let keep = |page: &str| kept("case-nonsense", page);
    assert_eq!(keep("# HELP a A.\na 0\nb 10\n"), "b 10\n");
    assert_eq!(
        difference(&keep("a 0\nb 10\n"), &keep("a 7\nb 10\n")).trim(),
        "a: expected 0 or absent, got 7"
    );
}
