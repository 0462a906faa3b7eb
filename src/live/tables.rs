//! The tables of the live page.

use std::fmt::Write as _;

use super::SiteFacts;
use super::chart::{Window, write_spark};
use super::history::{Figures, History, RealmHistory};
use super::look::{LastLook, ListenerNow, SERVERS, SourceNow};
use super::rates::PayloadRates;
use crate::escape::{Html, printable};
use crate::markup::CellKind::{Number, State, Word, Words};
use crate::markup::{ALLOCATIONS_PAGE, MarkupTable, UNKNOWN_SERVER, bits_per_second, count, span};
use crate::percent::encode;
use crate::state::{Cause, Orphan};

/// A name of the table, safe in HTML; `empty` stands for an empty one.
fn shown(name: &str, empty: &str) -> String {
    if name.is_empty() { empty.to_owned() } else { Html(&printable(name.as_bytes())).to_string() }
}

/// What stands for the realm of a coturn that has none.
const NO_REALM: &str = "(none)";

/// What tells the row of a thing from others.
fn key(kind: &str, names: &[&str]) -> String {
    names.iter().fold(kind.to_owned(), |key, name| format!("{key} {}", printable(name.as_bytes())))
}

/// A link to the allocations that `filter` lets pass, where there are such lists.
fn linked(site: &SiteFacts<'_>, filter: &str, value: &str, html: &str) -> String {
    if site.has_details && !value.is_empty() {
        format!("<a href=\"{ALLOCATIONS_PAGE}?{filter}={}\">{html}</a>", encode(value.as_bytes()))
    } else {
        html.to_owned()
    }
}

pub(super) fn realms(
    out: &mut String,
    site: &SiteFacts<'_>,
    look: &LastLook,
    history: &History,
    window: Window,
) {
    out.push_str("<h2>Realms</h2>\n");
    let all = history.realms();
    if all.is_empty() {
        out.push_str("<p>No realm has been seen yet.</p>\n");
        return;
    }
    let mut table = MarkupTable::begin(out, "Realms", "realms");
    table.headings(&[
        ("Realm", Word),
        ("Allocations", Number),
        ("Trend", Word),
        ("Sessions", Number),
        ("To clients", Number),
        ("To peers", Number),
        ("Leaked", Number),
    ]);
    table.body();
    for realm in all {
        write_realm(&mut table, site, history, realm, window);
    }
    if let (others @ 1.., figures) = look.others {
        table.row("", "others", "");
        table.row_heading("Realm", &format!("{} smaller", count(others)));
        numbers_of(&mut table, figures, None, "");
        table.end_row();
    }
    table.end();
}

fn write_realm(
    table: &mut MarkupTable<'_>,
    site: &SiteFacts<'_>,
    history: &History,
    realm: &RealmHistory,
    window: Window,
) {
    let figures: Vec<Figures> = realm.figures.iter().copied().collect();
    let points: Vec<_> =
        history.times(figures.len()).zip(figures.iter().map(|one| one.live.into())).collect();
    let name = shown(&realm.label, NO_REALM);
    let mut spark = String::new();
    let spoken = format!(
        "{} allocations now, at most {} in the last {} minutes",
        realm.now().live,
        realm.peak(),
        window.minutes()
    );
    write_spark(&mut spark, "first", &points, window, &spoken);
    table.row("", &key("realm", &[&realm.label]), "");
    table.row_heading("Realm", &linked(site, "realm", &realm.label, &name));
    numbers_of(table, realm.now(), Some(PayloadRates::of(history, &figures).now()), &spark);
    table.end_row();
}

fn numbers_of(table: &mut MarkupTable<'_>, now: Figures, rates: Option<(u64, u64)>, spark: &str) {
    let rate = |rate: Option<u64>| rate.map_or_else(|| "-".to_owned(), bits_per_second);
    let is_leaking = now.leaked() > 0;
    let leaked = count(now.leaked());
    let leaked = if is_leaking { format!("<strong class=\"bad\">{leaked}</strong>") } else { leaked };
    table.cell("Allocations", Number, &count(now.live.into()));
    table.cell("Trend", Word, spark);
    table.cell("Sessions", Number, &count(now.sessions.into()));
    table.cell("To clients", Number, &rate(rates.map(|(to_clients, _)| to_clients)));
    table.cell("To peers", Number, &rate(rates.map(|(_, to_peers)| to_peers)));
    table.cell("Leaked", Number, &leaked);
}

pub(super) fn leaks(out: &mut String, site: &SiteFacts<'_>, history: &History, window: Window) {
    out.push_str("<h2>Orphaned allocations</h2>\n");
    let mut table = MarkupTable::begin(out, "Orphaned allocations by reason", "leaks");
    table.headings(&[("Reason", Word), ("Now", Number), ("Trend", Word), ("Meaning", Words)]);
    table.body();
    for (at, (reason, class)) in Orphan::ALL.into_iter().zip(["leak", "leak2"]).enumerate() {
        let of = |figures: &Figures| u64::from(figures.orphans.get(at).copied().unwrap_or(0));
        let points: Vec<_> = history.points().iter().map(|point| (point.at, of(&point.all))).collect();
        let now = points.last().map_or(0, |(_, value)| *value);
        let most = points.iter().map(|(_, value)| *value).max().unwrap_or(0);
        let mut spark = String::new();
        let spoken = format!("{now} now, at most {most} in the last {} minutes", window.minutes());
        write_spark(&mut spark, class, &points, window, &spoken);
        table.row(if now > 0 { "wrong" } else { "" }, reason.as_str(), "");
        table.row_heading("Reason", &linked(site, "reason", reason.as_str(), reason.as_str()));
        table.cell("Now", Number, &count(now));
        table.cell("Trend", Word, &spark);
        let meaning = match reason {
            Orphan::Idle => {
                "a client keeps refreshing it and nobody uses it, as a web page that did not close its connection"
            }
            Orphan::Overdue => {
                "its lifetime passed and coturn has not reported its end: the server is gone, or the report was lost"
            }
        };
        table.cell("Meaning", Words, meaning);
        table.end_row();
    }
    table.end();
}

pub(super) fn ends(out: &mut String, history: &History, window: Window) {
    let _ = writeln!(out, "<h2>Ends in the last {} minutes</h2>", window.minutes());
    let mut table = MarkupTable::begin(out, "Ends of allocations by cause", "ends");
    table.headings(&[("Cause", Word), ("Ends", Number), ("Trend", Word), ("Meaning", Words)]);
    table.body();
    for (at, (cause, sum)) in Cause::ALL.into_iter().zip(history.ended()).enumerate() {
        let of = |ended: &[u32]| u64::from(ended.get(at).copied().unwrap_or(0));
        let points: Vec<_> = history.points().iter().map(|point| (point.at, of(&point.ended))).collect();
        let mut spark = String::new();
        let most = points.iter().map(|(_, value)| *value).max().unwrap_or(0);
        write_spark(&mut spark, "first", &points, window, &format!("at most {most} ends in 10 seconds"));
        table.row("", cause.as_str(), "");
        table.row_heading("Cause", cause.as_str());
        table.cell("Ends", Number, &count(sum));
        table.cell("Trend", Word, &spark);
        table.cell("Meaning", Words, meaning_of(cause));
        table.end_row();
    }
    table.end();
}

const fn meaning_of(cause: Cause) -> &'static str {
    match cause {
        Cause::Released => "the client closed it",
        Cause::Expired => "the client went away without a word",
        Cause::Disconnected => "its TCP or TLS connection closed, or coturn ended it",
        Cause::Replaced => "its server was restarted, or another one has its id",
        Cause::Missed => "its end was not seen: a gap, or a report that was lost",
        Cause::Abandoned => "coturn is gone, or never reported the end",
    }
}

pub(super) fn servers(out: &mut String, site: &SiteFacts<'_>, look: &LastLook) {
    out.push_str("<h2>Servers</h2>\n");
    if look.servers.is_empty() {
        out.push_str("<p>No TURN server has reported yet.</p>\n");
        return;
    }
    let mut table = MarkupTable::begin(out, "TURN servers", "servers");
    table.headings(&[("Server", Word), ("Allocations", Number), ("Last event", Number), ("Source", Words)]);
    table.body();
    for server in &look.servers {
        let name = shown(&server.label, UNKNOWN_SERVER);
        table.row("", &key("server", &[&server.source, &server.label]), "");
        table.row_heading("Server", &linked(site, "server", &server.label, &name));
        table.cell("Allocations", Number, &count(server.live));
        table.cell("Last event", Number, &format!("{} ago", span(server.silent)));
        table.cell("Source", Words, &shown(&server.source, ""));
        table.end_row();
    }
    table.end();
    if look.other_servers > 0 {
        let _ = writeln!(
            out,
            "<p>The {SERVERS} with the most allocations; {} more are among the metrics.</p>",
            count(look.other_servers)
        );
    }
}

pub(super) fn sources(out: &mut String, look: &LastLook) {
    out.push_str("<h2>Sources</h2>\n");
    let mut table = MarkupTable::begin(out, "Sources", "sources");
    table.headings(&[
        ("Source", Words),
        ("State", State),
        ("Allocations", Number),
        ("Events/s", Number),
        ("Last event", Number),
        ("Gaps", Number),
    ]);
    table.body();
    for source in &look.sources {
        let is_wrong = source.trouble.is_some()
            || !source.is_up
            || source.listener.is_some_and(|listener| listener.refused_clients > 0);
        table.row(if is_wrong { "wrong" } else { "" }, &key("source", &[&source.name]), "");
        table.row_heading("Source", &shown(&source.name, ""));
        table.cell("State", State, &Html(&state_of(source)).to_string());
        table.cell("Allocations", Number, &count(source.live));
        let rate = source.messages_per_second.map_or_else(|| "-".to_owned(), count);
        table.cell("Events/s", Number, &rate);
        let last =
            source.last_message.map_or_else(|| "none yet".to_owned(), |ago| format!("{} ago", span(ago)));
        table.cell("Last event", Number, &last);
        table.cell("Gaps", Number, &count(source.gaps));
        table.end_row();
    }
    table.end();
}

fn state_of(source: &SourceNow) -> String {
    if source.trouble.is_some() || !source.is_up {
        return "down".to_owned();
    }
    match source.listener {
        Some(ListenerNow { connections, refused_clients, .. }) => {
            let refused = match refused_clients {
                0 => String::new(),
                some => format!("; {} client address(es) refused for their password", count(some)),
            };
            format!("up, {} of coturn's connections{refused}", count(connections))
        }
        None => "up, subscribed".to_owned(),
    }
}
