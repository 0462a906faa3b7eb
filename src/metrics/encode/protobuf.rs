//! `io.prometheus.client.MetricFamily` of `metrics.proto`, each message after its length. Written by hand: it is a dozen
//! fields, and a generated encoder would want each sample as a value of its own first.

use super::open_metrics::{ID_WIDTH, push_id};
use super::{Bound, Encode, ExemplarSample, HistogramSample, Label, Number};
use crate::metrics::names::{Family, FamilyType};
use crate::state::{NATIVE_ZERO_THRESHOLD, NativeBuckets};

/// Field numbers of `metrics.proto`, and of `google.protobuf.Timestamp`.
mod field {
    pub(super) const FAMILY_NAME: u32 = 1;
    pub(super) const FAMILY_HELP: u32 = 2;
    pub(super) const FAMILY_TYPE: u32 = 3;
    pub(super) const FAMILY_METRIC: u32 = 4;
    pub(super) const FAMILY_UNIT: u32 = 5;
    pub(super) const METRIC_LABEL: u32 = 1;
    pub(super) const METRIC_GAUGE: u32 = 2;
    pub(super) const METRIC_COUNTER: u32 = 3;
    pub(super) const METRIC_HISTOGRAM: u32 = 7;
    pub(super) const LABEL_NAME: u32 = 1;
    pub(super) const LABEL_VALUE: u32 = 2;
    pub(super) const VALUE: u32 = 1;
    pub(super) const COUNTER_CREATED: u32 = 3;
    pub(super) const HISTOGRAM_COUNT: u32 = 1;
    pub(super) const HISTOGRAM_SUM: u32 = 2;
    pub(super) const HISTOGRAM_BUCKET: u32 = 3;
    pub(super) const HISTOGRAM_SCHEMA: u32 = 5;
    pub(super) const HISTOGRAM_ZERO_THRESHOLD: u32 = 6;
    pub(super) const HISTOGRAM_ZERO_COUNT: u32 = 7;
    pub(super) const HISTOGRAM_POSITIVE_SPAN: u32 = 12;
    pub(super) const HISTOGRAM_POSITIVE_DELTA: u32 = 13;
    pub(super) const HISTOGRAM_CREATED: u32 = 15;
    pub(super) const HISTOGRAM_EXEMPLAR: u32 = 16;
    pub(super) const BUCKET_COUNT: u32 = 1;
    pub(super) const BUCKET_BOUND: u32 = 2;
    pub(super) const BUCKET_EXEMPLAR: u32 = 3;
    pub(super) const SPAN_OFFSET: u32 = 1;
    pub(super) const SPAN_LENGTH: u32 = 2;
    pub(super) const EXEMPLAR_LABEL: u32 = 1;
    pub(super) const EXEMPLAR_VALUE: u32 = 2;
    pub(super) const EXEMPLAR_AT: u32 = 3;
    pub(super) const SECONDS: u32 = 1;
    pub(super) const NANOS: u32 = 2;
}

/// The values of `MetricType`.
const COUNTER: u64 = 0;
const GAUGE: u64 = 1;
const HISTOGRAM: u64 = 4;

/// The page as messages.
#[derive(Debug)]
pub(in crate::metrics) struct ProtobufEncoder {
    out: Vec<u8>,
    family: Option<Family>,
    /// The message of the family; empty until it has a sample.
    message: Vec<u8>,
    metric: Vec<u8>,
    value: Vec<u8>,
    scratch: Scratch,
}

/// Messages within the value in the making; kept for their room.
#[derive(Debug, Default)]
struct Scratch {
    part: Vec<u8>,
    exemplar: Vec<u8>,
    inner: Vec<u8>,
}

impl ProtobufEncoder {
    /// For a page of about so many bytes.
    pub(in crate::metrics) fn new(bytes: usize) -> Self {
        let [message, metric, value] = std::array::from_fn(|_| Vec::new());
        let (out, scratch) = (Vec::with_capacity(bytes), Scratch::default());
        Self { out, family: None, message, metric, value, scratch }
    }

    fn end_family(&mut self) {
        if !self.message.is_empty() {
            varint(self.message.len() as u64, &mut self.out);
            self.out.append(&mut self.message);
        }
    }

    /// Puts the value, a message in that field, beside its labels.
    fn end_metric(&mut self, labels: &[&Label], value_field: u32) {
        if self.message.is_empty()
            && let Some(family) = self.family
        {
            head(&family, &mut self.message);
        }
        self.metric.clear();
        for Label(label) in labels {
            self.metric.extend_from_slice(label);
        }
        bytes(value_field, &self.value, &mut self.metric);
        bytes(field::FAMILY_METRIC, &self.metric, &mut self.message);
        self.value.clear();
    }
}

impl Encode for ProtobufEncoder {
    fn label(&self, name: &str, value: &str) -> Label {
        let mut out = Vec::new();
        label(field::METRIC_LABEL, name, value, &mut out);
        Label(out.into())
    }

    fn bound(&self, edge: u64) -> Bound {
        let mut out = Vec::new();
        double(field::BUCKET_BOUND, edge as f64, &mut out);
        Bound(out.into())
    }

    fn family(&mut self, family: &Family) {
        self.end_family();
        self.family = Some(*family);
    }

    fn value(&mut self, labels: &[&Label], value: Number, created: Option<Number>) {
        double(field::VALUE, value.as_f64(), &mut self.value);
        let is_counter = self.family.is_some_and(|family| family.kind == FamilyType::Counter);
        if let Some(created) = created {
            moment(field::COUNTER_CREATED, created, &mut self.scratch.inner, &mut self.value);
        }
        self.end_metric(labels, if is_counter { field::METRIC_COUNTER } else { field::METRIC_GAUGE });
    }

    fn histogram(&mut self, labels: &[&Label], bounds: &[Bound], histogram: &HistogramSample<'_>) {
        let Self { value, scratch: Scratch { part, exemplar, inner }, .. } = self;
        number(field::HISTOGRAM_COUNT, histogram.count, value);
        double(field::HISTOGRAM_SUM, histogram.sum.as_f64(), value);
        let mut exemplars = histogram.exemplars.iter().map(Option::as_ref);
        let mut count = 0;
        for (Bound(bound), more) in bounds.iter().zip(histogram.counts) {
            count += more;
            part.clear();
            number(field::BUCKET_COUNT, count, part);
            part.extend_from_slice(bound);
            if let Some(newest) = exemplars.next().flatten() {
                put_exemplar(field::BUCKET_EXEMPLAR, newest, [exemplar, inner], part);
            }
            bytes(field::HISTOGRAM_BUCKET, part, value);
        }
        // That above the last bound is what is missing to the count, unless it has an exemplar to carry.
        if let Some(newest) = exemplars.next().flatten() {
            part.clear();
            number(field::BUCKET_COUNT, histogram.count, part);
            double(field::BUCKET_BOUND, f64::INFINITY, part);
            put_exemplar(field::BUCKET_EXEMPLAR, newest, [exemplar, inner], part);
            bytes(field::HISTOGRAM_BUCKET, part, value);
        }
        if let Some(buckets) = histogram.native {
            native(buckets, value, part);
            for newest in histogram.exemplars.iter().flatten() {
                put_exemplar(field::HISTOGRAM_EXEMPLAR, newest, [exemplar, inner], value);
            }
        }
        if let Some(created) = histogram.created {
            moment(field::HISTOGRAM_CREATED, created, inner, value);
        }
        self.end_metric(labels, field::METRIC_HISTOGRAM);
    }

    fn finish(mut self) -> Vec<u8> {
        self.end_family();
        self.out
    }
}

fn head(family: &Family, out: &mut Vec<u8>) {
    bytes(field::FAMILY_NAME, family.name.as_bytes(), out);
    bytes(field::FAMILY_HELP, family.help.as_bytes(), out);
    number(
        field::FAMILY_TYPE,
        match family.kind {
            FamilyType::Counter => COUNTER,
            FamilyType::Gauge => GAUGE,
            FamilyType::Histogram => HISTOGRAM,
        },
        out,
    );
    if let Some(unit) = family.unit() {
        bytes(field::FAMILY_UNIT, unit.as_bytes(), out);
    }
}

/// The sparse buckets: runs of them that follow each other, and how much each count differs from the one before.
fn native(buckets: &NativeBuckets, value: &mut Vec<u8>, part: &mut Vec<u8>) {
    signed(field::HISTOGRAM_SCHEMA, buckets.schema().into(), value);
    double(field::HISTOGRAM_ZERO_THRESHOLD, NATIVE_ZERO_THRESHOLD, value);
    number(field::HISTOGRAM_ZERO_COUNT, buckets.zero_count(), value);
    let mut span = |offset: i64, length: u64, value: &mut Vec<u8>| {
        part.clear();
        signed(field::SPAN_OFFSET, offset, part);
        number(field::SPAN_LENGTH, length, part);
        bytes(field::HISTOGRAM_POSITIVE_SPAN, part, value);
    };
    let (mut offset, mut length, mut next) = (0, 0, 0);
    for (index, _) in buckets.iter() {
        let index = i64::from(index);
        if length > 0 && index != next {
            span(offset, length, value);
            (offset, length) = (index - next, 0);
        } else if length == 0 {
            offset = index;
        }
        (length, next) = (length + 1, index + 1);
    }
    // A histogram is taken for a native one by this span, even where nothing was observed.
    span(offset, length, value);
    let mut before = 0;
    for (_, count) in buckets.iter() {
        signed(field::HISTOGRAM_POSITIVE_DELTA, count.wrapping_sub(before).cast_signed(), value);
        before = count;
    }
}

fn put_exemplar(at: u32, sample: &ExemplarSample, [message, inner]: [&mut Vec<u8>; 2], out: &mut Vec<u8>) {
    message.clear();
    inner.clear();
    bytes(field::LABEL_NAME, b"allocation_id", inner);
    let mut id = itoa::Buffer::new();
    let digits = id.format(sample.allocation);
    key(field::LABEL_VALUE, 2, inner);
    varint(digits.len().max(ID_WIDTH) as u64, inner);
    push_id(digits, inner);
    bytes(field::EXEMPLAR_LABEL, inner, message);
    double(field::EXEMPLAR_VALUE, sample.value.as_f64(), message);
    moment(field::EXEMPLAR_AT, sample.at, inner, message);
    bytes(at, message, out);
}

fn label(at: u32, name: &str, value: &str, out: &mut Vec<u8>) {
    let mut pair = Vec::new();
    bytes(field::LABEL_NAME, name.as_bytes(), &mut pair);
    bytes(field::LABEL_VALUE, value.as_bytes(), &mut pair);
    bytes(at, &pair, out);
}

fn moment(at: u32, moment: Number, message: &mut Vec<u8>, out: &mut Vec<u8>) {
    const NANOS_OF_A_MILLI: u64 = 1_000_000;
    let millis = match moment {
        Number::Millis(millis) => millis,
        Number::Whole(seconds) => seconds.saturating_mul(1000),
        Number::Real(_) => return,
    };
    message.clear();
    number(field::SECONDS, millis / 1000, message);
    number(field::NANOS, millis % 1000 * NANOS_OF_A_MILLI, message);
    bytes(at, message, out);
}

/// Base 128, the lowest digits first.
#[inline]
fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

const fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

#[inline]
fn key(at: u32, wire_type: u32, out: &mut Vec<u8>) {
    varint(u64::from(at << 3 | wire_type), out);
}

#[inline]
fn number(at: u32, value: u64, out: &mut Vec<u8>) {
    key(at, 0, out);
    varint(value, out);
}

/// Small numbers of both signs are short.
fn signed(at: u32, value: i64, out: &mut Vec<u8>) {
    number(at, (value << 1 ^ value >> 63).cast_unsigned(), out);
}

#[inline]
fn double(at: u32, value: f64, out: &mut Vec<u8>) {
    key(at, 1, out);
    out.extend_from_slice(&value.to_le_bytes());
}

#[inline]
fn bytes(at: u32, value: &[u8], out: &mut Vec<u8>) {
    key(at, 2, out);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}
