//! Between the records of the table and the rows of a session.

use rusqlite::types::Value;

use crate::clock::{Timestamp, WallTime};
use crate::state::sums_to_numbers;
use crate::wire::{ByLeg, Traffic, turn_rest};

/// A moment of the table's clock in milliseconds since 1970 by the wall clock; the two ends of time stay where they are.
pub(in crate::store) fn millis(times: WallTime, moment: Timestamp) -> i64 {
    let is_end = moment == Timestamp::ZERO || moment == Timestamp::MAX;
    let moved = if is_end { moment } else { times.of(moment) };
    wall_millis(moved)
}

/// A moment of the wall clock as the file has it.
pub(in crate::store) fn wall_millis(moment: Timestamp) -> i64 {
    i64::try_from(moment.as_millis()).unwrap_or(i64::MAX)
}

/// A moment of the wall clock that the file has.
pub(in crate::store) fn moment(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(in crate::store) const NOTHING: ByLeg<Traffic> = ByLeg { client: Traffic::ZERO, peer: Traffic::ZERO };

/// More than that (8 PiB) nobody relays; it keeps what anybody may publish within SQLite's integers.
const MOST: u64 = 1 << 53;

/// What the sums have beyond those before, in the order of [`sums_to_numbers`].
pub(in crate::store) fn added(now: &ByLeg<Traffic>, before: &ByLeg<Traffic>) -> [i64; 8] {
    let mut added = [0; 8];
    for (place, (now, before)) in
        added.iter_mut().zip(sums_to_numbers(now).iter().zip(sums_to_numbers(before)))
    {
        *place = now.saturating_sub(before).min(MOST).cast_signed();
    }
    added
}

pub(in crate::store) fn serial(number: u64) -> i64 {
    number.cast_signed()
}

/// Text where it is some, for whoever looks into the file.
pub(in crate::store) fn name(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Blob(bytes.to_owned()),
    }
}

/// Of a TURN REST name the user id, else the whole name.
pub(in crate::store) fn user_id(user: &[u8], rest_separator: u8) -> Value {
    name(turn_rest::user_id(user, rest_separator).unwrap_or(user))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Volume;

    #[test]
    fn nothing_is_taken_away() {
        let volume = Volume { bytes: 1, packets: 0 };
        let all = ByLeg { client: Traffic { received: volume, sent: Volume::ZERO }, ..NOTHING };
        assert_eq!(added(&all, &NOTHING), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(added(&NOTHING, &all), [0; 8]);
    }

    #[test]
    fn moments_follow_the_wall() {
        let at = Timestamp::from_millis;
        let times = WallTime { now: at(1000), wall: at(5000) };
        assert_eq!(millis(times, at(900)), 4900);
        assert_eq!(millis(times, at(1300)), 5300);
        assert_eq!(millis(times, Timestamp::ZERO), 0);
        assert_eq!(millis(times, Timestamp::MAX), i64::MAX);
        assert_eq!(moment(-5), Timestamp::ZERO);
    }
}
