//! The arithmetic of totals: what a total knows beyond the deltas seen. Pure functions on numbers.

use super::series::Anomaly;
use crate::wire::{ByDirection, Leg, Traffic, Volume};

/// Peer totals are modulo this: 32-bit fields in coturn (`ns_turn_session.h`, every version up to 4.17.1).
const WRAP: u64 = 1 << 32;

/// What `total` has beyond `sum` on one leg.
///
/// `client_loss` is what the client leg's total had beyond its own sum, where that is known: the peer leg lost about
/// as much in the opposite direction (what a peer was sent is what the client sent in), which tells how often a 32-bit
/// total went round.
///
/// # Errors
///
/// The anomaly, when the total cannot be this allocation's, or cannot be read. A total that contradicts the sum in one
/// number is not to be believed in the others.
// docs/semantics.md#never-subtract
pub(crate) fn lost(
    leg: Leg,
    total: &Traffic,
    sum: &Traffic,
    client_loss: Option<&Traffic>,
) -> Result<Traffic, Anomaly> {
    let each = |total: Volume, sum: Volume, opposite: Option<Volume>| match leg {
        Leg::Client => Ok(Volume {
            packets: total.packets.checked_sub(sum.packets).ok_or(Anomaly::TotalBelowSum)?,
            bytes: total.bytes.checked_sub(sum.bytes).ok_or(Anomaly::TotalBelowSum)?,
        }),
        Leg::Peer => Ok(Volume {
            packets: lift(total.packets, sum.packets, opposite.map(|loss| loss.packets))?,
            bytes: lift(total.bytes, sum.bytes, opposite.map(|loss| loss.bytes))?,
        }),
    };
    Ok(ByDirection {
        received: each(total.received, sum.received, client_loss.map(|loss| loss.sent))?,
        sent: each(total.sent, sum.sent, client_loss.map(|loss| loss.received))?,
    })
}

/// The loss of which only `total` modulo 2^32 is known.
///
/// With m = (total - sum) mod 2^32 it is m + k * 2^32 for some k >= -1; the one nearest to the other leg's loss is
/// taken, and a negative one is an anomaly. Without the other leg: m, if that is the nearer one to zero.
// docs/semantics.md#peer-totals
fn lift(total: u64, sum: u64, opposite: Option<u64>) -> Result<u64, Anomaly> {
    let m = total.wrapping_sub(sum) % WRAP;
    let Some(near) = opposite else {
        return if m < WRAP / 2 { Ok(m) } else { Err(Anomaly::AmbiguousTotal) };
    };
    // `near` lies between the candidate at or below it and the next one above.
    if near < m {
        let to_negative = near + (WRAP - m);
        return if m - near <= to_negative { Ok(m) } else { Err(Anomaly::TotalBelowSum) };
    }
    let below = m + (near - m) / WRAP * WRAP;
    let above = below.saturating_add(WRAP);
    Ok(if near - below <= above - near { below } else { above })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lifts_32_bit_totals() {
        let gib = 1_u64 << 30;
        let rows = [
            ("nothing lost", 500, 500, Some(0), Ok(0)),
            ("a little lost", 600, 500, Some(110), Ok(100)),
            ("wrapped, nothing lost", 311_640_068, 4_606_607_364, Some(0), Ok(0)),
            ("wrapped and lost", (5 * gib) % WRAP, 4 * gib, Some(gib + 9), Ok(gib)),
            ("lost more than one round", 7, 0, Some(2 * WRAP + 3), Ok(2 * WRAP + 7)),
            ("below the sum", 400, 500, Some(0), Err(Anomaly::TotalBelowSum)),
            ("nearer to the next round", 10, 0, Some(WRAP - 1), Ok(WRAP + 10)),
            ("a loss rather than a negative one as near", WRAP / 2 + 5, 0, Some(5), Ok(WRAP / 2 + 5)),
            ("a negative one that is nearer", WRAP / 2 + 6, 0, Some(5), Err(Anomaly::TotalBelowSum)),
            ("the smaller of two as near", 0, 0, Some(WRAP + WRAP / 2), Ok(WRAP)),
            ("the larger if it is nearer", 0, 0, Some(WRAP + WRAP / 2 + 1), Ok(2 * WRAP)),
            ("no client total, small", 600, 500, None, Ok(100)),
            ("no client total, less than half a round", WRAP / 2 - 1, 0, None, Ok(WRAP / 2 - 1)),
            ("no client total, half a round", WRAP / 2, 0, None, Err(Anomaly::AmbiguousTotal)),
            (
                "no client total, below the sum or half a round away",
                400,
                500,
                None,
                Err(Anomaly::AmbiguousTotal),
            ),
        ];
        for (name, total, sum, opposite, expected) in rows {
            assert_eq!(lift(total, sum, opposite), expected, "{name}");
        }
    }

    #[test]
    fn the_client_leg_is_plain_subtraction() {
        let of = |bytes| Traffic { received: Volume { packets: 1, bytes }, sent: Volume::ZERO };
        let result = lost(Leg::Client, &of(1 << 40), &of(1), None).unwrap();
        assert_eq!(result.received, Volume { packets: 0, bytes: (1 << 40) - 1 });
        assert_eq!(lost(Leg::Client, &of(1), &of(2), None), Err(Anomaly::TotalBelowSum));
    }

    proptest! {
        /// Whatever was lost is found again while both legs lost about the same.
        #[test]
        fn finds_what_was_lost(sum in 0..1_u64 << 50, lost in 0..1_u64 << 45, off in -(1_i64 << 30)..1_i64 << 30) {
            let total = (sum + lost) % WRAP;
            let near = lost.saturating_add_signed(off);
            prop_assert_eq!(lift(total, sum, Some(near)), Ok(lost));
        }

        /// No numbers make it panic or invent more than a round and a half beyond the hint.
        #[test]
        fn stays_near_the_hint(total: u64, sum: u64, near in 0..u64::MAX / 2) {
            if let Ok(lost) = lift(total, sum, Some(near)) {
                prop_assert!(lost <= near.saturating_add(WRAP));
                prop_assert_eq!(lost % WRAP, total.wrapping_sub(sum) % WRAP);
            }
        }
    }
}
