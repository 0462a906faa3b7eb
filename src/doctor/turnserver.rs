//! Judges coturn's own file: whether its `redis-statsdb` leads to what the exporter watches, and whether its settings and
//! those of the exporter fit each other. What the file does not say, its version among it, is named as not known.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Duration;

use super::{COTURN_PASSWORD, Finding, Severity, Verdict, of_source};

/// coturn delays ends by up to so much where mobility is on.
const MOBILITY_DELAY: Duration = Duration::from_secs(60);

/// What the file says, and what the exporter is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of coturn or a flag")]
pub struct TurnserverFacts {
    /// The file.
    pub file: String,
    /// Where coturn reports to.
    pub statsdb: StatsdbSetting,
    /// Its password beside that of the listener; `None` where it leads to no listener, or its password is not known.
    pub password: Option<PasswordFit>,
    /// What the exporter watches.
    pub watched: Vec<WatchedPlace>,
    /// A `redis-statsdb` by which coturn reports to the first of them.
    pub line: String,
    /// Where neither the file nor a flag says how coturn is to report: a `redis-statsdb` for an exporter without a Redis, and
    /// the flags of that exporter.
    pub direct: Option<DirectWay>,
    /// `realm`.
    pub realm: Option<String>,
    /// `max-allocate-lifetime`, where the file has it.
    pub max_allocate_lifetime: Option<Duration>,
    /// `--allocation.max-lifetime` in force.
    pub max_lifetime: Duration,
    /// `--allocation.grace` in force.
    pub grace: Duration,
    /// `rest-api-separator`, where the file has it.
    pub rest_api_separator: Option<char>,
    /// `--session.rest-separator` in force.
    pub rest_separator: char,
    /// Names of users are those of the TURN REST API.
    pub has_rest_names: bool,
    /// Lines `user=`.
    pub static_users: usize,
    /// `--session.by user` is in force.
    pub is_by_user: bool,
    /// `mobility`.
    pub has_mobility: bool,
    /// Relay ports of all addresses.
    pub relay_ports: u64,
    /// `total-quota`.
    pub total_quota: Option<u64>,
    /// `prometheus`.
    pub has_prometheus: bool,
}

/// How coturn reports straight to an exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectWay {
    /// The line for the file.
    pub line: String,
    /// The flags of the exporter.
    pub flags: String,
}

/// `redis-statsdb`, without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatsdbSetting {
    /// The file has none.
    Missing,
    /// coturn cannot use it: why.
    Broken(String),
    /// It leads somewhere.
    Target {
        /// Host or address.
        host: String,
        /// Port.
        port: u16,
        /// `dbname`.
        db: u32,
        /// `connect_timeout` in seconds; 0 for none.
        connect_timeout: u64,
        /// `tls`.
        has_tls: bool,
        /// What a connection says where the exporter watches another place; `None` where that place is looked at anyway.
        unreachable: Option<String>,
    },
}

/// How the password of `redis-statsdb` fits that of the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordFit {
    /// They are the same.
    Same,
    /// They differ.
    Different,
    /// The listener has one, coturn does not say any.
    Missing,
    /// coturn says one, the listener has none.
    NotAsked,
}

/// A place that the exporter watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedPlace {
    /// The source's name.
    pub name: String,
    /// Host and port; `None` where they cannot be compared: a unix socket, sentinels.
    pub endpoint: Option<(String, u16)>,
    /// The db that keys are read from; `None` for the listener, which has none.
    pub db: Option<u32>,
    /// Who connects there must say a password.
    pub has_password: bool,
    /// Who connects there must speak TLS.
    pub has_tls: bool,
}

impl WatchedPlace {
    /// Whether a coturn on this host that reports to this endpoint reports here; `None` where that does not show.
    pub fn is_at(&self, host: &str, port: u16) -> Option<bool> {
        let (own, own_port) = self.endpoint.as_ref()?;
        let address = |host: &str| {
            if host.eq_ignore_ascii_case("localhost") {
                Ok(IpAddr::from([127, 0, 0, 1]))
            } else {
                host.parse::<IpAddr>()
            }
        };
        if *own_port != port {
            return Some(false);
        }
        match (address(own), address(host)) {
            (Ok(own), Ok(host)) => {
                Some(own == host || own.is_unspecified() || own.is_loopback() && host.is_loopback())
            }
            _ if own.eq_ignore_ascii_case(host) => Some(true),
            // A name and an address may be one host.
            _ => None,
        }
    }
}

/// Judges the file.
pub fn judge_turnserver(facts: &TurnserverFacts) -> Vec<Finding> {
    let mut verdicts = statsdb(facts);
    verdicts.extend(facts.password.map(password));
    verdicts.push(realm(facts));
    verdicts.extend(users(facts));
    verdicts.extend(lifetime(facts));
    verdicts.extend(separator(facts));
    verdicts.extend(grace(facts));
    verdicts.push(ports(facts));
    verdicts.extend(prometheus(facts));
    verdicts.push(version());
    verdicts.into_iter().map(|verdict| of_source(verdict, &facts.file)).collect()
}

fn statsdb(facts: &TurnserverFacts) -> Vec<Verdict> {
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
    let lost = facts.watched.iter().all(|place| place.is_at(host, port) == Some(false));
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
fn password(fit: PasswordFit) -> Verdict {
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

fn realm(facts: &TurnserverFacts) -> Verdict {
    const ID: &str = "coturn-realm";
    match &facts.realm {
        Some(realm) if realm.contains([' ', '\t', '#', '\'']) => {
            let message = format!("realm is {realm:?}, with what follows the name");
            Verdict::new(Severity::Advice, ID, message)
                .because("coturn knows no comments behind a value and no single quotes: all of it is the realm")
                .fix("the name alone behind realm=, the comment on a line of its own")
        }
        Some(realm) => Verdict::new(Severity::Ok, ID, format!("realm is {realm}")),
        None => Verdict::new(Severity::Advice, ID, "there is no realm")
            .because(
                "coturn takes the domain of the host, or none: all numbers then stand under the realm \"\", and servers \
                 that share it cannot be told apart",
            )
            .fix("realm=turn.example.org, a name of yours, in the file; then restart coturn"),
    }
}

fn users(facts: &TurnserverFacts) -> Option<Verdict> {
    const ID: &str = "coturn-users";
    if facts.static_users == 0 {
        return None;
    }
    let are = format!("the file has {} static user(s)", facts.static_users);
    if !facts.is_by_user {
        return Some(Verdict::new(
            Severity::Ok,
            ID,
            format!("{are}; sessions are those of each client host"),
        ));
    }
    let verdict = Verdict::new(Severity::Advice, ID, format!("{are}, and --session.by is user"))
        .because(
            "clients that share a name become one session, whose length and volume are those of all of them together",
        )
        .fix("--session.by client, unless each client has a name of its own");
    Some(verdict)
}

fn lifetime(facts: &TurnserverFacts) -> Option<Verdict> {
    const ID: &str = "coturn-max-lifetime";
    let (theirs, ours) = (facts.max_allocate_lifetime?, facts.max_lifetime);
    let [their_seconds, our_seconds] = [theirs, ours].map(|lifetime| lifetime.as_secs());
    let are =
        format!("max-allocate-lifetime is {their_seconds} s, --allocation.max-lifetime {our_seconds} s");
    let fix = format!("--allocation.max-lifetime {their_seconds}s, or leave it out");
    Some(match ours.cmp(&theirs) {
        Ordering::Equal => Verdict::new(
            Severity::Ok,
            ID,
            format!("max-allocate-lifetime is {their_seconds} s on both sides"),
        ),
        Ordering::Less => Verdict::new(Severity::Fault, ID, are)
            .because("keys of live allocations count as leftovers, and `prune` would delete them")
            .fix(fix),
        Ordering::Greater => Verdict::new(Severity::Advice, ID, are)
            .because("idle allocations and leftovers are noticed later than they could be")
            .fix(fix),
    })
}

fn separator(facts: &TurnserverFacts) -> Option<Verdict> {
    let theirs = facts.rest_api_separator.unwrap_or(':');
    if !facts.has_rest_names || theirs == facts.rest_separator {
        return None;
    }
    let message =
        format!("rest-api-separator is {theirs:?}, --session.rest-separator {:?}", facts.rest_separator);
    let verdict = Verdict::new(Severity::Fault, "coturn-rest-separator", message)
        .because("timestamps are not cut from TURN REST names: each credential counts as a user of its own")
        .fix(format!("--session.rest-separator '{theirs}', or leave it out"));
    Some(verdict)
}

fn grace(facts: &TurnserverFacts) -> Option<Verdict> {
    if !facts.has_mobility || facts.grace > MOBILITY_DELAY {
        return None;
    }
    let message = format!("mobility is on, and --allocation.grace is {} s", facts.grace.as_secs());
    let verdict = Verdict::new(Severity::Fault, "coturn-mobility", message)
        .because(
            "with mobility coturn reports an end up to 60 s late: allocations become orphans that are none",
        )
        .fix("--allocation.grace 90s");
    Some(verdict)
}

fn ports(facts: &TurnserverFacts) -> Verdict {
    const ID: &str = "coturn-ports";
    let ports = facts.relay_ports;
    match facts.total_quota {
        Some(quota) if ports < quota => {
            let message =
                format!("there are {ports} relay ports, and total-quota allows {quota} allocations");
            Verdict::new(Severity::Advice, ID, message)
                .because(
                    "each allocation takes a port: clients are refused (508) before the quota is reached",
                )
                .fix("a wider min-port to max-port, another relay-ip, or a lower total-quota")
        }
        Some(quota) => Verdict::new(
            Severity::Ok,
            ID,
            format!("{ports} relay ports for a total-quota of {quota} allocations"),
        ),
        None => Verdict::new(Severity::Ok, ID, format!("{ports} relay ports, and no total-quota")),
    }
}

fn prometheus(facts: &TurnserverFacts) -> Option<Verdict> {
    let verdict = Verdict::new(Severity::Info, "coturn-prometheus", "coturn serves a page of its own (prometheus)")
        .because(
            "its turn_total_allocations and traffic can be compared with this exporter's; by default it listens on port \
             9641",
        );
    facts.has_prometheus.then_some(verdict)
}

fn version() -> Verdict {
    Verdict::new(Severity::Info, "coturn-version", "not judged: the file does not say which version of coturn reads it")
        .because(
            "before 4.5.1.2 no traffic of peers is reported; before 4.6 no address of the server; before 4.13 a % in a user \
             name loses events or ends coturn (GHSA-4g7c-p5wg-j4hp); from 4.11 sent bytes of the peer leg count 4 too many \
             for each packet of ChannelData",
        )
        .fix("turnserver --version shows it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: u16, db: u32) -> StatsdbSetting {
        let host = host.to_owned();
        StatsdbSetting::Target { host, port, db, connect_timeout: 30, has_tls: false, unreachable: None }
    }

    fn redis(host: &str, db: u32) -> WatchedPlace {
        let name = format!("redis://{host}:6379/{db}");
        WatchedPlace {
            name,
            endpoint: Some((host.to_owned(), 6379)),
            db: Some(db),
            has_password: false,
            has_tls: false,
        }
    }

    fn well() -> TurnserverFacts {
        TurnserverFacts {
            file: "/etc/turnserver.conf".to_owned(),
            statsdb: target("localhost", 6379, 2),
            password: Some(PasswordFit::Same),
            watched: vec![redis("127.0.0.1", 2)],
            line: "redis-statsdb=\"...\"".to_owned(),
            direct: None,
            realm: Some("turn.example".to_owned()),
            max_allocate_lifetime: Some(Duration::from_secs(3600)),
            max_lifetime: Duration::from_secs(3600),
            grace: Duration::from_secs(90),
            rest_api_separator: None,
            rest_separator: ':',
            has_rest_names: true,
            static_users: 0,
            is_by_user: true,
            has_mobility: true,
            relay_ports: 1000,
            total_quota: Some(1000),
            has_prometheus: true,
        }
    }

    fn speak_tls(facts: &mut TurnserverFacts, coturn: bool, redis: bool) {
        if let StatsdbSetting::Target { has_tls, .. } = &mut facts.statsdb {
            *has_tls = coturn;
        }
        facts.watched[0].has_tls = redis;
    }

    fn severity(facts: &TurnserverFacts, id: &str) -> Option<Severity> {
        let findings = judge_turnserver(facts);
        for finding in &findings {
            let is_wrong = matches!(finding.severity, Severity::Fault | Severity::Advice);
            assert!(!is_wrong || finding.why.is_some() && finding.fix.is_some(), "{finding:?}");
        }
        findings.iter().find(|finding| finding.id == id).map(|finding| finding.severity)
    }

    #[test]
    fn a_file_that_fits_is_well() {
        let findings = judge_turnserver(&well());
        assert!(findings.iter().all(|finding| finding.severity <= Severity::Info), "{findings:#?}");
        assert_eq!(severity(&well(), "coturn-statsdb"), Some(Severity::Ok));
        assert_eq!(severity(&well(), "coturn-prometheus"), Some(Severity::Info));
    }

    #[test]
    fn each_mistake_is_named() {
        type Break = fn(&mut TurnserverFacts);
        let cases: [(&str, Severity, Break); 21] = [
            ("coturn-statsdb", Severity::Fault, |facts| facts.statsdb = StatsdbSetting::Missing),
            ("coturn-statsdb", Severity::Fault, |facts| {
                facts.statsdb = StatsdbSetting::Broken("x".to_owned());
            }),
            ("coturn-statsdb", Severity::Fault, |facts| facts.statsdb = target("127.0.0.1", 6379, 0)),
            ("coturn-statsdb", Severity::Fault, |facts| facts.statsdb = target("127.0.0.1", 6390, 2)),
            ("coturn-statsdb", Severity::Fault, |facts| facts.statsdb = target("192.0.2.1", 6379, 2)),
            ("coturn-statsdb", Severity::Info, |facts| facts.statsdb = target("redis.example", 6379, 2)),
            ("coturn-connect-timeout", Severity::Advice, |facts| {
                if let StatsdbSetting::Target { connect_timeout, .. } = &mut facts.statsdb {
                    *connect_timeout = 0;
                }
            }),
            ("coturn-statsdb-tls", Severity::Fault, |facts| speak_tls(facts, true, false)),
            ("coturn-statsdb-tls", Severity::Fault, |facts| speak_tls(facts, false, true)),
            ("coturn-statsdb-tls", Severity::Info, |facts| speak_tls(facts, true, true)),
            ("coturn-statsdb-password", Severity::Fault, |facts| {
                facts.password = Some(PasswordFit::Different);
            }),
            ("coturn-statsdb-password", Severity::Fault, |facts| {
                facts.password = Some(PasswordFit::Missing);
            }),
            ("coturn-statsdb-password", Severity::Advice, |facts| {
                facts.password = Some(PasswordFit::NotAsked);
            }),
            ("coturn-realm", Severity::Advice, |facts| facts.realm = None),
            ("coturn-realm", Severity::Advice, |facts| facts.realm = Some("a # b".to_owned())),
            ("coturn-users", Severity::Advice, |facts| facts.static_users = 1),
            ("coturn-max-lifetime", Severity::Fault, |facts| facts.max_lifetime /= 2),
            ("coturn-max-lifetime", Severity::Advice, |facts| facts.max_lifetime *= 2),
            ("coturn-rest-separator", Severity::Fault, |facts| facts.rest_api_separator = Some('|')),
            ("coturn-mobility", Severity::Fault, |facts| facts.grace = MOBILITY_DELAY),
            ("coturn-ports", Severity::Advice, |facts| facts.relay_ports = 999),
        ];
        for (id, expected, break_it) in cases {
            let mut facts = well();
            break_it(&mut facts);
            assert_eq!(severity(&facts, id), Some(expected), "{facts:#?}");
        }
    }

    #[test]
    fn where_nothing_says_how_coturn_reports_both_ways_are_offered() {
        let way = DirectWay {
            line: "redis-statsdb=\"direct\"".to_owned(),
            flags: "--statsdb.listen-address x".to_owned(),
        };
        for statsdb in [StatsdbSetting::Missing, StatsdbSetting::Broken("x".to_owned())] {
            let fix = |direct: Option<DirectWay>| {
                let facts = TurnserverFacts { statsdb: statsdb.clone(), direct, ..well() };
                let findings = judge_turnserver(&facts);
                findings.into_iter().find(|finding| finding.id == "coturn-statsdb").unwrap().fix.unwrap()
            };
            let both = fix(Some(way.clone()));
            for part in [way.line.as_str(), &way.flags, &well().line, "restart coturn"] {
                assert!(both.contains(part), "{part}: {both}");
            }
            assert!(!fix(None).contains("direct") && fix(None).contains(&well().line), "{}", fix(None));
        }
    }

    #[test]
    fn the_listener_is_found_wherever_it_listens() {
        let listener = |host: &str| WatchedPlace {
            name: "statsdb".to_owned(),
            endpoint: Some((host.to_owned(), 6390)),
            db: None,
            has_password: false,
            has_tls: false,
        };
        for (listens, host, port, is_at) in [
            ("0.0.0.0", "192.0.2.1", 6390, Some(true)),
            ("::", "127.0.0.1", 6390, Some(true)),
            ("127.0.0.1", "localhost", 6390, Some(true)),
            ("127.0.0.1", "192.0.2.1", 6390, Some(false)),
            ("0.0.0.0", "127.0.0.1", 6379, Some(false)),
            ("turn.example", "192.0.2.1", 6390, None),
            ("turn.example", "TURN.example", 6390, Some(true)),
        ] {
            assert_eq!(listener(listens).is_at(host, port), is_at, "{listens} {host}:{port}");
        }
    }
}
