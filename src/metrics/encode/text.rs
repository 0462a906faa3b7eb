//! Prometheus text 0.0.4, which that of 1.0.0 is too for names like ours.

use super::number::whole;
use super::{Bound, Encode, HistogramSample, Label, Number};
use crate::metrics::names::{Family, FamilyType};

/// The page as text.
#[derive(Debug)]
pub(in crate::metrics) struct TextEncoder {
    out: Vec<u8>,
    family: Option<Family>,
    has_samples: bool,
    /// The part of a bucket's line that all buckets of a histogram begin with.
    bucket: Vec<u8>,
}

impl TextEncoder {
    /// For a page of about so many bytes.
    pub(in crate::metrics) fn new(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes), family: None, has_samples: false, bucket: Vec::new() }
    }

    /// The name of the family, whose head is written before its first sample.
    #[inline]
    fn name(&mut self) -> &'static str {
        if !self.has_samples {
            self.head();
        }
        self.family.map_or("", |family| family.name)
    }

    #[cold]
    fn head(&mut self) {
        self.has_samples = true;
        let Some(family) = self.family else { return };
        let kind = match family.kind {
            FamilyType::Counter => "counter",
            FamilyType::Gauge => "gauge",
            FamilyType::Histogram => "histogram",
        };
        push_all(&mut self.out, &["# HELP ", family.name, " "]);
        escape(family.help, Escaped::Help, &mut self.out);
        push_all(&mut self.out, &["\n# TYPE ", family.name, " ", kind, "\n"]);
    }

    fn sample(&mut self, suffix: &str, labels: &[&Label], value: Number) {
        let name = self.name();
        push_all(&mut self.out, &[name, suffix]);
        push_labels(&mut self.out, labels);
        self.out.push(b' ');
        value.write(&mut self.out);
        self.out.push(b'\n');
    }
}

impl Encode for TextEncoder {
    const HAS_EXEMPLARS: bool = false;

    fn label(&self, name: &str, value: &str) -> Label {
        text_label(name, value)
    }

    fn bound(&self, edge: u64) -> Bound {
        Bound(format!("{edge}\"}} ").into_bytes().into())
    }

    fn family(&mut self, family: &Family) {
        (self.family, self.has_samples) = (Some(*family), false);
    }

    #[inline]
    fn value(&mut self, labels: &[&Label], value: Number, _created: Option<Number>) {
        self.sample("", labels, value);
    }

    fn histogram(&mut self, labels: &[&Label], bounds: &[Bound], histogram: &HistogramSample<'_>) {
        let name = self.name();
        begin_bucket(&mut self.bucket, name, labels);
        let mut count = 0;
        for (Bound(bound), more) in bounds.iter().zip(histogram.counts) {
            count += more;
            self.out.extend_from_slice(&self.bucket);
            self.out.extend_from_slice(bound);
            whole(count, &mut self.out);
            self.out.push(b'\n');
        }
        self.out.extend_from_slice(&self.bucket);
        self.out.extend_from_slice(b"+Inf\"} ");
        whole(histogram.count, &mut self.out);
        self.out.push(b'\n');
        self.sample("_sum", labels, histogram.sum);
        self.sample("_count", labels, Number::Whole(histogram.count));
    }

    fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// What is escaped where.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Escaped {
    /// `\` and the end of a line.
    Help,
    /// These and `"`.
    Quoted,
}

pub(super) fn escape(text: &str, escaped: Escaped, out: &mut Vec<u8>) {
    for &byte in text.as_bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if escaped == Escaped::Quoted => out.extend_from_slice(b"\\\""),
            _ => out.push(byte),
        }
    }
}

/// `name="value"`.
pub(super) fn text_label(name: &str, value: &str) -> Label {
    let mut text = Vec::with_capacity(name.len() + value.len() + 3);
    push_all(&mut text, &[name, "=\""]);
    escape(value, Escaped::Quoted, &mut text);
    text.push(b'"');
    Label(text.into())
}

#[inline]
pub(super) fn push_all(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// `{a="1",b="2"}`; nothing without labels.
#[inline]
pub(super) fn push_labels(out: &mut Vec<u8>, labels: &[&Label]) {
    let Some((Label(first), others)) = labels.split_first() else { return };
    out.push(b'{');
    out.extend_from_slice(first);
    for Label(label) in others {
        out.push(b',');
        out.extend_from_slice(label);
    }
    out.push(b'}');
}

/// `name_bucket{a="1",le="`.
pub(super) fn begin_bucket(out: &mut Vec<u8>, name: &str, labels: &[&Label]) {
    out.clear();
    push_all(out, &[name, "_bucket{"]);
    for Label(label) in labels {
        out.extend_from_slice(label);
        out.push(b',');
    }
    out.extend_from_slice(b"le=\"");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: &str = "a\\b\"c\nd";

    fn escaped(text: &str, what: Escaped) -> String {
        let mut out = Vec::new();
        escape(text, what, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_would_end_a_value_or_a_line_is_escaped() {
        assert_eq!(escaped(ODD, Escaped::Help), r#"a\\b"c\nd"#);
        assert_eq!(escaped(ODD, Escaped::Quoted), r#"a\\b\"c\nd"#);
        let Label(label) = text_label("realm", ODD);
        assert_eq!(std::str::from_utf8(&label).unwrap(), r#"realm="a\\b\"c\nd""#);
    }

    #[test]
    fn labels_stand_in_braces_and_a_bound_behind_them() {
        let [one, two] = [text_label("a", "1"), text_label("b", "2")];
        for (labels, expected, bucket) in [
            (&[][..], "", "n_bucket{le=\""),
            (&[&one], r#"{a="1"}"#, r#"n_bucket{a="1",le=""#),
            (&[&one, &two], r#"{a="1",b="2"}"#, r#"n_bucket{a="1",b="2",le=""#),
        ] {
            let (mut out, mut begun) = (Vec::new(), b"of the one before".to_vec());
            push_labels(&mut out, labels);
            begin_bucket(&mut begun, "n", labels);
            assert_eq!((&out[..], &begun[..]), (expected.as_bytes(), bucket.as_bytes()));
        }
    }
}
