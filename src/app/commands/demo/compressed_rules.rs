//! Rules for a clock that runs faster: their ranges, waits and intervals divided. Pure.

/// Shorter than this no range has two scrapes in it.
const SHORTEST_RANGE: u64 = 5;

/// The rules with every duration in brackets, behind `for:`, `interval:` or `offset` divided by `speed`.
pub(super) fn compressed(rules: &str, speed: u32) -> String {
    let speed = u64::from(speed);
    let mut out = String::with_capacity(rules.len());
    for line in rules.lines() {
        let key = line.trim_start().split(':').next().unwrap_or_default();
        if matches!(key, "for" | "interval" | "keep_firing_for") {
            out.push_str(&divided(line, speed, 1));
        } else {
            out.push_str(&in_brackets(line, speed));
        }
        out.push('\n');
    }
    out
}

/// The line with the durations in its brackets, and behind `offset`, divided.
fn in_brackets(line: &str, speed: u64) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(open) = rest.find('[') {
        let (before, behind) = rest.split_at(open);
        let (range, after) = behind.split_at(behind.find(']').map_or(behind.len(), |close| close + 1));
        out.push_str(&behind_offset(before, speed));
        out.push_str(&divided(range, speed, SHORTEST_RANGE));
        rest = after;
    }
    out + &behind_offset(rest, speed)
}

/// The text with the durations behind `offset` divided.
fn behind_offset(text: &str, speed: u64) -> String {
    let mut parts = text.split("offset ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(part.len());
        let (duration, after) = part.split_at(end);
        out.extend(["offset ", &divided(duration, speed, 1), after]);
    }
    out
}

/// The text with each duration of one unit (`90s`, `5m`, `1h`, `7d`) divided, `shortest` seconds at least.
fn divided(text: &str, speed: u64, shortest: u64) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let (before, behind) = rest.split_at(start);
        let end = behind.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(behind.len());
        let (digits, after) = behind.split_at(end);
        out.push_str(before);
        if let (Ok(number), Some(unit)) = (digits.parse::<u64>(), after.chars().next().and_then(seconds)) {
            out.push_str(&(number * unit / speed).max(shortest).to_string());
            out.push('s');
            rest = after.get(1..).unwrap_or_default();
        } else {
            out.push_str(digits);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

const fn seconds(unit: char) -> Option<u64> {
    match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        'w' => Some(604_800),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_are_divided() {
        let rules = "interval: 30s\n  for: 75m\n    expr: rate(a_total[1h]) > 5 offset 2h and b{c=\"[4h]x\"} >= 3600\n\
                     summary: an hour (1h)\n";
        let expected = "interval: 1s\n  for: 37s\n    expr: rate(a_total[30s]) > 5 offset 60s and b{c=\"[120s]x\"} >= 3600\n\
                        summary: an hour (1h)\n";
        assert_eq!(compressed(rules, 120), expected);
    }

    #[test]
    fn a_range_has_room_for_scrapes() {
        assert_eq!(compressed("x[5m]\n", 120), "x[5s]\n");
        assert_eq!(compressed("x[6h:1m]\n", 120), "x[180s:5s]\n");
    }
}
