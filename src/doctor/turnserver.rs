//! Judges coturn's own file: whether its `redis-statsdb` leads to what the exporter watches, and whether its settings and
//! those of the exporter fit each other. What the file does not say, its version among it, is named as not known.

mod statsdb;

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Duration;

use super::{Finding, Severity, Verdict, of_source};

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
    /// What the watched Redis says to its login; `None` where it leads to no watched Redis, or where that was not tried.
    pub login: Option<RedisLogin>,
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

/// What a Redis says to the login of `redis-statsdb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisLogin {
    /// It takes the password.
    Accepted,
    /// It takes the password of the default user or that of the user that the line names, not of both.
    OfOneUser,
    /// It refuses the password: in its words.
    Refused(String),
    /// It wants a password, and the line has none.
    Missing,
    /// The line has a password, and the default user needs none.
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
        if *own_port != port {
            return Some(false);
        }
        match (address(own), address(host)) {
            (Some(own_ip), Some(ip)) => {
                let takes_all = own_ip.is_unspecified() && (own_ip.is_ipv6() || ip.is_ipv4());
                if own_ip == ip || takes_all {
                    return Some(true);
                }
                // A Redis may listen on several addresses, and so may a listener that has a name; one with an address listens
                // on that alone.
                let listens_there_only = self.db.is_none() && own.parse::<IpAddr>().is_ok();
                (listens_there_only || !own_ip.is_loopback() || !ip.is_loopback()).then_some(false)
            }
            _ if own.eq_ignore_ascii_case(host) => Some(true),
            // A name and an address may be one host.
            _ => None,
        }
    }
}

/// Of a host, where it shows without asking anybody.
fn address(host: &str) -> Option<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(IpAddr::from([127, 0, 0, 1]));
    }
    host.parse().ok()
}

/// Judges the file.
pub fn judge_turnserver(facts: &TurnserverFacts) -> Vec<Finding> {
    let mut verdicts = statsdb::all(facts);
    verdicts.extend(facts.password.map(statsdb::password));
    verdicts.extend(facts.login.as_ref().map(statsdb::login));
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
mod tests;
