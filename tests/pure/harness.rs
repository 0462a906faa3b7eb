//! The instruments themselves: a reader that overlooks something would make every other test worth less.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::models::traffic::Traffic;
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::coturn_log::{Cause, CoturnLog};
use crate::common::readers::page::Page;
use crate::common::readers::vocabulary;
use crate::common::servers::process::Process;
use crate::common::temp_dir::TempDir;
use crate::common::update;
use coturn_exporter::metrics::names;

/// A page with the exporter's own names, written by hand.
const PAGE: &str = concat!(
    "# HELP coturn_allocations_closed_total Text.\n# TYPE coturn_allocations_closed_total counter\n",
    "coturn_allocations_closed_total{realm=\"\",cause=\"released\"} 2\n",
    "coturn_allocations_closed_total{realm=\"a\\\\b \\\"c\\\" \\n}\",cause=\"expired\"} 3\n",
    "coturn_allocations_closed_total{realm=\"x\",cause=\"expired\"} 4.5e3\n",
    "# HELP coturn_session_allocations Text.\n# TYPE coturn_session_allocations histogram\n",
    "coturn_session_allocations_bucket{realm=\"x\",le=\"+Inf\"} 2\n",
    "coturn_session_allocations_sum{realm=\"x\"} 7.25\ncoturn_session_allocations_count{realm=\"x\"} 2\n",
);
const CLOSED: &str = "coturn_allocations_closed_total";

#[test]
fn a_page_is_read_with_labels_escapes_and_histograms() {
    let page = Page::parse(PAGE);
    assert_eq!(page.value(CLOSED, &[("realm", "a\\b \"c\" \n}")]), Some(3.0));
    assert_eq!(page.count(CLOSED, &[("cause", "expired")]), 4_503);
    assert_eq!(page.count(CLOSED, &[("realm", "x")]), 4_500);
    assert_eq!(page.value("coturn_session_allocations_sum", &[]), Some(7.25));
    assert_eq!(page.value(CLOSED, &[("realm", "absent")]), None);
    assert!(page.iter().all(|(series, _)| page.is_cumulative(series)));
}

#[test]
fn what_coturn_has_not_reported_is_0() {
    let page = Page::parse(PAGE);
    assert_eq!(page.count(CLOSED, &[("realm", "of strangers")]), 0);
    assert_eq!(page.count(CLOSED, &[("cause", "missed")]), 0);
    assert_eq!(page.count("coturn_sessions", &[]), 0);
    assert_eq!(page.count_or_absent("coturn_exporter_resync_ok", &[]), 0);
}

/// What a page says no to.
#[track_caller]
fn refuses(ask: impl FnOnce(&Page)) -> String {
    let page = Page::parse(PAGE);
    let refusal =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ask(&page))).expect_err("answered");
    refusal.downcast_ref::<String>().expect("a message").clone()
}

#[test]
fn a_name_that_no_page_has_is_an_error_and_not_0() {
    let asks: [fn(&Page); 6] = [
        |page| _ = page.count("coturn_allocation_closed_total", &[]),
        |page| _ = page.sum("coturn_allocation_closed_total", &[]),
        |page| _ = page.value("coturn_allocation_closed_total", &[]),
        |page| _ = page.count_or_absent("coturn_allocation_closed_total", &[]),
        |page| _ = page.label_values("coturn_allocation_closed_total", "cause"),
        |page| _ = page.has_family("coturn_allocation_closed_total"),
    ];
    for ask in asks {
        let refusal = refuses(ask);
        assert!(refusal.contains("is one of these meant? coturn_allocations_closed_total"), "{refusal}");
    }
    let refusal = refuses(|page| _ = page.count("coturn_session_allocations", &[]));
    assert!(refusal.contains("coturn_session_allocations_sum"), "a histogram has no value: {refusal}");
    let refusal = refuses(|page| _ = page.named("coturn_session_allocation_sum").count());
    assert!(refusal.contains("coturn_session_allocations_sum"), "{refusal}");
    let refusal = refuses(|page| _ = page.has_family("coturn_session_allocations_sum"));
    assert!(refusal.contains("there is no coturn_session_allocations_sum"), "a part of a family: {refusal}");
}

#[test]
fn a_label_or_a_value_that_no_page_has_is_an_error_and_not_0() {
    for (name, label, value, expected) in [
        (CLOSED, "reason", "expired", "has no label reason"),
        (CLOSED, "cause", "expire", "never has cause=\"expire\""),
        ("coturn_orphaned_allocations", "reason", "unknown", "never has reason=\"unknown\""),
        ("coturn_exporter_messages_total", "kind", "shared_key", "never has kind=\"shared_key\""),
        ("coturn_relayed_bytes_total", "leg", "peers", "never has leg=\"peers\""),
        ("coturn_session_allocations_bucket", "le", "+inf", "never has le=\"+inf\""),
    ] {
        let asks: [&dyn Fn(&Page); 3] = [
            &|page| _ = page.count(name, &[(label, value)]),
            &|page| _ = page.count_or_absent(name, &[(label, value)]),
            &|page| _ = page.value(name, &[(label, value)]),
        ];
        for ask in asks {
            let refusal = refuses(|page| ask(page));
            assert!(refusal.contains(expected), "{refusal}");
        }
    }
    // A family that is not on this page has the same labels and values.
    let refusal = refuses(|page| _ = page.label_values("coturn_sessions", "user"));
    assert!(refusal.contains("coturn_sessions has no label user"), "{refusal}");
    // No series has both.
    let refusal = refuses(|page| _ = page.count(CLOSED, &[("cause", "expired"), ("cause", "missed")]));
    assert!(refusal.contains("cause is asked for twice"), "{refusal}");
}

#[test]
fn a_family_that_is_absent_for_another_reason_than_silence_is_no_0() {
    let refusal = refuses(|page| _ = page.count("coturn_exporter_gaps_total", &[]));
    assert!(refusal.contains("is not on this page"), "{refusal}");
}

/// So that a new label with few values is written down, or known to be free.
#[test]
fn every_label_has_known_values_or_is_free() {
    for family in names::ALL {
        for label in family.labels {
            assert!(
                vocabulary::is_known(family.name, label),
                "{} {label}: say in common/readers/vocabulary.rs",
                family.name
            );
        }
    }
}

#[test]
#[should_panic(expected = "twice on a page")]
fn a_series_twice_on_a_page_is_an_error() {
    Page::parse("# HELP a A.\n# TYPE a gauge\na{b=\"c\"} 1\na{b=\"c\"} 1\n");
}

#[test]
#[should_panic(expected = "outside its family")]
fn a_sample_without_its_type_is_an_error() {
    Page::parse("# HELP a A.\n# TYPE a gauge\nb 1\n");
}

#[test]
#[should_panic(expected = "names more than one series")]
fn a_value_that_is_ambiguous_is_an_error() {
    Page::parse(PAGE).value(CLOSED, &[]);
}

#[test]
fn nothing_is_written_anew_where_ci_is_set() {
    let decide = |value: &str, ci: &str| update::decide("UPDATE_IT", Some(value.as_ref()), Some(ci.as_ref()));
    assert_eq!(update::decide("UPDATE_IT", None, None), Ok(false));
    assert_eq!(decide("", "true"), Ok(false));
    assert_eq!(decide("1", ""), Ok(true));
    assert!(
        decide("yes", "").is_err_and(|why| why.contains("1 writes")),
        "neither ignored nor taken for a yes"
    );
    for ci in ["true", "1", "false"] {
        assert!(decide("1", ci).is_err_and(|why| why.contains("unset UPDATE_IT")), "CI={ci}");
    }
}

/// Each Rust file of the tests and the benchmarks, with its text.
fn test_files() -> Vec<(PathBuf, String)> {
    let mut folders =
        ["tests", "benches"].map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).to_vec();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of tests") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).expect("text");
                files.push((path, text));
            }
        }
    }
    assert!(files.len() > 60, "{} files", files.len());
    files
}

/// Whoever reads such a variable by itself has not asked whether `CI` is set.
#[test]
fn only_one_place_reads_the_variables_that_write_anew() {
    for (file, text) in test_files() {
        let reads = concat!("(\"UPD", "ATE_");
        let is_the_place = file.ends_with("common/update.rs") || file.ends_with("harness.rs");
        assert!(is_the_place || !text.contains(reads), "{}: use common/update.rs", file.display());
    }
}

/// The words of a program's text: names and keywords, without comments.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .filter(|word| !word.is_empty())
}

/// The compiler takes `common` for a library and finds nothing dead in it (`common/mod.rs`). This finds what no file
/// names but the one that defines it, once.
#[test]
fn nothing_in_common_is_unused() {
    const ITEMS: [&str; 7] = ["fn", "struct", "enum", "const", "static", "trait", "type"];
    let files = test_files();
    let mut named = BTreeMap::<&str, usize>::new();
    let mut defined = Vec::new();
    for (file, text) in &files {
        let words: Vec<_> = words(text).collect();
        let in_common = file.components().any(|part| part.as_os_str() == "common");
        for window in words.windows(3) {
            let &[first, item, name] = window else { unreachable!("three words") };
            if !ITEMS.contains(&item) {
                *named.entry(name).or_default() += 1;
            } else if in_common && ["pub", "const", "async"].contains(&first) {
                defined.push((name, file));
            }
        }
    }
    assert!(defined.len() > 200, "{} items", defined.len());
    let unused: Vec<_> = defined.iter().filter(|(name, _)| !named.contains_key(name)).collect();
    assert!(unused.is_empty(), "no test uses these: {unused:#?}");
}

#[test]
fn coturns_log_is_read_session_by_session() {
    let log = CoturnLog::parse(concat!(
        "0: : IPv4. UDP listener opened on: 127.0.0.1:20002\n",
        "2: : session 001000000000000001: new, realm=<one.example>, username=<tcp>, lifetime=15\n",
        "2: : session 001000000000000001: refreshed, realm=<one.example>, username=<tcp>, lifetime=15\n",
        "2: : session 001000000000000001: usage: realm=<one.example>, username=<tcp>, rp=3, rb=292, sp=4, sb=300\n",
        "2: : session 001000000000000001: peer usage: realm=<one.example>, username=<tcp>, rp=1, rb=2, sp=3, sb=4\n",
        "2: : session 000000000000000005: usage: realm=<one.example>, username=<>, rp=1, rb=20, sp=1, sb=80\n",
        "3: : session 001000000000000001: usage: realm=<one.example>, username=<tcp>, rp=1, rb=1, sp=1, sb=1\n",
        "3: : session 001000000000000001: closed (2nd stage), user <tcp> realm <one.example> origin <>, local ",
        "127.0.0.1:20002, remote 127.0.0.1:40782, reason: TCP connection closed by client (callback)\n",
        "3: : session 001000000000000001: delete: realm=<one.example>, username=<tcp>\n",
        "3: : session 001000000000000002: new, realm=<one.example>, userna",
    ));
    assert_eq!(log.sessions.len(), 2, "the half line counts for nothing");
    let session = log.allocations().next().expect("an allocation");
    assert_eq!(session.cause(), Cause::Disconnected);
    assert_eq!((session.refreshed, session.released, session.is_live()), (1, 0, false));
    let client = Traffic { received_packets: 4, received_bytes: 293, sent_packets: 5, sent_bytes: 301 };
    let peer = Traffic { received_packets: 1, received_bytes: 2, sent_packets: 3, sent_bytes: 4 };
    assert_eq!((log.relayed().client, log.relayed().peer), (client, peer));
    let probe = log.unallocated().next().expect("a probe");
    assert_eq!(probe.legs.client.sent_bytes, 80);
}

#[test]
fn a_process_that_sleeps_is_told_from_one_that_works() {
    let dir = TempDir::new("sleeps");
    let start = |name: &str, script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn(command, dir.path(), name).expect("sh starts")
    };
    let until = |process: &Process, wanted: bool| {
        poll::until(PATIENCE, "it to be so", || {
            if process.sleeps() == wanted { Ok(()) } else { Err(String::new()) }
        });
    };
    let (sleeps, works) = (start("sleeps", "exec sleep 1000"), start("works", "while :; do :; done"));
    until(&sleeps, true);
    until(&works, false);
    for _ in 0..20 {
        assert!(sleeps.sleeps() && !works.sleeps());
        poll::pause();
    }
}

#[test]
#[should_panic(expected = "last seen:\nstill 1")]
fn waiting_in_vain_says_what_was_seen() {
    poll::until(Duration::ZERO, "two", || -> Result<(), String> { Err("still 1".to_owned()) });
}
