//! A `redis-server` of the test's own, which it may also kill, freeze and start again on the same port.

use std::time::Duration;

use rustix::process::Signal;

use super::process::{Process, Tool};
use crate::common::net::ports::Port;
use crate::common::poll::{self, PATIENCE};
use crate::common::temp_dir::TempDir;

pub(super) const REDIS_SERVER: Tool = Tool { program: "redis-server", package: "redis-server" };

/// See the file's head.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    port: Port,
    password: Option<String>,
    /// Settings of the command line besides our own: name and value.
    settings: Vec<(String, String)>,
    dir: TempDir,
}

impl Redis {
    /// One with the default settings, nothing stored on disk.
    pub fn start() -> Self {
        Self::start_with(None, &[])
    }

    /// One with settings of the test's own, as `redis.conf` names them.
    pub fn start_with_settings(settings: &[(&str, &str)]) -> Self {
        Self::start_with(None, settings)
    }

    /// One that copies another, as far as it has got when this returns.
    pub fn start_replica(master: &Self) -> Self {
        Self::start_replica_with(master, &[])
    }

    /// A replica with settings of the test's own, in step with its master.
    pub fn start_replica_with(master: &Self, settings: &[(&str, &str)]) -> Self {
        let replica = Self::start_with_settings(settings);
        replica.run(&["REPLICAOF", "127.0.0.1", &master.port.number.to_string()]);
        poll::until(PATIENCE, "the replica to be in step", || {
            let role = redis::cmd("ROLE").query(&mut replica.connect_silent());
            match role.map_err(|error| error.to_string())? {
                redis::Role::Replica { replication_state, .. } if replication_state == "connected" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        replica
    }

    /// A master, and a replica that has begun to copy it and will not end. With `stale_data` `no` the replica answers
    /// to hardly anything meanwhile.
    pub fn start_syncing(stale_data: &str) -> (Self, Self) {
        // Microseconds for each key. Written to disk first: that ends with its last replica, a copy to a socket does not.
        let master =
            Self::start_with_settings(&[("repl-diskless-sync", "no"), ("rdb-key-save-delay", "1000000")]);
        let mut connection = master.connect(0);
        let mut sets = redis::pipe();
        for key in 0..1_000 {
            sets.cmd("SET").arg(key).arg("").ignore();
        }
        sets.query::<()>(&mut connection).expect("SET");
        let replica = Self::start_with_settings(&[("replica-serve-stale-data", stale_data)]);
        replica.run(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
        poll::until(PATIENCE, "the copy to begin", || {
            let info: String = redis::cmd("INFO")
                .arg("replication")
                .query(&mut replica.connect_silent())
                .map_err(|error| error.to_string())?;
            if info.contains("master_sync_in_progress:1") { Ok(()) } else { Err(info) }
        });
        (master, replica)
    }

    /// Lets the copy that [`Self::start_syncing`] began come to its end.
    pub fn let_sync(&self) {
        self.run(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
        // The process that copies now keeps the delay that it began with; the replica comes again for another.
        self.run(&["CLIENT", "KILL", "TYPE", "replica"]);
    }

    /// One that asks for a password.
    pub fn start_with_password(password: &str) -> Self {
        Self::start_with(Some(password), &[])
    }

    /// Both.
    pub fn start_with(password: Option<&str>, settings: &[(&str, &str)]) -> Self {
        // A second and third attempt, should a stranger have taken the port between our look and redis-server's.
        let mut last = String::new();
        for _ in 0..3 {
            let mut redis = Self {
                process: None,
                port: Port::claim(),
                password: password.map(str::to_owned),
                settings: settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
                dir: TempDir::new("redis"),
            };
            match redis.try_start() {
                Ok(()) => return redis,
                Err(why) => last = why,
            }
        }
        panic!("redis-server does not start: {last}");
    }

    /// Starts it again where it was; its keys are gone, unless its settings say that they are kept.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "redis-server still runs");
        self.try_start().unwrap_or_else(|why| panic!("redis-server does not start again: {why}"));
    }

    fn try_start(&mut self) -> Result<(), String> {
        let port = self.port.number.to_string();
        let dir = self.dir.path().display().to_string();
        let mut args = Vec::new();
        for (option, value) in
            [("--port", port.as_str()), ("--bind", "127.0.0.1"), ("--save", ""), ("--dir", dir.as_str())]
        {
            args.extend([option.to_owned(), value.to_owned()]);
        }
        for (name, value) in &self.settings {
            args.extend([format!("--{name}"), value.clone()]);
        }
        if let Some(password) = &self.password {
            args.extend(["--requirepass".to_owned(), password.clone()]);
        }
        let mut process = Process::tool(REDIS_SERVER, &args, self.dir.path(), "redis-server");
        poll::until(PATIENCE, "redis-server to answer or to give up", || {
            if process.exited().is_some() {
                return Ok(Err(process.output()));
            }
            self.try_connect(0).map(|_| Ok(())).map_err(|error| error.to_string())
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// As the exporter's flag wants it, with the password where there is one.
    pub fn url(&self, db: u8) -> String {
        match &self.password {
            Some(password) => self.url_with(&format!(":{password}@"), db),
            None => self.url_with("", db),
        }
    }

    /// With credentials (`user:password@`) of the caller's choice.
    pub fn url_with(&self, credentials: &str, db: u8) -> String {
        format!("redis://{credentials}127.0.0.1:{}/{db}", self.port.number)
    }

    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("redis-server runs").id()
    }

    pub fn port(&self) -> u16 {
        self.port.number
    }

    pub fn connect(&self, db: u8) -> redis::Connection {
        self.try_connect(db).unwrap_or_else(|error| panic!("connect to redis-server: {error}"))
    }

    pub fn try_connect(&self, db: u8) -> redis::RedisResult<redis::Connection> {
        let mut connection = redis::Client::open(self.url(db))?.get_connection()?;
        connection.set_read_timeout(Some(Duration::from_secs(30)))?;
        redis::cmd("PING").query::<()>(&mut connection)?;
        Ok(connection)
    }

    /// To one that may answer no PING now.
    fn connect_silent(&self) -> redis::Connection {
        let client = redis::Client::open(self.url(0)).expect("a URL");
        let connection = client.get_connection().expect("a connection");
        connection.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
        connection
    }

    /// Any command, without an answer that matters.
    #[track_caller]
    pub fn run(&self, words: &[&str]) {
        let mut command = redis::Cmd::new();
        command
            .arg(words)
            .query::<()>(&mut self.connect_silent())
            .unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }

    /// How often a command was called, by anyone, since the start.
    pub fn calls(&self, command: &str) -> u64 {
        self.command_stat(command, "calls")
    }

    /// How often a command was refused before it ran, for want of the right to it for example.
    pub fn rejected_calls(&self, command: &str) -> u64 {
        self.command_stat(command, "rejected_calls")
    }

    fn command_stat(&self, command: &str, figure: &str) -> u64 {
        let stats: String = redis::cmd("INFO")
            .arg("commandstats")
            .query(&mut self.connect_silent())
            .expect("INFO commandstats");
        let prefix = format!("cmdstat_{command}:");
        let figures = stats.lines().find_map(|line| line.strip_prefix(&prefix));
        let figure = figures.and_then(|all| {
            all.split(',').find_map(|one| one.strip_prefix(figure)?.strip_prefix('=')?.parse().ok())
        });
        figure.unwrap_or(0)
    }

    /// `CLIENT KILL TYPE`: closes all connections of a kind; gives their number.
    pub fn kill_clients(&self, kind: &str) -> u64 {
        let mut kill = redis::cmd("CLIENT");
        kill.arg(&["KILL", "TYPE", kind, "SKIPME", "yes"]);
        kill.query(&mut self.connect_silent()).expect("CLIENT KILL")
    }

    /// How many connections subscribe to something.
    pub fn subscribers(&self) -> usize {
        let mut list = redis::cmd("CLIENT");
        let list: String =
            list.arg(&["LIST", "TYPE", "pubsub"]).query(&mut self.connect(0)).expect("CLIENT LIST");
        list.lines().count()
    }

    /// The most bytes that wait for one of them.
    pub fn backlog(&self) -> u64 {
        let mut list = redis::cmd("CLIENT");
        let list: String =
            list.arg(&["LIST", "TYPE", "pubsub"]).query(&mut self.connect(0)).expect("CLIENT LIST");
        let fields = list.split_whitespace().filter_map(|field| field.strip_prefix("omem=")?.parse().ok());
        fields.max().unwrap_or(0)
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops it without closing anything, as a host that hangs.
    pub fn freeze(&self) {
        self.process.as_ref().expect("redis-server runs").signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.as_ref().expect("redis-server runs").signal(Signal::CONT);
    }
}

/// Makes keys that seem to have been idle for so many seconds; of coturn's kind, whatever their names.
pub fn restore_idle<'a>(connection: &mut redis::Connection, keys: impl IntoIterator<Item = (&'a [u8], u64)>) {
    const SAMPLE: &str = "sample of a value";
    redis::cmd("SET").arg(SAMPLE).arg("new lifetime=600").query::<()>(connection).expect("SET");
    let value: Vec<u8> = redis::cmd("DUMP").arg(SAMPLE).query(connection).expect("DUMP");
    redis::cmd("DEL").arg(SAMPLE).query::<()>(connection).expect("DEL");
    let mut restores = redis::pipe();
    for (key, idle) in keys {
        restores.cmd("RESTORE").arg(key).arg(0).arg(&value).arg("REPLACE").arg("IDLETIME").arg(idle).ignore();
    }
    restores.query::<()>(connection).expect("RESTORE");
}
