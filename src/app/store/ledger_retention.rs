//! When sessions that are too old may leave the ledger. Pure: both clocks are arguments.
//!
//! How old a session is, the wall clock says, and that may be wrong: set by hand, by a host that was restored, by a time
//! server that lies. Two rules keep a wrong clock from emptying the ledger:
//!
//! - While the wall clock and the monotonic one disagree nothing goes: after a jump of more than an hour, not before they
//!   have gone side by side for a day. (A machine that was suspended looks like that too.)
//! - No more than a tenth goes at once without notice: a day before, a line in the log says how many there are. That covers
//!   a clock that is wrong from the start, and a `--store.retention` with a digit too few.

use std::time::Duration;

use crate::clock::Timestamp;

/// Time servers mend less than this.
const JUMP: Duration = Duration::from_secs(3600);

/// How long the clocks must agree after a jump, and how long before it a large part is announced.
const NOTICE: Duration = Duration::from_secs(24 * 3600);

/// So few sessions go without notice, whatever part of the ledger they are.
pub(super) const FEW: u64 = 100;

/// A part of the ledger above one in so many is large.
pub(super) const LARGE: u64 = 10;

/// What is to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetentionNotice {
    /// The wall clock has jumped; nothing goes until the clocks have agreed for a day.
    Jumped {
        /// By so much; ahead or back.
        by: Duration,
    },
    /// The clocks agree again.
    Agreed,
    /// So many sessions go in a day.
    Announced {
        /// How many are too old now.
        sessions: u64,
    },
}

/// What the clocks and the ledger were like when it was last asked.
#[derive(Debug)]
pub(super) struct RetentionGuard {
    /// How far the wall clock was ahead of the monotonic one, in milliseconds.
    ahead: i64,
    waits_until: Option<Timestamp>,
    announced: Option<Timestamp>,
}

impl RetentionGuard {
    pub(super) const fn new(now: Timestamp, wall: Timestamp) -> Self {
        Self { ahead: ahead(now, wall), waits_until: None, announced: None }
    }

    /// Looks at the clocks; whether the wall clock may be believed.
    pub(super) fn look(&mut self, now: Timestamp, wall: Timestamp) -> (bool, Option<RetentionNotice>) {
        let by = Duration::from_millis(ahead(now, wall).abs_diff(self.ahead));
        if by > JUMP {
            self.ahead = ahead(now, wall);
            // What was found too old by the clock as it was is to be looked at anew.
            self.announced = None;
            let was_waiting = self.waits_until.replace(now.plus(NOTICE)).is_some();
            return (false, (!was_waiting).then_some(RetentionNotice::Jumped { by }));
        }
        match self.waits_until {
            Some(until) if now < until => (false, None),
            Some(_) => {
                self.waits_until = None;
                (true, Some(RetentionNotice::Agreed))
            }
            None => (true, None),
        }
    }

    /// Whether sessions may go now, of which there are so many; `is_large` if they are a large part of the ledger.
    pub(super) fn may_go(
        &mut self,
        now: Timestamp,
        sessions: u64,
        is_large: bool,
    ) -> (bool, Option<RetentionNotice>) {
        if sessions <= FEW || !is_large {
            self.announced = None;
            return (true, None);
        }
        if let Some(at) = self.announced {
            return (now.since(at) >= NOTICE, None);
        }
        self.announced = Some(now);
        (false, Some(RetentionNotice::Announced { sessions }))
    }
}

const fn ahead(now: Timestamp, wall: Timestamp) -> i64 {
    wall.as_millis().cast_signed().saturating_sub(now.as_millis().cast_signed())
}

impl RetentionNotice {
    /// Writes its line.
    pub(super) fn log(self) {
        let day = NOTICE.as_secs();
        match self {
            Self::Jumped { by } => tracing::warn!(
                jump_seconds = by.as_secs(),
                wait_seconds = day,
                "the wall clock has jumped; nothing leaves the ledger until it has gone on evenly for a day: see that the \
                 clock is right"
            ),
            Self::Agreed => {
                tracing::info!("the wall clock has gone on evenly for a day; the ledger is swept again");
            }
            Self::Announced { sessions } => tracing::warn!(
                sessions,
                wait_seconds = day,
                flag = "--store.retention",
                "a large part of the ledger is too old by the wall clock and leaves it in a day; if that is not meant, \
                 mend the clock or the flag and restart"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// The wall clock is so many seconds ahead.
    fn look(sweeping: &mut RetentionGuard, seconds: u64, ahead: u64) -> (bool, Option<RetentionNotice>) {
        sweeping.look(at(seconds), at(seconds + ahead))
    }

    #[test]
    fn after_a_jump_nothing_goes_until_the_clocks_have_agreed_for_a_day() {
        let year = 365 * DAY;
        let mut sweeping = RetentionGuard::new(at(100_000), at(100_000));
        assert_eq!(look(&mut sweeping, 100_060, 3599), (true, None), "a time server mended it");
        let jumped = RetentionNotice::Jumped { by: Duration::from_secs(year) };
        assert_eq!(look(&mut sweeping, 100_120, year), (false, Some(jumped)));
        // Back after a minute: that is a jump as well, and no news.
        assert_eq!(look(&mut sweeping, 100_180, 0), (false, None));
        assert_eq!(look(&mut sweeping, 100_179 + DAY, 0), (false, None));
        assert_eq!(look(&mut sweeping, 100_180 + DAY, 0), (true, Some(RetentionNotice::Agreed)));
        assert_eq!(look(&mut sweeping, 100_240 + DAY, 0), (true, None));
        // One that stays is believed after a day.
        assert!(look(&mut sweeping, 300_000, 7200).1.is_some());
        assert_eq!(look(&mut sweeping, 300_000 + DAY, 7200), (true, Some(RetentionNotice::Agreed)));
        // Many small steps are one jump.
        let steps = (1..=4).map(|step| look(&mut sweeping, 500_000 + step, 7200 + 1000 * step).0);
        assert_eq!(steps.collect::<Vec<_>>(), [true, true, true, false]);
    }

    #[test]
    fn a_large_part_goes_a_day_after_it_was_announced() {
        let mut sweeping = RetentionGuard::new(at(0), at(0));
        assert_eq!(sweeping.may_go(at(60), FEW, true), (true, None));
        assert_eq!(sweeping.may_go(at(60), 100_000, false), (true, None));
        let announced = RetentionNotice::Announced { sessions: 1000 };
        assert_eq!(sweeping.may_go(at(60), 1000, true), (false, Some(announced)));
        assert_eq!(sweeping.may_go(at(59 + DAY), 1000, true), (false, None));
        assert_eq!(sweeping.may_go(at(60 + DAY), 1000, true), (true, None));
        // It was the clock: nothing is too old any more, and the next time is another one.
        assert_eq!(sweeping.may_go(at(120 + DAY), 0, false), (true, None));
        assert!(sweeping.may_go(at(180 + DAY), 1000, true).1.is_some());
    }
}
