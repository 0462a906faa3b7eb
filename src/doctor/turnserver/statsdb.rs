//! Judges `redis-statsdb`: whether coturn can use it, and whether it leads to what the exporter watches.

use super::{DirectWay, PasswordFit, RedisLogin, StatsdbSetting, TurnserverFacts, WatchedPlace, address};
use crate::doctor::{COTURN_PASSWORD, COTURN_REDIS_PASSWORD, Severity, Verdict};

pub(super) fn all(facts: &TurnserverFacts) -> Vec<Verdict> {
    const ID: &str = "coturn-statsdb";
    let nothing = "coturn runs, and reports nothing: there are no numbers";
    match &facts.statsdb {
        StatsdbSetting::Missing => {
            let fix = lines_to_choose(facts);
            vec![Verdict::new(Severity::Fault, ID, "there is no redis-statsdb").because(nothing).fix(fix)]
        }
        StatsdbSetting::Broken(problem) => {
            let message = format!("coturn cannot use redis-statsdb: {problem}");
            vec![Verdict::new(Severity::Fault, ID, message).because(nothing).fix(lines_to_choose(facts))]
        }
        StatsdbSetting::Target { host, port, db, connect_timeout, has_tls, unreachable } => {
            let mut verdicts = vec![place(facts, host, *port, *db, unreachable.as_deref())];
            let watched = facts.watched.iter().find(|place| place.is_at(host, *port) == Some(true));
            verdicts.extend(tls(*has_tls, watched));
            if *connect_timeout == 0 {
                verdicts.push(
                    Verdict::new(Severity::Advice, "coturn-connect-timeout", "redis-statsdb has no connect_timeout")
                        .because(
                            "where its host drops packets, coturn waits for as long as the system does, minutes, before \
                             it serves anybody",
                        )
                        .fix("connect_timeout=30 in redis-statsdb"),
                );
            }
            verdicts
        }
    }
}

/// One port speaks TLS or does not.
fn tls(has_tls: bool, watched: Option<&WatchedPlace>) -> Option<Verdict> {
    const ID: &str = "coturn-statsdb-tls";
    match watched {
        Some(WatchedPlace { name, has_tls: true, .. }) if !has_tls => Some(
            Verdict::new(Severity::Fault, ID, format!("{name} speaks TLS, and redis-statsdb does not"))
                .because("coturn gets no connection, and nothing that it would report is counted")
                .fix(
                    "tls=1 ca=FILE in redis-statsdb (coturn 4.14 or later), then restart coturn; or a port without TLS in \
                     both",
                ),
        ),
        Some(WatchedPlace { name, has_tls: false, .. }) if has_tls => Some(
            Verdict::new(Severity::Fault, ID, format!("redis-statsdb has tls, and {name} is watched without"))
                .because("one port speaks TLS or does not: one of the two gets no connection")
                .fix(
                    "rediss:// in --redis.url, or --statsdb.tls-cert-file and --statsdb.tls-key-file; or no tls in \
                     redis-statsdb (then restart coturn)",
                ),
        ),
        _ if has_tls => Some(
            Verdict::new(Severity::Info, ID, "redis-statsdb has tls: coturn before 4.14 refuses the whole line")
                .because("it then runs, and reports nothing; the file does not say which version of coturn reads it")
                .fix("turnserver --version shows it"),
        ),
        _ => None,
    }
}

/// What to put into the file.
fn lines_to_choose(facts: &TurnserverFacts) -> String {
    let line = &facts.line;
    match &facts.direct {
        None => format!("{line} in the file; then restart coturn"),
        Some(DirectWay { line: direct, flags }) => format!(
            "one of these lines in the file, then restart coturn: {direct} (without a Redis; the exporter has {flags}) or \
             {line} (a Redis that the exporter watches)"
        ),
    }
}

/// Whether coturn reports to what the exporter watches.
fn place(facts: &TurnserverFacts, host: &str, port: u16, db: u32, unreachable: Option<&str>) -> Verdict {
    const ID: &str = "coturn-statsdb";
    let reports = format!("coturn reports to {host} port {port}");
    let names = facts.watched.iter().map(|place| place.name.as_str()).collect::<Vec<_>>().join(", ");
    let here = |place: &&WatchedPlace| place.is_at(host, port) == Some(true);
    if let Some(watched) = facts.watched.iter().find(here) {
        return match watched.db {
            Some(watched_db) if watched_db != db => {
                let message =
                    format!("coturn writes its keys to db {db}, the exporter reads those of db {watched_db}");
                Verdict::new(Severity::Fault, ID, message)
                    .because(
                        "events arrive all the same, but no key is found: after a start live allocations are missing, and \
                         after a gap those that ended stay live until they are due",
                    )
                    .fix(format!("db {db} in --redis.url, or dbname={watched_db} in redis-statsdb"))
            }
            _ => Verdict::new(Severity::Ok, ID, format!("{reports}, which is {}", watched.name)),
        };
    }
    // Loopback is this host, so what does not answer there answers coturn neither.
    let is_nowhere = unreachable.is_some() && address(host).is_some_and(|ip| ip.is_loopback());
    let lost = is_nowhere || facts.watched.iter().all(|place| place.is_at(host, port) == Some(false));
    if !lost {
        let message =
            format!("{reports}; the exporter watches {names}: whether that is one place does not show");
        return Verdict::new(Severity::Info, ID, message);
    }
    let and = unreachable.map(|why| format!("; nothing answers there: {why}")).unwrap_or_default();
    let message = format!("{reports}, the exporter watches {names}{and}");
    Verdict::new(Severity::Fault, ID, message)
        .because("nothing that this coturn reports arrives at the exporter")
        .fix("one place in both: --redis.url or --statsdb.listen-address, and redis-statsdb (then restart coturn)")
}

/// Neither of the two is shown.
pub(super) fn password(fit: PasswordFit) -> Verdict {
    const ID: &str = "coturn-statsdb-password";
    let refused = |message| {
        Verdict::new(Severity::Fault, ID, message)
            .because("the listener refuses this coturn, and nothing that it reports is counted")
            .fix(COTURN_PASSWORD)
    };
    match fit {
        PasswordFit::Same => {
            Verdict::new(Severity::Ok, ID, "the password of redis-statsdb is that of --statsdb.password-file")
        }
        PasswordFit::Different => {
            refused("the password of redis-statsdb is another than that of --statsdb.password-file")
        }
        PasswordFit::Missing => refused("redis-statsdb has no password, and the listener wants one"),
        PasswordFit::NotAsked => {
            Verdict::new(Severity::Advice, ID, "redis-statsdb has a password, and the listener wants none")
                .because("every client that can connect to the listener can report")
                .fix("--statsdb.password-file FILE with that password, for the exporter")
        }
    }
}

/// What the Redis says to it.
pub(super) fn login(login: &RedisLogin) -> Verdict {
    const ID: &str = "coturn-statsdb-login";
    let refused = |message: String| {
        Verdict::new(Severity::Fault, ID, message)
            .because("Redis refuses what this coturn reports (NOAUTH in coturn's log), and nothing of it is counted")
            .fix(COTURN_REDIS_PASSWORD)
    };
    match login {
        RedisLogin::Accepted => Verdict::new(Severity::Ok, ID, "Redis accepts the password of redis-statsdb"),
        RedisLogin::OfOneUser => Verdict::new(
            Severity::Info,
            ID,
            "Redis accepts the password of redis-statsdb for one of the default user and the user that it names only",
        )
        .because(
            "coturn 4.6 logs in as the default user whatever its line says, a newer one as the user that the line names",
        ),
        RedisLogin::Refused(text) => refused(format!("wrong password in redis-statsdb: {text}")),
        RedisLogin::Missing => refused("no password in redis-statsdb, and Redis wants one".to_owned()),
        RedisLogin::NotAsked => {
            Verdict::new(Severity::Info, ID, "redis-statsdb has a password, and Redis wants none")
        }
    }
}
