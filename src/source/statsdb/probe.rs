//! Connects to the listener as a client does and reads what it says of itself: for `doctor`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::status::{LOGIN_WANTED, OURS, ReportedStatus};
use crate::clock::Timestamp;
use crate::config::{Endpoint, ListenAddress, Password, Statsdb, redis_statsdb_line};
use crate::doctor::listener::{ExporterSeen, ListenerFacts, ListenerSeen, PasswordForm, PasswordOrigin};
use crate::resp;

/// How long all of it may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// The answers are shorter.
const LONGEST: u64 = 64 << 10;

/// Looks at the listener of these settings from this host, at this time.
pub async fn probe(statsdb: &Statsdb, now: Timestamp) -> ListenerFacts {
    let (ip, port) = reachable_at(&statsdb.listen);
    let seen = match timeout(DEADLINE, exchange(statsdb, &ip, port, now)).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => ListenerSeen::Unreachable(error.to_string()),
        Err(_) => ListenerSeen::Unreachable(format!("no answer within {DEADLINE:?}")),
    };
    let form = |password: &str| PasswordForm {
        is_cut_by_coturn: password.contains(|c: char| c.is_whitespace() || c == '"' || c == '\''),
    };
    let password = statsdb.password.as_ref().map(|password| form(password.current().expose()));
    let (name, listen) = (statsdb.name.clone(), statsdb.listen.to_string());
    let line = redis_statsdb_line(&ip, port, 0, password.is_some() || seen.wants_password());
    ListenerFacts { name, listen, ip, port, password, password_of: PasswordOrigin::Flag, line, seen }
}

/// Whether what listens there, and wants a password, is the listener of an exporter and no Redis.
pub(crate) async fn is_guarded_listener(Endpoint { host, port }: &Endpoint) -> bool {
    let mut question = Vec::new();
    resp::command(&mut question, &[b"INFO", OURS.as_bytes()]);
    let asked = async {
        let answers = ask(host, *port, question).await?;
        io::Result::Ok(says_our_name(&answers) || is_older_listener(host, *port, &answers).await)
    };
    matches!(timeout(DEADLINE, asked).await, Ok(Ok(true)))
}

/// Whether INFO of what answers at `endpoint`, a client of which has logged in, is that of an exporter.
pub(crate) fn is_info_of_listener(info: &str) -> bool {
    ReportedStatus::parse(info).is_some()
}

/// Where a client of this host connects to.
fn reachable_at(listen: &ListenAddress) -> (String, u16) {
    match listen {
        ListenAddress::Any { port } => (Ipv4Addr::LOCALHOST.to_string(), *port),
        ListenAddress::Socket(address) => {
            let ip = match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                // It may take IPv6 only.
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            (ip.to_string(), address.port())
        }
        // coturn looks for an IPv4 address first, and its examples have this one.
        ListenAddress::Name { host, port } if host == "localhost" => (Ipv4Addr::LOCALHOST.to_string(), *port),
        ListenAddress::Name { host, port } => (host.clone(), *port),
    }
}

async fn exchange(statsdb: &Statsdb, ip: &str, port: u16, now: Timestamp) -> io::Result<ListenerSeen> {
    if statsdb.tls.is_some() {
        return TcpStream::connect((ip, port)).await.map(|_| ListenerSeen::Tls);
    }
    let mut commands = Vec::new();
    // The password first: a command before it would be a refused client of the exporter's.
    if let Some(password) = statsdb.password.as_ref().map(Password::current) {
        resp::command(&mut commands, &[b"AUTH", password.expose().as_bytes()]);
    }
    resp::command(&mut commands, &[b"INFO", OURS.as_bytes()]);
    let answers = ask(ip, port, commands).await?;
    match understand(&answers, now) {
        ListenerSeen::Redis if is_older_listener(ip, port, &answers).await => Ok(ListenerSeen::Refused),
        seen => Ok(seen),
    }
}

/// What is answered to these commands.
async fn ask(host: &str, port: u16, mut commands: Vec<u8>) -> io::Result<String> {
    let mut stream = TcpStream::connect((host, port)).await?;
    resp::command(&mut commands, &[b"QUIT"]);
    stream.write_all(&commands).await?;
    let mut answers = Vec::new();
    // One that is no Redis may cut the connection; what it has said by then is what counts.
    let _ = stream.take(LONGEST).read_to_end(&mut answers).await;
    Ok(String::from_utf8_lossy(&answers).into_owned())
}

/// Whether what has answered so wants a password and is an exporter of before 0.2.0, which did not say its name. A Redis counts
/// the words of a command before it asks for a password, an exporter after it.
async fn is_older_listener(host: &str, port: u16, answers: &str) -> bool {
    if !answers.lines().any(wants_login) {
        return false;
    }
    let mut question = Vec::new();
    resp::command(&mut question, &[b"PUBLISH"]);
    ask(host, port, question).await.is_ok_and(|answer| answer.lines().next().is_some_and(wants_login))
}

fn wants_login(line: &str) -> bool {
    line.starts_with("-NOAUTH ")
}

fn says_our_name(answers: &str) -> bool {
    answers.lines().any(|line| line.strip_prefix('-') == Some(LOGIN_WANTED))
}

fn understand(answers: &str, now: Timestamp) -> ListenerSeen {
    if says_our_name(answers) {
        return ListenerSeen::Refused;
    }
    match ReportedStatus::parse(answers) {
        Some(ReportedStatus { has_password, connected, now: status }) => {
            ListenerSeen::Exporter(ExporterSeen {
                has_password,
                coturn_seen: status.coturn_seen,
                refused_clients: status.refused_clients,
                connected_from: status.connected,
                connected,
                // The exporter's clock may be another host's, and ahead.
                since_last_event: status.last_event.map(|last| now.since(last)),
            })
        }
        None if answers.starts_with(['+', '-', '$']) => ListenerSeen::Redis,
        None => ListenerSeen::OtherProgram,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn a_client_of_this_host_connects_where_a_coturn_would() {
        for (listen, ip) in [
            (":6390", "127.0.0.1"),
            ("0.0.0.0:6390", "127.0.0.1"),
            ("[::]:6390", "::1"),
            ("localhost:6390", "127.0.0.1"),
            ("192.0.2.1:6390", "192.0.2.1"),
            ("turn.example:6390", "turn.example"),
        ] {
            assert_eq!(reachable_at(&listen.parse().unwrap()), (ip.to_owned(), 6390), "{listen}");
        }
    }

    /// Answers each command but QUIT with an error of the caller's.
    async fn answering(error: impl Fn(&str) -> String + Send + 'static) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut said = vec![0; 1024];
                let length = stream.read(&mut said).await.unwrap();
                let said = String::from_utf8_lossy(&said[..length]).into_owned();
                let commands = said.split('*').skip(1).filter(|command| !command.contains("QUIT"));
                let answers: Vec<String> =
                    commands.map(|command| format!("-{}\r\n", error(command))).collect();
                stream.write_all(format!("{}+OK\r\n", answers.concat()).as_bytes()).await.unwrap();
            }
        });
        Endpoint { host: "127.0.0.1".to_owned(), port }
    }

    #[tokio::test]
    async fn an_older_exporter_with_a_password_is_told_from_a_redis_with_one() {
        let wanted = || "NOAUTH Authentication required.".to_owned();
        let older = answering(move |_| wanted()).await;
        let redis = answering(move |command| {
            if command.contains("PUBLISH") {
                "ERR wrong number of arguments for 'publish' command".to_owned()
            } else {
                wanted()
            }
        })
        .await;
        let statsdb = |Endpoint { host, port }: &Endpoint| Statsdb {
            name: String::new(),
            listen: format!("{host}:{port}").parse().unwrap(),
            systemd_socket: false,
            password: None,
            tls: None,
            max_connections: 1,
            is_behind_proxy: false,
            forward: None,
        };
        for (server, seen) in [(older, ListenerSeen::Refused), (redis, ListenerSeen::Redis)] {
            assert_eq!(is_guarded_listener(&server).await, seen == ListenerSeen::Refused);
            assert_eq!(probe(&statsdb(&server), Timestamp::ZERO).await.seen, seen);
        }
    }

    #[test]
    fn an_exporter_is_told_from_a_redis() {
        for (answers, seen) in [
            ("-NOAUTH Authentication required by coturn-exporter.\r\n+OK\r\n", ListenerSeen::Refused),
            (
                "-WRONGPASS invalid\r\n-NOAUTH Authentication required by coturn-exporter.\r\n+OK\r\n",
                ListenerSeen::Refused,
            ),
            ("-NOAUTH Authentication required.\r\n+OK\r\n", ListenerSeen::Redis),
            ("-WRONGPASS invalid\r\n-NOAUTH Authentication required.\r\n+OK\r\n", ListenerSeen::Redis),
            ("$0\r\n\r\n+OK\r\n", ListenerSeen::Redis),
            ("HTTP/1.1 400 Bad Request\r\n", ListenerSeen::OtherProgram),
            (
                "+OK\r\n$9\r\n# X\r\ncoturn_exporter:1\r\npassword:1\r\ncoturn_seen:0\r\nrefused_clients:4\r\n\
                 connected_addresses:1\r\nconnected_from:192.0.2.1\r\nlast_event_ms:5000\r\n",
                ListenerSeen::Exporter(ExporterSeen {
                    has_password: true,
                    coturn_seen: false,
                    refused_clients: 4,
                    connected_from: vec![[192, 0, 2, 1].into()],
                    connected: 1,
                    since_last_event: Some(Duration::from_secs(2)),
                }),
            ),
        ] {
            assert_eq!(understand(answers, Timestamp::from_millis(7000)), seen, "{answers}");
        }
    }
}
