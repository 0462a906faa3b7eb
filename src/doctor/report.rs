//! The findings as text for a terminal of 100 columns, and as JSON. In the text everything that is not plainly visible is
//! escaped, for parts of it come from outside.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Finding, OTHER_DBS, Severity, TURNSERVER_LINE};
use crate::escape::printable;

/// The widest line of running text; a command that fixes something is never broken.
const COLUMNS: usize = 100;

/// Where running text begins.
const INDENT: usize = 14;

/// One object, one line: `{"ok": bool, "findings": [{"source", "id", "severity", "message", "why", "fix"}]}`; `ok` when
/// there is no fault. See [`Finding`] for the fields.
///
/// # Errors
///
/// Never in practice: text and numbers can be written.
pub fn json(findings: &[Finding]) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Report<'a> {
        ok: bool,
        findings: &'a [Finding],
    }
    let ok = findings.iter().all(|finding| finding.severity != Severity::Fault);
    serde_json::to_string(&Report { ok, findings }).map(|line| line + "\n")
}

/// A block for each source, a line for each finding, below it why it matters and how to fix it. Unless it is `verbose`, of a
/// finding that asks for nothing only the line, but for the line that `turnserver.conf` needs.
pub fn text(findings: &[Finding], verbose: bool) -> String {
    let mut out = String::new();
    let mut source = None;
    let mut is_short = false;
    for finding in findings {
        if source != Some(&finding.source) {
            if source.is_some() {
                out.push('\n');
            }
            out.push_str(&printable(finding.source.as_bytes()));
            out.push('\n');
            source = Some(&finding.source);
        }
        let head = format!("  {:<7} {}: {}", finding.severity.as_str(), finding.id, finding.message);
        wrap(&mut out, &head);
        if !verbose && finding.severity == Severity::Info && finding.id != TURNSERVER_LINE {
            is_short |= finding.why.is_some() || finding.fix.is_some();
            continue;
        }
        if let Some(why) = &finding.why {
            wrap(&mut out, &format!("          why {why}"));
        }
        if let Some(fix) = &finding.fix {
            out.push_str("          fix ");
            out.push_str(&printable(fix.as_bytes()));
            out.push('\n');
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (faults, advice) = (count(Severity::Fault), count(Severity::Advice));
    let verdict = if faults > 0 {
        "Something is wrong"
    } else if findings.iter().any(|finding| finding.id == OTHER_DBS) {
        "No fault was found, but other dbs, to which coturn may write, were not judged"
    } else {
        "Nothing is wrong"
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "\n{verdict}. Faults: {faults}, advice: {advice}.");
    if is_short {
        out.push_str("--verbose says why, and gives the command, also for what is marked info.\n");
    }
    let has_command = |finding: &Finding| {
        (verbose || finding.severity != Severity::Info)
            && finding.fix.as_deref().is_some_and(|fix| fix.starts_with("redis-cli"))
    };
    if findings.iter().any(has_command) {
        wrap(
            &mut out,
            "redis-cli changes the running Redis (log in with --user and --askpass where it asks for it); CONFIG \
             REWRITE, or ACL SAVE for users, keeps the change.",
        );
    }
    out
}

/// Adds `text` in lines of at most [`COLUMNS`]; the lines after the first are indented if the first is.
fn wrap(out: &mut String, text: &str) {
    let text = printable(text.as_bytes());
    let indent = if text.starts_with(' ') { INDENT } else { 0 };
    let mut column = 0;
    // Blanks at the start are the first line's own indentation.
    let body = text.trim_start();
    out.push_str(&" ".repeat(text.len() - body.len()));
    column += text.len() - body.len();
    let start = column;
    for word in body.split(' ') {
        let width = word.chars().count();
        if column > start && column + 1 + width > COLUMNS {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > start {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
}
