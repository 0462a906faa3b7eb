//! `docs/metrics.md`, from the families and their origins.

use std::fmt::Write as _;

use crate::common::readers::vocabulary;
use coturn_exporter::metrics::names::{self, Family, FamilyType};
use coturn_exporter::metrics::origins::GROUPS;
use coturn_exporter::state::{ALLOCATIONS_BUCKETS, BYTES_BUCKETS, DURATION_BUCKETS};

const HEAD: &str = "\
# Metrics

Each family on the page: what it means, where it comes from, how many series it has, and a query worth having. Written by
`make reference` from the program's own definitions; what the numbers mean, rule by rule, is in [semantics.md](semantics.md).

All series of a realm appear at 0 when it is first seen, or at the start with `--metrics.realm`; one realm has @ of them,
and [cardinality.md](cardinality.md) says how to have fewer.
Moments are seconds since 1970. Users and client addresses are never labels. The queries are for all exporters together;
`job=\"coturn\"` stands where a family is not this program's alone.

`coturn_session_relayed_bytes` and the `relayed` of sessions use the peer leg. coturn before 4.5.1.2 has none; there the client
leg is used.

## Labels

";

/// Labels whose values are others' choice: what they are, and what their number is called.
const FREE: &[(&str, &str, &str)] = &[
    (
        "realm",
        "coturn's realm; `_other` for all past `--metrics.max-realms`, empty where coturn has none",
        "realms",
    ),
    (
        "server",
        "the address that clients reach, without its port; `_other` for all past `--metrics.max-servers`",
        "servers",
    ),
    (
        "source",
        "the URL of the Redis without its login, or `statsdb://` and the address that coturn reports to",
        "sources",
    ),
    ("sink", "`postgres`, or the host and port of a web hook", "sinks"),
    ("relay_ip", "a `relay-ip` of coturn's own file", "relay addresses"),
    ("version", "of the exporter", "1"),
    ("revision", "the commit that it was built from", "1"),
    ("rustversion", "the compiler that built it", "1"),
];

/// The family of a series.
pub(super) fn family_of(series: &str) -> Option<&'static str> {
    let found = names::ALL.iter().find(|family| match family.kind {
        FamilyType::Histogram => {
            ["_bucket", "_sum", "_count"].iter().any(|ending| series == format!("{}{ending}", family.name))
        }
        FamilyType::Counter | FamilyType::Gauge => series == family.name,
    });
    found.map(|family| family.name)
}

/// The values of a label that has few; `None` for one whose values are others' choice.
pub(super) fn values(series: &str, label: &str) -> Option<Vec<String>> {
    vocabulary::values(family_of(series).unwrap_or(series), label)
}

pub(super) fn document() -> String {
    let mut text = HEAD.replace('@', &series_of_a_realm().to_string());
    text.push_str("| label | values |\n| --- | --- |\n");
    for (label, meaning, _) in FREE {
        writeln!(text, "| `{label}` | {meaning} |").unwrap();
    }
    let fixed = fixed_labels();
    for (label, values, family) in &fixed {
        let is_alone = fixed.iter().filter(|(other, ..)| other == label).count() == 1;
        let of = if is_alone { String::new() } else { format!(" of `{family}`") };
        writeln!(text, "| `{label}`{of} | {} |", quoted(values)).unwrap();
    }
    text.push_str(
        "| `le` | upper bounds of histograms, and `+Inf` |\n\n\
         `transport` is `unknown` for coturn before 4.6, which does not report it. `le` in seconds: ",
    );
    writeln!(
        text,
        "{}; in bytes, powers of four: {}; in allocations: {}. What a reason or a cause means, the family says.",
        numbers(&DURATION_BUCKETS),
        numbers(&BYTES_BUCKETS),
        numbers(&ALLOCATIONS_BUCKETS)
    )
    .unwrap();
    for group in GROUPS {
        write!(text, "\n## {}\n\n{}\n", group.title, linked(group.about)).unwrap();
        for origin in group.origins {
            let family = origin.family;
            write!(
                text,
                "\n### `{}`\n\n{}\n\n- Type: {}{}.\n- From: {}.\n- Series: {}.\n- {}:\n\n```promql\n{}\n```\n",
                family.name,
                markdown(family.help),
                kind(family.kind),
                by(family.labels),
                linked(origin.from),
                series(&family),
                origin.answers,
                origin.query
            )
            .unwrap();
        }
    }
    text
}

/// Text of the source, where a link is one from the root.
fn linked(text: &str) -> String {
    text.replace("](docs/", "](")
}

/// Labels with few values, in the order of the page, with the first family that has them; one whose values depend on the
/// family stands once for each.
fn fixed_labels() -> Vec<(&'static str, Vec<String>, &'static str)> {
    let mut found: Vec<(&'static str, Vec<String>, &'static str)> = Vec::new();
    for family in names::ALL {
        for &label in family.labels {
            let Some(values) = vocabulary::values(family.name, label) else { continue };
            if !found.iter().any(|(known, same, _)| *known == label && *same == values) {
                found.push((label, values, family.name));
            }
        }
    }
    found
}

fn quoted(values: &[String]) -> String {
    values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
}

fn numbers(values: &[u64]) -> String {
    values.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

fn kind(kind: FamilyType) -> &'static str {
    match kind {
        FamilyType::Counter => "counter",
        FamilyType::Gauge => "gauge",
        FamilyType::Histogram => "histogram",
    }
}

fn by(labels: &[&str]) -> String {
    if labels.is_empty() {
        return ", without labels".to_owned();
    }
    let labels: Vec<_> = labels.iter().map(|&label| label.to_owned()).collect();
    format!(", by {}", quoted(&labels))
}

/// How many series there are for each realm.
fn series_of_a_realm() -> usize {
    names::ALL.iter().filter(|family| family.labels.contains(&"realm")).map(fixed).sum()
}

/// How many series a family has: the product over its labels, and for a histogram the buckets, the sum and the count.
fn series(family: &Family) -> String {
    let free = family.labels.iter().filter_map(|&label| FREE.iter().find(|(free, ..)| *free == label));
    let mut factors: Vec<_> =
        free.map(|(.., number)| (*number).to_owned()).filter(|number| number != "1").collect();
    let fixed = fixed(family);
    if fixed > 1 || factors.is_empty() {
        factors.push(fixed.to_string());
    }
    factors.join(" × ")
}

/// The part of it that is the same everywhere.
fn fixed(family: &Family) -> usize {
    let samples = match family.name {
        _ if family.kind != FamilyType::Histogram => 1,
        "coturn_session_allocations" => ALLOCATIONS_BUCKETS.len() + 3,
        "coturn_session_relayed_bytes" => BYTES_BUCKETS.len() + 3,
        _ => DURATION_BUCKETS.len() + 3,
    };
    let labels = family.labels.iter().filter(|label| !FREE.iter().any(|(free, ..)| free == *label));
    let values =
        |label: &&str| vocabulary::values(family.name, label).expect("a label with few values").len();
    labels.map(values).product::<usize>() * samples
}

/// Plain text as Markdown: what would be a mark is none.
fn markdown(text: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    for c in text.chars() {
        if matches!(c, '*' | '<') || (c == '_' && !before.is_alphanumeric()) {
            out.push('\\');
        }
        out.push(c);
        before = c;
    }
    out
}
