//! The flags of those who take what the ledger has elsewhere.

use std::path::{Path, PathBuf};

use super::given::{Given, UsageError};
use super::sink_args::SinkArgs;
use crate::config::value::{self, count, size};
use crate::config::{
    ConfigError, EventBounds, LedgerPlace, Password, PostgresSettings, Secret, SinksConfig, WebhookSettings,
};
use crate::reload::Reloaded;

/// The largest batch of events: a receiver reads it as one body.
const MOST_IN_A_BATCH: u64 = 1000;

/// Who takes what is in the ledger elsewhere; files with passwords are added to those that are read again.
pub(super) fn read_sinks(
    given: &Given<'_>,
    args: &SinkArgs,
    password_files: &mut Vec<Reloaded<Secret>>,
) -> Result<SinksConfig, UsageError> {
    let exporter = match &args.exporter_name {
        Some(name) if !name.trim().is_empty() => given.one("exporter.name", name, value::exporter_name)?,
        _ => value::name_of_host(),
    };
    let event_bounds = EventBounds {
        age: given.one("events.max-age", &args.events_max_age, value::positive_duration)?,
        count: given.one("events.max-pending", &args.events_max_pending, |v| count(v, 1..=100_000_000))?,
    };
    let postgres = read_postgres(given, args, password_files)?;
    let webhooks = read_webhooks(given, args, password_files)?;
    Ok(SinksConfig { exporter, postgres, webhooks, event_bounds })
}

fn read_postgres(
    given: &Given<'_>,
    args: &SinkArgs,
    password_files: &mut Vec<Reloaded<Secret>>,
) -> Result<Option<PostgresSettings>, UsageError> {
    let url = args.postgres_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
    let file = given.file("ledger.postgres-password-file", args.postgres_password_file.as_ref());
    let Some(url) = url else {
        return match file {
            Some(_) => Err(given.wrong("ledger.postgres-password-file", ConfigError::PostgresUnused)),
            None => Ok(None),
        };
    };
    let password = read_password(given, file.as_deref())?;
    password_files.extend(password.clone());
    Ok(Some(PostgresSettings { url: Secret::new(url), password: password.map(Password::File) }))
}

fn read_password(given: &Given<'_>, file: Option<&Path>) -> Result<Option<Reloaded<Secret>>, UsageError> {
    let password = file.map(|path| Password::from_file("--ledger.postgres-password-file", path)).transpose();
    password.map_err(|problem| given.wrong("ledger.postgres-password-file", problem))
}

/// Where `--from` says that the ledger is: a database by its URL, or a store by its path.
pub(super) fn ledger_place(
    given: &Given<'_>,
    from: &str,
    args: &SinkArgs,
) -> Result<LedgerPlace, UsageError> {
    if !from.contains("://") {
        return Ok(LedgerPlace::Store(from.into()));
    }
    let file = given.file("ledger.postgres-password-file", args.postgres_password_file.as_ref());
    let password = read_password(given, file.as_deref())?.map(Password::File);
    Ok(LedgerPlace::Postgres(PostgresSettings { url: Secret::new(from), password }))
}

fn read_webhooks(
    given: &Given<'_>,
    args: &SinkArgs,
    password_files: &mut Vec<Reloaded<Secret>>,
) -> Result<Vec<WebhookSettings>, UsageError> {
    let urls = given.each("events.url", &args.events_url, |url| Ok(Secret::new(url)))?;
    let secret_file = given.file("events.secret-file", args.events_secret_file.as_ref());
    let ca_file: Option<PathBuf> = given.file("events.tls-ca-file", args.events_tls_ca_file.as_ref());
    let with_users = given.one("events.with-users", &args.events_with_users, value::switch)?;
    let batch_size =
        given.one("events.batch-size", &args.events_batch_size, |v| size(v, 1..=MOST_IN_A_BATCH))?;
    if urls.is_empty() {
        let unused =
            [("events.secret-file", secret_file.is_some()), ("events.tls-ca-file", ca_file.is_some())];
        return match unused.into_iter().find(|(_, is_given)| *is_given) {
            Some((id, _)) => Err(given.wrong(id, ConfigError::EventsUnused)),
            None => Ok(Vec::new()),
        };
    }
    let secrets = secret_file
        .map(|path| Secret::lines_of_file("--events.secret-file", &path))
        .transpose()
        .map_err(|problem| given.wrong("events.secret-file", problem))?;
    password_files.extend(secrets.clone());
    let mut webhooks: Vec<WebhookSettings> = Vec::with_capacity(urls.len());
    for url in urls {
        let host =
            value::host_of_web_hook(url.expose()).map_err(|problem| given.wrong("events.url", problem))?;
        let same =
            webhooks.iter().filter(|other| other.name.split('#').next() == Some(host.as_str())).count();
        let name = if same == 0 { host } else { format!("{host}#{}", same + 1) };
        webhooks.push(WebhookSettings {
            name,
            url,
            secrets: secrets.clone().map(Password::File),
            with_users,
            batch_size,
            ca_file: ca_file.clone(),
        });
    }
    Ok(webhooks)
}
