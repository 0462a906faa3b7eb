//! Small forms of what a record holds: with a million of them each byte is a megabyte. Nothing is lost in them.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;

/// A [`Timestamp`] in six bytes: 8900 years, and "never".
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackedTime([u8; 6]);

impl PackedTime {
    pub(crate) const ZERO: Self = Self([0; 6]);
    /// After every event: "never".
    pub(crate) const MAX: Self = Self([0xff; 6]);

    pub(crate) fn get(self) -> Timestamp {
        if self == Self::MAX { Timestamp::MAX } else { Timestamp::from_millis(widen(self.0)) }
    }
}

impl From<Timestamp> for PackedTime {
    fn from(moment: Timestamp) -> Self {
        narrow(moment.as_millis()).map_or(Self::MAX, Self)
    }
}

impl std::fmt::Debug for PackedTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

/// The number of a record or a session for ever: a million a second would use them up in nine years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Serial([u8; 6]);

impl Serial {
    pub(crate) fn get(self) -> u64 {
        widen(self.0)
    }
}

impl From<u64> for Serial {
    fn from(number: u64) -> Self {
        Self(narrow(number).unwrap_or([0xff; 6]))
    }
}

/// Whole seconds, as coturn grants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seconds(u32);

impl Seconds {
    pub(crate) const fn get(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Self {
        Self(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX))
    }
}

/// The number in its lowest bytes, if it fits.
pub(crate) fn narrow<const N: usize>(number: u64) -> Option<[u8; N]> {
    let low = *number.to_le_bytes().first_chunk()?;
    (widen(low) == number).then_some(low)
}

/// The number that [`narrow`] has made of it.
pub(crate) fn widen<const N: usize>(low: [u8; N]) -> u64 {
    let mut wide = [0; 8];
    if let Some(place) = wide.first_chunk_mut() {
        *place = low;
    }
    u64::from_le_bytes(wide)
}

impl Persist for PackedTime {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.get().write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        from.moment().map(Self::from)
    }
}

impl Persist for Serial {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.get().write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        u64::read(from).map(Self::from)
    }
}

impl Persist for Seconds {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.0.write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        u32::read(from).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_back_as_they_were() {
        for millis in [0, 1, 1_795_343_956_123, (1 << 48) - 2] {
            let moment = Timestamp::from_millis(millis);
            assert_eq!(PackedTime::from(moment).get(), moment);
        }
        for never in [Timestamp::MAX, Timestamp::from_millis(1 << 48)] {
            assert_eq!(PackedTime::from(never).get(), Timestamp::MAX);
        }
        assert_eq!(PackedTime::MAX.get(), Timestamp::MAX);
        assert_eq!(PackedTime::ZERO.get(), Timestamp::ZERO);
    }
}
