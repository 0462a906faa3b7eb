//! `doctor`: looks at each Redis, prints what was found, and ends with 1 if something is wrong. Judges nothing itself.

use std::io::{self, Write as _};
use std::process::ExitCode;

use super::Error;
use crate::config::{RedisAddress, RedisSource};
use crate::doctor::facts::{Facts, Subject};
use crate::doctor::{ASKED, Severity, json, judge, shell_word, text};
use crate::source::inspect::inspect;
use crate::state::Settings;

/// Looks at the sources one after the other.
///
/// # Errors
///
/// An output that takes no more; what is wrong with a Redis is a finding.
pub(super) async fn doctor(
    sources: Vec<RedisSource>,
    settings: Settings,
    as_json: bool,
) -> Result<ExitCode, Error> {
    let mut findings = Vec::new();
    for source in sources {
        let seen = inspect(&source, &ASKED).await;
        findings.extend(judge(&Facts { subject: subject(source, &settings), seen }));
    }
    let report =
        if as_json { json(&findings).map_err(|error| Error::Output(error.into()))? } else { text(&findings) };
    let mut out = io::stdout().lock();
    out.write_all(report.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)?;
    let ill = findings.iter().any(|finding| finding.severity == Severity::Fault);
    Ok(if ill { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn subject(source: RedisSource, settings: &Settings) -> Subject {
    let redis_cli = match &source.address {
        RedisAddress::Tcp { host, port } => format!("redis-cli -h {} -p {port}", shell_word(host)),
        RedisAddress::Unix { path } => format!("redis-cli -s {}", shell_word(&path.to_string_lossy())),
    };
    Subject {
        name: source.name,
        redis_cli,
        db: source.db,
        user: source.username,
        stale_after: settings.max_lifetime.saturating_add(settings.grace),
    }
}
