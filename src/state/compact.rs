//! Small forms of what a record holds: with a million of them each byte is a megabyte. Nothing is lost in them.

use std::time::Duration;

use super::series::ByLeg;
use crate::clock::Timestamp;
use crate::wire::{Leg, Traffic, Volume};

/// A [`Timestamp`] in six bytes: 8900 years, and "never".
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment([u8; 6]);

impl Moment {
    pub(super) const ZERO: Self = Self([0; 6]);
    /// After every event: "never".
    pub(super) const MAX: Self = Self([0xff; 6]);

    pub(super) fn get(self) -> Timestamp {
        if self == Self::MAX { Timestamp::MAX } else { Timestamp::from_millis(widen(self.0)) }
    }
}

impl From<Timestamp> for Moment {
    fn from(moment: Timestamp) -> Self {
        narrow(moment.as_millis()).map_or(Self::MAX, Self)
    }
}

impl std::fmt::Debug for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

/// The number of a record or a session for ever: a million a second would use them up in nine years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Serial([u8; 6]);

impl Serial {
    pub(super) fn get(self) -> u64 {
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
pub(super) struct Seconds(u32);

impl Seconds {
    pub(super) const fn get(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Self {
        Self(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX))
    }
}

/// What an allocation relayed, by leg and direction. Up to 2^32 packets and a terabyte each way are held in place,
/// whoever relays more gets room of its own.
#[derive(Clone, Debug)]
pub(super) enum Sums {
    /// In the order of leg, then direction.
    Small {
        packets: [u32; 4],
        bytes: [[u8; 5]; 4],
    },
    Large(Box<ByLeg<Traffic>>),
}

impl Sums {
    pub(super) const ZERO: Self = Self::Small { packets: [0; 4], bytes: [[0; 5]; 4] };

    pub(super) fn get(&self, leg: Leg) -> Traffic {
        match self {
            Self::Small { packets: [pr, ps, qr, qs], bytes: [br, bs, cr, cs] } => match leg {
                Leg::Client => Traffic { received: volume(*pr, *br), sent: volume(*ps, *bs) },
                Leg::Peer => Traffic { received: volume(*qr, *cr), sent: volume(*qs, *cs) },
            },
            Self::Large(sums) => *sums.get(leg),
        }
    }

    /// Whether they have room of their own.
    pub(super) const fn is_large(&self) -> bool {
        matches!(self, Self::Large(_))
    }

    pub(super) fn both(&self) -> ByLeg<Traffic> {
        ByLeg { client: self.get(Leg::Client), peer: self.get(Leg::Peer) }
    }

    /// Adds to a leg; stays at the top rather than wrap.
    pub(super) fn add(&mut self, leg: Leg, more: &Traffic) {
        let mut sum = self.get(leg);
        sum.add(more);
        if let Self::Small { packets: [pr, ps, qr, qs], bytes: [br, bs, cr, cs] } = self {
            let (received, sent) = match leg {
                Leg::Client => ((pr, br), (ps, bs)),
                Leg::Peer => ((qr, cr), (qs, cs)),
            };
            if put(received, sum.received) && put(sent, sum.sent) {
                return;
            }
            // One half may be in its place already; both are written anew.
            let mut both = self.both();
            *both.get_mut(leg) = sum;
            *self = Self::Large(Box::new(both));
        } else if let Self::Large(sums) = self {
            *sums.get_mut(leg) = sum;
        }
    }
}

impl From<ByLeg<Traffic>> for Sums {
    fn from(sums: ByLeg<Traffic>) -> Self {
        let mut small = Self::ZERO;
        for leg in Leg::ALL {
            small.add(leg, sums.get(leg));
        }
        small
    }
}

fn volume(packets: u32, bytes: [u8; 5]) -> Volume {
    Volume { packets: u64::from(packets), bytes: widen(bytes) }
}

/// Whether it fits.
fn put((packets, bytes): (&mut u32, &mut [u8; 5]), volume: Volume) -> bool {
    let (Ok(few), Some(short)) = (u32::try_from(volume.packets), narrow(volume.bytes)) else { return false };
    (*packets, *bytes) = (few, short);
    true
}

/// The number in its lowest bytes, if it fits.
fn narrow<const N: usize>(number: u64) -> Option<[u8; N]> {
    let low = *number.to_le_bytes().first_chunk()?;
    (widen(low) == number).then_some(low)
}

fn widen<const N: usize>(low: [u8; N]) -> u64 {
    let mut wide = [0; 8];
    if let Some(place) = wide.first_chunk_mut() {
        *place = low;
    }
    u64::from_le_bytes(wide)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_come_back_as_they_were() {
        for millis in [0, 1, 1_795_343_956_123, (1 << 48) - 2] {
            let moment = Timestamp::from_millis(millis);
            assert_eq!(Moment::from(moment).get(), moment);
        }
        for never in [Timestamp::MAX, Timestamp::from_millis(1 << 48)] {
            assert_eq!(Moment::from(never).get(), Timestamp::MAX);
        }
        assert_eq!(Moment::MAX.get(), Timestamp::MAX);
        assert_eq!(Moment::ZERO.get(), Timestamp::ZERO);
    }

    fn volumes() -> impl Strategy<Value = Volume> {
        // Around what fits, and anything.
        let number = |fits: u64| prop_oneof![0..100_u64, fits - 100..fits + 100, any::<u64>()];
        (number(1 << 32), number(1 << 40)).prop_map(|(packets, bytes)| Volume { packets, bytes })
    }

    proptest! {
        #[test]
        fn sums_are_those_of_wide_numbers(reports in prop::collection::vec((any::<bool>(), volumes(), volumes()), 1..20)) {
            let (mut sums, mut model) = (Sums::ZERO, ByLeg { client: Traffic::ZERO, peer: Traffic::ZERO });
            for (peer, received, sent) in reports {
                let leg = if peer { Leg::Peer } else { Leg::Client };
                let more = Traffic { received, sent };
                sums.add(leg, &more);
                model.get_mut(leg).add(&more);
                prop_assert_eq!(sums.both(), model);
                prop_assert_eq!(Sums::from(model).both(), model);
            }
        }
    }
}
