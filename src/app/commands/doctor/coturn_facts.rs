//! What `doctor` takes from coturn's file and from the exporter's settings, side by side.

use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::turnserver::StatsdbTarget;
use crate::config::{
    CoturnFile, ListenAddress, Password, RedisAddress, RedisSource, STATSDB_PORT, Statsdb, StatsdbLineError,
    redis_statsdb_line,
};
use crate::doctor::facts::{Obstacle, Seen, Unreachable};
use crate::doctor::listener::ListenerSeen;
use crate::doctor::turnserver::{
    DirectWay, PasswordFit, RedisLogin, StatsdbSetting, TurnserverFacts, WatchedPlace,
};
use crate::source::probe::try_login;
use crate::state::{SessionBy, Settings};

/// How long a connection to coturn's statsdb may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The facts of a file; `watched` is what the exporter watches. Without those of its password.
pub(super) async fn facts(
    file: &CoturnFile,
    watched: Vec<WatchedPlace>,
    settings: &Settings,
) -> TurnserverFacts {
    let conf = file.conf.current();
    let statsdb = match &conf.statsdb {
        None => StatsdbSetting::Missing,
        // The fix has the line to write, with the port that is right here.
        Some(Err(StatsdbLineError::Word { word })) => {
            StatsdbSetting::Broken(format!("the word {word:?} is no key=value"))
        }
        Some(Err(problem)) => StatsdbSetting::Broken(problem.to_string()),
        Some(Ok(target)) => StatsdbSetting::Target {
            host: target.host.clone(),
            port: target.port,
            db: target.db,
            connect_timeout: target.connect_timeout,
            has_tls: target.tls.is_some(),
            unreachable: unreachable(target, &watched).await,
        },
    };
    let relay_ips = u64::try_from(conf.relay_ips.len()).unwrap_or(u64::MAX).max(1);
    TurnserverFacts {
        file: file.path.display().to_string(),
        statsdb,
        password: None,
        login: None,
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

/// By which coturn reports to the first of them; `SECRET` stands for a password.
fn line(watched: &[WatchedPlace]) -> String {
    let first = watched.iter().find_map(|place| Some((place.endpoint.as_ref()?, place)));
    let Some(((host, port), place)) = first else { return redis_statsdb_line("127.0.0.1", 6379, 0, false) };
    let is_every_address = host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
    let host = if is_every_address { "127.0.0.1" } else { host };
    redis_statsdb_line(host, *port, place.db.unwrap_or(0), place.has_password)
}

/// How the password of the file's `redis-statsdb` fits that of the listener; `None` where it does not lead there, or where
/// the listener has one that is not given here.
pub(super) fn password_fit(file: &CoturnFile, statsdb: &Statsdb, seen: &ListenerSeen) -> Option<PasswordFit> {
    let conf = file.conf.current();
    let target = conf.statsdb.as_ref()?.as_ref().ok()?;
    if of_listener(statsdb, seen).is_at(&target.host, target.port) != Some(true) {
        return None;
    }
    let ours = statsdb.password.as_ref().map(Password::current);
    match (&target.password, ours.as_deref()) {
        (Some(theirs), Some(ours)) if theirs == ours => Some(PasswordFit::Same),
        (Some(_), Some(_)) => Some(PasswordFit::Different),
        (None, Some(_)) => Some(PasswordFit::Missing),
        (None, None) => seen.wants_password().then_some(PasswordFit::Missing),
        (Some(_), None) => (!seen.wants_password()).then_some(PasswordFit::NotAsked),
    }
}

/// What the watched Redis to which the file leads says to its login; `None` where it leads to none, or where the exporter has
/// that login from the file, so that its own tells.
pub(super) async fn login(
    file: &CoturnFile,
    watched: &[(RedisSource, Result<Seen, Unreachable>)],
) -> Option<RedisLogin> {
    let conf = file.conf.current();
    let target = conf.statsdb.as_ref()?.as_ref().ok()?;
    let leads_here = |source| of_redis(source).is_at(&target.host, target.port) == Some(true);
    let (source, seen) = watched.iter().find(|(source, _)| leads_here(source))?;
    let is_redis = match seen {
        Ok(_) => true,
        Err(unreachable) => unreachable.obstacle == Obstacle::Login,
    };
    let coturn = RedisSource { username: target.username.clone(), ..conf.source().ok()?? };
    let is_own = is_from(file, source) && coturn.username.is_none();
    if is_own || !is_redis {
        return None;
    }
    try_login(&coturn).await
}

/// Whether the exporter logs in there by what the file says.
pub(super) fn is_from(file: &CoturnFile, source: &RedisSource) -> bool {
    let of_file = file.conf.current().source().ok().flatten();
    file.used_for.contains(&"redis.url") && of_file.is_some_and(|own| own.password == source.password)
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
    let has_password = source.password.is_some() || source.username.is_some();
    let has_tls = source.tls.is_some();
    WatchedPlace { name: source.name.clone(), endpoint, db: Some(source.db), has_password, has_tls }
}

/// The listener, as a place to be compared, with what is seen of it.
pub(super) fn of_listener(statsdb: &Statsdb, seen: &ListenerSeen) -> WatchedPlace {
    let endpoint = match &statsdb.listen {
        ListenAddress::Any { port } => ("::".to_owned(), *port),
        ListenAddress::Socket(address) => (address.ip().to_string(), address.port()),
        ListenAddress::Name { host, port } => (host.clone(), *port),
    };
    let has_password = statsdb.password.is_some() || seen.wants_password();
    let (name, has_tls) = (statsdb.name.clone(), statsdb.tls.is_some());
    WatchedPlace { name, endpoint: Some(endpoint), db: None, has_password, has_tls }
}

/// The listener of an exporter, where the statsdb of coturn's file may be one.
pub(super) fn perhaps_listener(file: &CoturnFile) -> Option<Statsdb> {
    let conf = file.conf.current();
    let target = conf.statsdb.as_ref()?.as_ref().ok()?;
    let StatsdbTarget { host, port, tls: None, .. } = target else { return None };
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
