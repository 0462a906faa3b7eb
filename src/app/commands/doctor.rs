//! `doctor`: looks at coturn's file, at each Redis and at the listener, prints what was found, and ends with 1 if something is wrong. Judges nothing itself.

mod coturn_facts;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::app::Error;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, CoturnFile, Endpoint, RedisSource, ReportForm, Statsdb, Tls, WebConfigFile};
use crate::doctor::certificate::{CertificateFacts, CertificateUser, judge_certificate};
use crate::doctor::facts::{Facts, Seen, Subject, Unreachable};
use crate::doctor::listener::{
    ListenerFacts, ListenerSeen, PasswordOrigin, denied_peer, judge_listener, only_found,
};
use crate::doctor::turnserver::{TurnserverFacts, judge_turnserver};
use crate::doctor::{ASKED, Severity, json, judge, shell_word, text};
use crate::http::WebConfig;
use crate::net::tls::OwnCertificate;
use crate::source::connect::locate;
use crate::source::probe::probe;
use crate::source::server::RedisServer;
use crate::source::statsdb::own_certificate;
use crate::source::statsdb::probe::probe as probe_listener;
use crate::state::Settings;
use crate::validity::Validity;

/// Looks at the sources one after the other.
///
/// # Errors
///
/// An output that takes no more; what is wrong with a Redis is a finding.
pub(in crate::app) async fn doctor(config: Config, form: ReportForm) -> Result<ExitCode, Error> {
    let Config { sources, statsdb, coturn, table: settings, web, .. } = config;
    let mut findings = Vec::new();
    let certificates = certificates(statsdb.as_ref(), web.config_file);
    let mut listener = match statsdb {
        Some(statsdb) => Some(look_at(statsdb).await),
        None => None,
    };
    let found = match &coturn {
        Some(file) => listener_of_coturn(file).await,
        None => None,
    };
    let redises = if found.is_some() { Vec::new() } else { look_at_each(sources).await };
    if let Some(file) = &coturn {
        let password = listener
            .as_ref()
            .and_then(|(statsdb, facts)| coturn_facts::password_fit(file, statsdb, &facts.seen));
        if let Some(found) = found {
            findings.push(only_found(&found.0.name));
            listener = Some(found);
        }
        let login = coturn_facts::login(file, &redises).await;
        let watched = redises.iter().map(|(source, _)| coturn_facts::of_redis(source));
        let of_listener =
            listener.iter().map(|(statsdb, facts)| coturn_facts::of_listener(statsdb, &facts.seen));
        let watched = watched.chain(of_listener).collect();
        let facts = coturn_facts::facts(file, watched, &settings).await;
        findings.extend(judge_turnserver(&TurnserverFacts { password, login, ..facts }));
    }
    for (source, seen) in redises {
        // Where it was; if it was nowhere, no command would help.
        let server = locate(&source).await.ok();
        let facts = Facts { subject: subject(source, server.as_ref(), coturn.as_ref(), &settings), seen };
        findings.extend(judge(&facts));
        if let Some(RedisServer::Tcp(Endpoint { host, .. })) = &server {
            findings.extend(denied_peer(&facts.subject.name, host));
        }
    }
    if let Some((_, facts)) = listener {
        findings.extend(judge_listener(&facts));
        findings.extend(denied_peer(&facts.name, &facts.ip));
    }
    findings.extend(certificates.iter().map(judge_certificate));
    let report = match form {
        ReportForm::Json => json(&findings).map_err(|error| Error::Output(error.into()))?,
        ReportForm::Verbose => text(&findings, true),
        ReportForm::Short => text(&findings, false),
    };
    let mut out = io::stdout().lock();
    out.write_all(report.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)?;
    let ill = findings.iter().any(|finding| finding.severity == Severity::Fault);
    Ok(if ill { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One after the other.
async fn look_at_each(sources: Vec<RedisSource>) -> Vec<(RedisSource, Result<Seen, Unreachable>)> {
    let mut seen = Vec::with_capacity(sources.len());
    for source in sources {
        let answers = probe(&source, &ASKED).await;
        seen.push((source, answers));
    }
    seen
}

/// Those that an exporter with these flags shows.
fn certificates(statsdb: Option<&Statsdb>, web: Option<WebConfigFile>) -> Vec<CertificateFacts> {
    let now = SystemClock::new().now();
    let listener = statsdb.and_then(|statsdb| {
        let found = own_certificate(statsdb.tls.as_ref()?).map_err(|error| error.to_string());
        Some(CertificateFacts {
            source: statsdb.name.clone(),
            user: CertificateUser::Statsdb,
            seen: found.and_then(|found| found.as_ref().map(known).ok_or_else(|| NO_TIMES.to_owned())),
            now,
        })
    });
    let web = web.and_then(|WebConfigFile { path, .. }| {
        // Without TLS there is nothing to judge.
        let found = WebConfig::certificate_of(&path).map_err(|error| error.to_string()).transpose()?;
        let source = path.display().to_string();
        Some(CertificateFacts {
            source,
            user: CertificateUser::Web,
            seen: found.as_ref().map(known).map_err(Clone::clone),
            now,
        })
    });
    listener.into_iter().chain(web).collect()
}

const NO_TIMES: &str = "it does not say when it is valid";

fn known(certificate: &OwnCertificate) -> (String, Validity) {
    (certificate.path.display().to_string(), certificate.validity)
}

async fn look_at(statsdb: Statsdb) -> (Statsdb, ListenerFacts) {
    let facts = probe_listener(&statsdb, SystemClock::new().now()).await;
    (statsdb, facts)
}

/// The exporter's listener, where coturn's file is all that is known and its statsdb is no Redis.
async fn listener_of_coturn(file: &CoturnFile) -> Option<(Statsdb, ListenerFacts)> {
    if !file.used_for.contains(&"redis.url") {
        return None;
    }
    let (listener, facts) = look_at(coturn_facts::perhaps_listener(file)?).await;
    let is_exporter = matches!(facts.seen, ListenerSeen::Exporter(_) | ListenerSeen::Refused);
    is_exporter.then_some((listener, ListenerFacts { password_of: PasswordOrigin::CoturnFile, ..facts }))
}

fn subject(
    source: RedisSource,
    server: Option<&RedisServer>,
    coturn: Option<&CoturnFile>,
    settings: &Settings,
) -> Subject {
    let login_of = coturn.filter(|file| coturn_facts::is_from(file, &source));
    let login_of = login_of.map(|file| file.path.display().to_string());
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
        login_of,
        stale_after: settings.longest_silence(),
    }
}
