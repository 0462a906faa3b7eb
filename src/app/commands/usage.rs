//! `usage`: the ledger's answer, for people, for spreadsheets, for programs.

use std::io::{self, Write};
use std::path::Path;

use crate::app::Error;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::{PostgresSettings, UsageFormat, UsageQuery, UsageTime};
use crate::escape::printable;
use crate::sinks::postgres::{self, PostgresConfig, PostgresError};
use crate::store::ledger::{self, FIGURES, Question, UsageSums};

/// Asks the ledger of a store, and prints the answer onto `out`.
///
/// # Errors
///
/// A store that cannot be read; an output that takes no more.
pub(in crate::app) fn of_store(request: &UsageQuery, path: &Path, out: &mut impl Write) -> Result<(), Error> {
    let question = question(request, SystemClock::new().now());
    let answers = ledger::usage(path, &question).map_err(Error::Ledger)?;
    print(request.format, &question, &answers, out)
}

/// Asks the ledgers in a database, and prints the answer onto `out`.
///
/// # Errors
///
/// A database that does not answer; an output that takes no more.
pub(in crate::app) async fn of_database(
    request: &UsageQuery,
    database: &PostgresSettings,
    out: &mut impl Write,
) -> Result<(), Error> {
    let question = question(request, SystemClock::new().now());
    let config = PostgresConfig::new(database).map_err(PostgresError::Url).map_err(Error::Postgres)?;
    let answers = postgres::usage(&config, &question).await.map_err(Error::Postgres)?;
    print(request.format, &question, &answers, out)
}

fn print(
    format: UsageFormat,
    question: &Question,
    answers: &[UsageSums],
    out: &mut impl Write,
) -> Result<(), Error> {
    let written = match format {
        UsageFormat::Table => table(question, answers, out),
        UsageFormat::Csv => csv(question, answers, out),
        UsageFormat::Json => json(question, answers, out),
    };
    written.and_then(|()| out.flush()).map_err(Error::Output)
}

fn question(request: &UsageQuery, now: Timestamp) -> Question {
    let moment = |moment: UsageTime| match moment {
        UsageTime::At(at) => at,
        UsageTime::Ago(ago) => now.minus(ago),
    };
    Question {
        by: request.by.clone(),
        since: request.since.map(moment),
        until: request.until.map(moment),
        top: request.top,
    }
}

/// Names of the columns, keys first.
fn columns(question: &Question) -> impl Iterator<Item = &'static str> {
    question.by.iter().map(|by| by.as_str()).chain(FIGURES.iter().map(|figure| figure.name))
}

/// Aligned columns: names to the left, with everything escaped that a terminal would obey; numbers to the right.
fn table(question: &Question, answers: &[UsageSums], out: &mut impl Write) -> io::Result<()> {
    let head: Vec<String> = columns(question).map(str::to_owned).collect();
    let rows = answers.iter().map(|answer| {
        let names = answer.of.iter().map(|name| printable(name.as_bytes()));
        names.chain(answer.figures.iter().map(u64::to_string)).collect()
    });
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let widths: Vec<usize> = (0..question.by.len() + FIGURES.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in &rows {
        let mut line = String::new();
        for (at, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) =
                if at < question.by.len() { ("", gap.as_str()) } else { (gap.as_str(), "") };
            line.extend([if at == 0 { "" } else { "  " }, before, cell, after]);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn csv(question: &Question, answers: &[UsageSums], out: &mut impl Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(columns(question))?;
    for answer in answers {
        let names = answer.of.iter().map(|name| no_formula(name));
        writer.write_record(names.chain(answer.figures.iter().map(u64::to_string)))?;
    }
    writer.flush()
}

/// Spreadsheets compute what begins with one of these; a stranger's name must not be computed.
fn no_formula(name: &str) -> String {
    let is_formula = name.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if is_formula { format!("'{name}") } else { name.to_owned() }
}

fn json(question: &Question, answers: &[UsageSums], out: &mut impl Write) -> io::Result<()> {
    let answers = answers.iter().map(|answer| {
        let names = answer.of.iter().map(|name| serde_json::Value::from(name.as_str()));
        let values = names.chain(answer.figures.iter().map(|&figure| figure.into()));
        columns(question).map(str::to_owned).zip(values).collect::<serde_json::Map<_, _>>().into()
    });
    let answers: serde_json::Value = answers.collect::<Vec<serde_json::Value>>().into();
    serde_json::to_writer_pretty(&mut *out, &answers)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ledger::By;

    fn printed(
        write: impl Fn(&Question, &[UsageSums], &mut Vec<u8>) -> io::Result<()>,
        users: &[&str],
    ) -> String {
        let question = Question { by: vec![By::User], ..Question::default() };
        let usage = |&user: &&str| UsageSums { of: vec![user.to_owned()], figures: [7; FIGURES.len()] };
        let mut out = Vec::new();
        write(&question, &users.iter().map(usage).collect::<Vec<_>>(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    const NASTY: [&str; 4] = ["=cmd()", "a,\"b\"\nc", "\u{1b}[2J", "ok"];

    #[test]
    fn nobody_s_name_is_obeyed() {
        let table = printed(table, &NASTY);
        assert_eq!(table.lines().count(), 5, "{table}");
        assert!(table.contains("\\u{1b}[2J ") && !table.contains('\u{1b}'), "{table}");
        let csv = printed(csv, &NASTY);
        assert!(csv.contains("\n'=cmd(),7"), "{csv}");
        assert!(csv.contains("\n\"a,\"\"b\"\"\nc\",7"), "{csv}");
        let json: serde_json::Value = serde_json::from_str(&printed(json, &NASTY)).unwrap();
        let users: Vec<_> =
            json.as_array().unwrap().iter().map(|one| one["user"].as_str().unwrap()).collect();
        assert_eq!(users, NASTY);
        assert_eq!(json[0]["relayed_bytes"], 7);
    }

    #[test]
    fn columns_stand_below_each_other() {
        let table = printed(table, &["a", "longer"]);
        let ends: Vec<_> = table.lines().map(str::len).collect();
        assert!(ends.iter().all(|&end| end == ends[0]), "{table}");
        assert!(table.starts_with("user    sessions"), "{table}");
    }
}
