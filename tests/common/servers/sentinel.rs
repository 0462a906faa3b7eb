//! A sentinel of the test's own: `redis-server` as one, with a quorum of itself.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use redis::FromRedisValue;

use super::process::Process;
use super::redis::REDIS_SERVER;
use crate::common::net::ports::Port;
use crate::common::poll::{self, PATIENCE};
use crate::common::temp_dir::TempDir;

/// What the sentinel calls the master.
pub const MASTER: &str = "mymaster";

/// See the file's head.
#[derive(Debug)]
pub struct Sentinel {
    process: Process,
    port: Port,
    password: Option<String>,
    _dir: TempDir,
}

impl Sentinel {
    /// Watches the master on this port; waits until it has met as many replicas.
    pub fn start(master_port: u16, replicas: usize) -> Self {
        Self::start_with(master_port, replicas, None, "")
    }

    /// The same, with a password of its own and more lines for its configuration.
    pub fn start_with(master_port: u16, replicas: usize, password: Option<&str>, settings: &str) -> Self {
        let (port, dir) = (Port::claim(), TempDir::new("sentinel"));
        let mut config = format!(
            "port {}\nbind 127.0.0.1\nsentinel monitor {MASTER} 127.0.0.1 {master_port} 1\n\
             sentinel down-after-milliseconds {MASTER} 3000\nsentinel failover-timeout {MASTER} 20000\n{settings}\n",
            port.number
        );
        if let Some(password) = password {
            writeln!(config, "requirepass {password}").unwrap();
        }
        let config = dir.write("sentinel.conf", &config).display().to_string();
        let process = Process::tool(REDIS_SERVER, &[config, "--sentinel".to_owned()], dir.path(), "sentinel");
        let sentinel = Self { process, port, password: password.map(str::to_owned), _dir: dir };
        poll::until(PATIENCE, "the sentinel to know the master and its replicas", || {
            let seen: HashMap<String, String> = sentinel.ask(&["MASTER", MASTER])?;
            let value = |field: &str| seen.get(field).map(String::as_str);
            let is_well = value("flags") == Some("master");
            if is_well && value("num-slaves") == Some(replicas.to_string().as_str()) {
                Ok(())
            } else {
                Err(format!("{seen:?}\n{}", sentinel.process.output()))
            }
        });
        sentinel
    }

    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// Makes a replica the master; waits until it is begun.
    pub fn fail_over(&self) {
        poll::until(PATIENCE, "the sentinel to begin a failover", || self.ask::<()>(&["FAILOVER", MASTER]));
    }

    fn ask<T: FromRedisValue>(&self, words: &[&str]) -> Result<T, String> {
        let password = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        let url = format!("redis://{password}127.0.0.1:{}", self.port.number);
        let answer = redis::Client::open(url).and_then(|client| {
            let mut connection = client.get_connection()?;
            connection.set_read_timeout(Some(Duration::from_secs(30)))?;
            redis::cmd("SENTINEL").arg(words).query(&mut connection)
        });
        answer.map_err(|error| error.to_string())
    }
}
