//! Judges the listener that coturn reports to without a Redis: whether the exporter listens there, whether the password
//! is right, and which clients have connected. Also how coturn 4.17 treats the host that its `redis-statsdb` names.

use super::{Finding, Severity, Verdict, of_source};

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
    /// Whether a password is configured here, and whether it contains a blank.
    pub password: Option<PasswordForm>,
    /// What a client there finds.
    pub seen: ListenerSeen,
}

/// What matters about a password, without the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordForm {
    /// It contains a blank or a quote.
    pub is_cut_by_coturn: bool,
}

/// What a client finds at a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerSeen {
    /// No connection, or no answer; what the system says.
    Unreachable(String),
    /// A connection, but the answers are not those of an exporter.
    OtherProgram,
    /// The password is missing or wrong.
    Refused,
    /// It speaks TLS, which is not tried here.
    Tls,
    /// An exporter.
    Exporter {
        /// It asks for a password.
        has_password: bool,
        /// A coturn has connected since it was started.
        coturn_seen: bool,
        /// Client addresses that it refuses.
        refused_clients: u64,
    },
}

/// Judges what was seen.
pub fn judge_listener(facts: &ListenerFacts) -> Vec<Finding> {
    let mut verdicts = vec![reach(facts)];
    match &facts.seen {
        ListenerSeen::Refused => verdicts.push(refused(facts)),
        ListenerSeen::Exporter { has_password, coturn_seen, refused_clients } => {
            verdicts.push(login(facts, *has_password));
            verdicts.push(coturn(*coturn_seen));
            verdicts.extend(clients(*refused_clients));
        }
        ListenerSeen::Unreachable(_) | ListenerSeen::OtherProgram | ListenerSeen::Tls => {}
    }
    if facts.password.is_some_and(|password| password.is_cut_by_coturn) {
        verdicts.push(
            Verdict::new(Severity::Fault, "listener-password", "the password contains a blank or a quote")
                .because("coturn takes a password up to the first blank, and is refused")
                .fix("another password in --statsdb.password-file, of letters and digits"),
        );
    }
    verdicts.push(line(facts));
    verdicts.into_iter().map(|verdict| of_source(verdict, &facts.name)).collect()
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
        ListenerSeen::Tls => {
            let message =
                format!("something listens at {ip} port {port}; not judged: its answers, which need TLS");
            Verdict::new(Severity::Info, "listener", message)
        }
        ListenerSeen::Refused | ListenerSeen::Exporter { .. } => {
            Verdict::new(Severity::Ok, "listener", format!("it answers at {ip} port {port}"))
        }
    }
}

fn refused(facts: &ListenerFacts) -> Verdict {
    let why = "a coturn with this password is refused, and nothing that it reports is counted";
    if facts.password.is_some() {
        Verdict::new(Severity::Fault, "listener-login", "the password of --statsdb.password-file is refused")
            .because(why)
            .fix("restart the exporter if the file has changed since it started, or give doctor its file")
    } else {
        Verdict::new(Severity::Fault, "listener-login", "a password is required, and none is given")
            .because(why)
            .fix("--statsdb.password-file FILE, the same as the exporter has")
    }
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

fn coturn(coturn_seen: bool) -> Verdict {
    if coturn_seen {
        return Verdict::new(Severity::Ok, "listener-coturn", "a coturn has connected");
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
    let password = if facts.password.is_some() { "password=SECRET " } else { "" };
    let secret =
        if facts.password.is_some() { "; SECRET is the content of --statsdb.password-file" } else { "" };
    Verdict::new(Severity::Info, "turnserver-conf", format!("what turnserver.conf needs{secret}"))
        .because(
            "coturn on this host connects so; from another host ip is an address of this one. coturn 4.17 and later \
             refuse this ip as a peer (\"auto denied-peer-ip\"): it must be 127.0.0.1, or one on which no coturn relays",
        )
        .fix(format!(
            "redis-statsdb=\"ip={} dbname=0 {password}port={} connect_timeout=30\"",
            facts.ip, facts.port
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: ListenerSeen =
        ListenerSeen::Exporter { has_password: false, coturn_seen: true, refused_clients: 0 };

    fn facts(password: Option<bool>, seen: ListenerSeen) -> ListenerFacts {
        ListenerFacts {
            name: "statsdb://:6390".to_owned(),
            listen: ":6390".to_owned(),
            ip: "127.0.0.1".to_owned(),
            port: 6390,
            password: password.map(|is_cut_by_coturn| PasswordForm { is_cut_by_coturn }),
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
        let well = [("listener", Ok), ("listener-login", Ok), ("listener-coturn", Ok), LINE];
        assert_eq!(judged(None, WELL), well);
        let exporter = |has_password, coturn_seen, refused_clients| ListenerSeen::Exporter {
            has_password,
            coturn_seen,
            refused_clients,
        };
        assert_eq!(judged(Some(false), exporter(true, true, 0)), well);
        assert_eq!(judged(Some(false), WELL)[1], ("listener-login", Advice));
        assert_eq!(judged(None, exporter(false, false, 0))[2], ("listener-coturn", Fault));
        assert_eq!(judged(None, exporter(false, true, 2))[3], ("listener-clients", Fault));
        for password in [None, Some(false)] {
            let refused = judged(password, ListenerSeen::Refused);
            assert_eq!(refused, [("listener", Ok), ("listener-login", Fault), LINE]);
        }
        assert_eq!(judged(None, ListenerSeen::OtherProgram), [("listener", Fault), LINE]);
        assert_eq!(judged(None, ListenerSeen::Tls), [("listener", Info), LINE]);
        let down = ListenerSeen::Unreachable("Connection refused".to_owned());
        assert_eq!(judged(Some(true), down), [("listener", Fault), ("listener-password", Fault), LINE]);
    }

    #[test]
    fn the_line_is_the_one_that_coturn_takes() {
        let line = |password| judge_listener(&facts(password, WELL)).pop().unwrap();
        assert_eq!(
            line(None).fix.unwrap(),
            "redis-statsdb=\"ip=127.0.0.1 dbname=0 port=6390 connect_timeout=30\""
        );
        let line = line(Some(false));
        assert_eq!(
            line.fix.unwrap(),
            "redis-statsdb=\"ip=127.0.0.1 dbname=0 password=SECRET port=6390 connect_timeout=30\""
        );
        assert!(line.why.unwrap().contains("4.17"));
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
