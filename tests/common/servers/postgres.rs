//! A real `PostgreSQL`: data in a directory of its own, a loopback port and a Unix socket of its own. It refuses to run as
//! root, so root runs it as `postgres`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::process::Process;
use crate::common::net::ports::Port;
use crate::common::poll::{self, PATIENCE};
use crate::common::temp_dir::TempDir;

/// The password of its superuser `postgres`, where one is asked for: not on the Unix socket.
pub const PASSWORD: &str = "of the superuser";

/// See the file's head.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    port: Port,
    settings: Vec<String>,
    dir: TempDir,
}

impl Postgres {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// One with these lines in `postgresql.conf`.
    pub fn start_with(settings: &[&str]) -> Self {
        let dir = TempDir::short();
        make_ours(dir.path());
        dir.write("password", PASSWORD);
        let data = dir.path().join("data");
        let init = [
            format!("--pgdata={}", data.display()),
            format!("--pwfile={}", dir.path().join("password").display()),
            "--username=postgres".to_owned(),
            "--auth-local=trust".to_owned(),
            "--auth-host=scram-sha-256".to_owned(),
            "--encoding=UTF8".to_owned(),
            "--locale=C.UTF-8".to_owned(),
            "--no-sync".to_owned(),
        ];
        let mut command = tool("initdb");
        command.args(init);
        let mut made =
            Process::spawn(command, dir.path(), "initdb").unwrap_or_else(|error| panic!("initdb: {error}"));
        let status = made.wait(PATIENCE);
        assert!(status.success(), "{}", made.output());
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut postgres = Self { process: None, port: Port::claim(), settings, dir };
        postgres.start_again();
        postgres
    }

    /// Starts it again where it was.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "postgres still runs");
        // One that was killed has children that are about to notice; until then its memory is in use.
        self.process = Some(poll::until(PATIENCE, "postgres to start", || self.try_start()));
    }

    fn try_start(&self) -> Result<Process, String> {
        let mut command = tool("postgres");
        let dir = self.dir.path().display();
        command.args(["-D", &format!("{dir}/data"), "-k", &format!("{dir}")]);
        let port = format!("port={}", self.port.number);
        let fixed = [port.as_str(), "listen_addresses=127.0.0.1", "fsync=off", "max_connections=60"];
        for setting in fixed.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        let mut process =
            Process::spawn(command, self.dir.path(), "postgres").map_err(|error| error.to_string())?;
        let is_ready = poll::until(PATIENCE, "postgres to answer or to give up", || {
            if process.exited().is_some() {
                return Ok(false);
            }
            self.try_sql("postgres", "SELECT 1").map(|_| true)
        });
        if is_ready { Ok(process) } else { Err(process.output()) }
    }

    /// Stops it as `systemctl stop` does: transactions are rolled back.
    pub fn stop(&mut self) {
        self.end(Signal::INT);
    }

    /// Kills its first process; the others follow.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    fn end(&mut self, signal: Signal) {
        let mut process = self.process.take().expect("postgres runs");
        process.signal(signal);
        process.wait(PATIENCE);
    }

    /// Of its first process.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("postgres runs").id()
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number))
    }

    /// Makes a database.
    pub fn create_database(&self, name: &str) {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
    }

    /// The URL of a database for a role that needs no password: by the Unix socket.
    pub fn url_of(&self, role: &str, database: &str) -> String {
        let folder = self.dir.path().display();
        format!("postgres://{role}@/{database}?host={folder}&port={}", self.port.number)
    }

    /// The URL by TCP for the superuser, at an address that leads to it.
    pub fn tcp_url(address: SocketAddr, database: &str, query: &str) -> String {
        let password = PASSWORD.replace(' ', "%20");
        format!("postgres://postgres:{password}@{address}/{database}?{query}")
    }

    /// What `psql` says as the superuser: lines, columns apart by `|`.
    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The same, or its error.
    pub fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut command = Command::new("psql");
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]);
        command.arg(self.dir.path()).args(["-p", &self.port.number.to_string(), "-c", sql]);
        let output = command.env_remove("PGOPTIONS").output();
        let output = output.unwrap_or_else(|error| panic!("psql (Debian's postgresql-client): {error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Puts a file beside the data that only the server may read, and says where it is.
    pub fn keep(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.write(name, text);
        make_ours(&path);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("our file");
        path
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // Its children end with it, and their memory goes.
            process.signal(Signal::QUIT);
            process.wait(PATIENCE);
        }
    }
}

/// The variable that names the folder with `postgres` and `initdb`.
const PROGRAMS: &str = "POSTGRES_BIN";

/// Where `postgres` and `initdb` are: in the folder of the variable, or of Debian's newest version.
fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os(PROGRAMS) {
        let folder = PathBuf::from(folder);
        assert!(folder.join("postgres").is_file(), "{PROGRAMS}={}: no postgres there", folder.display());
        return folder;
    }
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = installed.map(|entry| entry.path()).max_by_key(version);
    let newest = newest.expect("no PostgreSQL in /usr/lib/postgresql: install Debian's package `postgresql`");
    newest.join("bin")
}

/// One of these programs, as a user who is not root.
fn tool(name: &str) -> Command {
    let program = programs().join(name);
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}

/// Gives a file to the user who the server runs as.
fn make_ours(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("chown");
        let status = command.arg("postgres:postgres").arg(path).status();
        assert!(status.is_ok_and(|status| status.success()), "chown {}", path.display());
    }
}
