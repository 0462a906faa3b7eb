//! The table of allocations, for people.

use super::Listing;
use super::link;
use super::page::{SortedColumn, amounts, linked, sorted_heading, user_cell};
use super::query::Query;
use crate::clock::Timestamp;
use crate::escape::printable;
use crate::markup::CellKind::{Number, State, Word};
use crate::markup::{MarkupTable, UNKNOWN_SERVER, copyable, span};
use crate::percent::encode;
use crate::state::rows::{AllocationRow, Sort};
use crate::state::{Orphan, Phase};

const COLUMNS: [SortedColumn; 12] = [
    SortedColumn::of("State", Some(Sort::Orphans), State),
    SortedColumn::of("User", Some(Sort::User), Word),
    SortedColumn::of("Allocation", None, Word),
    SortedColumn::of("Realm", Some(Sort::Realm), Word),
    SortedColumn::of("Age", Some(Sort::Age), Number),
    SortedColumn::of("Idle", Some(Sort::Idle), Number),
    SortedColumn::of("Lifetime left", Some(Sort::LifetimeLeft), Number).small_first(),
    SortedColumn::of("Bytes", Some(Sort::Bytes), Number),
    SortedColumn::of("Rate", Some(Sort::Rate), Number),
    SortedColumn::of("Client", None, Word),
    SortedColumn::of("Transport", None, Word),
    SortedColumn::of("Server", None, Word),
];

/// What the words in the column of states mean.
pub(super) const STATES: [(&str, &str); 6] = [
    (
        "Idle orphan",
        "a client keeps refreshing it, and neither it nor those gathered with it relay anything: a leak",
    ),
    (
        "Overdue orphan",
        "its lifetime passed and coturn has not reported its end: the server is gone, or the report was lost",
    ),
    ("live", "within its lifetime, and not idle for long"),
    ("released", "the client gave it up; coturn has not reported the end"),
    ("ended with its server", "the process of coturn that had it is gone or was restarted"),
    ("ended just now", "coturn has reported its end; its totals may still come"),
];

pub(super) fn write(out: &mut String, listing: &Listing<AllocationRow>, query: &Query) {
    let mut table = MarkupTable::begin(out, "Allocations", "list");
    for column in &COLUMNS {
        sorted_heading(&mut table, column, query);
    }
    table.body();
    for row in &listing.found.rows {
        write_row(&mut table, row, query, listing.found.now);
    }
    table.end();
}

fn write_row(table: &mut MarkupTable<'_>, row: &AllocationRow, query: &Query, now: Timestamp) {
    let class = row.reason.map_or(row.state.as_str(), Orphan::as_str);
    let key = format!(
        "{}/{}/{}/{}/{}",
        encode(row.source.as_bytes()),
        encode(&row.realm),
        encode(&row.user),
        row.id,
        row.started.as_millis()
    );
    let narrowed = |name, value: &[u8], text: &str| linked(&link::narrowed(query, name, value), value, text);
    let left = match row.state {
        Phase::Closing | Phase::Gone => "-".to_owned(),
        _ if row.expires >= now => span(row.expires.since(now)),
        _ => format!("ended {} ago", span(now.since(row.expires))),
    };
    table.row(class, &key, &format!(" data-id=\"{}\"", row.id));
    table.cell("State", State, state_text(row));
    user_cell(table, &link::narrowed(query, "user", &row.user), &row.user);
    table.cell("Allocation", Word, &copyable(&row.id.to_string(), "the number of the allocation"));
    table.cell("Realm", Word, &narrowed("realm", &row.realm, &printable(&row.realm)));
    let age = span(row.age);
    // It may be older than what was seen of it.
    let age = if row.adopted { format!("\u{2265} {age}") } else { age };
    table.cell("Age", Number, &age);
    table.cell("Idle", Number, &span(now.since(row.active)));
    table.cell("Lifetime left", Number, &left);
    amounts(table, row.bytes, row.rate);
    let client = match row.client {
        Some(client) => {
            let host = client.ip().to_canonical().to_string();
            narrowed("client", host.as_bytes(), &client.to_string())
        }
        None => "-".to_owned(),
    };
    table.cell("Client", Word, &client);
    let transport = row.transport.as_str();
    table.cell("Transport", Word, &narrowed("transport", transport.as_bytes(), transport));
    let server =
        if row.server.is_empty() { UNKNOWN_SERVER.to_owned() } else { printable(row.server.as_bytes()) };
    table.cell("Server", Word, &narrowed("server", row.server.as_bytes(), &server));
    table.end_row();
}

/// The state of an allocation; of an orphan, the kind. How long is in the columns beside it.
fn state_text(row: &AllocationRow) -> &'static str {
    match (row.reason, row.state) {
        (Some(Orphan::Idle), _) => "Idle orphan",
        (Some(Orphan::Overdue), _) => "Overdue orphan",
        (None, Phase::Live) => "live",
        (None, Phase::Overdue) => "released",
        (None, Phase::Gone) => "ended with its server",
        (None, Phase::Closing) => "ended just now",
    }
}
