//! The live page as HTML: complete as served. The script replaces what is inside of `#live`.
//!
//! Every text that is not written in this folder goes through [`Html`].

use std::fmt::Write as _;

use super::chart::{Chart, Line, Window};
use super::history::{Figures, History, INTERVAL, REALMS};
use super::look::LastLook;
use super::rates::PayloadRates;
use super::tables::{ends, leaks, realms, servers, sources};
use super::{SiteFacts, empty};
use crate::clock::Timestamp;
use crate::escape::Html;
use crate::markup::{ALLOCATIONS_PAGE, Document, LIVE_PAGE, SESSIONS_PAGE, bits_per_second, count};

/// The page.
pub(super) fn page(site: &SiteFacts<'_>, look: &LastLook, history: &History) -> String {
    let mut live = String::with_capacity(32 << 10);
    let latest = history.points().back();
    let now = latest.map(|point| point.at).unwrap_or_default();
    let first = history.points().front().map_or(now, |point| point.at);
    let window = Window::since(first, now);
    let rates = PayloadRates::of_all(history);
    empty::write_notices(&mut live, look);
    totals(&mut live, &latest.map(|point| point.all).unwrap_or_default(), &rates, look);
    charts(&mut live, history, &rates, window);
    realms(&mut live, site, look, history, window);
    leaks(&mut live, site, history, window);
    ends(&mut live, history, window);
    servers(&mut live, site, look);
    sources(&mut live, look);
    as_of(&mut live, look);
    document(site, &live)
}

/// The page before there are numbers.
pub(super) fn without_numbers(site: &SiteFacts<'_>, not_yet: Option<&str>) -> String {
    let mut live = String::new();
    let _ = match not_yet {
        Some(reason) => writeln!(
            live,
            "<div class=\"notice\" role=\"status\">\n<p>No metrics yet: {}.</p>\n</div>",
            Html(reason)
        ),
        None => {
            writeln!(live, "<div class=\"notice\" role=\"status\">\n<p>No metrics yet: starting.</p>\n</div>")
        }
    };
    document(site, &live)
}

fn document(site: &SiteFacts<'_>, live: &str) -> String {
    let mut links = vec![(LIVE_PAGE, "Live")];
    if site.has_details {
        links.extend([(ALLOCATIONS_PAGE, "Allocations"), (SESSIONS_PAGE, "Sessions")]);
    }
    links.push((site.telemetry_path, "Metrics"));
    let every = INTERVAL.as_secs();
    let main = format!(
        "<noscript><p class=\"notice\">Reload the page for newer numbers.</p></noscript>\n\
         <p id=\"trouble\" role=\"status\"></p>\n<div id=\"live\" data-every=\"{every}\">\n{live}</div>\n{}",
        footer(site)
    );
    let document = Document {
        heading: &site.about.name,
        title: &site.about.name,
        links: &links,
        here: LIVE_PAGE,
        head: "",
    };
    document.around(&main, true)
}

fn footer(site: &SiteFacts<'_>) -> String {
    let revision = match &site.about.revision {
        Some(revision) => format!(", revision <code>{}</code>", Html(revision)),
        None => String::new(),
    };
    let documentation = match &site.about.documentation {
        Some(address) => format!("\n<li><a href=\"{}\">Documentation</a></li>", Html(address)),
        None => String::new(),
    };
    let details = if site.has_details {
        String::new()
    } else {
        "\n<p class=\"faint\">Who holds which allocation is shown with <code>--web.enable-details</code>.</p>"
            .to_owned()
    };
    format!(
        "<footer>\n<p>Version {}{revision}</p>{details}\n<ul>\n\
         <li><a href=\"/-/healthy\">Health</a>: is the process serving?</li>\n\
         <li><a href=\"/-/ready\">Readiness</a>: does it see what it watches?</li>{documentation}\n</ul>\n</footer>\n",
        Html(&site.about.version)
    )
}

fn totals(out: &mut String, all: &Figures, rates: &PayloadRates, look: &LastLook) {
    let (to_clients, to_peers) = rates.now();
    let leaked = all.leaked();
    let class = if leaked > 0 { " class=\"bad\"" } else { "" };
    out.push_str("<ul class=\"totals\">\n");
    for (name, value, class) in [
        ("Allocations", count(all.live.into()), ""),
        ("Sessions", count(all.sessions.into()), ""),
        ("To clients", bits_per_second(to_clients), ""),
        ("To peers", bits_per_second(to_peers), ""),
        ("Leaked allocations", count(leaked), class),
        ("Realms", count(look.realms), ""),
    ] {
        let _ = writeln!(out, "<li>{name} <strong{class}>{value}</strong></li>");
    }
    out.push_str("</ul>\n");
}

fn charts(out: &mut String, history: &History, rates: &PayloadRates, window: Window) {
    let line = |name, class, of: fn(&Figures) -> u32| Line {
        name,
        class,
        points: history.points().iter().map(|point| (point.at, of(&point.all).into())).collect(),
    };
    let rate = |name, class, rates: &[u64]| Line {
        name,
        class,
        points: history.times(rates.len()).zip(rates.iter().copied()).collect::<Vec<(Timestamp, u64)>>(),
    };
    let all = [
        Chart {
            title: "Live",
            lines: [
                line("allocations", "first", |all| all.live),
                line("sessions", "second", |all| all.sessions),
            ],
            least: 2,
            text: count,
        },
        Chart {
            title: "Payload",
            lines: [
                rate("to clients", "first", &rates.to_clients),
                rate("to peers", "second", &rates.to_peers),
            ],
            least: 2000,
            text: bits_per_second,
        },
        Chart {
            title: "Orphaned allocations",
            lines: [
                line("idle", "leak", |all| all.orphans.first().copied().unwrap_or(0)),
                line("overdue", "leak2", |all| all.orphans.last().copied().unwrap_or(0)),
            ],
            least: 2,
            text: count,
        },
    ];
    out.push_str("<div class=\"charts\">\n");
    for chart in all {
        chart.write(out, window);
    }
    out.push_str("</div>\n");
}

fn as_of(out: &mut String, look: &LastLook) {
    let moment = look.wall.rfc3339();
    let time = moment.get(11..19).unwrap_or_default();
    let _ = writeln!(
        out,
        "<p class=\"faint\">As of <time datetime=\"{moment}\">{time} UTC</time>; a new point every {} s. Rates are means of \
         the last minute. Charts show at most the last hour, of the {REALMS} largest realms, and begin with the process: \
         Prometheus keeps the rest.</p>",
        INTERVAL.as_secs()
    );
}
