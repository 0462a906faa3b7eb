//! The plain values: numbers, durations, paths and words, each from its text. Says what it accepts; reads nothing.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{ConfigError, LogFormat, LogLevel, UsageColumns, UsageFormat, UsageTime};
use crate::clock::Timestamp;
use crate::metrics::DisabledFamilies;
use crate::metrics::names::{self, Family};
use crate::state::SessionBy;
use crate::store::ledger::{By, FIGURES};

/// A whole number within `range`.
///
/// # Errors
///
/// [`ConfigError::Count`].
pub fn count(value: &str, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
    let number = value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten();
    number.filter(|number| range.contains(number)).ok_or_else(|| ConfigError::Count {
        value: value.to_owned(),
        min: *range.start(),
        max: *range.end(),
    })
}

/// A whole number of things held in memory, within `range`.
///
/// # Errors
///
/// [`ConfigError::Count`].
pub fn size(value: &str, range: RangeInclusive<u64>) -> Result<usize, ConfigError> {
    count(value, range).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

/// A duration with its unit (`90s`, `1h 30m`), zero included.
///
/// # Errors
///
/// [`ConfigError::Duration`], [`ConfigError::NoUnit`].
pub fn duration(value: &str) -> Result<Duration, ConfigError> {
    humantime::parse_duration(value).map_err(|_| {
        let (is_number, value) = (value.bytes().all(|byte| byte.is_ascii_digit()), value.to_owned());
        if is_number && !value.is_empty() {
            ConfigError::NoUnit { value }
        } else {
            ConfigError::Duration { value }
        }
    })
}

/// A duration longer than zero.
///
/// # Errors
///
/// As [`duration`]; [`ConfigError::ZeroDuration`].
pub fn positive_duration(value: &str) -> Result<Duration, ConfigError> {
    let duration = duration(value)?;
    if duration < Duration::from_millis(1) {
        return Err(ConfigError::ZeroDuration { value: value.to_owned() });
    }
    Ok(duration)
}

/// A family that may be left off the page, by its name.
///
/// # Errors
///
/// [`ConfigError::UnknownFamily`], [`ConfigError::RequiredFamily`].
pub fn disabled_family(value: &str) -> Result<Family, ConfigError> {
    let name = value.trim();
    let family = names::named(name).ok_or_else(|| ConfigError::UnknownFamily {
        value: name.to_owned(),
        near: names::near(name).join(", "),
    })?;
    if DisabledFamilies::REQUIRED.contains(&family) {
        return Err(ConfigError::RequiredFamily { value: name.to_owned() });
    }
    Ok(family)
}

/// A moment of a capture, in seconds on its own time line.
///
/// # Errors
///
/// [`ConfigError::Seconds`].
pub fn seconds(value: &str) -> Result<Timestamp, ConfigError> {
    let number = value.parse().ok().and_then(Timestamp::from_secs_f64);
    number.ok_or_else(|| ConfigError::Seconds { value: value.to_owned() })
}

/// A moment: a day (its beginning), a time of RFC 3339, or a duration before now.
///
/// # Errors
///
/// [`ConfigError::Moment`].
pub fn moment(value: &str) -> Result<UsageTime, ConfigError> {
    let date = value.len() == 10 && value.contains('-');
    let written = if date { format!("{value}T00:00:00Z") } else { value.to_owned() };
    if let Ok(time) = humantime::parse_rfc3339(&written) {
        let since_1970 = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        return Ok(UsageTime::At(Timestamp::ZERO.plus(since_1970)));
    }
    let ago = humantime::parse_duration(value).map(UsageTime::Ago);
    ago.map_err(|_| ConfigError::Moment { value: value.to_owned() })
}

/// One of a few words. Not clap's `ValueEnum`: clap would refuse a variable that is set but empty, which counts as not set.
fn choice<T: Copy>(value: &str, words: &[(&str, T)]) -> Result<T, ConfigError> {
    let found = words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| ConfigError::Choice {
        value: value.to_owned(),
        accepted: words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", "),
    })
}

/// What usage is summed by.
///
/// # Errors
///
/// [`ConfigError::Choice`].
pub fn usage_by(value: &str) -> Result<By, ConfigError> {
    choice(value, &By::ALL.map(|by| (by.as_str(), by)))
}

/// What the answer of `usage` looks like.
///
/// # Errors
///
/// [`ConfigError::Choice`].
pub fn usage_format(value: &str) -> Result<UsageFormat, ConfigError> {
    choice(value, &[("table", UsageFormat::Table), ("csv", UsageFormat::Csv), ("json", UsageFormat::Json)])
}

/// A log level.
///
/// # Errors
///
/// [`ConfigError::Choice`].
pub fn log_level(value: &str) -> Result<LogLevel, ConfigError> {
    let words = [
        ("debug", LogLevel::Debug),
        ("info", LogLevel::Info),
        ("warn", LogLevel::Warn),
        ("error", LogLevel::Error),
    ];
    choice(value, &words)
}

/// A log format.
///
/// # Errors
///
/// [`ConfigError::Choice`].
pub fn log_format(value: &str) -> Result<LogFormat, ConfigError> {
    choice(value, &[("logfmt", LogFormat::Logfmt), ("json", LogFormat::Json)])
}

/// On or off.
///
/// # Errors
///
/// [`ConfigError::Choice`].
pub fn switch(value: &str) -> Result<bool, ConfigError> {
    choice(value, &[("true", true), ("false", false)])
}

/// Whose allocations form a session.
///
/// # Errors
///
/// [`ConfigError::Choice`].
pub fn session_by(value: &str) -> Result<SessionBy, ConfigError> {
    choice(value, &[("user", SessionBy::User), ("client", SessionBy::Client)])
}

/// What coturn's `rest-api-separator` may be, and is of use: one visible character of ASCII that is no digit.
///
/// # Errors
///
/// [`ConfigError::Separator`].
pub fn separator(value: &str) -> Result<u8, ConfigError> {
    match value.as_bytes() {
        // coturn takes one byte. A digit would be part of the timestamp.
        &[byte] if byte.is_ascii_graphic() && !byte.is_ascii_digit() => Ok(byte),
        _ => Err(ConfigError::Separator { value: value.to_owned() }),
    }
}

/// The name of a host, in lower case: as DNS has them, without a port.
///
/// # Errors
///
/// [`ConfigError::HostName`].
pub fn host_name(value: &str) -> Result<String, ConfigError> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let name = value.strip_suffix('.').unwrap_or(value);
    // Between two dots stands something.
    if name.len() > 253 || !name.bytes().all(is_fit) || name.split('.').any(str::is_empty) {
        return Err(ConfigError::HostName { value: value.to_owned() });
    }
    Ok(name.to_ascii_lowercase())
}

/// How many times as fast as the clock.
///
/// # Errors
///
/// [`ConfigError::Speed`].
pub fn speed(value: &str) -> Result<f64, ConfigError> {
    let factor = value.trim().parse().ok().filter(|factor| (0.01..=1000.0).contains(factor));
    factor.ok_or_else(|| ConfigError::Speed { value: value.to_owned() })
}

/// A TCP port to listen on.
///
/// # Errors
///
/// [`ConfigError::Count`].
pub fn port(value: &str) -> Result<u16, ConfigError> {
    count(value, 1..=u16::MAX.into()).map(|port| u16::try_from(port).unwrap_or(u16::MAX))
}

/// Host and port of something to connect to.
///
/// # Errors
///
/// [`ConfigError::HostAndPort`].
pub fn host_and_port(value: &str) -> Result<String, ConfigError> {
    let parts = value.trim().rsplit_once(':');
    let is_good =
        parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    if is_good {
        Ok(value.trim().to_owned())
    } else {
        Err(ConfigError::HostAndPort { value: value.to_owned() })
    }
}

/// Columns of `usage`: all if it is `wide`, the usual ones if none is named.
///
/// # Errors
///
/// [`ConfigError::UsageColumn`].
pub fn usage_columns(names: &[String], wide: bool) -> Result<UsageColumns, ConfigError> {
    if wide {
        return Ok(UsageColumns::These((0..FIGURES.len()).collect()));
    }
    if names.is_empty() {
        return Ok(UsageColumns::Usual);
    }
    let place = |name: &String| {
        let place = FIGURES.iter().position(|figure| figure.name == name.trim());
        place.ok_or_else(|| ConfigError::UsageColumn {
            value: name.clone(),
            accepted: FIGURES.map(|figure| figure.name).join(", "),
        })
    };
    names.iter().map(place).collect::<Result<_, _>>().map(UsageColumns::These)
}

/// The name of an exporter.
///
/// # Errors
///
/// [`ConfigError::ExporterName`].
pub fn exporter_name(value: &str) -> Result<String, ConfigError> {
    let name = value.trim();
    let is_good = (1..=200).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if is_good { Ok(name.to_owned()) } else { Err(ConfigError::ExporterName { value: value.to_owned() }) }
}

/// The name of this host; `coturn-exporter` where it has none.
pub fn name_of_host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    exporter_name(&name).unwrap_or_else(|_| "coturn-exporter".to_owned())
}

/// Host and port of the URL of a web hook.
///
/// # Errors
///
/// [`ConfigError::WebhookUrl`], without what may be secret in the URL.
pub fn host_of_web_hook(url: &str) -> Result<String, ConfigError> {
    let (rest, port) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, 443),
        (None, Some(rest)) => (rest, 80),
        (None, None) => return Err(ConfigError::WebhookUrl { host: String::new() }),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let is_host = |host: &str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
    };
    let port_of = |host: &str| host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    match host.rsplit_once(':') {
        _ if !is_host(host) => Err(ConfigError::WebhookUrl { host: host.to_owned() }),
        Some((_, behind)) if !behind.contains(']') => match port_of(host) {
            Some(1..) => Ok(host.to_ascii_lowercase()),
            _ => Err(ConfigError::WebhookUrl { host: host.to_owned() }),
        },
        _ => Ok(format!("{}:{port}", host.to_ascii_lowercase())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_days_times_or_durations() {
        let at = |millis| UsageTime::At(Timestamp::from_millis(millis));
        for (value, expected) in [
            ("1970-01-02", at(86_400_000)),
            ("1970-01-01T00:00:01.5Z", at(1500)),
            ("7d", UsageTime::Ago(Duration::from_secs(7 * 86_400))),
        ] {
            assert_eq!(moment(value).unwrap(), expected, "{value}");
        }
        for value in ["", "yesterday", "2026-13-01", "12", "1969-12-31x"] {
            assert!(moment(value).unwrap_err().to_string().contains("is not a moment"), "{value}");
        }
    }

    #[test]
    fn counts_are_digits_within_their_range() {
        assert_eq!(count("1", 1..=5).unwrap(), 1);
        assert_eq!(size("5", 1..=5).unwrap(), 5);
        for value in ["0", "6", "", "x", "-1", "+1", "1.0", " 1", "99999999999999999999999"] {
            let error = count(value, 1..=5).unwrap_err().to_string();
            assert_eq!(error, format!("{value:?} is not a whole number from 1 to 5"));
        }
    }

    #[test]
    fn durations_have_units_and_may_have_to_be_more_than_zero() {
        assert_eq!(positive_duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("1h 30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(duration("0s").unwrap(), Duration::ZERO);
        for value in ["", "s", "-1s", "-1", "1.5", "1 fortnight", "99999999999999999999s"] {
            assert!(matches!(duration(value), Err(ConfigError::Duration { .. })), "{value}");
        }
        // In seconds or in days: a guess could delete a ledger.
        for value in ["90", "3600"] {
            let error = positive_duration(value).unwrap_err().to_string();
            assert!(error.contains(&format!("has no unit; write {value}s")), "{error}");
        }
        for value in ["0s", "0ms", "1us"] {
            assert!(matches!(positive_duration(value), Err(ConfigError::ZeroDuration { .. })), "{value}");
        }
    }

    #[test]
    fn seconds_of_a_capture_may_have_fractions() {
        assert_eq!(seconds("12.5").unwrap(), Timestamp::from_millis(12_500));
        for value in ["", "-1", "NaN", "inf", "1e30", "90s"] {
            assert!(matches!(seconds(value), Err(ConfigError::Seconds { .. })), "{value}");
        }
    }

    #[test]
    fn a_separator_is_one_character_that_is_no_digit() {
        for (value, byte) in [(":", b':'), ("|", b'|'), ("-", b'-'), ("_", b'_'), ("x", b'x')] {
            assert_eq!(separator(value).unwrap(), byte);
        }
        for value in ["", "::", "1", " ", "\t", "é", "\u{7f}"] {
            let error = separator(value).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{value:?} is not a separator")), "{error}");
        }
    }

    #[test]
    fn a_host_name_has_no_port_and_no_path() {
        assert_eq!(host_name("TURN.example.org.").unwrap(), "turn.example.org");
        for value in [
            "",
            ".",
            "a..",
            ".a",
            "a..b",
            "a b",
            "a:80",
            "http://a",
            "a/b",
            "*",
            "[::1]",
            "ä",
            &"a".repeat(254),
        ] {
            let error = host_name(value).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{value:?} is not a host name")), "{error}");
        }
    }

    #[test]
    fn words_are_named_when_another_is_given() {
        assert_eq!(log_level("warn").unwrap(), LogLevel::Warn);
        assert!(switch("true").unwrap() && !switch("false").unwrap());
        assert!(switch("yes").is_err() && switch("1").is_err() && switch("").is_err());
        assert_eq!(log_format("json").unwrap(), LogFormat::Json);
        assert_eq!(session_by("client").unwrap(), SessionBy::Client);
        let error = log_level("INFO").unwrap_err().to_string();
        assert_eq!(error, r#""INFO" is not accepted; it must be one of debug, info, warn, error"#);
        assert!(log_format("text").is_err() && session_by("realm").is_err());
    }
}
