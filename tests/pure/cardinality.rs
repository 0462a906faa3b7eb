//! How many series the page has, and `--metrics.disable`, by which it has fewer: docs/cardinality.md says the numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::golden::settings;
use crate::common::readers::golden;
use crate::common::readers::page::Page;
use crate::common::readers::protobuf;
use crate::common::update;
use coturn_exporter::metrics::names::{self, Family, FamilyType};
use coturn_exporter::metrics::{DisabledFamilies, Format, MetricsPage, Render as _};
use serde_json::json;

/// A capture with something of everything: reports, totals, ends.
const CASE: &str = "basic-refresh0-4.17.1";

fn page() -> MetricsPage {
    golden::page_of_any_format(settings(CASE), &golden::capture(CASE), None)
}

fn histograms() -> Vec<Family> {
    names::ALL.iter().filter(|family| family.kind == FamilyType::Histogram).copied().collect()
}

/// The lines of a text or `OpenMetrics` page by their family.
fn by_family(page: &str) -> BTreeMap<String, String> {
    let mut families: BTreeMap<String, String> = BTreeMap::new();
    let mut family = String::new();
    for line in page.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# ") {
            rest.split(' ').nth(1).unwrap().clone_into(&mut family);
        }
        let _ = writeln!(families.entry(family.clone()).or_default(), "{line}");
    }
    families
}

#[test]
fn a_disabled_family_is_on_no_page_and_the_others_stay_as_they_were() {
    let all = [names::SESSIONS, names::GAPS, names::SERVER_CLOSED].into_iter().chain(histograms());
    let disabled: BTreeSet<&str> = all.clone().map(|family| family.name).collect();
    let open: BTreeSet<&str> = all.clone().map(|family| family.open_metrics_name()).collect();
    let without = || page().without(all.clone().collect::<DisabledFamilies>());
    for (format, gone) in [(Format::Text, &disabled), (Format::OpenMetrics(None), &open)] {
        let text = |page: MetricsPage| String::from_utf8(page.render(format)).unwrap();
        let (mut whole, less) = (by_family(&text(page())), by_family(&text(without())));
        for name in gone {
            assert!(whole.remove(*name).is_some(), "{name} is on the whole page");
        }
        assert_eq!(less, whole, "{format}");
    }
    let names = |page: MetricsPage| -> BTreeSet<String> {
        protobuf::read(&page.render(Format::Protobuf(None))).into_iter().map(|family| family.name).collect()
    };
    let mut whole = names(page());
    whole.retain(|name| !disabled.contains(name.as_str()));
    assert_eq!(names(without()), whole);
}

/// The page of so many realms, each with a call on each of so many servers.
fn page_of(realms: usize, servers: usize) -> Page {
    let mut capture = String::new();
    let mut at = 1.0;
    for number in 0..realms * servers {
        let (realm, server) = (number / servers, number % servers);
        let channel = format!("turn/realm/r{realm}.example/user/u/allocation/{:018}/status", number + 1);
        let payload = format!(
            "new lifetime=600, type=UDP, local=192.0.2.{}:3478, remote=198.51.100.7:{}, ssl=NONE, cipher=NONE",
            server + 1,
            5000 + number
        );
        writeln!(capture, "{}", json!({"t": at, "channel": channel, "payload": payload})).unwrap();
        at += 1.0;
    }
    let dir = crate::common::temp_dir::TempDir::new("cardinality");
    let file = dir.write("capture.jsonl", &capture);
    golden::replayed(coturn_exporter::state::Settings::default(), &file, None)
}

/// Series of each family.
fn series(page: &Page) -> BTreeMap<&'static str, usize> {
    let mut series = BTreeMap::new();
    for (one, _) in page.iter() {
        let family = names::ALL.iter().find(|family| {
            let rest = one.name.strip_prefix(family.name);
            let is_histogram = family.kind == FamilyType::Histogram;
            rest.is_some_and(|rest| {
                rest.is_empty() || is_histogram && ["_bucket", "_sum", "_count"].contains(&rest)
            })
        });
        *series.entry(family.unwrap_or_else(|| panic!("{}", one.name)).name).or_default() += 1;
    }
    series
}

/// What the second of two pages has more, by family.
fn more(one: &Page, two: &Page) -> BTreeMap<&'static str, usize> {
    let (one, mut two) = (series(one), series(two));
    for (name, count) in &mut two {
        *count -= one.get(name).copied().unwrap_or_default();
    }
    two.retain(|_, count| *count > 0);
    two
}

/// The table of docs/cardinality.md; `UPDATE_CARDINALITY=1` writes it.
#[test]
fn the_document_has_the_series_of_a_realm_and_of_a_server() {
    let realm = more(&page_of(1, 2), &page_of(2, 2));
    let server = more(&page_of(2, 1), &page_of(2, 2));
    assert!(realm.keys().all(|name| names::named(name).unwrap().labels.contains(&"realm")), "{realm:?}");
    assert!(server.keys().all(|name| names::named(name).unwrap().labels.contains(&"server")), "{server:?}");
    let mut rows: Vec<(&str, usize)> = realm.iter().map(|(name, count)| (*name, *count)).collect();
    rows.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
    let of_histograms: usize = histograms().iter().map(|family| realm[family.name]).sum();
    let sum = |counts: &BTreeMap<&str, usize>| counts.values().sum::<usize>();
    let mut table = format!(
        "A realm has {} series, {of_histograms} of them in the histograms; a server has {}.\n\n\
         | family | series of a realm |\n| --- | --- |\n",
        sum(&realm),
        sum(&server)
    );
    for (name, count) in rows {
        writeln!(table, "| `{name}` | {count} |").unwrap();
    }
    table.push_str("\n| family | series of a server |\n| --- | --- |\n");
    for (name, count) in server {
        writeln!(table, "| `{name}` | {count} |").unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cardinality.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- counted -->\n\n").expect("where the counts begin");
    let (found, after) = rest.split_once("\n<!-- end -->\n").expect("where they end");
    if update::is_wanted("CARDINALITY") {
        std::fs::write(&path, format!("{before}<!-- counted -->\n\n{table}\n<!-- end -->\n{after}")).unwrap();
    } else {
        assert!(found == table, "UPDATE_CARDINALITY=1 cargo test --test pure cardinality\n{table}");
    }
}
