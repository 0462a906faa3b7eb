//! What `doctor` takes from coturn's file and from the exporter's settings, side by side.

use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::turnserver::StatsdbTarget;
use crate::config::{
    CoturnFile, ListenAddress, RedisAddress, RedisSource, STATSDB_PORT, Statsdb, redis_statsdb_line,
};
use crate::doctor::turnserver::{DirectWay, StatsdbSetting, TurnserverFacts, WatchedPlace};
use crate::state::{SessionBy, Settings};

/// How long a connection to coturn's statsdb may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The facts of a file; `watched` is what the exporter watches.
pub(super) async fn facts(
    file: &CoturnFile,
    watched: Vec<WatchedPlace>,
    settings: &Settings,
) -> TurnserverFacts {
    let conf = file.conf.current();
    let statsdb = match &conf.statsdb {
        None => StatsdbSetting::Missing,
        Some(Err(problem)) => StatsdbSetting::Broken(problem.to_string()),
        Some(Ok(target)) => StatsdbSetting::Target {
            host: target.host.clone(),
            port: target.port,
            db: target.db,
            connect_timeout: target.connect_timeout,
            unreachable: unreachable(target, &watched).await,
        },
    };
    let relay_ips = u64::try_from(conf.relay_ips.len()).unwrap_or(u64::MAX).max(1);
    TurnserverFacts {
        file: file.path.display().to_string(),
        statsdb,
        line: line(&watched),
        direct: (!file.has_source_beside).then(|| DirectWay {
            line: redis_statsdb_line("127.0.0.1", STATSDB_PORT, 0, false),
            flags: format!("--statsdb.listen-address 127.0.0.1:{STATSDB_PORT}"),
        }),
        watched,
        realm: conf.realm.clone(),
        max_allocate_lifetime: conf.max_allocate_lifetime,
        max_lifetime: settings.max_lifetime,
        grace: settings.grace,
        rest_api_separator: conf.rest_separator,
        rest_separator: char::from(settings.rest_separator),
        has_rest_names: conf.has_rest_names,
        static_users: conf.static_users,
        is_by_user: settings.session_by == SessionBy::User,
        has_mobility: conf.has_mobility,
        relay_ports: conf.ports_of_each_ip().saturating_mul(relay_ips),
        total_quota: conf.total_quota,
        has_prometheus: conf.has_prometheus,
    }
}

/// By which coturn reports to the first of them; without a password, for one that is not in the file is not known here.
fn line(watched: &[WatchedPlace]) -> String {
    let first = watched.iter().find_map(|place| Some((place.endpoint.as_ref()?, place.db.unwrap_or(0))));
    let Some(((host, port), db)) = first else { return redis_statsdb_line("127.0.0.1", 6379, 0, false) };
    let is_every_address = host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
    redis_statsdb_line(if is_every_address { "127.0.0.1" } else { host }, *port, db, false)
}

/// What a connection to a place that is not watched says.
async fn unreachable(target: &StatsdbTarget, watched: &[WatchedPlace]) -> Option<String> {
    let StatsdbTarget { host, port, .. } = target;
    if watched.iter().any(|place| place.is_at(host, *port) == Some(true)) {
        return None;
    }
    match timeout(CONNECT, TcpStream::connect((host.as_str(), *port))).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {CONNECT:?}")),
    }
}

/// A Redis, as a place to be compared.
pub(super) fn of_redis(source: &RedisSource) -> WatchedPlace {
    let endpoint = match &source.address {
        RedisAddress::Tcp(endpoint) => Some((endpoint.host.clone(), endpoint.port)),
        RedisAddress::Unix { .. } | RedisAddress::Sentinel(_) => None,
    };
    WatchedPlace { name: source.name.clone(), endpoint, db: Some(source.db) }
}

/// The listener, as a place to be compared.
pub(super) fn of_listener(statsdb: &Statsdb) -> WatchedPlace {
    let endpoint = match &statsdb.listen {
        ListenAddress::Any { port } => ("::".to_owned(), *port),
        ListenAddress::Socket(address) => (address.ip().to_string(), address.port()),
        ListenAddress::Name { host, port } => (host.clone(), *port),
    };
    WatchedPlace { name: statsdb.name.clone(), endpoint: Some(endpoint), db: None }
}

/// The listener of an exporter, where the statsdb of coturn's file may be one.
pub(super) fn perhaps_listener(file: &CoturnFile) -> Option<Statsdb> {
    let conf = file.conf.current();
    let target = conf.statsdb.as_ref()?.as_ref().ok()?;
    let StatsdbTarget { host, port, .. } = target;
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    Some(Statsdb {
        name: format!("statsdb://{address}"),
        listen: address.parse().ok()?,
        systemd_socket: false,
        password: target.password.clone().map(Into::into),
        tls: None,
        max_connections: 1,
        is_behind_proxy: false,
        forward: None,
    })
}
