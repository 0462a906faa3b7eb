//! The text format 0.0.4, read strictly: what Prometheus might overlook fails a test here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::vocabulary;

/// One page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    series: BTreeMap<Series, f64>,
    /// Family name to its type.
    types: BTreeMap<String, String>,
}

/// Name and labels of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.name, self.labels)
    }
}

impl Series {
    /// As a Prometheus has it, whatever the format was: a label without a value is none, and `1.0` in `OpenMetrics` and `1`
    /// in text are one bound.
    #[must_use]
    pub fn as_stored(&self) -> Self {
        let mut series = self.clone();
        series.labels.retain(|_, value| !value.is_empty());
        if let Some(bound) = series.labels.get_mut("le") {
            *bound = bound.parse::<f64>().expect("a bound").to_string();
        }
        series
    }

    fn matches(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name
            && labels.iter().all(|(label, value)| self.labels.get(*label).is_some_and(|have| have == value))
    }
}

impl Page {
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is not terminated");
        let mut page = Self::default();
        let mut helped = BTreeSet::new();
        let mut family = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
                assert!(!help.is_empty(), "no help: {line}");
                assert!(helped.insert(name.to_owned()), "helped twice: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
                assert!(helped.contains(name), "typed before it was helped: {line}");
                assert!(page.types.insert(name.into(), kind.into()).is_none(), "typed twice: {line}");
                name.clone_into(&mut family);
            } else if !line.starts_with('#') {
                let (series, value) = sample(line).unwrap_or_else(|| panic!("not a sample: {line}"));
                assert!(page.belongs(&series.name, &family), "outside its family: {line}");
                assert!(page.series.insert(series, value).is_none(), "twice on a page: {line}");
            }
        }
        page
    }

    fn belongs(&self, name: &str, family: &str) -> bool {
        match self.types.get(family).map(String::as_str) {
            Some("histogram") => name
                .strip_prefix(family)
                .is_some_and(|suffix| matches!(suffix, "_bucket" | "_sum" | "_count")),
            Some(_) => name == family,
            None => false,
        }
    }

    /// Whether that is a histogram here.
    pub fn is_histogram(&self, family: &str) -> bool {
        self.types.get(family).is_some_and(|kind| kind == "histogram")
    }

    /// All series in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Series, f64)> {
        self.series.iter().map(|(series, value)| (series, *value))
    }

    /// The series that may only rise, but for those of the process itself.
    pub fn cumulative(&self) -> impl Iterator<Item = (&Series, f64)> {
        self.iter().filter(|(series, _)| self.is_cumulative(series) && !series.name.starts_with("process_"))
    }

    /// The series of one name. It fails on a name that no page has.
    #[track_caller]
    pub fn named(&self, name: &str) -> impl Iterator<Item = (&Series, f64)> {
        self.check(name, &[]);
        self.iter().filter(move |(series, _)| series.name == name)
    }

    /// Exactly this series, which another page has, say.
    pub fn get(&self, series: &Series) -> Option<f64> {
        self.series.get(series).copied()
    }

    /// The one series that has these labels (it may have more). It fails on a name, a label or a value that no page has.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.check(name, labels);
        let mut found = self.iter().filter(|(series, _)| series.matches(name, labels));
        let (_, value) = found.next()?;
        assert!(found.next().is_none(), "{name} {labels:?} names more than one series");
        Some(value)
    }

    /// The sum of all series that have these labels; 0 where coturn has reported none. It fails on a name, a label or a
    /// value that no page has, and on a family that is absent for another reason than that nothing was seen yet.
    #[track_caller]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let comes_and_goes = self.check(name, labels);
        assert!(
            comes_and_goes || self.iter().any(|(series, _)| series.name == name),
            "{name} is not on this page; where that is as it may be, ask with count_or_absent"
        );
        self.add_up(name, labels)
    }

    /// The same for counts, which are whole numbers.
    #[track_caller]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        whole(name, labels, self.sum(name, labels))
    }

    /// The same of a family that may not be on the page, which is 0 then.
    #[track_caller]
    pub fn count_or_absent(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.check(name, labels);
        whole(name, labels, self.add_up(name, labels))
    }

    fn add_up(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.iter().filter(|(series, _)| series.matches(name, labels)).map(|(_, value)| value).sum()
    }

    /// Fails on what no page has; tells whether the series come and go with what coturn reports.
    #[track_caller]
    fn check(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let values = |label: &str| self.values_of(name, label).into_iter().collect();
        vocabulary::check(name, labels, values)
    }

    /// Whether a family of this name is on the page. It fails on a name that no page has.
    #[track_caller]
    pub fn has_family(&self, name: &str) -> bool {
        vocabulary::check_family(name);
        self.types.contains_key(name)
    }

    /// The values of a label in one family. It fails on a name or a label that no page has, and on a value that the
    /// label never has.
    #[track_caller]
    pub fn label_values(&self, name: &str, label: &str) -> BTreeSet<String> {
        vocabulary::check_label(name, label);
        let values = self.values_of(name, label);
        for value in &values {
            self.check(name, &[(label, value)]);
        }
        assert!(!values.is_empty() || self.check(name, &[]), "{name} is not on this page");
        values
    }

    fn values_of(&self, name: &str, label: &str) -> BTreeSet<String> {
        self.iter()
            .filter(|(series, _)| series.name == name)
            .filter_map(|(series, _)| series.labels.get(label).cloned())
            .collect()
    }

    /// Whether a series may only rise: a counter, or a part of a histogram.
    pub fn is_cumulative(&self, series: &Series) -> bool {
        let kind = |family: &str| self.types.get(family).map(String::as_str);
        kind(&series.name) == Some("counter")
            || ["_bucket", "_sum", "_count"].iter().any(|suffix| {
                series.name.strip_suffix(suffix).is_some_and(|family| kind(family) == Some("histogram"))
            })
    }
}

/// A sum of counts.
#[track_caller]
fn whole(name: &str, labels: &[(&str, &str)], sum: f64) -> u64 {
    assert!(sum >= 0.0 && sum.fract() == 0.0, "{name} {labels:?} is {sum}, not a count");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "just checked")]
    {
        sum as u64
    }
}

/// From `name{label="value",...} 1.5`; a time stamp is not expected.
fn sample(line: &str) -> Option<(Series, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = unquote(after)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    Some((Series { name: name.to_owned(), labels }, value))
}

/// A label's value up to its closing quote, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}
