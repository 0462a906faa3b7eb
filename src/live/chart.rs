//! Lines over time as SVG. Coordinates are whole numbers and colours are classes of the style sheet, so that the page
//! needs no style of its own.

use std::fmt::Write as _;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::escape::Html;

/// The time that charts show: from `now` back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    now: Timestamp,
    length: Duration,
}

/// The lengths that a window may have: with a short history, a long one would show a spot in a corner.
const MINUTES: [u64; 4] = [5, 15, 30, 60];

/// Two points that are further apart are not joined: the process or the machine stood still in between.
const GAP: Duration = Duration::from_secs(30);

impl Window {
    /// The shortest that shows everything since `first`.
    pub(super) fn since(first: Timestamp, now: Timestamp) -> Self {
        let age = now.since(first);
        let lengths = MINUTES.map(|minutes| Duration::from_secs(minutes * 60));
        let [.., longest] = lengths;
        let length = lengths.into_iter().find(|length| age <= *length).unwrap_or(longest);
        Self { now, length }
    }

    pub(super) const fn minutes(self) -> u64 {
        self.length.as_secs() / 60
    }

    /// How far from the left, out of `width`; `None` before the window.
    fn across(self, at: Timestamp, width: u64) -> Option<u64> {
        let ago = self.now.since(at);
        if ago > self.length {
            return None;
        }
        let left =
            u128::from(width) * self.length.saturating_sub(ago).as_millis() / self.length.as_millis().max(1);
        u64::try_from(left).ok()
    }
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// What it shows.
    pub(super) name: &'static str,
    /// Its class in the style sheet.
    pub(super) class: &'static str,
    /// In the order of time.
    pub(super) points: Vec<(Timestamp, u64)>,
}

impl Line {
    pub(super) fn now(&self) -> u64 {
        self.points.last().map_or(0, |(_, value)| *value)
    }

    pub(super) fn most(&self) -> u64 {
        self.points.iter().map(|(_, value)| *value).max().unwrap_or(0)
    }
}

/// A chart with axes.
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) lines: [Line; 2],
    /// The least that the axis goes up to.
    pub(super) least: u64,
    pub(super) text: fn(u64) -> String,
}

const WIDTH: u64 = 360;
const HEIGHT: u64 = 100;

impl Chart {
    pub(super) fn write(&self, out: &mut String, window: Window) {
        let Self { title, lines, least, text } = self;
        let top = round_up(lines.iter().map(Line::most).max().unwrap_or(0).max(*least));
        let _ = write!(out, "<figure>\n<figcaption>{title}<ul>");
        for line in lines {
            let _ = write!(
                out,
                "<li><svg class=\"key\" viewBox=\"0 0 24 10\" aria-hidden=\"true\"><path class=\"{}\" d=\"M0 5H24\"/></svg> {} {}</li>",
                line.class,
                line.name,
                text(line.now())
            );
        }
        let _ = write!(
            out,
            "</ul></figcaption>\n<div class=\"plot\"><div class=\"y\" aria-hidden=\"true\"><span>{}</span><span>{}</span><span>{}</span></div>",
            text(top),
            text(top / 2),
            text(0)
        );
        let spoken = lines
            .each_ref()
            .map(|line| format!("{} now {}, at most {}", line.name, text(line.now()), text(line.most())));
        let label = format!("{title}, last {} minutes: {}", window.minutes(), spoken.join("; "));
        begin_svg(out, "chart", WIDTH, HEIGHT, &label);
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M0 0H{WIDTH}M0 {}H{WIDTH}M0 {HEIGHT}H{WIDTH}\"/>",
            HEIGHT / 2
        );
        for line in lines {
            write_path(out, line.class, &line.points, window, (WIDTH, HEIGHT, top));
        }
        let _ = writeln!(
            out,
            "</svg></div>\n<div class=\"x\" aria-hidden=\"true\"><span>{} min ago</span><span>now</span></div>\n</figure>",
            window.minutes()
        );
    }
}

/// A line the size of a word, to its own scale. `label` is for those who do not see it.
pub(super) fn write_spark(
    out: &mut String,
    class: &str,
    points: &[(Timestamp, u64)],
    window: Window,
    label: &str,
) {
    const SIZE: (u64, u64) = (120, 24);
    let top = points.iter().map(|(_, value)| *value).max().unwrap_or(0).max(1);
    begin_svg(out, "spark", SIZE.0, SIZE.1, label);
    write_path(out, class, points, window, (SIZE.0, SIZE.1, top));
    out.push_str("</svg>");
}

fn begin_svg(out: &mut String, class: &str, width: u64, height: u64, label: &str) {
    let _ = write!(
        out,
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
        Html(label)
    );
}

/// Of several points in one place the largest is drawn, so that no peak is lost and no line is longer than it is wide.
fn write_path(
    out: &mut String,
    class: &str,
    points: &[(Timestamp, u64)],
    window: Window,
    (width, height, top): (u64, u64, u64),
) {
    let mut drawn: Vec<(Timestamp, u64, u64)> = Vec::new();
    for &(at, value) in points {
        let Some(x) = window.across(at, width) else { continue };
        match drawn.last_mut() {
            Some((last, same, most)) if *same == x => (*last, *most) = (at, value.max(*most)),
            _ => drawn.push((at, x, value)),
        }
    }
    if drawn.is_empty() {
        return;
    }
    let _ = write!(out, "<path class=\"{class}\" d=\"");
    let mut before: Option<Timestamp> = None;
    for (at, x, value) in drawn {
        let up = u128::from(value.min(top)) * u128::from(height) / u128::from(top.max(1));
        let y = height.saturating_sub(u64::try_from(up).unwrap_or(height));
        let is_joined = before.is_some_and(|before| at.since(before) <= GAP.max(window.length / 30));
        // `h0`: a point alone is a dot.
        let _ = if is_joined { write!(out, " {x} {y}") } else { write!(out, "M{x} {y}h0L{x} {y}") };
        before = Some(at);
    }
    out.push_str("\"/>");
}

/// The end of an axis: 2, 4, 6 or 10 times a power of ten, so that its half is a whole number too.
fn round_up(value: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for step in [2, 4, 6, 10] {
            let end = unit.saturating_mul(step);
            if end >= value {
                return end;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn path(points: &[(u64, u64)], now: u64) -> String {
        let points: Vec<_> = points.iter().map(|&(seconds, value)| (at(seconds), value)).collect();
        let window = Window::since(at(1000), at(now));
        let mut out = String::new();
        write_path(&mut out, "first", &points, window, (300, 100, 10));
        out
    }

    #[test]
    fn a_window_grows_with_the_history() {
        for (age, minutes) in [(0, 5), (300, 5), (301, 15), (1800, 30), (1801, 60), (3600, 60), (90_000, 60)]
        {
            assert_eq!(Window::since(at(1000), at(1000 + age)).minutes(), minutes, "{age}");
        }
    }

    #[test]
    fn time_goes_to_the_right_and_more_is_higher() {
        // Five minutes are 300 wide: a second is one.
        assert_eq!(
            path(&[(1000, 0), (1010, 5), (1020, 10)], 1020),
            "<path class=\"first\" d=\"M280 100h0L280 100 290 50 300 0\"/>"
        );
    }

    #[test]
    fn what_is_apart_is_not_joined_and_what_is_in_one_place_keeps_its_peak() {
        assert_eq!(
            path(&[(1000, 0), (1031, 10)], 1040),
            "<path class=\"first\" d=\"M260 100h0L260 100M291 0h0L291 0\"/>"
        );
        let close = [(at(1000), 1), (at(1000), 9), (at(1000), 4)];
        let mut out = String::new();
        write_path(&mut out, "first", &close, Window::since(at(1000), at(1000)), (300, 100, 10));
        assert_eq!(out, "<path class=\"first\" d=\"M300 10h0L300 10\"/>");
        assert_eq!(path(&[], 1000), "");
    }

    #[test]
    fn an_axis_ends_at_a_round_number_whose_half_is_whole() {
        for (value, end) in [
            (0, 2),
            (2, 2),
            (3, 4),
            (5, 6),
            (7, 10),
            (11, 20),
            (61, 100),
            (1_234_567, 2_000_000),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(round_up(value), end, "{value}");
        }
    }

    #[test]
    fn any_number_can_be_drawn() {
        let mut out = String::new();
        let window = Window::since(at(0), at(10));
        write_path(&mut out, "first", &[(at(10), u64::MAX)], window, (360, 100, u64::MAX));
        assert!(out.contains("M360 0"), "{out}");
    }
}
