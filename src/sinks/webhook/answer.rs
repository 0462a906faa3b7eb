//! What an answer of a receiver means. Pure.

use std::time::{Duration, UNIX_EPOCH};

use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, StatusCode};

use crate::clock::Timestamp;

/// The longest wait that a receiver may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The events are the receiver's now.
    Taken,
    /// It does not want this body.
    Refused,
    /// It has not taken them; the same again later.
    Later,
}

impl Meaning {
    pub(super) fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200..=299 => Self::Taken,
            400 | 406 | 413 | 415 | 422 => Self::Refused,
            _ => Self::Later,
        }
    }
}

/// How long the receiver asks to be left alone: seconds or a date.
pub(super) fn retry_after(headers: &HeaderMap, wall: Timestamp) -> Duration {
    let value = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map_or("", str::trim);
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let wait = if is_number {
        // One that is too long to be read is also too long to be obeyed.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let until = httpdate::parse_http_date(value).ok();
        let until = until.and_then(|until| until.duration_since(UNIX_EPOCH).ok());
        until.map_or(Duration::ZERO, |until| until.saturating_sub(wall.since(Timestamp::ZERO)))
    };
    wait.min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn only_success_takes_and_only_complaints_about_the_body_refuse() {
        for (status, verdict) in [
            (200, Meaning::Taken),
            (202, Meaning::Taken),
            (204, Meaning::Taken),
            (301, Meaning::Later),
            (302, Meaning::Later),
            (304, Meaning::Later),
            (400, Meaning::Refused),
            (401, Meaning::Later),
            (403, Meaning::Later),
            (404, Meaning::Later),
            (406, Meaning::Refused),
            (408, Meaning::Later),
            (410, Meaning::Later),
            (413, Meaning::Refused),
            (415, Meaning::Refused),
            (422, Meaning::Refused),
            (429, Meaning::Later),
            (500, Meaning::Later),
            (503, Meaning::Later),
            (999, Meaning::Later),
        ] {
            assert_eq!(Meaning::of(StatusCode::from_u16(status).unwrap()), verdict, "{status}");
        }
    }

    #[test]
    fn a_receiver_may_ask_for_ten_minutes_at_most() {
        // 2026-11-22 10:00:00
        let wall = Timestamp::from_millis(1_795_341_600_000);
        for (value, seconds) in [
            ("", 0),
            ("0", 0),
            ("7", 7),
            (" 7 ", 7),
            ("601", 600),
            ("99999999999999999999999", 600),
            ("-1", 0),
            ("soon", 0),
            ("Sun, 22 Nov 2026 10:00:30 GMT", 30),
            ("Sun, 22 Nov 2026 09:00:00 GMT", 0),
            ("Mon, 23 Nov 2026 10:00:00 GMT", 600),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())]);
            assert_eq!(retry_after(&headers, wall), Duration::from_secs(seconds), "{value:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), wall), Duration::ZERO);
    }
}
