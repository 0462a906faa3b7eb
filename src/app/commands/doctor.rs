//! `doctor`: looks at each Redis and at the listener, prints what was found, and ends with 1 if something is wrong. Judges nothing itself.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::app::Error;
use crate::config::{Endpoint, RedisSource, Statsdb, Tls};
use crate::doctor::facts::{Facts, Subject};
use crate::doctor::listener::{denied_peer, judge_listener};
use crate::doctor::{ASKED, Severity, json, judge, shell_word, text};
use crate::source::connect::locate;
use crate::source::probe::probe;
use crate::source::server::RedisServer;
use crate::source::statsdb::probe::probe as probe_listener;
use crate::state::Settings;

/// Looks at the sources one after the other.
///
/// # Errors
///
/// An output that takes no more; what is wrong with a Redis is a finding.
pub(in crate::app) async fn doctor(
    sources: Vec<RedisSource>,
    statsdb: Option<Statsdb>,
    settings: Settings,
    as_json: bool,
) -> Result<ExitCode, Error> {
    let mut findings = Vec::new();
    for source in sources {
        let seen = probe(&source, &ASKED).await;
        // Where it was; if it was nowhere, no command would help.
        let server = locate(&source).await.ok();
        let facts = Facts { subject: subject(source, server.as_ref(), &settings), seen };
        findings.extend(judge(&facts));
        if let Some(RedisServer::Tcp(Endpoint { host, .. })) = &server {
            findings.extend(denied_peer(&facts.subject.name, host));
        }
    }
    if let Some(statsdb) = statsdb {
        let facts = probe_listener(&statsdb).await;
        findings.extend(judge_listener(&facts));
        findings.extend(denied_peer(&facts.name, &facts.ip));
    }
    let report =
        if as_json { json(&findings).map_err(|error| Error::Output(error.into()))? } else { text(&findings) };
    let mut out = io::stdout().lock();
    out.write_all(report.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)?;
    let ill = findings.iter().any(|finding| finding.severity == Severity::Fault);
    Ok(if ill { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn subject(source: RedisSource, server: Option<&RedisServer>, settings: &Settings) -> Subject {
    let mut redis_cli = match server {
        Some(RedisServer::Tcp(Endpoint { host, port })) => {
            format!("redis-cli -h {} -p {port}", shell_word(host))
        }
        Some(RedisServer::Unix(path)) => format!("redis-cli -s {}", shell_word(&path.to_string_lossy())),
        None => "redis-cli".to_owned(),
    };
    if let Some(Tls { ca_file, client }) = &source.tls {
        let files = [
            ("--cacert", ca_file.as_ref()),
            ("--cert", client.as_ref().map(|client| &client.cert_file)),
            ("--key", client.as_ref().map(|client| &client.key_file)),
        ];
        redis_cli.push_str(" --tls");
        for (flag, file) in files {
            if let Some(file) = file {
                // Writing to a string cannot fail.
                let _ = write!(redis_cli, " {flag} {}", shell_word(&file.to_string_lossy()));
            }
        }
    }
    Subject {
        name: source.name,
        redis_cli,
        db: source.db,
        user: source.username,
        stale_after: settings.longest_silence(),
    }
}
