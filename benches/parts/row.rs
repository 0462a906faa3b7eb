//! A budget and whether it is met.

use std::fmt::Write as _;

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    budget: String,
    measured: String,
    against: String,
    /// Nothing where it could not be told.
    is_met: Option<bool>,
}

impl Row {
    pub(crate) fn new(
        budget: impl Into<String>,
        measured: impl Into<String>,
        against: impl Into<String>,
        is_met: impl Into<Option<bool>>,
    ) -> Self {
        Self {
            budget: budget.into(),
            measured: measured.into(),
            against: against.into(),
            is_met: is_met.into(),
        }
    }

    /// One whose other side was not there.
    pub(crate) fn unknown(budget: impl Into<String>, against: &str) -> Self {
        Self::new(budget, "-", format!("{against}: skipped"), None::<bool>)
    }
}

/// All of them.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from("| budget | measured | against | met |\n| --- | --- | --- | --- |\n");
    for Row { budget, measured, against, is_met } in rows {
        let met = is_met.map_or("-", |is_met| if is_met { "yes" } else { "**no**" });
        writeln!(text, "| {budget} | {measured} | {against} | {met} |").unwrap();
    }
    text
}
