//! A `turnserver` that publishes into a Redis of the test's own, or straight to an exporter.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::process::{Process, Tool};
use super::redis::Redis;
use crate::common::net::ports::{Port, RelayPorts};
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::coturn_log::CoturnLog;
use crate::common::temp_dir::TempDir;

pub const TURNSERVER: Tool = Tool { program: "turnserver", package: "coturn" };

/// Password of all users.
pub const PASSWORD: &str = "secret";

/// What differs between the servers of a test.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Listens and relays here; all of 127.0.0.0/8 will do.
    pub ip: &'a str,
    pub realm: &'a str,
    pub users: &'a [&'a str],
    /// Longest lifetime granted, in seconds. What `turnutils_uclient` leaves open over UDP ends by this.
    pub max_lifetime: u32,
}

/// See the file's head.
#[derive(Debug)]
pub struct Coturn {
    process: Option<Process>,
    pub ip: String,
    pub realm: String,
    port: Port,
    _relay_ports: RelayPorts,
    config: PathBuf,
    /// Where the present life logs.
    log: PathBuf,
    /// How often it was started.
    lives: u32,
    dir: TempDir,
}

impl Coturn {
    /// Starts one and waits until it listens and is done with what it does to Redis at its start.
    pub fn start(redis: &Redis, db: u8, settings: Settings<'_>) -> Self {
        Self::start_with(&of_redis(redis, db), Some(redis), settings, &[])
    }

    /// One that takes TURN REST credentials signed with `secret`.
    pub fn start_with_secret(redis: &Redis, db: u8, settings: Settings<'_>, secret: &str) -> Self {
        let secret = format!("static-auth-secret={secret}");
        Self::start_with(&of_redis(redis, db), Some(redis), settings, &["use-auth-secret", &secret])
    }

    /// One that takes TURN REST credentials whose names have this separator.
    pub fn start_with_separator(
        redis: &Redis,
        settings: Settings<'_>,
        secret: &str,
        separator: char,
    ) -> Self {
        let more = [
            "use-auth-secret",
            &format!("static-auth-secret={secret}"),
            &format!("rest-api-separator={separator}"),
        ];
        Self::start_with(&of_redis(redis, 0), Some(redis), settings, &more)
    }

    /// One that reports to an exporter's own port; waits until it listens.
    pub fn start_reporting_to(port: u16, password: Option<&str>, settings: Settings<'_>) -> Self {
        let password = password.map(|password| format!("password={password} ")).unwrap_or_default();
        let statsdb = format!("ip=127.0.0.1 dbname=0 {password}port={port} connect_timeout=30");
        Self::start_with(&statsdb, None, settings, &[])
    }

    fn start_with(statsdb: &str, redis: Option<&Redis>, settings: Settings<'_>, more: &[&str]) -> Self {
        let dir = TempDir::new("coturn");
        let (port, relay_ports) = (Port::claim(), RelayPorts::claim());
        let mut text = configuration(statsdb, settings, &port, &relay_ports, &dir);
        text.push_str(&more.join("\n"));
        // A last line that does not end is not read.
        text.push('\n');
        let config = dir.write("turnserver.conf", &text);
        let mut coturn = Self {
            process: None,
            ip: settings.ip.to_owned(),
            realm: settings.realm.to_owned(),
            port,
            _relay_ports: relay_ports,
            config,
            log: PathBuf::new(),
            lives: 0,
            dir,
        };
        coturn.launch(redis);
        coturn
    }

    /// Starts it on the same ports with the same settings, and a log of its own.
    pub fn start_again(&mut self, redis: &Redis) {
        self.launch(Some(redis));
    }

    /// The same, where there is no Redis.
    pub fn start_reporting_again(&mut self) {
        self.launch(None);
    }

    fn launch(&mut self, redis: Option<&Redis>) {
        assert!(self.process.is_none(), "turnserver still runs");
        self.lives += 1;
        let name = format!("turnserver-{}", self.lives);
        self.log = self.dir.path().join(format!("{name}.log"));
        let keys_asked = || redis.map_or(0, |redis| redis.calls("keys"));
        let asked_before = keys_asked();
        let args = [
            "-c".to_owned(),
            self.config.display().to_string(),
            format!("--log-file={}", self.log.display()),
        ];
        let mut process = Process::tool(TURNSERVER, &args, self.dir.path(), &name);
        poll::until(PATIENCE, "turnserver to listen", || {
            if let Some(status) = process.exited() {
                panic!("turnserver ended with {status}\n{}\n{}", process.output(), self.log_text());
            }
            let text = self.log_text();
            // Asking by a TCP connect would make a session, which is published.
            let listens = text.matches("TCP listener opened").count() >= RELAY_THREADS
                && text.contains("UDP listener opened");
            // Each auth thread wipes the status keys once; later that would take the keys of our own clients.
            let auth_threads = text.matches("IO method (auth thread)").count() as u64;
            let wiped = keys_asked() - asked_before;
            if listens && auth_threads > 0 && (wiped >= auth_threads || redis.is_none()) {
                Ok(())
            } else {
                Err(format!("{wiped} of {auth_threads} auth threads wiped the keys; log:\n{text}"))
            }
        });
        self.process = Some(process);
    }

    /// Ends it as a crash would: nothing is published, its keys stay.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Ends it as a service manager does, by SIGTERM, and waits for its end.
    pub fn terminate(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::TERM);
            process.wait(PATIENCE);
        }
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// What it logged up to now, in its present life or, if it was killed, in the last one.
    pub fn log(&self) -> CoturnLog {
        CoturnLog::parse(&self.log_text())
    }

    /// The same as text.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

/// What `redis-statsdb` says of a Redis.
fn of_redis(redis: &Redis, db: u8) -> String {
    format!("ip=127.0.0.1 dbname={db} port={} connect_timeout=30", redis.port())
}

const RELAY_THREADS: usize = 2;

fn configuration(
    statsdb: &str,
    settings: Settings<'_>,
    port: &Port,
    relay_ports: &RelayPorts,
    dir: &TempDir,
) -> String {
    let Settings { ip, realm, users, max_lifetime } = settings;
    let mut lines = vec![
        format!("listening-ip={ip}"),
        format!("relay-ip={ip}"),
        format!("listening-port={}", port.number),
        format!("min-port={}", relay_ports.first),
        format!("max-port={}", relay_ports.last),
        format!("relay-threads={RELAY_THREADS}"),
        format!("realm={realm}"),
        format!("max-allocate-lifetime={max_lifetime}"),
        format!("redis-statsdb=\"{statsdb}\""),
        format!("userdb={}", dir.path().join("turndb").display()),
        format!("pidfile={}", dir.path().join("turnserver.pid").display()),
    ];
    // `verbose` is what makes it log each session's usage.
    for flag in [
        "lt-cred-mech",
        "allow-loopback-peers",
        "no-cli",
        "no-tls",
        "no-dtls",
        "verbose",
        "simple-log",
        "no-stdout-log",
    ] {
        lines.push(flag.to_owned());
    }
    lines.extend(users.iter().map(|user| format!("user={user}:{PASSWORD}")));
    lines.push(String::new());
    lines.join("\n")
}
