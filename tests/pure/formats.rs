//! The formats of the page against judges that know nothing of the encoders, for the page of each capture: they agree with
//! each other, and each is as its readers want it.

use std::collections::{BTreeMap, BTreeSet};

use coturn_exporter::metrics::names::{self, FamilyType};
use coturn_exporter::metrics::{Format, MetricsPage, Render as _};

use super::golden::settings;
use crate::common::models::naive;
use crate::common::readers::golden::{self, LATER};
use crate::common::readers::page::{Page, Series};
use crate::common::readers::{open_metrics, protobuf, text_judge};

/// The page of each capture at its end, and when all of it is over.
fn pages() -> Vec<(String, MetricsPage)> {
    pages_of(|_| true)
}

/// Without captures written by hand that begin at 0, which stands for a moment that was not recorded.
fn pages_with_created() -> Vec<(String, MetricsPage)> {
    pages_of(|first| first.at > 0.001)
}

fn pages_of(is_wanted: impl Fn(&naive::Event) -> bool) -> Vec<(String, MetricsPage)> {
    let mut pages = Vec::new();
    for case in golden::names(".jsonl") {
        let events = naive::events(&golden::capture(&case));
        if !events.first().is_some_and(&is_wanted) {
            continue;
        }
        let last = events.last().expect("an event").at;
        for (when, until) in [("at the end", None), ("later", Some(last + LATER))] {
            let page = golden::page_of_any_format(settings(&case), &golden::capture(&case), until);
            pages.push((format!("{case}, {when}"), page.with_created(true)));
        }
    }
    assert!(pages.len() > 100, "{}", pages.len());
    pages
}

fn text(page: &MetricsPage, format: Format) -> String {
    String::from_utf8(page.render(format)).expect("UTF-8")
}

#[test]
fn the_text_of_each_page_is_as_the_prometheus_crate_writes_it() {
    for (case, page) in pages() {
        let text = text(&page, Format::Text);
        assert!(text_judge::rewritten(&text) == text, "{case}");
        // What must be escaped is in no capture of coturn.
    }
    let odd = "# HELP a b\\\\c\\nd\n# TYPE a gauge\na{b=\"c\\\\d\\\"e\\nf\",g=\"\"} 1.5\n";
    assert_eq!(text_judge::rewritten(odd), odd);
}

#[test]
fn each_family_has_the_labels_that_it_should_have() {
    let labels: BTreeMap<&str, BTreeSet<&str>> =
        names::ALL.iter().map(|family| (family.name, family.labels.iter().copied().collect())).collect();
    let mut seen = BTreeSet::new();
    for (case, page) in pages() {
        let page = Page::parse(&text(&page, Format::Text));
        for (Series { name, labels: found }, _) in page.iter() {
            let bare = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let family = bare.filter(|bare| labels.contains_key(bare)).unwrap_or(name);
            let found: BTreeSet<&str> =
                found.keys().map(String::as_str).filter(|&label| label != "le").collect();
            assert_eq!(found, labels[family], "{case}: {name}");
            seen.insert(family.to_owned());
        }
    }
    assert!(seen.len() > 30, "{seen:?}");
}

/// Counters and histograms of text, with the names of samples that `OpenMetrics` has too.
fn samples_of(page: &MetricsPage) -> BTreeMap<Series, f64> {
    let page = Page::parse(&text(page, Format::Text));
    let samples = page.iter().map(|(series, value)| {
        let mut series = series.clone();
        if let Some(bound) = series.labels.get_mut("le").filter(|bound| *bound != "+Inf") {
            bound.push_str(".0");
        }
        (series, value)
    });
    samples.collect()
}

#[test]
fn open_metrics_is_read_strictly_and_has_the_samples_of_the_text() {
    let pages = pages_with_created();
    let texts: Vec<String> = pages.iter().map(|(_, page)| text(page, Format::OpenMetrics(None))).collect();
    let mut exemplars = 0;
    for ((case, page), samples) in pages.iter().zip(open_metrics::read(&texts)) {
        let (created, others): (Vec<_>, Vec<_>) =
            samples.iter().partition(|sample| sample.name.ends_with("_created"));
        let found: BTreeMap<Series, f64> =
            others.iter().map(|sample| (sample.series(), sample.value())).collect();
        assert_eq!(found, samples_of(page), "{case}");
        // Each series of a counter or a histogram once.
        let kinds = |sample: &&&open_metrics::Sample| {
            sample.kind == "counter" || (sample.kind == "histogram" && sample.name.ends_with("_count"))
        };
        assert_eq!(created.len(), others.iter().filter(kinds).count(), "{case}");
        for sample in &samples {
            let family = names::ALL.iter().find(|family| family.open_metrics_name() == sample.family);
            let family = family.unwrap_or_else(|| panic!("{case}: {}", sample.family));
            assert_eq!(sample.unit.as_deref().filter(|unit| !unit.is_empty()), family.unit(), "{case}");
            let Some((labels, value, at)) = &sample.exemplar else { continue };
            exemplars += 1;
            let id = labels.get("allocation_id").expect("the allocation's id");
            let bound = sample.labels["le"].replace("+Inf", "inf").parse::<f64>().expect("a bound");
            assert!(
                labels.len() == 1 && id.len() >= 18 && *value <= bound && at.is_some(),
                "{case}: {sample:?}"
            );
        }
    }
    assert!(exemplars > 100, "{exemplars}");
    let without = golden::page_of_any_format(settings("mixed-4.6.1"), &golden::capture("mixed-4.6.1"), None);
    assert!(!text(&without, Format::OpenMetrics(None)).contains("_created"), "nobody asked for it");
}

#[test]
fn protobuf_has_the_samples_of_the_text_and_native_buckets_that_agree() {
    let mut observed = 0;
    for (case, page) in pages_with_created() {
        let mut found = BTreeMap::new();
        for family in protobuf::read(&page.render(Format::Protobuf(None))) {
            let known = names::ALL.iter().find(|known| known.name == family.name).expect("a family");
            let kind = match known.kind {
                FamilyType::Counter => 0,
                FamilyType::Gauge => 1,
                FamilyType::Histogram => 4,
            };
            assert_eq!((family.kind, &*family.help), (kind, known.help), "{case}: {}", family.name);
            assert_eq!(family.unit, known.unit().unwrap_or_default());
            for metric in family.metrics {
                assert_eq!(metric.created.is_some(), kind != 1, "{case}: {}", family.name);
                let labels = metric.labels;
                let mut add = |suffix: &str, value: f64, bound: Option<String>| {
                    let mut labels = labels.clone();
                    labels.extend(bound.map(|bound| ("le".to_owned(), bound)));
                    found.insert(Series { name: format!("{}{suffix}", family.name), labels }, value);
                };
                let Some(histogram) = metric.histogram else {
                    add("", metric.value.expect("a value"), None);
                    continue;
                };
                add("_count", histogram.count as f64, None);
                add("_sum", histogram.sum, None);
                add("_bucket", histogram.count as f64, Some("+Inf".to_owned()));
                for &(bound, count) in histogram.buckets.iter().filter(|(bound, _)| bound.is_finite()) {
                    add("_bucket", count as f64, Some(format!("{bound:.1}")));
                }
                observed += check_native(&family.name, &histogram);
            }
        }
        assert_eq!(found, samples_of(&page), "{case}");
    }
    assert!(observed > 100, "{observed}");
}

/// The native buckets have what the classic ones have; gives the number of observations.
fn check_native(name: &str, histogram: &protobuf::Histogram) -> u64 {
    let has_native = name.ends_with("_seconds") || name.ends_with("_bytes");
    assert_eq!(histogram.schema, has_native.then_some(3), "{name}");
    if !has_native {
        return 0;
    }
    let native = histogram.native();
    let all: u64 = histogram.zero_count + native.iter().map(|(_, count)| count).sum::<u64>();
    assert_eq!(all, histogram.count, "{name}: {native:?}");
    let growth = 2_f64.powf(0.125);
    for (bound, count) in &histogram.buckets {
        // At the bound itself a bucket may hold both sides.
        let sure = |slack: f64| -> u64 {
            let below =
                native.iter().filter(|&&(index, _)| growth.powf(index as f64 - slack) <= *bound * 1.000_001);
            histogram.zero_count + below.map(|(_, count)| count).sum::<u64>()
        };
        assert!((sure(0.0)..=sure(1.0)).contains(count), "{name} up to {bound}: {count} of {native:?}");
    }
    assert_eq!(histogram.exemplars.is_empty(), histogram.count == 0, "{name}");
    histogram.count
}

/// The texts of 0.0.4 and 1.0.0 differ in nothing, nor do those of the two versions of `OpenMetrics`.
#[test]
fn versions_of_a_format_are_alike() {
    let page = golden::page_of_any_format(settings("mixed-4.6.1"), &golden::capture("mixed-4.6.1"), None);
    let escaping = coturn_exporter::metrics::Escaping::AllowUtf8;
    assert_eq!(page.render(Format::Text), page.render(Format::Text1(escaping)));
    assert_eq!(page.render(Format::OpenMetrics(None)), page.render(Format::OpenMetrics0));
}
