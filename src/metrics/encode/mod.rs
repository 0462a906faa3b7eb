//! From samples to bytes: one encoder for each format. They write into one buffer and allocate nothing for a sample.

mod number;
pub(super) mod open_metrics;
pub(super) mod protobuf;
pub(super) mod text;

pub(super) use number::Number;

use super::names::Family;
use crate::state::NativeBuckets;

/// A label with its value, as it stands in a sample of the encoder that wrote it.
#[derive(Clone, Debug)]
pub(super) struct Label(Box<[u8]>);

/// A bucket's upper bound, as it stands in a histogram of the encoder that wrote it.
#[derive(Clone, Debug)]
pub(super) struct Bound(Box<[u8]>);

/// Writes the families of a page in their order, each with the samples that follow it.
pub(super) trait Encode {
    /// The format has exemplars.
    const HAS_EXEMPLARS: bool = true;

    /// A label, to be used for any number of samples.
    fn label(&self, name: &str, value: &str) -> Label;

    /// An upper bound, to be used for any number of histograms.
    fn bound(&self, edge: u64) -> Bound;

    /// The samples that follow are of this family. Without any it is left out.
    fn family(&mut self, family: &Family);

    /// A sample of a counter or a gauge. Of a counter it is known when it was 0.
    fn value(&mut self, labels: &[&Label], value: Number, created: Option<Number>);

    /// A sample of a histogram with these bounds.
    fn histogram(&mut self, labels: &[&Label], bounds: &[Bound], histogram: &HistogramSample<'_>);

    /// The page.
    fn finish(self) -> Vec<u8>;
}

/// The numbers of one histogram.
pub(super) struct HistogramSample<'a> {
    /// Observations up to each bound and above the one before.
    pub(super) counts: &'a [u64],
    /// All observations.
    pub(super) count: u64,
    pub(super) sum: Number,
    /// When it was empty.
    pub(super) created: Option<Number>,
    pub(super) native: Option<&'a NativeBuckets>,
    /// The newest of each bucket, that above the last bound included; empty where the format has none.
    pub(super) exemplars: &'a [Option<ExemplarSample>],
}

/// An observation with the allocation that it is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExemplarSample {
    /// The allocation's id as coturn writes it.
    pub(super) allocation: u64,
    pub(super) value: Number,
    /// By the wall clock.
    pub(super) at: Number,
}
