//! A moment as people read it: RFC 3339, UTC, milliseconds.

use std::time::{Duration, UNIX_EPOCH};

use super::{Timestamp, millis};

/// The last moment of the year 9999: RFC 3339 has four digits for the year.
const LAST: u64 = 253_402_300_799_999;

impl Timestamp {
    /// `2026-11-22T10:00:00.000Z`; a moment past the year 9999 becomes its last millisecond.
    pub fn rfc3339(self) -> String {
        let since_1970 = Duration::from_millis(self.as_millis().min(LAST));
        humantime::format_rfc3339_millis(UNIX_EPOCH + since_1970).to_string()
    }

    /// A moment in UTC, as `2026-11-22T10:00:00Z`; one before 1970 becomes its beginning. `None` where there is no such moment.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        match humantime::parse_rfc3339(text) {
            Ok(time) => Some(Self(millis(time.duration_since(UNIX_EPOCH).ok()?))),
            Err(humantime::TimestampError::OutOfRange) if text < "1970" => Some(Self::ZERO),
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_341_600_000, "2026-11-22T10:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (LAST, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).rfc3339(), text);
        }
    }

    #[test]
    fn a_moment_is_read_as_it_is_written() {
        let read = |text| Timestamp::from_rfc3339(text).map(Timestamp::as_millis);
        assert_eq!(read("2000-02-29T00:00:00Z"), Some(951_782_400_000));
        assert_eq!(read("9999-12-31T23:59:59.999Z"), Some(LAST));
        assert_eq!(read("1950-01-01T00:00:00Z"), Some(0));
        for none in ["2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01", ""] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
