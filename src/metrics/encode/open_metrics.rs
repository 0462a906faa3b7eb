//! `OpenMetrics` 1.0.0 as text.

use super::number::whole;
use super::text::{Escaped, begin_bucket, escape, push_all, push_labels, text_label};
use super::{Bound, Encode, ExemplarSample, HistogramSample, Label, Number};
use crate::metrics::names::{Family, FamilyType};

/// The page as `OpenMetrics` text.
#[derive(Debug)]
pub(in crate::metrics) struct OpenMetricsEncoder {
    out: Vec<u8>,
    family: Option<Family>,
    has_samples: bool,
    bucket: Vec<u8>,
    /// Samples `_created` are written.
    has_created: bool,
}

impl OpenMetricsEncoder {
    /// For a page of about so many bytes, with the time stamps at which counters were 0 if they are wanted.
    pub(in crate::metrics) fn new(bytes: usize, has_created: bool) -> Self {
        let out = Vec::with_capacity(bytes);
        Self { out, family: None, has_samples: false, bucket: Vec::new(), has_created }
    }

    /// The name of the family, whose head is written before its first sample.
    fn name(&mut self) -> &'static str {
        let Some(family) = self.family else { return "" };
        let name = family.open_metrics_name();
        if !self.has_samples {
            self.has_samples = true;
            let kind = match family.kind {
                FamilyType::Counter => "counter",
                FamilyType::Gauge if name != family.name => "info",
                FamilyType::Gauge => "gauge",
                FamilyType::Histogram => "histogram",
            };
            push_all(&mut self.out, &["# HELP ", name, " "]);
            escape(family.help, Escaped::Quoted, &mut self.out);
            push_all(&mut self.out, &["\n# TYPE ", name, " ", kind, "\n"]);
            if let Some(unit) = family.unit() {
                push_all(&mut self.out, &["# UNIT ", name, " ", unit, "\n"]);
            }
        }
        name
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[&Label], value: Number) {
        push_all(&mut self.out, &[name, suffix]);
        push_labels(&mut self.out, labels);
        self.out.push(b' ');
        value.write(&mut self.out);
        self.out.push(b'\n');
    }

    fn created(&mut self, name: &str, labels: &[&Label], created: Option<Number>) {
        if let Some(created) = created.filter(|_| self.has_created) {
            self.sample(name, "_created", labels, created);
        }
    }

    fn bucket(&mut self, bound: &[u8], count: u64, exemplar: Option<&ExemplarSample>) {
        let out = &mut self.out;
        out.extend_from_slice(&self.bucket);
        out.extend_from_slice(bound);
        whole(count, out);
        if let Some(ExemplarSample { allocation, value, at }) = exemplar {
            out.extend_from_slice(b" # {allocation_id=\"");
            push_id(itoa::Buffer::new().format(*allocation), out);
            out.extend_from_slice(b"\"} ");
            value.write(out);
            out.push(b' ');
            at.write(out);
        }
        out.push(b'\n');
    }
}

impl Encode for OpenMetricsEncoder {
    fn label(&self, name: &str, value: &str) -> Label {
        text_label(name, value)
    }

    /// Bounds are real numbers here, `1.0` and not `1`.
    fn bound(&self, edge: u64) -> Bound {
        Bound(format!("{edge}.0\"}} ").into_bytes().into())
    }

    fn family(&mut self, family: &Family) {
        (self.family, self.has_samples) = (Some(*family), false);
    }

    fn value(&mut self, labels: &[&Label], value: Number, created: Option<Number>) {
        let name = self.name();
        // `_total` or `_info`, or nothing.
        let suffix = self.family.and_then(|family| family.name.strip_prefix(name)).unwrap_or_default();
        self.sample(name, suffix, labels, value);
        self.created(name, labels, created);
    }

    fn histogram(&mut self, labels: &[&Label], bounds: &[Bound], histogram: &HistogramSample<'_>) {
        let name = self.name();
        begin_bucket(&mut self.bucket, name, labels);
        let mut exemplars = histogram.exemplars.iter().map(Option::as_ref);
        let mut count = 0;
        for (Bound(bound), more) in bounds.iter().zip(histogram.counts) {
            count += more;
            self.bucket(bound, count, exemplars.next().flatten());
        }
        self.bucket(b"+Inf\"} ", histogram.count, exemplars.next().flatten());
        self.sample(name, "_sum", labels, histogram.sum);
        self.sample(name, "_count", labels, Number::Whole(histogram.count));
        self.created(name, labels, histogram.created);
    }

    fn finish(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b"# EOF\n");
        self.out
    }
}

/// coturn writes an allocation's id with so many digits at least.
pub(super) const ID_WIDTH: usize = 18;

pub(super) fn push_id(digits: &str, out: &mut Vec<u8>) {
    out.resize(out.len() + ID_WIDTH.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(digits.as_bytes());
}
