//! The service manager: what it is told, the sockets that it hands over, and the units that are shipped.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::net::tls::Scraper;
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::page::Page;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::listener::ANYWHERE;
use crate::common::servers::process::Tool;
use crate::common::temp_dir::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coturn-exporter");

/// What systemd would hear.
struct Manager {
    socket: UnixDatagram,
    dir: TempDir,
}

impl Manager {
    fn start() -> Self {
        let dir = TempDir::short();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, dir }
    }

    fn name(&self) -> String {
        self.dir.path().join("notify").display().to_string()
    }

    /// The next message.
    #[track_caller]
    fn next(&self) -> String {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("a message");
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// The next message that begins so, and all before it.
    #[track_caller]
    fn until(&self, beginning: &str) -> Vec<String> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.next());
            if messages.last().is_some_and(|message| message.starts_with(beginning)) {
                return messages;
            }
        }
    }
}

#[test]
fn systemd_is_told_of_the_start_the_state_reloads_and_the_end() {
    let (manager, store) = (Manager::start(), TempDir::new("notify"));
    let store = store.path().join("store").display().to_string();
    let variables = [("NOTIFY_SOCKET", &*manager.name()), ("WATCHDOG_USEC", "4000000")];
    let args = [&ANYWHERE[..], &["--store.path", &store]].concat();
    let mut exporter = Exporter::start_with_variables(&variables, &args);
    let start = manager.until("READY=1");
    let (ready, before) = start.split_last().unwrap();
    assert_eq!(ready, "READY=1");
    assert!(
        before.iter().all(|message| message.starts_with("STATUS=loading the store")
            && message.ends_with("EXTEND_TIMEOUT_USEC=90000000")),
        "{before:?}"
    );
    assert_eq!(exporter.status("/metrics"), 200, "it is ready when there is a page");
    let after = [manager.next(), manager.next()];
    assert_eq!(after, ["WATCHDOG=1", "STATUS=0 live allocations; watching statsdb://127.0.0.1:0"]);
    assert_eq!(manager.next(), "WATCHDOG=1", "no coturn is there, and it lives");
    exporter.signal(Signal::HUP);
    let reload = manager.until("RELOADING=1");
    let (_, moment) = reload.last().unwrap().split_once("\nMONOTONIC_USEC=").expect("when it began");
    assert!(moment.parse::<u64>().unwrap() > 0);
    manager.until("READY=1");
    assert!(exporter.stop(Signal::TERM).success());
    assert_eq!(manager.until("STOPPING=1").last().unwrap(), "STOPPING=1\nSTATUS=Stopping");
}

#[test]
fn a_service_manager_that_cannot_be_reached_keeps_nobody_from_starting() {
    let exporter = Exporter::start_with_variables(&[("NOTIFY_SOCKET", "/nowhere/notify")], &ANYWHERE);
    exporter.until_logged(&["cannot reach the service manager", "No such file or directory"]);
    exporter.wait_ready();
}

/// Opens the ports of coturn (named `statsdb`) and of the web server, says where, and hands them to each life of the
/// exporter, as systemd does. `{statsdb}` in an argument is the address of the first.
const HOLDER: &str = "
import os, signal, socket, sys
sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]
statsdb, web = ('%s:%d' % held.getsockname() for held in sockets)
print(statsdb, web, flush=True)
child = 0
def stop():
    os.kill(child, signal.SIGTERM)
    return os.waitpid(child, 0)[1]
for line in sys.stdin:
    if line != 'start\\n':
        print(stop(), flush=True)
        child = 0
        continue
    child = os.fork()
    if child == 0:
        os.dup2(os.open('log', os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), 2)
        for place, fd in enumerate([os.dup(held.fileno()) for held in sockets]):
            os.dup2(fd, 3 + place)
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2', LISTEN_FDNAMES='statsdb:web')
        os.execv(sys.argv[1], [argument.format(statsdb=statsdb) for argument in sys.argv[1:]])
if child:
    stop()
";

struct Holder {
    child: Child,
    said: BufReader<ChildStdout>,
    dir: TempDir,
    statsdb: SocketAddr,
    web: SocketAddr,
}

impl Holder {
    fn start(args: &[&str]) -> Self {
        let dir = TempDir::new("sockets");
        let mut command = Command::new("python3");
        command.args(["-c", HOLDER, PROGRAM]).args(args).current_dir(dir.path());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("COTURN_"))
        {
            command.env_remove(name);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3");
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let (statsdb, web) = line.trim().split_once(' ').expect("two addresses");
        let (statsdb, web) = (statsdb.parse().unwrap(), web.parse().unwrap());
        Self { child, said, dir, statsdb, web }
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn stop_exporter(&mut self) {
        self.tell("stop");
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line, "0\n", "how it ended: {}", self.log());
    }

    fn until(&self, series: &str, wanted: u64) {
        poll::until(PATIENCE, &format!("{series} to be {wanted}"), || {
            let page = Scraper::default()
                .get(self.web, "/metrics")
                .map_err(|why| format!("{why} {}", self.log()))?;
            if page.status != 200 {
                return Err(page.body);
            }
            let found = Page::parse(&page.body).count(series, &[]);
            if found == wanted { Ok(()) } else { Err(format!("{found}")) }
        });
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It stops the exporter, and ends.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

#[test]
fn what_coturn_reports_while_the_exporter_is_away_waits_in_the_socket() {
    let args = [
        "--web.systemd-socket",
        "--statsdb.systemd-socket",
        "--statsdb.listen-address={statsdb}",
        "--store.path=store",
    ];
    let mut holder = Holder::start(&args);
    holder.tell("start");
    let [before, meanwhile] = [1, 2].map(|id| Allocation::new("one.example", "alice", id));
    holder.until("coturn_allocations", 0);
    Statsdb::at(holder.statsdb).open(&before, 600);
    holder.until("coturn_allocations", 1);
    holder.stop_exporter();
    // A coturn connects again, and waits for no answer.
    let mut coturn = TcpStream::connect_timeout(&holder.statsdb, Duration::from_secs(10)).unwrap();
    let (key, status) = (meanwhile.key(), meanwhile.status("new", 600));
    for command in ["SET", "PUBLISH"] {
        let command = redis::cmd(command).arg(&key).arg(&status).get_packed_command();
        coturn.write_all(&command).unwrap();
    }
    // A scrape waits too, there and until the store is loaded.
    let scrape = std::thread::spawn({
        let web = holder.web;
        move || Scraper::default().get(web, "/metrics").unwrap()
    });
    holder.tell("start");
    let scraped = scrape.join().unwrap();
    assert_eq!(scraped.status, 200, "{}", scraped.body);
    let opened = Page::parse(&scraped.body).count("coturn_allocations_opened_total", &[]);
    assert!(opened >= 1, "counters go on: {opened}");
    holder.until("coturn_allocations", 2);
    holder.until("coturn_allocations_opened_total", 2);
    // Nobody has to connect again for what comes next.
    let refreshed = redis::cmd("PUBLISH").arg(&key).arg("deleted").get_packed_command();
    coturn.write_all(&refreshed).unwrap();
    holder.until("coturn_allocations", 1);
    holder.stop_exporter();
}

#[test]
fn sockets_that_do_not_fit_the_flags_are_errors() {
    for (args, says) in [
        (
            &["--web.systemd-socket", "--statsdb.listen-address={statsdb}"][..],
            "a socket of the name \"statsdb\", which nothing is served on; say --statsdb.systemd-socket",
        ),
        (
            &[
                "--statsdb.systemd-socket",
                "--statsdb.listen-address={statsdb}",
                "--web.listen-address=127.0.0.1:0",
            ],
            "a socket of the name \"web\", which nothing is served on; say --web.systemd-socket",
        ),
        (
            &["--web.systemd-socket", "--statsdb.systemd-socket", "--statsdb.listen-address=127.0.0.1:1"],
            "and --statsdb.listen-address says 127.0.0.1:1; let ListenStream=",
        ),
    ] {
        let mut holder = Holder::start(args);
        holder.tell("start");
        poll::until(PATIENCE, "an error", || {
            if holder.log().contains(says) { Ok(()) } else { Err(holder.log()) }
        });
    }
    let alone = [
        "--statsdb.systemd-socket",
        "--statsdb.listen-address=127.0.0.1:0",
        "--web.listen-address=127.0.0.1:0",
    ];
    let output = Command::new(PROGRAM).args(alone).env_remove("LISTEN_FDS").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("systemd has handed over no socket of the name statsdb"), "{said}");
}

const ANALYZE: Tool = Tool { program: "systemd-analyze", package: "systemd" };
const SERVICE: &str = "prometheus-coturn-exporter.service";

fn units() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd")
}

#[track_caller]
fn analyze(args: &[&str], dir: &Path) -> String {
    let output = ANALYZE.command().args(args).current_dir(dir).output();
    let output = output.unwrap_or_else(|error| panic!("{}", ANALYZE.cannot_start(&error)));
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "{args:?}: {said}");
    said
}

#[test]
fn systemd_understands_the_units_and_finds_little_exposed() {
    let dir = TempDir::new("units");
    for unit in std::fs::read_dir(units()).unwrap().map(|unit| unit.unwrap().path()) {
        // The program must be there to be verified.
        let text = std::fs::read_to_string(&unit).unwrap().replace("/usr/bin/coturn-exporter", PROGRAM);
        dir.write(unit.file_name().unwrap().to_str().unwrap(), &text);
    }
    let at = |name: &str| dir.path().join(name).display().to_string();
    let sockets = ["web", "statsdb"].map(|name| at(&format!("prometheus-coturn-exporter-{name}.socket")));
    let said = analyze(&["verify", "--man=no", &at(SERVICE), &sockets[0], &sockets[1]], dir.path());
    assert!(!said.contains("prometheus-coturn-exporter"), "{said}");
    // 20 stands for 2.0.
    analyze(&["security", "--offline=true", "--threshold=20", "--no-pager", &at(SERVICE)], dir.path());
    // The example of a drop-in, too.
    let drop_in = dir.path().join(format!("{SERVICE}.d"));
    std::fs::create_dir(&drop_in).unwrap();
    std::fs::rename(at("credentials.conf"), drop_in.join("credentials.conf")).unwrap();
    let said = analyze(&["verify", "--man=no", &at(SERVICE)], dir.path());
    assert!(!said.contains("credentials.conf"), "{said}");
}

#[test]
fn the_units_name_flags_and_variables_that_there_are() {
    let help = Command::new(PROGRAM).arg("--help").output().unwrap();
    // Lines are broken to fit.
    let help = String::from_utf8_lossy(&help.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = 0;
    for unit in std::fs::read_dir(units()).unwrap().map(|unit| unit.unwrap().path()) {
        let text = std::fs::read_to_string(&unit).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
        for word in words.map(|word| word.trim_end_matches('.')) {
            let flag = word
                .starts_with("--")
                .then(|| format!("{word} "))
                .or_else(|| word.starts_with("COTURN_EXPORTER_").then(|| format!("[env: {word}")));
            if let Some(flag) = flag {
                let is_there = help.contains(&flag) || help.contains(&flag.replace(' ', "[="));
                assert!(is_there, "{}: {word}", unit.display());
                found += 1;
            }
        }
    }
    assert!(found > 8, "{found}");
}

#[test]
fn a_credential_of_systemd_is_no_exposed_file_and_any_other_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = TempDir::new("credentials");
    let password = dir.write("password", "secret");
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o440)).unwrap();
    let args = [&ANYWHERE[..], &["--statsdb.password-file", password.to_str().unwrap()]].concat();
    let outside = Exporter::start(&args);
    outside.until_logged(&["others may read this password file"]);
    let folder = dir.path().display().to_string();
    let inside = Exporter::start_with_variables(&[("CREDENTIALS_DIRECTORY", &*folder)], &args);
    assert!(!inside.log().contains("others may read"), "{}", inside.log());
}
