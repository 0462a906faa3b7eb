//! Questions to the database: who used how much, over all ledgers in it. Answers are those of the ledgers together.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::config::PostgresConfig;
use super::connect::connect;
use super::error::PostgresError;
use super::{rows, schema};
use crate::store::ledger::{By, FIGURES, Question, UsageSums};

/// What a session adds to each of [`FIGURES`], in its parts. Times are whole milliseconds.
const SQL: [(&str, &str); FIGURES.len()] = [
    ("sessions", "1"),
    ("relayed_sessions", "(relay_started IS NOT NULL)::int"),
    ("partial_sessions", "is_partial::int"),
    ("allocations", "allocations"),
    ("seconds", "round(extract(epoch FROM greatest(ended - started, interval '0')) * 1000)::bigint"),
    (
        "relay_seconds",
        "coalesce(round(extract(epoch FROM greatest(relay_ended - relay_started, interval '0')) * 1000)::bigint, 0)",
    ),
    ("relayed_bytes", "relayed_bytes"),
    ("client_received_bytes", "client_received_bytes"),
    ("client_received_packets", "client_received_packets"),
    ("client_sent_bytes", "client_sent_bytes"),
    ("client_sent_packets", "client_sent_packets"),
    ("peer_received_bytes", "peer_received_bytes"),
    ("peer_received_packets", "peer_received_packets"),
    ("peer_sent_bytes", "peer_sent_bytes"),
    ("peer_sent_packets", "peer_sent_packets"),
];

/// What is compared for a key, byte for byte.
const fn key(by: By) -> &'static str {
    match by {
        By::User => "coalesce(user_id_bytes, convert_to(user_id, 'UTF8'))",
        By::Credential => "coalesce(user_name_bytes, convert_to(user_name, 'UTF8'))",
        By::Realm => "convert_to(realm, 'UTF8')",
        By::Day => "convert_to(to_char(ended AT TIME ZONE 'UTC', 'YYYY-MM-DD'), 'UTF8')",
    }
}

/// The answers, those that relayed most first.
///
/// # Errors
///
/// [`PostgresError`]; that there are no tables of a known version.
pub async fn usage(config: &PostgresConfig, question: &Question) -> Result<Vec<UsageSums>, PostgresError> {
    let session = connect(config).await?;
    schema::check(&session.client).await?;
    ask(&session.client, question).await
}

async fn ask(client: &Client, question: &Question) -> Result<Vec<UsageSums>, PostgresError> {
    let sql = statement(question);
    let (since, until) = (question.since.map(rows::moment), question.until.map(rows::moment));
    let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> = Vec::new();
    parameters.extend(since.iter().map(|since| (since as _, Type::TIMESTAMPTZ)));
    parameters.extend(until.iter().map(|until| (until as _, Type::TIMESTAMPTZ)));
    client.query_typed(&sql, &parameters).await?.iter().map(|row| answer(question, row)).collect()
}

/// The names decide between equals, as in a ledger.
fn statement(question: &Question) -> String {
    let keys = question.by.iter().map(|by| key(*by).to_owned());
    let sums = SQL.iter().map(|(name, sql)| format!("coalesce(sum({sql}::bigint), 0)::text AS {name}"));
    let columns = keys.chain(sums).collect::<Vec<_>>().join(", ");
    let mut places = 1..;
    let bounds = [(question.since, ">="), (question.until, "<")].into_iter().filter(|(at, _)| at.is_some());
    let bounds = bounds.zip(&mut places).map(|((_, compares), place)| format!("ended {compares} ${place}"));
    let bounds = bounds.collect::<Vec<_>>().join(" AND ");
    let bounds = if bounds.is_empty() { bounds } else { format!("WHERE {bounds}") };
    let keys = (1..=question.by.len()).map(|place| place.to_string()).collect::<Vec<_>>();
    let group = if keys.is_empty() { String::new() } else { format!("GROUP BY {}", keys.join(", ")) };
    let order =
        std::iter::once("sum(relayed_bytes) DESC".to_owned()).chain(keys).collect::<Vec<_>>().join(", ");
    let limit = question.top.map_or(String::new(), |top| format!("LIMIT {top}"));
    format!("SELECT {columns} FROM coturn_ledger.session {bounds} {group} ORDER BY {order} {limit}")
}

fn answer(question: &Question, row: &Row) -> Result<UsageSums, PostgresError> {
    let keys = question.by.len();
    let names = (0..keys).map(|column| row.try_get::<_, Vec<u8>>(column)).collect::<Result<Vec<_>, _>>()?;
    let mut sums = [0; FIGURES.len()];
    for (column, sum) in (keys..).zip(&mut sums) {
        // More digits than a sum of this many numbers can have.
        *sum = row.try_get::<_, &str>(column)?.parse().unwrap_or(u128::MAX);
    }
    Ok(UsageSums::of(&names, &sums))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_asked_for_in_its_place() {
        for ((name, _), figure) in SQL.iter().zip(&FIGURES) {
            assert_eq!(*name, figure.name);
        }
    }
}
