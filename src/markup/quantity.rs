//! Durations, sizes, rates and counts as text for people.

use std::time::Duration;

/// `5 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: u64, unit: &str, small: u64, smaller: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {smaller}"),
    };
    match () {
        () if days > 0 => two(days, "d", hours % 24, "h"),
        () if hours > 0 => two(hours, "h", minutes % 60, "min"),
        () if minutes > 0 => two(minutes, "min", seconds % 60, "s"),
        () => format!("{seconds} s"),
    }
}

/// `512 B`, `1.5 kB`, `23 MB`: powers of a thousand.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes, "B", ["kB", "MB", "GB", "TB", "PB", "EB"])
}

/// `512 bit/s`, `1.5 kbit/s`, `23 Mbit/s`: powers of a thousand.
pub fn bits_per_second(bits: u64) -> String {
    scaled(bits, "bit/s", ["kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s", "Ebit/s"])
}

/// `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn scaled(amount: u64, unit: &str, units: [&str; 6]) -> String {
    if amount < 1000 {
        return format!("{amount} {unit}");
    }
    // In tenths of the unit, rounded down, so that no size is shown larger than it is.
    let mut tenths = amount / 100;
    let mut units = units.into_iter();
    let mut unit = units.next().unwrap_or_default();
    while tenths >= 10_000
        && let Some(larger) = units.next()
    {
        (tenths, unit) = (tenths / 1000, larger);
    }
    if tenths < 100 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", tenths / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (200, "3 min 20 s"),
            (3600, "1 h"),
            (7500, "2 h 5 min"),
            (86_400 * 3 + 3600 * 4 + 59, "3 d 4 h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn sizes() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1599, "1.5 kB"),
            (9999, "9.9 kB"),
            (10_000, "10 kB"),
            (999_999, "999 kB"),
            (1_000_000, "1.0 MB"),
            (86_544_287, "86 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn rates_and_counts() {
        for (bits, text) in [(0, "0 bit/s"), (1500, "1.5 kbit/s"), (2_400_000, "2.4 Mbit/s")] {
            assert_eq!(bits_per_second(bits), text);
        }
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")]
        {
            assert_eq!(count(number), text);
        }
    }
}
