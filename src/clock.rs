//! Time as a value. The only file that may read a clock; everything else takes `now` or a [`Clock`].
//!
//! One time line serves the whole program: milliseconds since the Unix epoch that never step back. A step of the
//! machine's wall clock (NTP, an operator) would otherwise end calls or make them older than they are.

mod rfc3339;
mod wall_time;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use wall_time::WallTime;

/// A moment, in milliseconds since the Unix epoch (or since the first event of a replayed capture).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Before every event.
    pub const ZERO: Self = Self(0);
    /// After every event: "never".
    pub const MAX: Self = Self(u64::MAX);

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From seconds since the epoch, rounded to milliseconds; `None` if negative, not a number or past the year 9999.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    pub fn from_secs_f64(seconds: f64) -> Option<Self> {
        const YEAR_10000: f64 = 253_402_300_800.0;
        (0.0..YEAR_10000).contains(&seconds).then(|| Self((seconds * 1000.0).round() as u64))
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Seconds since the epoch, as Prometheus wants them.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The moment `duration` later; [`Timestamp::MAX`] past the end of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// The moment `duration` earlier; [`Timestamp::ZERO`] before the beginning.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// The beginning of this second.
    #[must_use]
    pub const fn whole_second(self) -> Self {
        Self(self.0 - self.0 % 1000)
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Something that knows the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present moment; never earlier than an answer given before.
    fn now(&self) -> Timestamp;

    /// A moment of this time line by the wall clock, for time stamps that are shown to people.
    ///
    /// The wall clock may step; `now` may not. The difference stays the same to the millisecond until it steps.
    fn to_wall(&self, moment: Timestamp) -> Timestamp {
        moment
    }

    /// The time since the machine was booted, with the time that it was suspended: to measure what passes between two
    /// processes of one boot.
    fn since_boot(&self) -> Duration {
        self.now().since(Timestamp::ZERO)
    }
}

/// The machine's clocks: a time line that begins at the wall clock, or where an earlier process was, carried on by the
/// monotonic clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    started_at: Timestamp,
    /// Milliseconds that the wall clock is ahead of this time line.
    ahead: AtomicI64,
}

impl SystemClock {
    /// Starts the time line now, at the wall clock.
    pub fn new() -> Self {
        Self::continuing(read_wall())
    }

    /// Starts the time line now, at a moment of an earlier process'.
    #[expect(clippy::disallowed_methods, reason = "this is the one file that reads clocks")]
    pub fn continuing(at: Timestamp) -> Self {
        let ahead = ahead(at, read_wall());
        Self { started: Instant::now(), started_at: at, ahead: AtomicI64::new(ahead) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.started_at.plus(self.started.elapsed())
    }

    fn to_wall(&self, moment: Timestamp) -> Timestamp {
        // Less is the drift of the two clocks and the time between looking at one and the other: following it would
        // make the time stamps of things that do not change tremble.
        const STEP: u64 = 1000;
        let (now, wall) = (self.now(), read_wall());
        let ahead = ahead(now, wall);
        if ahead.abs_diff(self.ahead.load(Ordering::Relaxed)) > STEP {
            self.ahead.store(ahead, Ordering::Relaxed);
        }
        Timestamp(moment.0.saturating_add_signed(self.ahead.load(Ordering::Relaxed)))
    }

    fn since_boot(&self) -> Duration {
        let time = rustix::time::clock_gettime(BOOT_CLOCK);
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec)) else {
            return Duration::ZERO;
        };
        Duration::new(seconds, nanos)
    }
}

/// Microseconds of the monotonic clock, by which a service manager orders what it asked for and what it is told.
pub fn monotonic_micros() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec)) else {
        return 0;
    };
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000)
}

/// The clock that counts from the boot.
#[cfg(any(target_os = "linux", target_os = "android"))]
const BOOT_CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const BOOT_CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

/// Milliseconds that `wall` is ahead of `now`.
const fn ahead(now: Timestamp, wall: Timestamp) -> i64 {
    wall.0.cast_signed().saturating_sub(now.0.cast_signed())
}

#[expect(clippy::disallowed_methods, reason = "this is the one file that reads clocks")]
fn read_wall() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(millis(since_epoch))
}

/// A clock that stands until it is moved: for replays and tests.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock standing at `at`.
    pub const fn at(at: Timestamp) -> Self {
        Self(AtomicU64::new(at.0))
    }

    /// Moves the clock to `to`; it never steps back.
    pub fn set(&self, to: Timestamp) {
        self.0.fetch_max(to.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let t = Timestamp::from_millis(1_500);
        assert_eq!(t.plus(Duration::from_secs(1)), Timestamp::from_millis(2_500));
        assert_eq!(t.minus(Duration::from_secs(2)), Timestamp::ZERO);
        assert_eq!(Timestamp::MAX.plus(Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(t.since(Timestamp::from_millis(500)), Duration::from_secs(1));
        assert_eq!(Timestamp::ZERO.since(t), Duration::ZERO);
    }

    #[test]
    fn seconds_are_rounded_to_milliseconds_and_bounded() {
        assert_eq!(Timestamp::from_secs_f64(0.0), Some(Timestamp::ZERO));
        assert_eq!(Timestamp::from_secs_f64(1.2346), Some(Timestamp::from_millis(1_235)));
        for absurd in [-0.001, f64::NAN, f64::INFINITY, 1e12] {
            assert_eq!(Timestamp::from_secs_f64(absurd), None, "{absurd}");
        }
    }

    #[test]
    fn the_manual_clock_never_steps_back() {
        let clock = ManualClock::at(Timestamp::from_millis(10));
        clock.set(Timestamp::from_millis(5));
        assert_eq!(clock.now(), Timestamp::from_millis(10));
    }

    #[test]
    fn a_time_line_goes_on_where_another_process_was_and_shows_the_wall_clock() {
        const HOUR: Duration = Duration::from_secs(3600);
        let wall = SystemClock::new().now();
        for (at, what) in [(wall.minus(HOUR), "behind"), (wall.plus(HOUR), "before"), (wall, "even")] {
            let clock = SystemClock::continuing(at);
            let now = clock.now();
            assert!(now >= at && now.since(at) < Duration::from_secs(60), "{what}: {now:?}");
            let shown = clock.to_wall(now);
            assert!(shown >= wall && shown.since(wall) < Duration::from_secs(60), "{what}: {shown:?}");
        }
    }

    #[test]
    fn the_time_since_the_boot_goes_on() {
        let clock = SystemClock::new();
        let before = clock.since_boot();
        assert!(before > Duration::ZERO && clock.since_boot() >= before, "{before:?}");
    }

    #[test]
    fn the_system_clock_follows_the_wall_by_steps() {
        let clock = SystemClock::new();
        let moment = clock.now();
        assert_eq!(clock.to_wall(moment), moment);
        // As if the wall clock had been set an hour ahead, and is found not to be.
        clock.ahead.store(3_600_000, Ordering::Relaxed);
        assert!(clock.to_wall(moment).since(moment) < Duration::from_secs(5), "a step is followed");
        clock.ahead.store(7, Ordering::Relaxed);
        assert_eq!(clock.to_wall(moment), moment.plus(Duration::from_millis(7)), "a tremble is not");
    }
}
