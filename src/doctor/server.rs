//! Judges the server itself: reachable, version, role, and which other clients are connected.

use std::time::Duration;

use super::facts::{
    Clients, Look, MasterLink, Obstacle, PublishCount, Role, Seen, Subject, Unreachable, Version,
};
use super::rights::user_of;
use super::{COTURN_REDIS_PASSWORD, Severity, Verdict, shell_word};
use crate::wire::status_key::is_stale;

/// The oldest Redis that works: SCAN, OBJECT IDLETIME and UNLINK as we use them.
const OLDEST: Version = Version { major: 5, minor: 0, patch: 0 };

/// The first Redis with `CLIENT NO-TOUCH`.
const NO_TOUCH: Version = Version { major: 7, minor: 2, patch: 0 };

/// The finding about the connections of a coturn.
const COTURN: &str = "coturn";

pub(super) fn unreachable(reason: &Unreachable, subject: &Subject) -> Verdict {
    let Unreachable { obstacle, text } = reason;
    let fault = |id, message| Verdict::new(Severity::Fault, id, message);
    let sees_nothing = "without it the exporter sees nothing";
    match (obstacle, &subject.login_of) {
        (Obstacle::Login, Some(file)) => {
            let message = if text.starts_with("NOAUTH") {
                format!("Redis wants a password, and redis-statsdb in {file} has none: {text}")
            } else {
                format!("wrong password in redis-statsdb in {file}: {text}")
            };
            fault("login", message)
                .because("coturn is refused alike: nothing that it reports is counted, and the exporter sees nothing")
                .fix(COTURN_REDIS_PASSWORD)
        }
        (Obstacle::Login, None) => fault("login", format!("the login is refused: {text}"))
            .because(sees_nothing)
            .fix("--redis.password-file FILE with the right password, or --redis.url redis://USER@HOST/DB"),
        (Obstacle::Connection, _) => fault("reachable", format!("not reachable: {text}"))
            .because("without Redis the exporter sees nothing, and what coturn reports meanwhile is lost")
            .fix("start Redis, or set --redis.url to where it answers; without a Redis: --statsdb.listen-address"),
        (Obstacle::Protocol, _) => fault("reachable", format!("no Redis answers: {text}"))
            .because(sees_nothing)
            .fix("--redis.url with the port of Redis; rediss:// where that port speaks TLS"),
        (Obstacle::Listener, _) => listener(subject),
        (Obstacle::Tls { fix }, _) => fault("reachable", format!("no TLS connection: {text}"))
            .because("the exporter does not use a server whose certificate it cannot verify")
            .fix(fix.clone().unwrap_or_else(|| {
                "--redis.url or the files of --redis.tls-ca-file, --redis.tls-cert-file and --redis.tls-key-file, as \
                 the finding says"
                    .to_owned()
            })),
        (Obstacle::Sentinel, _) => fault("reachable", text.clone())
            .because("without the master's address the exporter connects to no Redis")
            .fix("--redis.url with the sentinels' addresses and the name that they give the master"),
        (Obstacle::Replica, _) => fault("reachable", text.clone())
            .because("the exporter does not subscribe to a replica; it retries until the sentinels name a master")
            .fix("run doctor again when the failover is over"),
        (Obstacle::Refusal, _) => fault("reachable", format!("Redis answers, but cannot serve clients now: {text}"))
            .because(sees_nothing)
            .fix("run doctor again when that is over; the log of Redis says why"),
    }
}

/// `--redis.url` leads to an exporter.
fn listener(subject: &Subject) -> Verdict {
    let address = subject.name.split_once("://").map_or(subject.name.as_str(), |(_, address)| address);
    let address = address.split_once('/').map_or(address, |(address, _)| address);
    let message = "what answers is no Redis: a coturn-exporter listens there (--statsdb.listen-address), to which coturn \
                   reports";
    Verdict::new(Severity::Fault, "reachable", message)
        .because("it keeps no keys and passes nothing on: an exporter that watches it sees nothing")
        .fix(format!(
            "for doctor, the flags of that exporter: --statsdb.listen-address {address} in place of --redis.url; for an \
             exporter that is to watch a Redis, the address of that Redis in --redis.url"
        ))
}

pub(super) fn reachable(seen: &Seen, subject: &Subject) -> Verdict {
    let user = user_of(seen, subject);
    Verdict::new(Severity::Ok, "reachable", format!("Redis answers; logged in as {user}"))
}

pub(super) fn version(seen: &Seen) -> Option<Verdict> {
    let Some(version) = seen.version.seen() else {
        return Verdict::unseen(&seen.version, "version", "INFO server", "the version of Redis");
    };
    if *version < OLDEST {
        let message = format!("Redis is {version}; 5.0 is the oldest that works");
        return Some(
            Verdict::new(Severity::Fault, "version", message)
                .because("commands that the exporter and prune need are missing")
                .fix("install a newer Redis"),
        );
    }
    Some(Verdict::new(Severity::Ok, "version", format!("Redis is {version}")))
}

pub(super) fn no_touch(seen: &Seen, subject: &Subject) -> Option<Verdict> {
    let why = "each value that is read at a start or resync loses its idle time, the sign of its age, for the next \
               reader; the exporter reads unknown keys only";
    let recent = seen.version.seen().is_none_or(|version| *version >= NO_TOUCH);
    match &seen.no_touch {
        Look::Seen(true) => {
            Some(Verdict::new(Severity::Ok, "no-touch", "CLIENT NO-TOUCH works: reading keeps idle times"))
        }
        Look::Forbidden if recent => {
            let verdict =
                Verdict::new(Severity::Info, "no-touch", "CLIENT NO-TOUCH is forbidden to this user");
            let user = shell_word(&user_of(seen, subject));
            Some(verdict.because(why).redis(format!("ACL SETUSER {user} '+client|no-touch'")))
        }
        Look::Seen(false) | Look::Forbidden => {
            let message = "CLIENT NO-TOUCH is not known here (it came with Redis 7.2)";
            Some(Verdict::new(Severity::Info, "no-touch", message).because(why))
        }
        unseen @ Look::Failed(_) => {
            Verdict::unseen(unseen, "no-touch", "CLIENT NO-TOUCH", "whether it is known")
        }
    }
}

pub(super) fn role(seen: &Seen, subject: &Subject) -> Option<Verdict> {
    let Some(role) = seen.role.seen() else {
        return Verdict::unseen(&seen.role, "role", "ROLE", "whether this is a master");
    };
    let link = match role {
        Role::Master => return Some(Verdict::new(Severity::Ok, "role", "Redis is a master")),
        Role::Other(word) => {
            let verdict =
                Verdict::new(Severity::Fault, "role", format!("this is not a data server but a {word}"));
            return Some(
                verdict.because("coturn cannot write here").fix("--redis.url with the Redis of coturn"),
            );
        }
        Role::Replica(link) => *link,
    };
    let fix = "the master's address, in --redis.url and in coturn's redis-statsdb";
    if link == MasterLink::Syncing {
        let message =
            "Redis is a replica that is being synchronized with its master: it has no complete copy yet";
        let why = "keys are missing or old until that is done; what it has then, and whether coturn writes to its \
                   master, is not judged";
        return Some(
            Verdict::new(Severity::Advice, "role", message)
                .because(why)
                .fix(format!("run doctor again when that is done; or {fix}")),
        );
    }
    let connected = link == MasterLink::Connected;
    // Keys that were set lately were replicated: coturn writes to the master, and reading here works.
    let alive = |idle: &Option<_>| idle.is_some_and(|idle| !is_stale(idle, subject.stale_after));
    let fed = connected && seen.dbs.iter().any(|db| db.idle.iter().any(alive));
    let (severity, why) = if fed {
        (
            Severity::Advice,
            "coturn writes to its master; a replica that loses its master stops delivering, without an error",
        )
    } else {
        (
            Severity::Fault,
            "Redis refuses the keys that a coturn sets here, and delivers nothing that it publishes here",
        )
    };
    let message =
        if connected { "Redis is a replica" } else { "Redis is a replica that has lost its master" };
    Some(Verdict::new(severity, "role", message).because(why).fix(fix))
}

pub(super) fn clients(seen: &Seen, subject: &Subject) -> Vec<Verdict> {
    let Some(clients) = seen.clients.seen() else {
        let not_judged = "who else is subscribed, whether coturn is connected";
        let mut verdicts = Vec::new();
        verdicts.extend(Verdict::unseen(&seen.clients, "clients", "CLIENT LIST", not_judged));
        // Whose they were does not show, so it may have been no coturn.
        let published = seen.published.seen().copied().unwrap_or_default();
        if published.is_refused() {
            let own = "doctor sends one itself where its login is refused";
            verdicts.push(refused(Severity::Advice, &format!("and refused {}; {own}", published.refused)));
        }
        if let Some(patterns) = seen.patterns.seen().filter(|patterns| **patterns > 0) {
            let message = format!("{patterns} pattern(s) are subscribed to; by which clients is unknown");
            verdicts.push(Verdict::new(Severity::Info, "subscribers", message));
        }
        return verdicts;
    };
    let subscribers = match clients.subscribers {
        0 => {
            Verdict::new(Severity::Info, "subscribers", "nobody is subscribed to a pattern: no exporter runs")
        }
        1 => Verdict::new(Severity::Ok, "subscribers", "one connection is subscribed to a pattern"),
        more => {
            let message = format!("{more} connections are subscribed to patterns");
            Verdict::new(Severity::Info, "subscribers", message).because(
                "if several exporters watch one coturn, their metrics must not be added up, and each resets the idle \
                 times of keys for the others",
            )
        }
    };
    let mut verdicts = vec![subscribers];
    if let Some(latest) = clients.forwarders.iter().min() {
        let message = format!(
            "{} connection(s) of exporters that forward to this Redis what their own coturn reports \
             (--statsdb.forward-url); the last command was {} ago",
            clients.forwarders.len(),
            age(*latest)
        );
        verdicts.push(Verdict::new(Severity::Info, "forwarders", message));
    }
    verdicts.push(coturn(clients, seen.published.seen().copied().unwrap_or_default(), subject));
    verdicts
}

/// Nothing that was published since the statistics of Redis began was accepted.
fn refused(severity: Severity, refused: &str) -> Verdict {
    let message = format!("Redis has accepted no PUBLISH since its statistics began, {refused}");
    Verdict::new(severity, COTURN, message)
        .because(
            "a coturn without a password, with a wrong one or without the right to PUBLISH reports nothing; only its own log \
             says so (NOAUTH, NOPERM)",
        )
        .fix(COTURN_REDIS_PASSWORD)
}

/// Whether coturn is among the connections. Only the last command of a connection shows that it has published, or has tried to.
fn coturn(clients: &Clients, published: PublishCount, subject: &Subject) -> Verdict {
    let id = COTURN;
    if !clients.publishers.is_empty() && published.is_refused() {
        let connections = clients.publishers.len();
        let message = format!("and refused {}; {connections} connection(s) tried", published.refused);
        return refused(Severity::Fault, &message);
    }
    let (recent, silent): (Vec<_>, Vec<_>) =
        clients.publishers.iter().copied().partition(|idle| *idle <= subject.stale_after);
    if let Some(latest) = recent.iter().min() {
        let more = silent.iter().min().map_or_else(String::new, |latest| {
            format!("; {} other(s) published too, but not for {}", silent.len(), age(*latest))
        });
        let (count, latest) = (recent.len(), age(*latest));
        if published.refused > 0 {
            let message = format!(
                "{count} connection(s) sent PUBLISH, last {latest} ago{more}; since its statistics began Redis has accepted {} \
                 and refused {}",
                published.accepted, published.refused
            );
            return Verdict::new(Severity::Info, id, message).because(
                "whether those of a coturn are refused now does not show: the second number then rises while a client has \
                 an allocation, and coturn's log has NOAUTH or NOPERM",
            );
        }
        let message = format!("{count} connection(s) published, last {latest} ago, as coturn does{more}");
        return Verdict::new(Severity::Ok, id, message);
    }
    if let Some(latest) = silent.iter().min() {
        let message = format!("{} connection(s) published, but nothing for {}", silent.len(), age(*latest));
        return Verdict::new(Severity::Info, id, message).because(format!(
            "a coturn with an allocation publishes at least its refreshes, within {} s; one without is quiet for as \
             long as it has none",
            subject.stale_after.as_secs()
        ));
    }
    if !clients.forwarders.is_empty() {
        let message = "no coturn itself is connected; the forwarding exporter has it";
        return Verdict::new(Severity::Info, id, message);
    }
    match clients.others {
        0 => Verdict::new(Severity::Advice, id, "no other client is connected, so coturn is not either")
            .because("coturn connects when it starts, and stays")
            .fix(
                "redis-statsdb=\"ip=HOST dbname=DB port=PORT\" in turnserver.conf; look for NOAUTH in coturn's log",
            ),
        others => {
            let message = format!("{others} other connection(s), none of which published with its last command");
            Verdict::new(Severity::Info, id, message)
                .because("coturn publishes with its first allocation; an idle one cannot be distinguished from other clients")
        }
    }
}

/// A time that has passed, in the largest unit of which there are two.
fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
