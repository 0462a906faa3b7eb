//! The strict reader of `OpenMetrics` of the Python package `prometheus-client`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::page::Series;

/// Debian's, for which the package is installed; another one may come first in the path.
const PYTHON: &str = "/usr/bin/python3";

/// Reads texts as a JSON list; prints the samples of each, one a line.
const READER: &str = r"
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for page, text in enumerate(json.load(sys.stdin)):
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            exemplar = sample.exemplar and [sample.exemplar.labels, sample.exemplar.value,
            sample.exemplar.timestamp and float(sample.exemplar.timestamp)]
            print(json.dumps({'page': page, 'family': family.name, 'type': family.type, 'unit': family.unit,
                'name': sample.name, 'labels': sample.labels, 'value': repr(float(sample.value)),
                'exemplar': exemplar}))
";

/// A sample as that reader understands it.
#[derive(Clone, Debug, Deserialize)]
pub struct Sample {
    page: usize,
    pub family: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub unit: Option<String>,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    value: String,
    /// Labels, value and moment.
    pub exemplar: Option<(BTreeMap<String, String>, f64, Option<f64>)>,
}

impl Sample {
    pub fn value(&self) -> f64 {
        self.value.parse().expect("a number")
    }

    pub fn series(&self) -> Series {
        Series { name: self.name.clone(), labels: self.labels.clone() }
    }
}

/// The samples of each of the pages.
#[track_caller]
pub fn read(pages: &[String]) -> Vec<Vec<Sample>> {
    let mut child = Command::new(PYTHON)
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{PYTHON}: {error}; tests/install-tools.sh installs what it needs"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = serde_json::to_vec(pages).expect("JSON");
    // Beside: it prints while it reads on.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("its output");
    writer.join().expect("no panic").expect("a reader");
    assert!(output.status.success(), "the strict reader refuses a page, or is not installed (above)");
    let mut samples = vec![Vec::new(); pages.len()];
    for line in String::from_utf8(output.stdout).expect("UTF-8").lines() {
        let sample: Sample = serde_json::from_str(line).expect("a sample");
        samples[sample.page].push(sample);
    }
    samples
}
