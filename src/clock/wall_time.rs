//! Moments of the program's time line by the wall clock.

use super::Timestamp;

/// One moment by both clocks: moves others from the program's time line onto the wall clock. The one definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallTime {
    /// The moment, on the program's time line.
    pub now: Timestamp,
    /// The same moment by the wall clock.
    pub wall: Timestamp,
}

impl WallTime {
    /// A moment of the program's time line by the wall clock.
    #[must_use]
    pub fn of(self, moment: Timestamp) -> Timestamp {
        if moment > self.now {
            self.wall.plus(moment.since(self.now))
        } else {
            self.wall.minus(self.now.since(moment))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_their_distance() {
        let at = Timestamp::from_millis;
        let times = WallTime { now: at(1000), wall: at(5000) };
        assert_eq!(
            (times.of(at(900)), times.of(at(1000)), times.of(at(1300))),
            (at(4900), at(5000), at(5300))
        );
    }
}
