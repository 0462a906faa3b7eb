//! What a page can hold: names of families, of their labels, and the values of labels that have few. What a test asks
//! for is looked up here first, for a misspelt name would be 0 for ever, and 0 is what many tests expect.

use coturn_exporter::doctor::SETTINGS;
use coturn_exporter::metrics::WebRefusal;
use coturn_exporter::metrics::names::{self, Family, FamilyType};
use coturn_exporter::source::statsdb::{CommandRefusal, ConnectionRefusal};
use coturn_exporter::state::{Anomaly, Cause, LongLifetime, Orphan, Outcome};
use coturn_exporter::wire::{Direction, Kind, Leg, Rejection, Transport};

/// Labels whose values others choose: a realm that was not seen is no mistake.
const FREE: [&str; 8] =
    ["realm", "server", "sink", "source", "version", "revision", "rustversion", "relay_ip"];

/// Labels whose series come and go with what coturn reports; a family without them is absent for a reason of its own.
const SEEN: [&str; 2] = ["realm", "server"];

/// All names of series, each with its family and its labels.
fn series_names() -> Vec<(String, Family, Vec<String>)> {
    let mut known = Vec::new();
    for family in names::ALL {
        let endings: &[&str] = match family.kind {
            FamilyType::Histogram => &["_bucket", "_sum", "_count"],
            FamilyType::Counter | FamilyType::Gauge => &[""],
        };
        for ending in endings {
            let le = (*ending == "_bucket").then_some("le");
            let labels = family.labels.iter().copied().chain(le).map(str::to_owned).collect();
            known.push((format!("{}{ending}", family.name), *family, labels));
        }
    }
    known
}

/// Fails on a name that no family has.
#[track_caller]
pub fn check_family(name: &str) {
    let families: Vec<_> = names::ALL.iter().map(|family| family.name.to_owned()).collect();
    assert!(families.iter().any(|known| known == name), "{}", is_unknown(name, &families));
}

/// Fails on a name that no series has, and on a label that its series do not have.
#[track_caller]
pub fn check_label(name: &str, label: &str) {
    let (_, labels) = find(name);
    assert!(labels.iter().any(|have| have == label), "{name} has no label {label}, but {labels:?}");
}

/// Fails on a name that no series has, on a label that it does not have or that is asked for twice, and on a value that
/// it never has. `on_page` gives the values that the page has for a label: with few values, all of them are always
/// there. Returns whether no series at all means that coturn has reported nothing yet.
#[track_caller]
pub fn check(name: &str, labels: &[(&str, &str)], on_page: impl Fn(&str) -> Vec<String>) -> bool {
    let (family, _) = find(name);
    for (at, (label, value)) in labels.iter().enumerate() {
        check_label(name, label);
        assert!(labels[..at].iter().all(|(before, _)| before != label), "{name}: {label} is asked for twice");
        if FREE.contains(label) {
            continue;
        }
        let values = values(name, label).unwrap_or_else(|| on_page(label));
        assert!(
            values.iter().any(|have| have == value),
            "{name} never has {label}={value:?}, but {values:?}"
        );
    }
    SEEN.iter().any(|label| family.labels.contains(label))
}

/// The family of a name, and the labels of its series.
#[track_caller]
fn find(name: &str) -> (Family, Vec<String>) {
    let known = series_names();
    let Some((_, family, labels)) = known.iter().find(|(known, ..)| known == name) else {
        let names: Vec<_> = known.into_iter().map(|(name, ..)| name).collect();
        panic!("{}", is_unknown(name, &names));
    };
    (*family, labels.clone())
}

fn is_unknown(name: &str, all: &[String]) -> String {
    format!("there is no {name}; is one of these meant? {}", nearest(name, all).join(", "))
}

/// The values of a label that has few; `None` for one that nobody has written down here.
pub fn values(name: &str, label: &str) -> Option<Vec<String>> {
    fn each<T: Copy>(all: &[T], value: impl Fn(T) -> &'static str) -> Vec<String> {
        all.iter().map(|&one| value(one).to_owned()).collect()
    }
    Some(match (name, label) {
        (_, "transport") => each(&Transport::ALL, Transport::as_str),
        (_, "outcome") => each(&LongLifetime::ALL, LongLifetime::as_str),
        (_, "cause") => each(&Cause::ALL, Cause::as_str),
        (_, "path") => each(&Outcome::ALL, Outcome::as_str),
        (_, "leg") => each(&Leg::ALL, Leg::as_str),
        (_, "direction") => each(&Direction::ALL, Direction::as_str),
        (_, "setting") => each(&SETTINGS, coturn_exporter::doctor::Setting::as_str),
        (_, "state") => each(&["live", "stale"], |state| state),
        (_, "listener") => each(&["statsdb", "web"], |listener| listener),
        (_, "label") => each(&["realm", "server"], |label| label),
        ("coturn_exporter_messages_total", "kind") => each(&Kind::ALL, Kind::as_str),
        ("coturn_exporter_accounting_anomalies_total", "kind") => each(&Anomaly::ALL, Anomaly::as_str),
        ("coturn_exporter_http_refusals_total", "reason") => each(&WebRefusal::ALL, WebRefusal::as_str),
        ("coturn_exporter_rejected_messages_total", "reason") => each(&Rejection::ALL, Rejection::as_str),
        ("coturn_exporter_statsdb_refused_connections_total", "reason") => {
            each(&ConnectionRefusal::ALL, ConnectionRefusal::as_str)
        }
        ("coturn_exporter_statsdb_refused_commands_total", "reason") => {
            each(&CommandRefusal::ALL, CommandRefusal::as_str)
        }
        ("coturn_orphaned_allocations" | "coturn_allocations_orphaned_total", "reason") => {
            each(&Orphan::ALL, Orphan::as_str)
        }
        _ => return None,
    })
}

/// Whether the values of a label are written down here, or are others' choice.
pub fn is_known(name: &str, label: &str) -> bool {
    FREE.contains(&label) || values(name, label).is_some()
}

/// The three names with the least edits between them and `name`.
fn nearest<'a>(name: &str, all: &'a [String]) -> Vec<&'a str> {
    let mut all: Vec<_> = all.iter().map(String::as_str).collect();
    all.sort_by_key(|known| distance(name, known));
    all.truncate(3);
    all
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, right) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
