//! From raw arguments to a `Config`: finds each value's parser and, when it fails, says which flag or variable it was.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use clap::ArgMatches;

use super::args::{self, Args};
use super::command_args::{CommandArgs, LedgerArgs, SimulateArgs};
use super::given::{Given, UsageError};
use super::read_coturn;
use super::read_health::read_health_check;
use super::read_sinks::{ledger_place, read_sinks};
use super::sink_args::SinkArgs;
use crate::config::value::{self, count, size};
use crate::config::{
    self, Command, Config, ConfigError, Demo, LedgerPlace, ListenAddress, Log, Password, RedisSource,
    ReportForm, STATSDB_PORT, Secret, Simulation, SinksConfig, Statsdb, Tls, UsageQuery, Web,
};
use crate::reload::Reloaded;
use crate::simulation::Profile;
use crate::state::Settings;

/// More of anything that has a cap is a typing error.
const MANY: u64 = u32::MAX as u64;

/// A simulated service of more would be busier than what watches it.
const MOST_CALLS: u64 = 100_000;

/// The configuration that `args` ask for. Long, but a list: what each subcommand reads, and which flags it refuses.
pub(super) fn config(
    args: Args,
    matches: &ArgMatches,
    definitions: &clap::Command,
) -> Result<Config, UsageError> {
    let given = Given { matches, definitions };
    let Args { command, web, log, redis, statsdb, coturn, allocation, session, metrics, store, sinks } = args;
    let password_files = [
        redis.password_file.clone(),
        redis.sentinel_password_file.clone(),
        statsdb.password_file.clone(),
        sinks.postgres_password_file.clone(),
        sinks.events_secret_file.clone(),
    ];
    let log = read_log(&given, &log)?;
    let command = read_command(&given, command, &web, &store, &sinks)?;
    // What a command does not use is not read either: a replay must not fail for a Redis it never asks.
    let mut config = Config { log, ..Config::default() };
    match &command {
        Command::Watch => {
            config.web = read_web(&given, &web)?;
            config.statsdb = read_statsdb(&given, &statsdb, &mut config.password_files)?;
            let sinks = read_sinks(&given, &sinks, &mut config.password_files)?;
            config.store = read_store(&given, &store, sinks)?;
        }
        Command::Replay { .. } => given.refuse("replay")?,
        Command::Record { .. } => given.refuse("record")?,
        Command::Doctor { .. } => {
            given.refuse("doctor")?;
            // It listens nowhere, so it may look at any address.
            let statsdb = args::StatsdbArgs { open: "true".to_owned(), forward_url: None, ..statsdb };
            config.statsdb = read_statsdb(&given, &statsdb, &mut config.password_files)?;
            // Its certificate is looked at; nothing else of the web server is.
            let path = given.file("web.config.file", web.config_file.as_ref());
            config.web.config_file =
                path.map(|path| config::WebConfigFile { path, open_health_paths: false });
        }
        Command::Prune { .. } => given.refuse("prune")?,
        Command::Usage(_) => given.refuse("usage")?,
        Command::Simulate(_) => given.refuse("simulate")?,
        Command::Demo(_) => given.refuse("demo")?,
        Command::HealthCheck(_) => given.refuse("healthcheck")?,
        Command::LedgerSchema | Command::LedgerPrune { .. } => given.refuse("ledger")?,
    }
    let has_no_coturn = matches!(
        command,
        Command::Usage(_)
            | Command::LedgerSchema
            | Command::LedgerPrune { .. }
            | Command::Simulate(_)
            | Command::Demo(_)
            | Command::HealthCheck(_)
    );
    config.coturn = if has_no_coturn { None } else { read_coturn::load(&given, &coturn)? };
    // The Redis that is watched without being asked for is for those who have named no source at all.
    let is_redis_given = given.is_set("redis.url");
    let is_redis_meant = config.statsdb.is_none() || is_redis_given;
    if command.looks_at_sources() {
        let file = config.coturn.as_mut().filter(|_| is_redis_meant && !is_redis_given);
        let of_coturn = read_coturn::source(&given, file, &command)?;
        let redis = if is_redis_meant { redis } else { args::RedisArgs { url: Vec::new(), ..redis } };
        config.sources = read_sources(&given, &redis, of_coturn, &mut config.password_files)?;
    }
    if let Some(forward) = config.statsdb.as_ref().and_then(|statsdb| statsdb.forward.clone()) {
        let both = config.sources.iter().cloned().chain([forward]).collect();
        config::distinct_sources(both).map_err(|problem| given.wrong("statsdb.forward-url", problem))?;
    }
    match &command {
        Command::Record { .. } => {
            let only = config::one_source(&config.sources);
            only.map_err(|problem| given.wrong("redis.url", problem))?;
        }
        Command::Doctor { .. } | Command::Prune { .. } => {
            (config.table.max_lifetime, config.table.grace) = read_lifetime(&given, &allocation)?;
            config.table.session_by = given.one("session.by", &session.by, value::session_by)?;
            let separator = &session.rest_separator;
            config.table.rest_separator = given.one("session.rest-separator", separator, value::separator)?;
        }
        Command::Watch | Command::Replay { .. } => {
            config.table = read_table(&given, &allocation, &session, &metrics, config.web.enable_details)?;
            let disabled = given.each("metrics.disable", &metrics.disable, value::disabled_family)?;
            config.disabled_families = disabled.into_iter().collect();
        }
        Command::Usage(_)
        | Command::LedgerSchema
        | Command::LedgerPrune { .. }
        | Command::Simulate(_)
        | Command::Demo(_)
        | Command::HealthCheck(_) => {}
    }
    if let Some(file) = &mut config.coturn {
        read_coturn::complete(&given, file, &command, &mut config.table);
    }
    let files = [
        (config.sources.is_empty(), "redis.password-file", &password_files[0]),
        (config.sources.is_empty(), "redis.sentinel-password-file", &password_files[1]),
        (config.statsdb.is_none(), "statsdb.password-file", &password_files[2]),
        (config.store.is_none(), "ledger.postgres-password-file", &password_files[3]),
        (config.store.is_none(), "events.secret-file", &password_files[4]),
    ];
    let used = files.into_iter().filter(|(is_unused, ..)| !is_unused);
    let paths = used.filter_map(|(_, id, file)| given.file(id, file.as_ref()));
    // The service manager sees to who may read its own; the rights that its files show are those of the widest reader.
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
    let is_credential = |path: &Path| credentials.as_ref().is_some_and(|folder| path.starts_with(folder));
    config.exposed_password_files =
        paths.filter(|path| !is_credential(path) && Secret::is_exposed(path)).collect();
    Ok(Config { command, ..config })
}

/// What to do. Long, but a list: one arm for each subcommand.
fn read_command(
    given: &Given<'_>,
    command: Option<CommandArgs>,
    web: &args::WebArgs,
    store: &args::StoreArgs,
    sinks: &SinkArgs,
) -> Result<Command, UsageError> {
    match command {
        None => Ok(Command::Watch),
        Some(CommandArgs::Replay { files, until }) => {
            let until = until.map(|until| value::seconds(&until)).transpose();
            Ok(Command::Replay { files, until: until.map_err(|problem| given.wrong("until", problem))? })
        }
        Some(CommandArgs::Record { output, duration }) => {
            let duration = read_duration(given, duration)?;
            Ok(Command::Record { output: output.filter(|output| output != Path::new("-")), duration })
        }
        Some(CommandArgs::Doctor { json: true, .. }) => Ok(Command::Doctor { report: ReportForm::Json }),
        Some(CommandArgs::Doctor { verbose, .. }) => {
            Ok(Command::Doctor { report: if verbose { ReportForm::Verbose } else { ReportForm::Short } })
        }
        Some(CommandArgs::Prune { apply }) => Ok(Command::Prune { apply }),
        Some(CommandArgs::Healthcheck { url, ready, timeout }) => {
            read_health_check(given, url.as_deref(), ready, &timeout, web).map(Command::HealthCheck)
        }
        Some(CommandArgs::Simulate(args)) => read_simulation(given, args).map(Command::Simulate),
        Some(CommandArgs::Demo { port, calls, duration }) => Ok(Command::Demo(Demo {
            port: given.one("port", &port, value::port)?,
            calls: given.one("calls", &calls, |calls| size(calls, 1..=MOST_CALLS))?,
            duration: read_duration(given, duration)?,
        })),
        Some(CommandArgs::Ledger { action: LedgerArgs::Schema }) => Ok(Command::LedgerSchema),
        Some(CommandArgs::Ledger { action: LedgerArgs::Prune { from, keep, apply } }) => {
            let keep = value::positive_duration(&keep).map_err(|problem| given.wrong("keep", problem))?;
            let database = match ledger_place(given, &from, sinks)? {
                LedgerPlace::Postgres(database) => database,
                LedgerPlace::Store(_) => return Err(given.wrong("from", ConfigError::NoDatabase)),
            };
            Ok(Command::LedgerPrune { database, keep, apply })
        }
        Some(CommandArgs::Usage { by, since, until, top, wide, columns, format, from }) => {
            let wrong = |id: &'static str| move |problem| given.wrong(id, problem);
            let moment = |id, typed: Option<String>| {
                typed.map(|typed| value::moment(&typed)).transpose().map_err(wrong(id))
            };
            let place = match from {
                Some(from) => Some(ledger_place(given, &from, sinks)?),
                None => given.file("store.path", store.path.as_ref()).map(LedgerPlace::Store),
            };
            let top = top.map(|top| count(&top, 1..=MANY)).transpose().map_err(wrong("top"))?;
            Ok(Command::Usage(UsageQuery {
                place: place.ok_or(ConfigError::NoStore).map_err(wrong("store.path"))?,
                by: by.iter().map(|by| value::usage_by(by)).collect::<Result<_, _>>().map_err(wrong("by"))?,
                since: moment("since", since)?,
                until: moment("until", until)?,
                top: top.map(|top| u32::try_from(top).unwrap_or(u32::MAX)),
                columns: value::usage_columns(&columns, wide).map_err(wrong("columns"))?,
                format: value::usage_format(&format).map_err(wrong("format"))?,
            }))
        }
    }
}

fn read_simulation(given: &Given<'_>, args: SimulateArgs) -> Result<Simulation, UsageError> {
    let profile = Profile {
        servers: given.one("servers", &args.servers, |servers| size(servers, 1..=1000))?,
        calls: given.one("calls", &args.calls, |calls| size(calls, 1..=MOST_CALLS))?,
        speed: given.one("speed", &args.speed, value::speed)?,
        crash_every: given.one("crash-every", &args.crash_every, value::duration)?,
        cut_every: given.one("cut-every", &args.cut_every, value::duration)?,
        leak_one_in: given.one("leak-one-in", &args.leak_one_in, |one| {
            count(one, 0..=MANY).map(|one| u32::try_from(one).unwrap_or(u32::MAX))
        })?,
        seed: given.one("seed", &args.seed, |seed| count(seed, 0..=u64::MAX))?,
        ..Profile::default()
    };
    let to = given.one("to", &args.to, value::host_and_port)?;
    Ok(Simulation { to, profile, duration: read_duration(given, args.duration)? })
}

fn read_duration(given: &Given<'_>, duration: Option<String>) -> Result<Option<Duration>, UsageError> {
    let duration = duration.map(|duration| value::positive_duration(&duration)).transpose();
    duration.map_err(|problem| given.wrong("duration", problem))
}

fn read_log(given: &Given<'_>, log: &args::LogArgs) -> Result<Log, UsageError> {
    Ok(Log {
        level: given.one("log.level", &log.level, value::log_level)?,
        format: given.one("log.format", &log.format, value::log_format)?,
    })
}

fn read_web(given: &Given<'_>, web: &args::WebArgs) -> Result<Web, UsageError> {
    let id = "web.listen-address";
    let systemd_socket = given.one("web.systemd-socket", &web.systemd_socket, value::switch)?;
    let listen = if systemd_socket {
        if given.is_set(id) {
            return Err(given.wrong(id, ConfigError::ListenBesideSystemd));
        }
        Vec::new()
    } else {
        let listen = given.each(id, &web.listen_address, ListenAddress::from_str)?;
        config::distinct_addresses(listen).map_err(|problem| given.wrong(id, problem))?
    };
    let path = given.file("web.config.file", web.config_file.as_ref());
    let id = "web.open-health-paths";
    let open_health_paths = given.one(id, &web.open_health_paths, value::switch)?;
    if open_health_paths && path.is_none() {
        return Err(given.wrong(id, ConfigError::NoLogins));
    }
    Ok(Web {
        listen,
        telemetry_path: given.one("web.telemetry-path", &web.telemetry_path, str::parse)?,
        max_requests: given.one("web.max-requests", &web.max_requests, |v| size(v, 1..=MANY))?,
        max_connections: given.one("web.max-connections", &web.max_connections, |v| size(v, 1..=MANY))?,
        openmetrics_created: given.one("web.openmetrics-created", &web.openmetrics_created, value::switch)?,
        enable_details: given.one("web.enable-details", &web.enable_details, value::switch)?,
        details_hosts: given.each("web.details-host", &web.details_host, value::host_name)?,
        config_file: path.map(|path| config::WebConfigFile { path, open_health_paths }),
        systemd_socket,
    })
}

fn read_sources(
    given: &Given<'_>,
    redis: &args::RedisArgs,
    of_coturn: Option<Vec<RedisSource>>,
    password_files: &mut Vec<Reloaded<Secret>>,
) -> Result<Vec<RedisSource>, UsageError> {
    let id = "redis.url";
    let parse = |url: &str| url.parse().map_err(ConfigError::RedisUrl);
    let sources = match of_coturn {
        Some(sources) => sources,
        None => given.each_of(id, &redis.url, config::split_redis_urls, parse)?,
    };
    let mut sources = config::distinct_sources(sources).map_err(|problem| given.wrong(id, problem))?;
    let id = "redis.password-file";
    if let Some(path) = given.file(id, redis.password_file.as_ref()) {
        let file = config::add_password(&mut sources, &path);
        password_files.push(file.map_err(|problem| given.wrong(id, problem))?);
    }
    let id = "redis.sentinel-password-file";
    if let Some(path) = given.file(id, redis.sentinel_password_file.as_ref()) {
        let file = config::add_sentinel_password(&mut sources, &path);
        password_files.push(file.map_err(|problem| given.wrong(id, problem))?);
    }
    read_tls(given, redis, &mut sources)?;
    Ok(sources)
}

fn read_tls(
    given: &Given<'_>,
    redis: &args::RedisArgs,
    sources: &mut [RedisSource],
) -> Result<(), UsageError> {
    let files = [
        ("redis.tls-ca-file", &redis.tls_ca_file),
        ("redis.tls-cert-file", &redis.tls_cert_file),
        ("redis.tls-key-file", &redis.tls_key_file),
    ];
    let [ca_file, cert_file, key_file] = files.map(|(id, file)| given.file(id, file.as_ref()));
    let present = [ca_file.is_some(), cert_file.is_some(), key_file.is_some()];
    let Some((id, _)) = files.iter().zip(present).rfind(|(_, is_present)| *is_present).map(|(flag, _)| flag)
    else {
        return Ok(());
    };
    let client = config::client_certificate(cert_file, key_file);
    let tls = client.and_then(|client| config::set_tls(sources, &Tls { ca_file, client }));
    tls.map_err(|problem| given.wrong(id, problem))
}

fn read_statsdb(
    given: &Given<'_>,
    statsdb: &args::StatsdbArgs,
    password_files: &mut Vec<Reloaded<Secret>>,
) -> Result<Option<Statsdb>, UsageError> {
    let listen = statsdb.listen_address.as_deref().map(str::trim).filter(|address| !address.is_empty());
    let max_connections =
        given.one("statsdb.max-connections", &statsdb.max_connections, |v| size(v, 1..=MANY))?;
    let open = given.one("statsdb.open", &statsdb.open, value::switch)?;
    let systemd_socket = given.one("statsdb.systemd-socket", &statsdb.systemd_socket, value::switch)?;
    let is_behind_proxy = given.one("statsdb.behind-proxy", &statsdb.behind_proxy, value::switch)?;
    let Some(listen) = listen else {
        return match given.typed(|id| id.starts_with("statsdb.")) {
            Some(flag) => Err(given.wrong(flag, ConfigError::StatsdbUnused)),
            None => Ok(None),
        };
    };
    let id = "statsdb.listen-address";
    let listen = ListenAddress::parse(listen, STATSDB_PORT).map_err(|problem| given.wrong(id, problem))?;
    let password = given.file("statsdb.password-file", statsdb.password_file.as_ref());
    let password = password.map(|path| Password::from_file("--statsdb.password-file", &path)).transpose();
    let password = password.map_err(|problem| given.wrong("statsdb.password-file", problem))?;
    password_files.extend(password.clone());
    let files = [
        given.file("statsdb.tls-cert-file", statsdb.tls_cert_file.as_ref()),
        given.file("statsdb.tls-key-file", statsdb.tls_key_file.as_ref()),
    ];
    let [cert_file, key_file] = files;
    let forward = statsdb.forward_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
    let forward = forward.map(str::parse).transpose().map_err(ConfigError::RedisUrl);
    let statsdb = Statsdb {
        name: format!("statsdb://{listen}"),
        listen,
        systemd_socket,
        password: password.map(Password::File),
        tls: config::server_certificate(cert_file, key_file)
            .map_err(|problem| given.wrong("statsdb.tls-cert-file", problem))?,
        max_connections,
        is_behind_proxy,
        forward: forward.map_err(|problem| given.wrong("statsdb.forward-url", problem))?,
    };
    statsdb.checked(open).map(Some).map_err(|problem| given.wrong(id, problem))
}

fn read_store(
    given: &Given<'_>,
    store: &args::StoreArgs,
    sinks: SinksConfig,
) -> Result<Option<config::StoreConfig>, UsageError> {
    let retention = given.one("store.retention", &store.retention, value::positive_duration)?;
    let path = given.file("store.path", store.path.as_ref());
    let sink = match (&sinks.postgres, sinks.webhooks.first()) {
        (Some(_), _) => Some("ledger.postgres-url"),
        (None, Some(_)) => Some("events.url"),
        (None, None) => None,
    };
    match (path, sink) {
        (None, Some(id)) => Err(given.wrong(id, ConfigError::SinkWithoutStore)),
        (path, _) => Ok(path.map(|path| config::StoreConfig { path, retention, sinks })),
    }
}

fn read_table(
    given: &Given<'_>,
    allocation: &args::AllocationArgs,
    session: &args::SessionArgs,
    metrics: &args::MetricsArgs,
    are_rates_kept: bool,
) -> Result<Settings, UsageError> {
    let max_realms = given.one("metrics.max-realms", &metrics.max_realms, |v| size(v, 1..=MANY))?;
    let realms = given.each("metrics.realm", &metrics.realm, |realm| Ok(realm.to_owned()))?;
    let (max_lifetime, grace) = read_lifetime(given, allocation)?;
    Ok(Settings {
        grace,
        max_lifetime,
        idle_after: given.one("allocation.idle-after", &allocation.idle_after, value::positive_duration)?,
        max_allocations: given.one("allocation.max-count", &allocation.max_count, |v| size(v, 1..=MANY))?,
        session_by: given.one("session.by", &session.by, value::session_by)?,
        linger: given.one("session.linger", &session.linger, value::duration)?,
        relayed_packets: given
            .one("session.relayed-packets", &session.relayed_packets, |v| count(v, 0..=MANY))?,
        rest_separator: given.one("session.rest-separator", &session.rest_separator, value::separator)?,
        max_realms,
        max_servers: given.one("metrics.max-servers", &metrics.max_servers, |v| size(v, 1..=MANY))?,
        realms: config::realms(realms, max_realms)
            .map_err(|problem| given.wrong("metrics.realm", problem))?,
        // Only the pages of details show them.
        are_rates_kept,
    })
}

/// How long an allocation may live without a refresh: the longest grant, and the grace.
fn read_lifetime(
    given: &Given<'_>,
    allocation: &args::AllocationArgs,
) -> Result<(Duration, Duration), UsageError> {
    let id = "allocation.max-lifetime";
    let max_lifetime = given.one(id, &allocation.max_lifetime, value::positive_duration)?;
    let grace = given.one("allocation.grace", &allocation.grace, value::duration)?;
    Ok((max_lifetime, grace))
}
