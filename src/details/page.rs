//! The page of the list of allocations: one table, complete as served. Its script only fetches it again and replaces the
//! part that changes, so the page works without scripts too.
//!
//! Every text that is not written in this file goes through [`Html`]; names go through [`printable`] before, so that
//! invisible characters are shown.

use std::fmt::Write as _;

use super::cursor;
use super::human::{bytes, span};
use super::list::{List, sort_text};
use super::query::{Query, encode};
use super::{Listing, PAGE};
use crate::clock::Timestamp;
use crate::escape::{Html, printable};
use crate::state::rows::{AllocationRow, Order, Sort};
use crate::state::{Orphan, Phase};

pub(super) const SCRIPT_PATH: &str = "/allocations.js";
pub(super) const STYLE_PATH: &str = "/allocations.css";
pub(super) const SCRIPT: &str = include_str!("page.js");
pub(super) const STYLE: &str = include_str!("page.css");

/// A column: its heading, its sort order, and whether a first click puts large values on top.
struct Column {
    heading: &'static str,
    sort: Option<Sort>,
    large_first: bool,
    is_number: bool,
}

const fn column(heading: &'static str, sort: Option<Sort>, is_number: bool) -> Column {
    Column { heading, sort, large_first: is_number, is_number }
}

const COLUMNS: [Column; 10] = [
    column("State", Some(Sort::Orphans), false),
    column("User", Some(Sort::User), false),
    column("Realm", Some(Sort::Realm), false),
    column("Age", Some(Sort::Age), true),
    column("Idle", Some(Sort::Idle), true),
    Column { heading: "Lifetime left", sort: Some(Sort::LifetimeLeft), large_first: false, is_number: true },
    column("Bytes", Some(Sort::Bytes), true),
    column("Rate", Some(Sort::Rate), true),
    column("Client", None, false),
    column("Server", None, false),
];

/// The page.
pub(super) fn page(listing: &Listing<AllocationRow>, query: &Query) -> String {
    let mut main = form(query);
    main.push_str("<div id=\"live\">\n");
    summary(&mut main, listing);
    if !listing.found.rows.is_empty() {
        table(&mut main, listing, query);
    }
    pages(&mut main, listing, query);
    main.push_str("</div>\n");
    document("Allocations", &main, true)
}

/// A page that says why there is none.
pub(super) fn error(sentence: &str) -> String {
    let main = format!(
        "<p role=\"alert\">This query cannot be answered: {}.</p>\n<p><a href=\"{PAGE}\">All allocations</a></p>\n",
        Html(&plain_sentence(sentence))
    );
    document("Allocations", &main, false)
}

/// A sentence of this program, in which quoted parts are escaped already.
fn plain_sentence(sentence: &str) -> String {
    sentence.chars().filter(|c| !c.is_control()).collect()
}

fn document(title: &str, main: &str, refreshes: bool) -> String {
    let refresh = if refreshes {
        format!(
            "<script src=\"{SCRIPT_PATH}\" defer></script>\n<noscript><meta http-equiv=\"refresh\" content=\"15\"></noscript>\n"
        )
    } else {
        String::new()
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} - coturn-exporter</title>\n\
         <link rel=\"stylesheet\" href=\"{STYLE_PATH}\">\n{refresh}</head>\n<body>\n\
         <header>\n<h1>{title}</h1>\n<nav><a href=\"/\">coturn-exporter</a></nav>\n</header>\n<main>\n{main}</main>\n\
         </body>\n</html>\n"
    )
}

fn form(query: &Query) -> String {
    let filter = &query.filter;
    let name = |value: &Option<Vec<u8>>| {
        value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    };
    let mut out = format!("<form method=\"get\" action=\"{PAGE}\" role=\"search\">\n");
    for (label, field, value, hint) in [
        ("Realm", "realm", name(&filter.realm), ""),
        ("User", "user", name(&filter.user), "name or user id"),
        ("Older than", "min_age", query.min_age.clone(), "90s, 30m"),
    ] {
        let _ = writeln!(
            out,
            "<label>{label} <input name=\"{field}\" value=\"{}\" placeholder=\"{hint}\" autocomplete=\"off\" \
             spellcheck=\"false\"></label>",
            Html(&value)
        );
    }
    let states = Phase::ALL.map(Phase::as_str);
    choice(&mut out, "State", "state", &states, filter.state.map(Phase::as_str));
    let reasons = Orphan::ALL.map(Orphan::as_str);
    choice(&mut out, "Orphan", "reason", &reasons, filter.reason.map(Orphan::as_str));
    let _ = write!(
        out,
        "<input type=\"hidden\" name=\"sort\" value=\"{}\">\n<input type=\"hidden\" name=\"limit\" value=\"{}\">\n\
         <button>Filter</button>\n<a href=\"{PAGE}\">Clear</a>\n\
         <label id=\"refresh\" hidden><input type=\"checkbox\" checked> Refresh every 5 s</label>\n\
         <span id=\"trouble\" role=\"status\"></span>\n</form>\n",
        sort_text(query.order),
        query.limit
    );
    out
}

fn choice(out: &mut String, label: &str, field: &str, words: &[&str], chosen: Option<&str>) {
    let _ = write!(out, "<label>{label} <select name=\"{field}\"><option value=\"\">any</option>");
    for word in words {
        let selected = if chosen == Some(word) { " selected" } else { "" };
        let _ = write!(out, "<option{selected}>{word}</option>");
    }
    out.push_str("</select></label>\n");
}

fn summary(out: &mut String, listing: &Listing<AllocationRow>) {
    let matched = listing.found.matched;
    let orphans = matched.idle + matched.overdue;
    let moment = listing.wall.rfc3339();
    let time = moment.get(11..19).unwrap_or_default();
    let class = if orphans > 0 { " class=\"bad\"" } else { "" };
    let _ = writeln!(
        out,
        "<p id=\"summary\"><strong{class}>{orphans} {}</strong> ({} idle, {} overdue) among {} {} that match. \
         As of <time datetime=\"{moment}\">{time} UTC</time>.</p>",
        if orphans == 1 { "orphan" } else { "orphans" },
        matched.idle,
        matched.overdue,
        matched.all,
        if matched.all == 1 { "allocation" } else { "allocations" },
    );
}

fn table(out: &mut String, listing: &Listing<AllocationRow>, query: &Query) {
    out.push_str("<div class=\"scroll\" role=\"region\" aria-label=\"Allocations\" tabindex=\"0\">\n<table>\n<thead><tr>");
    for column in &COLUMNS {
        heading(out, column, query);
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &listing.found.rows {
        write_row(out, row, listing.found.now);
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
}

fn heading(out: &mut String, column: &Column, query: &Query) {
    let class = if column.is_number { " class=\"number\"" } else { "" };
    let Some(sort) = column.sort else {
        let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", column.heading);
        return;
    };
    let is_sorted = query.order.sort == sort;
    let (state, arrow) = match (is_sorted, query.order.descending) {
        (true, true) => (" aria-sort=\"descending\"", " \u{2193}"),
        (true, false) => (" aria-sort=\"ascending\"", " \u{2191}"),
        (false, _) => ("", ""),
    };
    let descending = if is_sorted { !query.order.descending } else { column.large_first };
    let link = link(query, Order { sort, descending }, None);
    let _ = write!(
        out,
        "<th scope=\"col\"{class}{state}><a href=\"{}\" data-key=\"sort {}\">{}<span aria-hidden=\"true\">{arrow}</span></a></th>",
        Html(&link),
        sort.as_str(),
        column.heading
    );
}

fn write_row(out: &mut String, row: &AllocationRow, now: Timestamp) {
    let class = match (row.reason, row.state) {
        (Some(reason), _) => reason.as_str(),
        (None, state) => state.as_str(),
    };
    let user = if row.user.is_empty() { "(none)".to_owned() } else { printable(&row.user) };
    let key =
        format!("{}/{}/{}/{}", encode(row.source.as_bytes()), encode(&row.realm), encode(&row.user), row.id);
    let at_least = if row.adopted { "\u{2265} " } else { "" };
    let left = match row.state {
        Phase::Closing | Phase::Gone => "-".to_owned(),
        _ if row.expires >= now => span(row.expires.since(now)),
        _ => format!("ended {} ago", span(now.since(row.expires))),
    };
    let client = row.client.map_or_else(|| "-".to_owned(), |client| client.to_string());
    let _ = write!(
        out,
        "<tr class=\"{class}\" data-id=\"{}\"><td>{}</td><th scope=\"row\">",
        row.id,
        Html(&state_text(row, now))
    );
    // An empty filter is no filter, so the empty user has no link.
    if row.user.is_empty() {
        let _ = write!(out, "{user}");
    } else {
        let _ = write!(
            out,
            "<a href=\"{PAGE}?user={}\" data-key=\"{}\">{}</a>",
            encode(&row.user),
            key,
            Html(&user)
        );
    }
    let _ = writeln!(
        out,
        "</th><td>{}</td><td class=\"number\" title=\"{}\">{at_least}{}</td><td class=\"number\">{}</td>\
         <td class=\"number\">{left}</td><td class=\"number\" title=\"{}\">{}</td><td class=\"number\">{}/s</td>\
         <td>{} {}</td><td>{}</td></tr>",
        Html(&printable(&row.realm)),
        if row.adopted { "first seen in the middle of its life: it may be older" } else { "" },
        span(row.age),
        span(now.since(row.active)),
        row.bytes,
        bytes(row.bytes),
        bytes(row.rate),
        Html(&client),
        row.transport.as_str(),
        Html(&printable(row.server.as_bytes())),
    );
}

/// The state of an allocation; of an orphan, the reason.
fn state_text(row: &AllocationRow, now: Timestamp) -> String {
    match (row.reason, row.state) {
        (Some(Orphan::Idle), _) => {
            format!("Idle orphan: refreshed, unused for {}", span(now.since(row.active)))
        }
        (Some(Orphan::Overdue), _) => {
            format!("Overdue orphan: lifetime ended {} ago, no end reported", span(now.since(row.expires)))
        }
        (None, Phase::Live) => "live".to_owned(),
        (None, Phase::Overdue) => "released; no end reported".to_owned(),
        (None, Phase::Gone) => "ended with its server's process".to_owned(),
        (None, Phase::Closing) => "ended just now".to_owned(),
    }
}

fn pages(out: &mut String, listing: &Listing<AllocationRow>, query: &Query) {
    out.push_str("<nav aria-label=\"Pages\">");
    if query.after.is_some() {
        let first = link(query, query.order, None);
        let _ = write!(out, "<a href=\"{}\" data-key=\"first\">First page</a> ", Html(&first));
    }
    if let Some(place) = &listing.found.next {
        let cursor = cursor::text(List::Allocations, query.order, place);
        let next = link(query, query.order, Some(&cursor));
        let _ = write!(out, "<a href=\"{}\" rel=\"next\" data-key=\"next\">Next page</a>", Html(&next));
    }
    out.push_str("</nav>\n");
}

/// A link to this page with the same filters, in another order or from a cursor on.
fn link(query: &Query, order: Order, cursor: Option<&str>) -> String {
    let mut out = format!("{PAGE}?sort={}", sort_text(order));
    for (name, value) in &query.given {
        let _ = write!(out, "&{name}={}", encode(value));
    }
    if let Some(cursor) = cursor {
        let _ = write!(out, "&cursor={cursor}");
    }
    out
}
