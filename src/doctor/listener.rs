//! Judges the listener that coturn reports to without a Redis: whether the exporter listens there, whether the password
//! is right, and which clients have connected. Also how coturn 4.17 treats the host that its `redis-statsdb` names.

use std::net::IpAddr;
use std::time::Duration;

use super::{COTURN_PASSWORD, Finding, Severity, TURNSERVER_LINE, Verdict, of_source};

/// What was seen of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerFacts {
    /// The source's name: `statsdb://` and the address.
    pub name: String,
    /// `--statsdb.listen-address`.
    pub listen: String,
    /// The address that a coturn on this host would use.
    pub ip: String,
    /// The port; 0 where the system chooses it.
    pub port: u16,
    /// Whether a password is given, and whether it contains a blank.
    pub password: Option<PasswordForm>,
    /// Where that would have come from.
    pub password_of: PasswordOrigin,
    /// The line for the `turnserver.conf` of a coturn on this host; `SECRET` in it stands for a password.
    pub line: String,
    /// What a client there finds.
    pub seen: ListenerSeen,
}

/// What matters about a password, without the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordForm {
    /// It contains a blank or a quote.
    pub is_cut_by_coturn: bool,
}

/// Where the password of a listener is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordOrigin {
    /// `--statsdb.password-file`.
    Flag,
    /// `redis-statsdb` in coturn's file, by which the listener was found.
    CoturnFile,
}

/// What a client finds at a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerSeen {
    /// No connection, or no answer; what the system says.
    Unreachable(String),
    /// A connection, but the answers are not those of an exporter.
    OtherProgram,
    /// A Redis answers, or what speaks like one.
    Redis,
    /// The password is missing or wrong.
    Refused,
    /// It speaks TLS, which is not tried here.
    Tls,
    /// An exporter.
    Exporter(ExporterSeen),
}

impl ListenerSeen {
    /// Whether who connects there must say a password.
    pub const fn wants_password(&self) -> bool {
        matches!(self, Self::Refused | Self::Exporter(ExporterSeen { has_password: true, .. }))
    }

    /// Whether a coturn is connected and nobody is refused: whoever is to report has the line.
    const fn has_only_coturn(&self) -> bool {
        matches!(self, Self::Exporter(ExporterSeen { connected: 1.., refused_clients: 0, .. }))
    }
}

/// What an exporter says of its listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExporterSeen {
    /// It asks for a password.
    pub has_password: bool,
    /// A coturn has connected since it was started.
    pub coturn_seen: bool,
    /// Client addresses that it refuses.
    pub refused_clients: u64,
    /// Addresses that a coturn is connected from now, the first few of them.
    pub connected_from: Vec<IpAddr>,
    /// How many there are.
    pub connected: u64,
    /// How long ago the last event came; `None` before the first.
    pub since_last_event: Option<Duration>,
}

/// Judges what was seen.
pub fn judge_listener(facts: &ListenerFacts) -> Vec<Finding> {
    let mut verdicts = vec![reach(facts)];
    match &facts.seen {
        ListenerSeen::Refused => verdicts.push(refused(facts)),
        ListenerSeen::Exporter(exporter) => {
            verdicts.push(login(facts, exporter.has_password));
            // Where clients are refused, that is the reason why none has connected.
            if exporter.coturn_seen || exporter.refused_clients == 0 {
                verdicts.push(coturn(exporter));
            }
            verdicts.extend(clients(exporter.refused_clients));
        }
        ListenerSeen::Unreachable(_)
        | ListenerSeen::OtherProgram
        | ListenerSeen::Redis
        | ListenerSeen::Tls => {}
    }
    if facts.password.is_some_and(|password| password.is_cut_by_coturn) {
        verdicts.push(
            Verdict::new(Severity::Fault, "listener-password", "the password contains a blank or a quote")
                .because("coturn takes a password up to the first blank, and is refused")
                .fix("another password in --statsdb.password-file, of letters and digits"),
        );
    }
    if !facts.seen.has_only_coturn() {
        verdicts.push(line(facts));
    }
    verdicts.into_iter().map(|verdict| of_source(verdict, &facts.name)).collect()
}

/// No flag names the listener: an exporter was found where coturn's file reports to.
pub fn only_found(source: &str) -> Finding {
    let message = "an exporter listens where coturn's file reports to; no flag of this command says so";
    let verdict = Verdict::new(Severity::Advice, "listener-found", message)
        .because("an exporter that is started with these flags alone looks for a Redis there, and finds none")
        .fix("give doctor the flags of that exporter, --statsdb.listen-address among them");
    of_source(verdict, source)
}

/// What coturn 4.17 does with `host` as the host of its `redis-statsdb`; `None` if that is a loopback address.
pub fn denied_peer(source: &str, host: &str) -> Option<Finding> {
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if is_loopback || host == "localhost" {
        return None;
    }
    let message = format!("coturn 4.17 and later refuse their statsdb host as a peer; here {host}");
    let verdict = Verdict::new(Severity::Info, "statsdb-host", message)
        .because(
            "it is added to denied-peer-ip (\"auto denied-peer-ip\"): if it is also the address that a coturn relays \
             on, calls from relay to relay fail",
        )
        .fix("in redis-statsdb use ip=127.0.0.1, or an address on which no coturn relays");
    Some(of_source(verdict, source))
}

fn reach(facts: &ListenerFacts) -> Verdict {
    let ListenerFacts { ip, port, listen, .. } = facts;
    let lost = "what coturn reports meanwhile is lost";
    match &facts.seen {
        ListenerSeen::Unreachable(text) => {
            let message = format!("nothing answers at {ip} port {port}: {text}");
            Verdict::new(Severity::Fault, "listener", message)
                .because(lost)
                .fix(format!("coturn-exporter --statsdb.listen-address {listen}"))
        }
        ListenerSeen::OtherProgram => {
            let message = format!("what answers at {ip} port {port} is not this exporter");
            Verdict::new(Severity::Fault, "listener", message)
                .because("what coturn reports there does not reach the exporter")
                .fix("stop the other program, or set another --statsdb.listen-address")
        }
        ListenerSeen::Redis => {
            let message = format!("what answers at {ip} port {port} is a Redis, not this exporter");
            let host = if ip.contains(':') { format!("[{ip}]") } else { ip.clone() };
            Verdict::new(Severity::Fault, "listener", message)
                .because("an exporter cannot listen where a Redis does; what coturn reports there goes to that Redis")
                .fix(format!(
                    "to watch that Redis: --redis.url redis://{host}:{port}/0 in place of --statsdb.listen-address; to do \
                     without it: another --statsdb.listen-address"
                ))
        }
        ListenerSeen::Tls => {
            let message =
                format!("something listens at {ip} port {port}; not judged: its answers, which need TLS");
            Verdict::new(Severity::Info, "listener", message)
        }
        ListenerSeen::Refused | ListenerSeen::Exporter(_) => {
            Verdict::new(Severity::Ok, "listener", format!("it answers at {ip} port {port}"))
        }
    }
}

fn refused(facts: &ListenerFacts) -> Verdict {
    let (message, fix) = match (facts.password_of, facts.password) {
        (PasswordOrigin::Flag, Some(_)) => (
            "the password of --statsdb.password-file is refused",
            "restart the exporter if the file has changed since it started, or give doctor its file",
        ),
        (PasswordOrigin::Flag, None) => (
            "a password is required, and none is given",
            "--statsdb.password-file FILE, the same as the exporter has",
        ),
        (PasswordOrigin::CoturnFile, Some(_)) => {
            ("the password of redis-statsdb is refused", COTURN_PASSWORD)
        }
        (PasswordOrigin::CoturnFile, None) => {
            ("a password is required, and redis-statsdb has none", COTURN_PASSWORD)
        }
    };
    Verdict::new(Severity::Fault, "listener-login", message)
        .because("a coturn with this password is refused, and nothing that it reports is counted")
        .fix(fix)
}

fn login(facts: &ListenerFacts, has_password: bool) -> Verdict {
    match (facts.password, has_password) {
        (Some(_), true) => Verdict::new(Severity::Ok, "listener-login", "the password is accepted"),
        (None, _) => Verdict::new(Severity::Ok, "listener-login", "no password is required"),
        (Some(_), false) => {
            let message = "the running exporter requires no password";
            Verdict::new(Severity::Advice, "listener-login", message)
                .because("every client that can connect can report")
                .fix("restart the exporter with the same --statsdb.password-file")
        }
    }
}

fn coturn(exporter: &ExporterSeen) -> Verdict {
    let last_event = match exporter.since_last_event {
        // To whole seconds: more would say nothing.
        Some(ago) => {
            format!("the last event came {} s ago", ago.as_secs())
        }
        None => "no event has come yet: it reports when a client allocates".to_owned(),
    };
    if exporter.connected > 0 {
        let named: Vec<_> = exporter.connected_from.iter().map(IpAddr::to_string).collect();
        let more = exporter.connected.saturating_sub(named.len() as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!("coturn is connected from {}{more}; {last_event}", named.join(", "));
        return Verdict::new(Severity::Ok, "listener-coturn", message);
    }
    if exporter.coturn_seen && exporter.since_last_event.is_none() {
        let message = "a coturn has connected, and has reported nothing yet; it does when a client allocates";
        return Verdict::new(Severity::Info, "listener-coturn", message);
    }
    if exporter.coturn_seen {
        let message = format!("a coturn has connected, and none is connected now; {last_event}");
        return Verdict::new(Severity::Advice, "listener-coturn", message)
            .because("one that lives connects again with its next event; one that is stopped does not")
            .fix("see that coturn runs; if a proxy, load balancer or NAT cuts idle connections: --statsdb.behind-proxy");
    }
    let message = "no coturn has connected since the exporter started";
    Verdict::new(Severity::Fault, "listener-coturn", message)
        .because("nothing is counted; a coturn that already ran connects with its next event")
        .fix("the line below in turnserver.conf, and restart coturn")
}

fn clients(refused_clients: u64) -> Option<Verdict> {
    let message = format!("{refused_clients} client address(es) have no or a wrong password");
    let verdict = Verdict::new(Severity::Fault, "listener-clients", message)
        .because("if one is a coturn, nothing that it reports is counted")
        .fix("password=... in its redis-statsdb; the exporter's log names the address (\"a client is refused\")");
    (refused_clients > 0).then_some(verdict)
}

fn line(facts: &ListenerFacts) -> Verdict {
    let has_secret = facts.password.is_some() || facts.seen.wants_password();
    let secret =
        if has_secret { "; SECRET is the content of the exporter's --statsdb.password-file" } else { "" };
    Verdict::new(Severity::Info, TURNSERVER_LINE, format!("what turnserver.conf needs{secret}"))
        .because(
            "coturn on this host connects so; from another host ip is an address of this one. coturn 4.17 and later \
             refuse this ip as a peer (\"auto denied-peer-ip\"): it must be 127.0.0.1, or one on which no coturn relays",
        )
        .fix(&*facts.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "redis-statsdb=\"...\"";

    fn well() -> ListenerSeen {
        ListenerSeen::Exporter(ExporterSeen {
            coturn_seen: true,
            connected_from: vec![[192, 0, 2, 1].into()],
            connected: 3,
            since_last_event: Some(Duration::from_millis(61_500)),
            ..ExporterSeen::default()
        })
    }

    fn facts(password: Option<bool>, seen: ListenerSeen) -> ListenerFacts {
        ListenerFacts {
            name: "statsdb://:6390".to_owned(),
            listen: ":6390".to_owned(),
            ip: "127.0.0.1".to_owned(),
            port: 6390,
            password: password.map(|is_cut_by_coturn| PasswordForm { is_cut_by_coturn }),
            password_of: PasswordOrigin::Flag,
            line: LINE.to_owned(),
            seen,
        }
    }

    fn judged(password: Option<bool>, seen: ListenerSeen) -> Vec<(&'static str, Severity)> {
        let findings = judge_listener(&facts(password, seen));
        for finding in &findings {
            let is_wrong = matches!(finding.severity, Severity::Fault | Severity::Advice);
            assert!(!is_wrong || finding.why.is_some() && finding.fix.is_some(), "{finding:?}");
        }
        findings.iter().map(|finding| (finding.id, finding.severity)).collect()
    }

    #[test]
    fn each_state_of_a_listener_has_its_findings() {
        use Severity::{Advice, Fault, Info, Ok};
        const LINE: (&str, Severity) = ("turnserver-conf", Info);
        let all_well = [("listener", Ok), ("listener-login", Ok), ("listener-coturn", Ok)];
        assert_eq!(judged(None, well()), all_well);
        let exporter = |has_password, coturn_seen, refused_clients| {
            let connected = u64::from(coturn_seen);
            let seen =
                ExporterSeen { has_password, coturn_seen, refused_clients, connected, ..Default::default() };
            ListenerSeen::Exporter(seen)
        };
        assert_eq!(judged(Some(false), exporter(true, true, 0)), all_well);
        assert_eq!(judged(Some(false), well())[1], ("listener-login", Advice));
        assert_eq!(judged(None, exporter(false, false, 0))[2..], [("listener-coturn", Fault), LINE]);
        assert_eq!(
            judged(None, exporter(false, true, 2)).last(),
            Some(&LINE),
            "another coturn may be refused"
        );
        assert_eq!(judged(None, exporter(false, true, 2))[3], ("listener-clients", Fault));
        for password in [None, Some(false)] {
            let refused = judged(password, ListenerSeen::Refused);
            assert_eq!(refused, [("listener", Ok), ("listener-login", Fault), LINE]);
        }
        assert_eq!(judged(None, ListenerSeen::OtherProgram), [("listener", Fault), LINE]);
        assert_eq!(judged(Some(false), ListenerSeen::Redis), [("listener", Fault), LINE]);
        assert_eq!(judged(None, ListenerSeen::Tls), [("listener", Info), LINE]);
        let down = ListenerSeen::Unreachable("Connection refused".to_owned());
        assert_eq!(judged(Some(true), down), [("listener", Fault), ("listener-password", Fault), LINE]);
    }

    #[test]
    fn a_password_that_is_refused_is_that_of_the_flag_or_of_coturns_file() {
        for (password_of, password, says) in [
            (PasswordOrigin::Flag, Some(false), "of --statsdb.password-file is refused"),
            (PasswordOrigin::Flag, None, "none is given"),
            (PasswordOrigin::CoturnFile, Some(false), "of redis-statsdb is refused"),
            (PasswordOrigin::CoturnFile, None, "redis-statsdb has none"),
        ] {
            let findings =
                judge_listener(&ListenerFacts { password_of, ..facts(password, ListenerSeen::Refused) });
            let [_, login, line] = findings.as_slice() else { panic!("{findings:#?}") };
            assert!(login.message.contains(says), "{login:?}");
            let is_of_coturn = login.fix.as_ref().unwrap().contains("in redis-statsdb");
            assert_eq!(is_of_coturn, password_of == PasswordOrigin::CoturnFile, "{login:?}");
            assert!(line.message.contains("SECRET is the content of the exporter's"), "{line:?}");
        }
    }

    #[test]
    fn a_coturn_is_named_with_its_last_event() {
        let coturn = |seen| {
            let findings = judge_listener(&facts(None, ListenerSeen::Exporter(seen)));
            let finding = findings.into_iter().find(|finding| finding.id == "listener-coturn").unwrap();
            (finding.severity, finding.message)
        };
        let ListenerSeen::Exporter(seen) = well() else { unreachable!() };
        let message =
            "coturn is connected from 192.0.2.1 and 2 more; the last event came 61 s ago".to_owned();
        assert_eq!(coturn(seen.clone()), (Severity::Ok, message));
        let gone = ExporterSeen { connected_from: vec![], connected: 0, ..seen };
        let (severity, message) = coturn(gone.clone());
        assert_eq!(severity, Severity::Advice);
        assert!(message.contains("none is connected now; the last event came 61 s ago"), "{message}");
        let (severity, message) = coturn(ExporterSeen { since_last_event: None, ..gone });
        assert!(severity == Severity::Info && message.contains("reported nothing yet"), "{message}");
        let refused = ExporterSeen { refused_clients: 1, ..ExporterSeen::default() };
        let findings = judge_listener(&facts(None, ListenerSeen::Exporter(refused)));
        assert!(findings.iter().all(|finding| finding.id != "listener-coturn"), "one cause, one fault");
    }

    #[test]
    fn the_line_for_coturn_comes_last_while_none_is_connected() {
        let none = || ListenerSeen::Exporter(ExporterSeen::default());
        let line = |password| judge_listener(&facts(password, none())).pop().unwrap();
        assert_eq!(line(None).fix.unwrap(), LINE);
        assert!(line(Some(false)).message.contains("SECRET") && !line(None).message.contains("SECRET"));
        assert!(line(None).why.unwrap().contains("4.17"));
    }

    #[test]
    fn an_address_that_may_be_a_relay_is_named() {
        for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost"] {
            assert_eq!(denied_peer("redis://r/0", host), None, "{host}");
        }
        for host in ["192.0.2.1", "redis.example", "2001:db8::1"] {
            let finding = denied_peer("redis://r/0", host).unwrap();
            assert_eq!((finding.severity, finding.id), (Severity::Info, "statsdb-host"));
            assert!(finding.message.contains(host) && finding.fix.unwrap().contains("127.0.0.1"));
        }
    }
}
