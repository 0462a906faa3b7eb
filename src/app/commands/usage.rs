//! `usage`: the ledger's answer, for people, for spreadsheets, for programs.

use std::io::{self, Write};
use std::path::Path;

use crate::app::Error;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::{PostgresSettings, UsageColumns, UsageFormat, UsageQuery, UsageTime};
use crate::escape::{no_formula, printable};
use crate::sinks::postgres::{self, PostgresConfig, PostgresError};
use crate::store::ledger::{self, FIGURES, Question, UsageSums};

/// Asks the ledger of a store, and prints the answer onto `out`.
///
/// # Errors
///
/// A store that cannot be read; an output that takes no more.
pub(in crate::app) fn of_store(request: &UsageQuery, path: &Path, out: &mut impl Write) -> Result<(), Error> {
    let question = question(request, SystemClock::new().now())?;
    let answers = ledger::usage(path, &question).map_err(Error::Ledger)?;
    print(request, &question, &answers, out)
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
    let question = question(request, SystemClock::new().now())?;
    let config = PostgresConfig::new(database).map_err(PostgresError::Url).map_err(Error::Postgres)?;
    let answers = postgres::usage(&config, &question).await.map_err(Error::Postgres)?;
    print(request, &question, &answers, out)
}

fn print(
    request: &UsageQuery,
    question: &Question,
    answers: &[UsageSums],
    out: &mut impl Write,
) -> Result<(), Error> {
    let columns = match &request.columns {
        UsageColumns::These(places) => places.iter().map(|&place| UsageColumn::Figure(place)).collect(),
        UsageColumns::Usual if request.format == UsageFormat::Table => UsageColumn::USUAL.to_vec(),
        UsageColumns::Usual => (0..FIGURES.len()).map(UsageColumn::Figure).collect(),
    };
    let shown = UsageAnswer { question, columns };
    let written = match request.format {
        UsageFormat::Table => shown.table(answers, out),
        UsageFormat::Csv => shown.csv(answers, out),
        UsageFormat::Json => shown.json(answers, out),
    };
    written.and_then(|()| out.flush()).map_err(Error::Output)
}

fn question(request: &UsageQuery, now: Timestamp) -> Result<Question, Error> {
    let moment = |moment: UsageTime| match moment {
        UsageTime::At(at) => at,
        UsageTime::Ago(ago) => now.minus(ago),
    };
    let (since, until) = (request.since.map(moment), request.until.map(moment));
    if since.zip(until).is_some_and(|(since, until)| since >= until) {
        return Err(Error::EmptyRange);
    }
    Ok(Question { by: request.by.clone(), since, until, top: request.top })
}

/// A column of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UsageColumn {
    /// A figure as it is, by its place in [`FIGURES`].
    Figure(usize),
    /// Relay time as people write it.
    RelayTime,
    /// Relayed bytes as people write them.
    Relayed,
}

/// Places in [`FIGURES`].
const RELAY_SECONDS: usize = 5;
const RELAYED_BYTES: usize = 6;

impl UsageColumn {
    /// Sessions, those that relayed, those that are partial; for how long, how much.
    const USUAL: [Self; 5] =
        [Self::Figure(0), Self::Figure(1), Self::Figure(2), Self::RelayTime, Self::Relayed];

    fn name(self) -> &'static str {
        match self {
            Self::Figure(place) => FIGURES.get(place).map_or("", |figure| figure.name),
            Self::RelayTime => "relay_time",
            Self::Relayed => "relayed",
        }
    }

    fn number(self, figures: &[u64]) -> u64 {
        let place = match self {
            Self::Figure(place) => place,
            Self::RelayTime => RELAY_SECONDS,
            Self::Relayed => RELAYED_BYTES,
        };
        figures.get(place).copied().unwrap_or(0)
    }

    fn text(self, figures: &[u64]) -> String {
        let number = self.number(figures);
        match self {
            Self::Figure(_) => number.to_string(),
            Self::RelayTime => format!("{}:{:02}:{:02}", number / 3600, number / 60 % 60, number % 60),
            Self::Relayed => bytes(number),
        }
    }
}

/// Bytes in the unit of which there are fewest but one, with three digits.
fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut value, mut unit) = (number as f64, "B");
    for next in UNITS {
        // Before it would be shown as 1000.
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    let decimals = match value {
        _ if unit == "B" => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// What is asked, and what is shown of the answers.
struct UsageAnswer<'a> {
    question: &'a Question,
    columns: Vec<UsageColumn>,
}

impl UsageAnswer<'_> {
    /// Names of the columns, keys first.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.question.by.iter().map(|by| by.as_str()).chain(self.columns.iter().map(|column| column.name()))
    }

    /// Why a table would be empty.
    fn nothing(&self) -> &'static str {
        if self.question.since.is_some() || self.question.until.is_some() {
            "No session ended in this time, as far as the ledger has it. A session is in it some ten seconds after its last \
             allocation has ended."
        } else {
            "There are no finished sessions in the ledger yet. A session is in it some ten seconds after its last allocation \
             has ended; those that are live are on the exporter's pages."
        }
    }

    /// Aligned columns: names to the left, with everything escaped that a terminal would obey; numbers to the right; the
    /// sum of what is shown last.
    fn table(&self, answers: &[UsageSums], out: &mut impl Write) -> io::Result<()> {
        if answers.is_empty() {
            return writeln!(out, "{}", self.nothing());
        }
        let keys = self.question.by.len();
        let row = |names: Vec<String>, figures: &[u64]| -> Vec<String> {
            names.into_iter().chain(self.columns.iter().map(|column| column.text(figures))).collect()
        };
        let mut rows: Vec<Vec<String>> = vec![self.names().map(str::to_owned).collect()];
        let mut total = [0_u64; FIGURES.len()];
        for answer in answers {
            rows.push(row(
                answer.of.iter().map(|name| printable(name.as_bytes())).collect(),
                &answer.figures,
            ));
            for (sum, figure) in total.iter_mut().zip(answer.figures) {
                *sum = sum.saturating_add(figure);
            }
        }
        let total_of = if self.question.top.is_some() { "total of these" } else { "total" };
        let label = (0..keys).map(|key| if key == 0 { total_of.to_owned() } else { String::new() });
        rows.push(row(label.collect(), &total));
        let widths: Vec<usize> = (0..keys + self.columns.len())
            .map(|column| {
                let cells = rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        for row in &rows {
            let mut line = String::new();
            for (at, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
                let (before, after) = if at < keys { ("", gap.as_str()) } else { (gap.as_str(), "") };
                line.extend([if at == 0 { "" } else { "  " }, before, cell, after]);
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn csv(&self, answers: &[UsageSums], out: &mut impl Write) -> io::Result<()> {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(self.names())?;
        for answer in answers {
            let names = answer.of.iter().map(|name| no_formula(name).into_owned());
            let numbers = self.columns.iter().map(|column| column.number(&answer.figures).to_string());
            writer.write_record(names.chain(numbers))?;
        }
        writer.flush()
    }

    fn json(&self, answers: &[UsageSums], out: &mut impl Write) -> io::Result<()> {
        let answers = answers.iter().map(|answer| {
            let names = answer.of.iter().map(|name| serde_json::Value::from(name.as_str()));
            let numbers = self.columns.iter().map(|column| column.number(&answer.figures).into());
            let values = names.chain(numbers);
            self.names().map(str::to_owned).zip(values).collect::<serde_json::Map<_, _>>().into()
        });
        let answers: serde_json::Value = answers.collect::<Vec<serde_json::Value>>().into();
        serde_json::to_writer_pretty(&mut *out, &answers)?;
        writeln!(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ledger::By;

    fn printed(columns: &[UsageColumn], users: &[&str]) -> [String; 3] {
        let question = Question { by: vec![By::User], ..Question::default() };
        let usage = |&user: &&str| UsageSums { of: vec![user.to_owned()], figures: [7000; FIGURES.len()] };
        let answers: Vec<_> = users.iter().map(usage).collect();
        let shown = UsageAnswer { question: &question, columns: columns.to_vec() };
        let [mut table, mut csv, mut json] = [const { Vec::new() }; 3];
        shown.table(&answers, &mut table).unwrap();
        shown.csv(&answers, &mut csv).unwrap();
        shown.json(&answers, &mut json).unwrap();
        [table, csv, json].map(|out| String::from_utf8(out).unwrap())
    }

    const NASTY: [&str; 4] = ["=cmd()", "a,\"b\"\nc", "\u{1b}[2J", "ok"];

    #[test]
    fn nobody_s_name_is_obeyed() {
        let [table, csv, json] = printed(&[UsageColumn::Figure(RELAYED_BYTES)], &NASTY);
        assert_eq!(table.lines().count(), 6, "{table}");
        assert!(table.contains("\\u{1b}[2J ") && !table.contains('\u{1b}'), "{table}");
        assert!(csv.contains("\n'=cmd(),7000"), "{csv}");
        assert!(csv.contains("\n\"a,\"\"b\"\"\nc\",7000"), "{csv}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let users: Vec<_> =
            json.as_array().unwrap().iter().map(|one| one["user"].as_str().unwrap()).collect();
        assert_eq!(users, NASTY);
        assert_eq!(json[0]["relayed_bytes"], 7000);
    }

    #[test]
    fn columns_stand_below_each_other_and_the_sum_below_them() {
        let [table, ..] = printed(&UsageColumn::USUAL, &["a", "longer"]);
        let expected = "\
user    sessions  relayed_sessions  partial_sessions  relay_time  relayed
a           7000              7000              7000     1:56:40  7.00 kB
longer      7000              7000              7000     1:56:40  7.00 kB
total      14000             14000             14000     3:53:20  14.0 kB
";
        assert_eq!(table, expected);
    }

    #[test]
    fn a_ledger_without_sessions_says_why_and_is_a_heading_for_programs() {
        let [table, csv, json] = printed(&UsageColumn::USUAL, &[]);
        assert!(table.starts_with("There are no finished sessions in the ledger yet."), "{table}");
        assert!(table.contains("after its last allocation has ended"), "{table}");
        assert!(csv.starts_with("user,sessions,") && csv.lines().count() == 1, "{csv}");
        assert_eq!(json.trim(), "[]");
        let question = Question { by: vec![By::User], since: Some(Timestamp::ZERO), ..Question::default() };
        let shown = UsageAnswer { question: &question, columns: Vec::new() };
        assert!(shown.nothing().starts_with("No session ended in this time"), "{}", shown.nothing());
    }

    #[test]
    fn the_columns_that_were_shortened_are_those_figures() {
        assert_eq!(FIGURES[RELAY_SECONDS].name, "relay_seconds");
        assert_eq!(FIGURES[RELAYED_BYTES].name, "relayed_bytes");
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (9_996, "10.0 kB"),
            (99_960, "100 kB"),
            (999_600, "1.00 MB"),
            (44_836_601_952, "44.8 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(number), text, "{number}");
        }
    }

    #[test]
    fn there_must_be_time_between_the_ends() {
        let day = UsageTime::Ago(std::time::Duration::from_secs(86_400));
        let request = |since, until| UsageQuery {
            place: crate::config::LedgerPlace::Store("s".into()),
            by: vec![By::User],
            since,
            until,
            top: None,
            columns: UsageColumns::Usual,
            format: UsageFormat::Table,
        };
        let now = Timestamp::from_millis(1_800_000_000_000);
        assert!(question(&request(Some(day), None), now).is_ok());
        assert!(matches!(question(&request(Some(day), Some(day)), now), Err(Error::EmptyRange)));
    }
}
