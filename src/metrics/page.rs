//! The page in the making: families by name and their samples by labels, as other exporters have them.

use super::disabled::DisabledFamilies;
use super::encode::{Bound, Encode, ExemplarSample, HistogramSample, Label, Number};
use super::names::{Family, FamilyType};
use crate::clock::{Timestamp, WallTime};
use crate::state::{Exemplar, Histogram, NativeBuckets};

/// What has a label of its own: a realm, a server, a cause.
pub(super) struct Labelled<T> {
    pub(super) label: Label,
    /// When its counters were 0.
    pub(super) created: Option<Number>,
    pub(super) item: T,
}

/// Families that are filled when the page is encoded, in the order of their names.
pub(super) struct Page<'a, E> {
    encoder: E,
    times: WallTime,
    created: Option<Number>,
    disabled: &'a DisabledFamilies,
    families: Vec<(Family, Box<Fill<'a, E>>)>,
}

type Fill<'a, E> = dyn FnOnce(&mut Samples<E>) + 'a;

impl<'a, E: Encode> Page<'a, E> {
    /// Counters that nothing else is known of were 0 at `created`.
    pub(super) fn new(
        encoder: E,
        times: WallTime,
        created: Timestamp,
        disabled: &'a DisabledFamilies,
    ) -> Self {
        let mut page = Self { encoder, times, created: None, disabled, families: Vec::new() };
        page.created = page.created(created);
        page
    }

    /// One family with the samples that `fill` adds, in the order of their labels; left out if there are none.
    /// Of a disabled family not even that is asked.
    pub(super) fn add(&mut self, family: Family, fill: impl FnOnce(&mut Samples<E>) + 'a) {
        if !self.disabled.contains(&family) {
            self.families.push((family, Box::new(fill)));
        }
    }

    /// When counters were 0 by the wall clock; `None` where that was before it was recorded.
    pub(super) fn created(&self, moment: Timestamp) -> Option<Number> {
        (moment > Timestamp::ZERO).then(|| Number::Millis(self.times.of(moment).as_millis()))
    }

    /// All of `items` by their values of a label.
    pub(super) fn labelled<T>(
        &self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        value: impl Fn(&T) -> &str,
        created: impl Fn(&T) -> Option<Timestamp>,
    ) -> Vec<Labelled<T>> {
        let mut items: Vec<T> = items.into_iter().collect();
        items.sort_by(|one, other| value(one).cmp(value(other)));
        let labelled = |item| Labelled {
            label: self.encoder.label(name, value(&item)),
            created: created(&item).and_then(|moment| self.created(moment)),
            item,
        };
        items.into_iter().map(labelled).collect()
    }

    /// The places of `all` by their values of a label.
    pub(super) fn places<T>(
        &self,
        name: &str,
        all: &[T],
        value: impl Fn(&T) -> &'static str,
    ) -> Vec<Labelled<usize>> {
        let mut places: Vec<(usize, &str)> = all.iter().map(value).enumerate().collect();
        places.sort_by_key(|&(_, value)| value);
        let labelled = |(item, value)| Labelled { label: self.label(name, value), created: None, item };
        places.into_iter().map(labelled).collect()
    }

    /// The upper bounds of a histogram.
    pub(super) fn bounds(&self, edges: &[u64]) -> Vec<Bound> {
        edges.iter().map(|&edge| self.encoder.bound(edge)).collect()
    }

    pub(super) fn label(&self, name: &str, value: &str) -> Label {
        self.encoder.label(name, value)
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let Self { encoder, times, created, mut families, .. } = self;
        families.sort_by_key(|(family, _)| family.name);
        let mut samples = Samples {
            encoder,
            times,
            kind: FamilyType::Gauge,
            created: None,
            empty: NativeBuckets::default(),
            exemplars: Vec::new(),
        };
        for (family, fill) in families {
            samples.encoder.family(&family);
            (samples.kind, samples.created) = (family.kind, created);
            fill(&mut samples);
        }
        samples.encoder.finish()
    }
}

/// What was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HistogramKind {
    Durations,
    Bytes,
    Allocations,
}

impl HistogramKind {
    /// A number of the table's, in the unit of the page.
    const fn unit(self) -> fn(u64) -> Number {
        match self {
            Self::Durations => Number::Millis,
            Self::Bytes | Self::Allocations => Number::Whole,
        }
    }

    /// The table keeps native buckets, once something was observed.
    const fn is_native(self) -> bool {
        matches!(self, Self::Durations | Self::Bytes)
    }
}

/// The samples of one family in the making.
pub(super) struct Samples<E> {
    encoder: E,
    times: WallTime,
    kind: FamilyType,
    created: Option<Number>,
    /// Of a histogram in which nothing was observed.
    empty: NativeBuckets,
    /// Of the histogram in the making; kept for its room.
    exemplars: Vec<Option<ExemplarSample>>,
}

impl<E: Encode> Samples<E> {
    /// The counters that follow were 0 then.
    pub(super) const fn since(&mut self, created: Option<Number>) {
        self.created = created;
    }

    pub(super) fn number(&mut self, labels: &[&Label], value: u64) {
        self.value(labels, Number::Whole(value));
    }

    pub(super) fn flag(&mut self, labels: &[&Label], value: bool) {
        self.number(labels, u64::from(value));
    }

    pub(super) fn value(&mut self, labels: &[&Label], value: Number) {
        let created = self.created.filter(|_| self.kind == FamilyType::Counter);
        self.encoder.value(labels, value, created);
    }

    /// A moment, moved onto the wall clock; an undefined one is absent.
    pub(super) fn moment(&mut self, labels: &[&Label], moment: Option<Timestamp>) {
        if let Some(moment) = moment {
            self.value(labels, Number::Millis(self.times.of(moment).as_millis()));
        }
    }

    /// A label that is on this page only once.
    pub(super) fn label(&self, name: &str, value: &str) -> Label {
        self.encoder.label(name, value)
    }

    pub(super) fn histogram<const N: usize>(
        &mut self,
        labels: &[&Label],
        bounds: &[Bound],
        histogram: &Histogram<N>,
        kind: HistogramKind,
    ) {
        let (times, unit) = (self.times, kind.unit());
        let sample = |exemplar: &Exemplar| ExemplarSample {
            allocation: exemplar.allocation.0,
            value: unit(exemplar.value),
            at: Number::Millis(times.of(exemplar.at).as_millis()),
        };
        self.exemplars.clear();
        if E::HAS_EXEMPLARS {
            self.exemplars.extend(histogram.exemplars().map(|newest| newest.map(sample)));
        }
        self.encoder.histogram(
            labels,
            bounds,
            &HistogramSample {
                counts: histogram.counts(),
                count: histogram.count(),
                sum: unit(histogram.sum()),
                created: self.created,
                native: kind.is_native().then(|| histogram.native().unwrap_or(&self.empty)),
                exemplars: &self.exemplars,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::text::TextEncoder;
    use super::super::names;
    use super::*;

    /// The work of a scrape is in the filling.
    #[test]
    fn a_disabled_family_is_not_filled() {
        let disabled = DisabledFamilies::from_iter([names::ALLOCATION_DURATION]);
        let times = WallTime { now: Timestamp::ZERO, wall: Timestamp::ZERO };
        let mut page = Page::new(TextEncoder::new(0), times, Timestamp::ZERO, &disabled);
        page.add(names::ALLOCATION_DURATION, |_| panic!("it is disabled"));
        page.add(names::STORE_OK, |out| out.flag(&[], true));
        let page = String::from_utf8(page.encode()).unwrap();
        assert!(page.ends_with("coturn_exporter_store_ok 1\n") && !page.contains("duration"), "{page}");
    }
}
