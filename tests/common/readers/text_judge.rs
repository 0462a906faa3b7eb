//! The text encoder of the `prometheus` crate as a judge: what it writes of a page's own samples must be that page.

use std::collections::BTreeSet;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder as _, TextEncoder};

/// The page as that encoder would write it.
#[track_caller]
pub fn rewritten(page: &str) -> String {
    let mut families: Vec<MetricFamily> = Vec::new();
    for line in page.lines() {
        let family = families.last_mut();
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help");
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(unescaped(help));
            families.push(family);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            let family = family.filter(|family| family.name() == name).expect("its help before");
            family.set_field_type(match kind {
                "counter" => MetricType::COUNTER,
                "gauge" => MetricType::GAUGE,
                "histogram" => MetricType::HISTOGRAM,
                other => panic!("type {other}"),
            });
        } else {
            add_sample(family.expect("a family"), line);
        }
    }
    // It refuses families without samples, as it should.
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text).expect("families that can be written");
    String::from_utf8(text).expect("UTF-8")
}

fn add_sample(family: &mut MetricFamily, line: &str) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (text, value) = (value, value.parse::<f64>().expect("a number"));
    let count = || text.parse::<u64>().expect("a count");
    let (name, labels) = series
        .split_once('{')
        .map_or((series, ""), |(name, rest)| (name, rest.strip_suffix('}').expect("labels that end")));
    let mut labels = pairs(labels);
    let suffix = name.strip_prefix(family.name()).expect("its family's name");
    if family.get_field_type() != MetricType::HISTOGRAM {
        assert_eq!(suffix, "", "{line}");
        let mut metric = metric(&labels);
        if family.get_field_type() == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        family.mut_metric().push(metric);
        return;
    }
    let bound = (suffix == "_bucket").then(|| labels.pop().expect("le").1);
    let of_labels = metric(&labels);
    let is_new = family.get_metric().last().is_none_or(|last| last.get_label() != of_labels.get_label());
    if is_new {
        family.mut_metric().push(of_labels);
    }
    let metric = family.mut_metric().last_mut().expect("the one of these labels");
    let mut histogram: Histogram = metric.get_histogram().clone();
    match (suffix, bound.as_deref()) {
        // It adds this one by itself.
        ("_bucket", Some("+Inf")) => {}
        ("_bucket", Some(bound)) => {
            let mut buckets = histogram.get_bucket().to_vec();
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound.parse().expect("a bound"));
            bucket.set_cumulative_count(count());
            buckets.push(bucket);
            histogram.set_bucket(buckets);
        }
        ("_sum", None) => histogram.set_sample_sum(value),
        ("_count", None) => histogram.set_sample_count(count()),
        _ => panic!("not a sample of a histogram: {line}"),
    }
    metric.set_histogram(histogram);
}

fn metric(labels: &[(String, String)]) -> Metric {
    let pair = |(name, value): &(String, String)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.clone());
        pair.set_value(value.clone());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}

/// Names and values of labels, in their order.
fn pairs(mut text: &str) -> Vec<(String, String)> {
    let (mut pairs, mut names) = (Vec::new(), BTreeSet::new());
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect("a label");
        let mut is_escaped = false;
        let ends = |character: char| {
            let ends = character == '"' && !is_escaped;
            is_escaped = character == '\\' && !is_escaped;
            ends
        };
        let end = rest.find(ends).expect("a value that ends");
        pairs.push((name.to_owned(), unescaped(&rest[..end])));
        assert!(names.insert(name.to_owned()), "{name} twice");
        text = rest[end + 1..].strip_prefix(',').unwrap_or(&rest[end + 1..]);
    }
    pairs
}

fn unescaped(text: &str) -> String {
    let (mut plain, mut characters) = (String::new(), text.chars());
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some(escaped @ ('\\' | '"')) => escaped,
                other => panic!("escaped {other:?} in {text:?}"),
            },
            character => character,
        });
    }
    plain
}
