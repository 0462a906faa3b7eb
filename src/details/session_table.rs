//! The table of sessions, for people.

use super::Listing;
use super::link;
use super::page::{SortedColumn, amounts, linked, sorted_heading, user_cell};
use super::query::Query;
use crate::clock::Timestamp;
use crate::escape::printable;
use crate::markup::CellKind::{Number, State, Word};
use crate::markup::{MarkupTable, count, span};
use crate::percent::encode;
use crate::state::Phase;
use crate::state::rows::{SessionRow, Sort};

const COLUMNS: [SortedColumn; 9] = [
    SortedColumn::of("State", Some(Sort::Orphans), State),
    SortedColumn::of("User", Some(Sort::User), Word),
    SortedColumn::of("Realm", Some(Sort::Realm), Word),
    SortedColumn::of("Age", Some(Sort::Age), Number),
    SortedColumn::of("Idle", Some(Sort::Idle), Number),
    SortedColumn::of("Allocations", Some(Sort::Allocations), Number),
    SortedColumn::of("Bytes", Some(Sort::Bytes), Number),
    SortedColumn::of("Rate", Some(Sort::Rate), Number),
    SortedColumn::of("Client", None, Word),
];

/// What the words in the column of states mean.
pub(super) const STATES: [(&str, &str); 3] = [
    ("holds idle orphans", "some of its live allocations are refreshed and not used: a leak"),
    ("live", "it has a live allocation, or had one a moment ago"),
    ("ended just now", "its last allocation has ended; totals may still come"),
];

pub(super) fn write(out: &mut String, listing: &Listing<SessionRow>, query: &Query) {
    let mut table = MarkupTable::begin(out, "Sessions", "list");
    for column in &COLUMNS {
        sorted_heading(&mut table, column, query);
    }
    table.body();
    for row in &listing.found.rows {
        write_row(&mut table, row, query, listing.found.now);
    }
    table.end();
}

fn write_row(table: &mut MarkupTable<'_>, row: &SessionRow, query: &Query, now: Timestamp) {
    let host = row.client.map(|client| client.to_canonical().to_string());
    let key = format!(
        "{}/{}/{}/{}/{}",
        encode(row.source.as_bytes()),
        encode(&row.realm),
        encode(&row.user),
        host.as_deref().unwrap_or("-"),
        row.started.as_millis()
    );
    let (class, state) = match (row.idle, row.state) {
        (1.., _) => ("idle", "holds idle orphans"),
        (0, Phase::Closing) => (row.state.as_str(), "ended just now"),
        (0, _) => (row.state.as_str(), "live"),
    };
    table.row(class, &key, "");
    table.cell("State", State, state);
    user_cell(table, &link::allocations_of(&row.user), &row.user);
    let realm = linked(&link::narrowed(query, "realm", &row.realm), &row.realm, &printable(&row.realm));
    table.cell("Realm", Word, &realm);
    let age = span(row.age);
    let age = if row.partial { format!("\u{2265} {age}") } else { age };
    table.cell("Age", Number, &age);
    table.cell("Idle", Number, &span(now.since(row.active)));
    let idle = if row.idle > 0 { format!(", {} idle", count(row.idle.into())) } else { String::new() };
    let allocations = format!("{} of {}{idle}", count(row.live.into()), count(row.allocations.into()));
    table.cell("Allocations", Number, &allocations);
    amounts(table, row.bytes, row.rate);
    let client = host.map_or_else(
        || "-".to_owned(),
        |host| linked(&link::narrowed(query, "client", host.as_bytes()), host.as_bytes(), &host),
    );
    table.cell("Client", Word, &client);
    table.end_row();
}
