//! What one allocation relayed, in as few bytes as will hold it.

use crate::state::storage::packed::{narrow, widen};
use crate::wire::{ByLeg, Leg, Traffic, Volume};

/// What an allocation relayed, by leg and direction. Up to 2^32 packets and a terabyte each way are held in place,
/// whoever relays more gets room of its own.
#[derive(Clone, Debug)]
pub(crate) enum Sums {
    /// In the order of leg, then direction.
    Small {
        packets: [u32; 4],
        bytes: [[u8; 5]; 4],
    },
    Large(Box<ByLeg<Traffic>>),
}

impl Sums {
    pub(crate) const ZERO: Self = Self::Small { packets: [0; 4], bytes: [[0; 5]; 4] };

    pub(crate) fn get(&self, leg: Leg) -> Traffic {
        match self {
            Self::Small { packets: [pr, ps, qr, qs], bytes: [br, bs, cr, cs] } => match leg {
                Leg::Client => Traffic { received: volume(*pr, *br), sent: volume(*ps, *bs) },
                Leg::Peer => Traffic { received: volume(*qr, *cr), sent: volume(*qs, *cs) },
            },
            Self::Large(sums) => *sums.get(leg),
        }
    }

    /// Whether they have room of their own.
    pub(crate) const fn is_large(&self) -> bool {
        matches!(self, Self::Large(_))
    }

    pub(crate) fn both(&self) -> ByLeg<Traffic> {
        ByLeg { client: self.get(Leg::Client), peer: self.get(Leg::Peer) }
    }

    /// Adds to a leg; stays at the top rather than wrap.
    pub(crate) fn add(&mut self, leg: Leg, more: &Traffic) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
