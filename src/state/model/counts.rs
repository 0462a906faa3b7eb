//! A counter for each value of a label.

use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;

/// A number for each transport, cause, … in the order of its `ALL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts<const N: usize>([u64; N]);

impl<const N: usize> Counts<N> {
    pub(in crate::state) const ZERO: Self = Self([0; N]);

    /// The number at a place.
    pub fn get(&self, at: usize) -> u64 {
        self.0.get(at).copied().unwrap_or(0)
    }

    /// All numbers together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(in crate::state) fn add(&mut self, at: usize) {
        if let Some(number) = self.0.get_mut(at) {
            *number += 1;
        }
    }

    pub(in crate::state) fn sub(&mut self, at: usize) {
        if let Some(number) = self.0.get_mut(at) {
            *number = number.saturating_sub(1);
        }
    }
}

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self::ZERO
    }
}

/// A value that a later exporter adds to the end of its `ALL` begins at 0.
impl<const N: usize> Persist for Counts<N> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.0.write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        Persist::read(from).map(Self)
    }
}
