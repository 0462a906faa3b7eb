//! What the pages of both lists have: the form, the summary, the links between pages. Complete as served; the script only
//! fetches the page again and exchanges the part that changes, so it works without scripts too.
//!
//! Every text that is not written in this folder goes through [`Html`]; names go through [`printable`] before, so that
//! invisible characters are shown.

use std::fmt::Write as _;

use super::Listing;
use super::link;
use super::list::{List, sort_text};
use super::query::Query;
use crate::escape::{Html, printable};
use crate::markup::CellKind::{self, Number};
use crate::markup::{ALLOCATIONS_PAGE, Document, LIVE_PAGE, MarkupTable, SESSIONS_PAGE, bytes, count};
use crate::state::rows::{Matched, Order, RowBound, RowPage, Sort};
use crate::state::{Orphan, Phase};
use crate::wire::Transport;

/// Seconds between two refreshes.
const EVERY: u32 = 5;

/// A column that the list can be sorted by, or not.
#[derive(Clone, Copy)]
pub(super) struct SortedColumn {
    heading: &'static str,
    sort: Option<Sort>,
    kind: CellKind,
    /// A first click puts large values on top.
    is_large_first: bool,
}

impl SortedColumn {
    pub(super) const fn of(heading: &'static str, sort: Option<Sort>, kind: CellKind) -> Self {
        Self { heading, sort, kind, is_large_first: matches!(kind, Number) }
    }

    /// The same, with small values on top at the first click.
    pub(super) const fn small_first(self) -> Self {
        Self { is_large_first: false, ..self }
    }
}

/// The page around a table, which is HTML and empty if there are no rows. `states` says what the words in it mean.
pub(super) fn page<R>(listing: &Listing<R>, query: &Query, table: &str, states: &[(&str, &str)]) -> String {
    let mut main = form(query);
    let _ = writeln!(main, "<div id=\"live\" data-every=\"{EVERY}\">");
    summary(&mut main, listing, query);
    chosen(&mut main, query);
    main.push_str(table);
    pages(&mut main, &listing.found, query);
    main.push_str("</div>\n<details>\n<summary>What the states mean</summary>\n<dl>\n");
    for (state, meaning) in states {
        let _ = writeln!(main, "<dt>{state}</dt><dd>{meaning}</dd>");
    }
    main.push_str("</dl>\n</details>\n");
    document(query.list, &main, true)
}

/// A page that says why there is none.
pub(super) fn error(list: List, sentence: &str) -> String {
    // A sentence of this program, in which quoted parts are escaped already.
    let sentence: String = sentence.chars().filter(|c| !c.is_control()).collect();
    let main = format!(
        "<p role=\"alert\">This query cannot be answered: {}.</p>\n<p><a href=\"{}\">All {}</a></p>\n",
        Html(&sentence),
        list.page(),
        list.heading().to_lowercase()
    );
    document(list, &main, false)
}

fn document(list: List, main: &str, refreshes: bool) -> String {
    let head =
        if refreshes { "<noscript><meta http-equiv=\"refresh\" content=\"15\"></noscript>\n" } else { "" };
    let document = Document {
        heading: list.heading(),
        title: &format!("{} - coturn-exporter", list.heading()),
        links: &[(LIVE_PAGE, "Live"), (ALLOCATIONS_PAGE, "Allocations"), (SESSIONS_PAGE, "Sessions")],
        here: list.page(),
        head,
    };
    document.around(main, refreshes)
}

fn form(query: &Query) -> String {
    let filter = &query.filter;
    let name = |value: &Option<Vec<u8>>| {
        value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    };
    let client = filter.client.map(|client| client.to_string()).unwrap_or_default();
    let is_of_allocations = query.list == List::Allocations;
    let mut out = format!("<form method=\"get\" action=\"{}\" role=\"search\">\n", query.list.page());
    for (label, field, value, hint, is_there) in [
        ("Realm", "realm", name(&filter.realm), "", true),
        ("User", "user", name(&filter.user), "name or user id", true),
        ("Client", "client", client, "address", true),
        ("Server", "server", name(&filter.server), "", is_of_allocations),
        ("Older than", "min_age", query.min_age.clone(), "90s, 30m", true),
    ] {
        if is_there {
            let _ = writeln!(
                out,
                "<label>{label} <input name=\"{field}\" value=\"{}\" placeholder=\"{hint}\" autocomplete=\"off\" \
                 spellcheck=\"false\"></label>",
                Html(&value)
            );
        }
    }
    if is_of_allocations {
        let transports = Transport::ALL.map(Transport::as_str);
        choice(&mut out, "Transport", "transport", &transports, filter.transport.map(Transport::as_str));
    }
    let states = Phase::ALL.map(Phase::as_str);
    let is_of_sessions = |state: &&str| !matches!(*state, "overdue" | "gone");
    let states: Vec<&str> =
        states.into_iter().filter(|state| is_of_allocations || is_of_sessions(state)).collect();
    choice(&mut out, "State", "state", &states, filter.state.map(Phase::as_str));
    let reasons = Orphan::ALL.map(Orphan::as_str);
    let reasons: Vec<&str> =
        reasons.into_iter().filter(|reason| is_of_allocations || is_of_sessions(reason)).collect();
    choice(&mut out, "Orphan", "reason", &reasons, filter.reason.map(Orphan::as_str));
    let _ = write!(
        out,
        "<input type=\"hidden\" name=\"sort\" value=\"{}\">\n<input type=\"hidden\" name=\"limit\" value=\"{}\">\n\
         <button>Filter</button>\n<a href=\"{}\">Clear</a>\n\
         <label id=\"refresh\" class=\"check\" hidden><input type=\"checkbox\" checked> Refresh every {EVERY} s</label>\n\
         <span id=\"trouble\" role=\"status\"></span>\n</form>\n",
        sort_text(query.order),
        query.limit,
        query.list.page()
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

fn summary<R>(out: &mut String, listing: &Listing<R>, query: &Query) {
    let Matched { all, idle, overdue } = listing.found.matched;
    let plural = |number: u64, one: &str, many: &str| {
        format!("{} {}", count(number), if number == 1 { one } else { many })
    };
    let orphans = idle + overdue;
    let class = if orphans > 0 { " class=\"bad\"" } else { "" };
    let moment = listing.wall.rfc3339();
    let time = moment.get(11..19).unwrap_or_default();
    // Rows of what has ended stay for a while; a state or a reason that is asked for says which they are.
    let is_of_all = query.filter.state.is_none() && query.filter.reason.is_none();
    let ended = if is_of_all { ", ended ones included" } else { "" };
    let _ = match query.list {
        List::Allocations => write!(
            out,
            "<p id=\"summary\"><strong{class}>{}</strong> ({} idle, {} overdue) among {} that match{ended}.",
            plural(orphans, "orphan", "orphans"),
            count(idle),
            count(overdue),
            plural(all, "allocation", "allocations")
        ),
        List::Sessions => write!(
            out,
            "<p id=\"summary\"><strong{class}>{}</strong> with idle orphans among {} that match{ended}.",
            plural(idle, "session", "sessions"),
            count(all)
        ),
    };
    let _ = writeln!(out, " As of <time datetime=\"{moment}\">{time} UTC</time>.</p>");
}

/// The filters that are set, each with a link that takes it away.
fn chosen(out: &mut String, query: &Query) {
    let filters: Vec<_> = query.given.iter().filter(|(name, _)| *name != "limit").collect();
    if filters.is_empty() {
        return;
    }
    out.push_str("<nav aria-label=\"Filters\" class=\"pages\">");
    for (name, value) in filters {
        let value = printable(value);
        let _ = write!(
            out,
            "<a href=\"{}\" data-key=\"without {name}\">Without {name}={}</a> ",
            Html(&link::without(query, name)),
            Html(&value)
        );
    }
    out.push_str("</nav>\n");
}

fn pages<R>(out: &mut String, found: &RowPage<R>, query: &Query) {
    out.push_str("<nav aria-label=\"Pages\" class=\"pages\">");
    if query.from.is_some() {
        let _ = write!(out, "<a href=\"{}\" data-key=\"first\">First page</a> ", Html(&link::first(query)));
    }
    if let Some(place) = &found.previous {
        let previous = link::from(query, &RowBound::Before(place.clone()));
        let _ = write!(
            out,
            "<a href=\"{}\" rel=\"prev\" data-key=\"previous\">Previous page</a> ",
            Html(&previous)
        );
    }
    let rows = u64::try_from(found.rows.len()).unwrap_or(u64::MAX);
    if rows > 0 {
        let (first, last) = (found.start + 1, found.start.saturating_add(rows));
        let _ = write!(
            out,
            "<span data-key=\"range\">Rows {} to {} of {}</span> ",
            count(first),
            count(last),
            count(found.matched.all.max(last))
        );
    }
    if let Some(place) = &found.next {
        let next = link::from(query, &RowBound::After(place.clone()));
        let _ = write!(out, "<a href=\"{}\" rel=\"next\" data-key=\"next\">Next page</a> ", Html(&next));
    }
    for (form, path) in [("JSON", query.list.json()), ("CSV", query.list.csv())] {
        let _ = write!(out, "<a href=\"{}\" data-key=\"{form}\">{form}</a> ", Html(&link::form(query, path)));
    }
    out.push_str("</nav>\n");
}

/// A heading that sorts.
pub(super) fn sorted_heading(table: &mut MarkupTable<'_>, column: &SortedColumn, query: &Query) {
    let Some(sort) = column.sort else {
        table.heading(column.kind, "", column.heading);
        return;
    };
    let is_sorted = query.order.sort == sort;
    let (state, arrow) = match (is_sorted, query.order.descending) {
        (true, true) => (" aria-sort=\"descending\"", " \u{2193}"),
        (true, false) => (" aria-sort=\"ascending\"", " \u{2191}"),
        (false, _) => ("", ""),
    };
    let descending = if is_sorted { !query.order.descending } else { column.is_large_first };
    let html = format!(
        "<a href=\"{}\" data-key=\"sort {}\">{}<span aria-hidden=\"true\">{arrow}</span></a>",
        Html(&link::sorted(query, Order { sort, descending })),
        sort.as_str(),
        column.heading
    );
    table.heading(column.kind, state, &html);
}

/// The cell that names the row. An empty filter is no filter, so the empty user has no link.
pub(super) fn user_cell(table: &mut MarkupTable<'_>, link: &str, user: &[u8]) {
    let shown = if user.is_empty() { "(none)".to_owned() } else { printable(user) };
    table.row_heading("User", &linked(link, user, &shown));
}

/// Text, with a link where there is something to filter by.
pub(super) fn linked(link: &str, value: &[u8], text: &str) -> String {
    if value.is_empty() {
        Html(text).to_string()
    } else {
        format!("<a href=\"{}\">{}</a>", Html(link), Html(text))
    }
}

/// What was relayed, and what is.
pub(super) fn amounts(table: &mut MarkupTable<'_>, amount: u64, rate: u64) {
    table.cell("Bytes", Number, &bytes(amount));
    table.cell("Rate", Number, &format!("{}/s", bytes(rate)));
}
