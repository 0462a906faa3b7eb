//! Native histograms: sparse buckets whose bounds grow by a fixed factor, as Prometheus defines them.

use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;

/// Eight buckets for each doubling: bounds grow by 9 %, so a quantile is off by 4.4 % at most. It is the schema that
/// `client_golang` takes for the factor that it recommends, 1.1. One finer would double the buckets, of which the durations
/// from a second to a day have 131.
pub const NATIVE_SCHEMA: i32 = 3;

/// Buckets for each doubling.
const PER_DOUBLING: i16 = 1 << NATIVE_SCHEMA;

/// Values up to this one are in the bucket of zero: the smallest that Prometheus knows, 2^-128. Values are whole numbers
/// of units that are much larger, so only 0 is there.
pub const NATIVE_ZERO_THRESHOLD: f64 = 1.0 / (1_u128 << 127) as f64 / 2.0;

/// Where the bounds of native buckets lie among whole numbers of some unit.
#[derive(Debug)]
pub(in crate::state) struct NativeScale {
    /// The eight bounds in `[2^63, 2^64)`, rounded down, in ascending order. All others are these times a power of two. A whole
    /// number is at or below a bound exactly if it is at or below the bound rounded down.
    bounds: [u64; PER_DOUBLING as usize],
    /// The bucket whose upper bound is the first of them, divided by 2^63.
    first: i16,
}

/// Bounds in bytes: 2^(i/8).
pub(in crate::state) const BYTES_SCALE: NativeScale = NativeScale {
    bounds: [
        0x8000_0000_0000_0000,
        0x8b95_c1e3_ea8b_d6e6,
        0x9837_f051_8db8_a96f,
        0xa5fe_d6a9_b151_38ea,
        0xb504_f333_f9de_6484,
        0xc567_2a11_5506_dadd,
        0xd744_fcca_d69d_6af4,
        0xeac0_c6e7_dd24_392e,
    ],
    first: 0,
};

/// Bounds in seconds, among milliseconds: 1000 * 2^(i/8).
pub(in crate::state) const MILLIS_SCALE: NativeScale = NativeScale {
    bounds: [
        0x8850_3f58_930c_8fdd,
        0x94a6_a0af_a466_5576,
        0xa21a_dda1_b729_5194,
        0xb0c6_d580_c203_2e29,
        0xc0c6_bf14_ed08_b1bc,
        0xd239_5ede_1595_ba72,
        0xe540_423e_6df5_5fd7,
        0xfa00_0000_0000_0000,
    ],
    first: -79,
};

impl NativeScale {
    /// The bucket of a value above 0: `i` with `base^(i-1) < value <= base^i`, where `base` is 2^(1/8).
    pub(in crate::state) fn index(&self, value: u64) -> i16 {
        let zeros = value.leading_zeros().min(63);
        let scaled = value << zeros;
        let passed = self.bounds.iter().take_while(|&&bound| bound < scaled).count();
        let doublings = 63 - zeros.cast_signed();
        let index = doublings * i32::from(PER_DOUBLING) + i32::try_from(passed).unwrap_or(0);
        // 512 at most.
        i16::try_from(index).unwrap_or(i16::MAX).saturating_add(self.first)
    }
}

/// The buckets of a native histogram that were hit. There are 513 at most, which 64 bits of value can reach, and a histogram of
/// which every one was hit takes 8 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NativeBuckets {
    /// Observations of 0.
    zero: u64,
    /// The index of each bucket that was hit, in ascending order, and how often.
    counts: Vec<(i16, u64)>,
}

impl NativeBuckets {
    /// The factor between two bounds is 2^(2^-schema).
    pub const fn schema(&self) -> i32 {
        NATIVE_SCHEMA
    }

    /// Observations of 0.
    pub const fn zero_count(&self) -> u64 {
        self.zero
    }

    /// Each bucket that was hit, in ascending order: its index `i`, for values above `base^(i-1)` up to and with `base^i`, and the
    /// observations in it alone.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (i32, u64)> + Clone {
        self.counts.iter().map(|&(index, count)| (index.into(), count))
    }

    /// Observations in all buckets, that of zero among them.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(self.zero, |sum, &(_, count)| sum.saturating_add(count))
    }

    pub(in crate::state) fn add(&mut self, scale: &NativeScale, value: u64, times: u64) {
        if value == 0 {
            self.zero += times;
            return;
        }
        let index = scale.index(value);
        match self.counts.binary_search_by_key(&index, |&(index, _)| index) {
            Ok(at) => self.counts[at].1 += times,
            Err(at) => self.counts.insert(at, (index, times)),
        }
    }
}

impl Persist for NativeBuckets {
    fn write(&self, to: &mut ImageWriter<'_>) {
        let Self { zero, counts } = self;
        zero.write(to);
        counts.len().write(to);
        let mut before = 0;
        for &(index, count) in counts {
            let index = i64::from(index).cast_unsigned();
            to.difference(index, before);
            count.write(to);
            before = index;
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let (zero, len): (u64, usize) = (Persist::read(from)?, Persist::read(from)?);
        // Grows with what is there, whatever the number says.
        let mut counts: Vec<(i16, u64)> = Vec::new();
        let mut before = 0;
        for _ in 0..len {
            before = from.difference(before)?;
            let index = i16::try_from(before.cast_signed());
            let index = index.map_err(|_| Unreadable::Malformed("a native bucket is out of its range"))?;
            if counts.last().is_some_and(|&(last, _)| last >= index) {
                return Err(Unreadable::Malformed("native buckets are not in their order"));
            }
            counts.push((index, Persist::read(from)?));
        }
        Ok(Self { zero, counts })
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    /// A whole number of any size: its 32-bit digits, the lowest first, none of them a leading 0.
    #[derive(Clone, Debug, PartialEq)]
    struct Big(Vec<u32>);

    #[expect(clippy::cast_possible_truncation, reason = "cut into digits, as meant")]
    impl Big {
        fn of(mut number: u128) -> Self {
            let mut digits = Vec::new();
            while number > 0 {
                digits.push(number as u32);
                number >>= 32;
            }
            Self(digits)
        }

        fn times(&self, factor: u128) -> Self {
            let mut product = vec![0_u32; self.0.len() + 4];
            for (shift, digit) in Self::of(factor).0.into_iter().enumerate() {
                let mut carry = 0_u64;
                for at in 0..product.len() - shift {
                    let theirs = u64::from(self.0.get(at).copied().unwrap_or(0));
                    let sum = u64::from(product[at + shift]) + theirs * u64::from(digit) + carry;
                    product[at + shift] = sum as u32;
                    carry = sum >> 32;
                }
                assert_eq!(carry, 0);
            }
            while product.last() == Some(&0) {
                product.pop();
            }
            Self(product)
        }

        fn power_8(number: u128) -> Self {
            (0..8).fold(Self::of(1), |product, _| product.times(number))
        }

        fn doubled(&self, times: i32) -> Self {
            (0..times).fold(self.clone(), |product, _| product.times(2))
        }

        fn cmp(&self, other: &Self) -> Ordering {
            let by_length = self.0.len().cmp(&other.0.len());
            by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
        }
    }

    /// How `value` compares with `unit * 2^(index/8)`: as do the eighth powers of both.
    fn against_bound(value: u128, unit: u128, index: i32) -> Ordering {
        let (value, bound) = (Big::power_8(value), Big::power_8(unit));
        value.doubled((-index).max(0)).cmp(&bound.doubled(index.max(0)))
    }

    const SCALES: [(&NativeScale, u128); 2] = [(&BYTES_SCALE, 1), (&MILLIS_SCALE, 1000)];

    fn check(value: u64) {
        for (scale, unit) in SCALES {
            let index = i32::from(scale.index(value));
            assert_ne!(against_bound(value.into(), unit, index), Ordering::Greater, "{value}: {index}");
            assert_eq!(against_bound(value.into(), unit, index - 1), Ordering::Greater, "{value}: {index}");
        }
    }

    #[test]
    fn bounds_are_rounded_down_and_the_next_number_is_above() {
        for (scale, unit) in SCALES {
            for (place, &bound) in (0..).zip(&scale.bounds) {
                // Each is 2^63 times the one that it stands for.
                let index = i32::from(scale.first) + place + 63 * 8;
                assert_ne!(against_bound(bound.into(), unit, index), Ordering::Greater, "{bound:#x}");
                assert_eq!(
                    against_bound(u128::from(bound) + 1, unit, index),
                    Ordering::Greater,
                    "{bound:#x}"
                );
            }
        }
    }

    #[test]
    fn a_value_on_a_bound_is_in_the_bucket_below_it() {
        for power in 0..64 {
            let value = 1_u64 << power;
            assert_eq!(BYTES_SCALE.index(value), 8 * power, "{value}");
            if power >= 4 {
                assert_eq!(BYTES_SCALE.index(value + 1), 8 * power + 1, "{value} + 1");
            }
        }
        for (power, millis) in [(-3, 125), (-2, 250), (-1, 500), (0, 1000), (1, 2000), (16, 65_536_000)] {
            assert_eq!(MILLIS_SCALE.index(millis), 8 * power, "{millis}");
            assert_eq!(MILLIS_SCALE.index(millis + 1), 8 * power + 1, "{millis} + 1");
        }
        assert_eq!((MILLIS_SCALE.index(1), BYTES_SCALE.index(u64::MAX)), (-79, 512));
    }

    #[test]
    fn every_value_about_a_bound_is_in_its_bucket() {
        for (scale, _) in SCALES {
            for bound in scale.bounds {
                for shift in 0..64 {
                    let bound = bound >> shift;
                    for value in bound.saturating_sub(1)..=bound.saturating_add(1) {
                        if value > 0 {
                            check(value);
                        }
                    }
                }
            }
        }
        (1..2000).for_each(check);
        check(u64::MAX);
    }

    proptest! {
        #[test]
        fn a_value_is_above_one_bound_and_not_above_the_next(value: u64, bits in 0_u32..64) {
            check((value >> bits).max(1));
        }

        #[test]
        fn buckets_are_in_their_order_and_hold_all(
            values in prop::collection::vec((any::<u64>(), 0_u32..64), 0..300)
        ) {
            let mut buckets = NativeBuckets::default();
            for &(value, bits) in &values {
                buckets.add(&MILLIS_SCALE, value >> bits, 1);
            }
            let shown: Vec<(i32, u64)> = buckets.iter().collect();
            prop_assert!(shown.is_sorted_by(|one, next| one.0 < next.0));
            prop_assert_eq!(buckets.count(), values.len() as u64);
            let zero = values.iter().filter(|&&(value, bits)| value >> bits == 0).count();
            prop_assert_eq!(buckets.zero_count(), zero as u64);
            for (index, count) in shown {
                let there = |&&(value, bits): &&(u64, u32)| {
                    value >> bits > 0 && i32::from(MILLIS_SCALE.index(value >> bits)) == index
                };
                prop_assert_eq!(count, values.iter().filter(there).count() as u64);
            }
        }
    }

    #[test]
    fn the_threshold_of_zero_is_that_of_prometheus() {
        assert_eq!(NATIVE_ZERO_THRESHOLD.to_bits(), 2.0_f64.powi(-128).to_bits());
    }
}
