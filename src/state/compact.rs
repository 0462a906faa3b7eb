//! Small forms of what a record holds: with a million of them each byte is a megabyte. Nothing is lost in them.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
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

    pub(super) const fn get(self) -> Timestamp {
        let [a, b, c, d, e, f] = self.0;
        match u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) {
            0xffff_ffff_ffff => Timestamp::MAX,
            millis => Timestamp::from_millis(millis),
        }
    }
}

impl From<Timestamp> for Moment {
    fn from(moment: Timestamp) -> Self {
        match moment.as_millis().to_le_bytes() {
            [a, b, c, d, e, f, 0, 0] => Self([a, b, c, d, e, f]),
            _ => Self::MAX,
        }
    }
}

impl std::fmt::Debug for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
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

/// Where a client is. Most are at an IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// Not told.
    Unknown,
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
}

impl Client {
    pub(super) fn get(&self) -> Option<SocketAddr> {
        match self {
            Self::Unknown => None,
            Self::V4(address) => Some(SocketAddr::V4(*address)),
            Self::V6(address) => Some(SocketAddr::V6(**address)),
        }
    }
}

impl From<Option<SocketAddr>> for Client {
    fn from(address: Option<SocketAddr>) -> Self {
        match address {
            None => Self::Unknown,
            Some(SocketAddr::V4(address)) => Self::V4(address),
            Some(SocketAddr::V6(address)) => Self::V6(Box::new(address)),
        }
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

fn volume(packets: u32, [a, b, c, d, e]: [u8; 5]) -> Volume {
    Volume { packets: u64::from(packets), bytes: u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]) }
}

/// Whether it fits.
fn put((packets, bytes): (&mut u32, &mut [u8; 5]), volume: Volume) -> bool {
    let (Ok(small), [a, b, c, d, e, 0, 0, 0]) = (u32::try_from(volume.packets), volume.bytes.to_le_bytes())
    else {
        return false;
    };
    (*packets, *bytes) = (small, [a, b, c, d, e]);
    true
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

    #[test]
    fn clients_come_back_as_they_were() {
        for client in ["192.0.2.7:65535", "[2001:db8::7]:1", "[::ffff:192.0.2.7]:80"] {
            let client = Some(client.parse().unwrap());
            assert_eq!(Client::from(client).get(), client);
        }
        assert_eq!(Client::from(None).get(), None);
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
