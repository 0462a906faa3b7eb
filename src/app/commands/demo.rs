//! `demo`: an exporter, a service that is simulated for it, and a Prometheus with the alert rules where one is installed.
//!
//! All on one clock that runs [`SPEED`] times as fast: the exporter's limits, the rules' times and the service's own are
//! divided by it, so that a leak, which takes an hour, is found in half a minute.

mod compressed_rules;
mod prometheus;

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::simulate::{after, play};
use crate::app::Error;
use crate::app::serve::serve;
use crate::app::service_manager::ServiceManager;
use crate::config::{
    Config, CoturnFile, Demo, ListenAddress, SinksConfig, Statsdb, StoreConfig, TurnserverConf, Web,
};
use crate::doctor::shell_word;
use crate::net::bind;
use crate::simulation::{Profile, Service};
use crate::state::Settings;
use prometheus::DemoPrometheus;

/// So many times as fast as the clock.
const SPEED: u32 = 120;

/// How long the exporter may take to end after its listener has.
const STOPPING: Duration = Duration::from_secs(30);

/// How often it is looked whether the exporter listens.
const LISTENS: Duration = Duration::from_millis(50);

/// Runs until a signal comes, or for the time that was asked for.
///
/// # Errors
///
/// A port that is in use; no place for temporary files.
pub(in crate::app) async fn demo(
    demo: Demo,
    dropped_log_lines: Arc<AtomicU64>,
    reread: Arc<Notify>,
) -> Result<(), Error> {
    let listen = ListenAddress::Socket((Ipv4Addr::LOCALHOST, demo.port).into());
    // Before anything is made or printed: a `make run` may have the port.
    drop(bind(&listen, "--port").await.map_err(Error::Bind)?);
    let folder = DemoFolder::new()?;
    let statsdb = free_port();
    let coturn = coturn_file(folder.path(), statsdb, demo.calls)?;
    let config = Config { coturn: Some(coturn), ..config(listen, statsdb, folder.path()) };
    let prometheus = DemoPrometheus::start(folder.path(), demo.port)?;
    say(&mut io::stdout(), &demo, folder.path(), prometheus.as_ref()).map_err(Error::Output)?;
    let service = Service::new(Profile::of_demo(demo.calls, SPEED));
    let to = statsdb.to_string();
    let playing = async {
        while TcpStream::connect(statsdb).await.is_err() {
            sleep(LISTENS).await;
        }
        play(service, &to).await
    };
    let mut serving = pin!(serve(config, dropped_log_lines, reread, ServiceManager::default()));
    tokio::select! {
        served = &mut serving => served,
        // An exporter that stops closes its listener first, and then has a store to end.
        played = playing => timeout(STOPPING, serving).await.unwrap_or(played),
        () = after(demo.duration) => Ok(()),
    }
}

/// An address of this host on which nobody listens.
fn free_port() -> SocketAddr {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    TcpListener::bind(any).and_then(|listener| listener.local_addr()).unwrap_or(any)
}

/// An exporter whose limits are those of the default, on the demo's clock.
fn config(listen: ListenAddress, statsdb: SocketAddr, folder: &Path) -> Config {
    let usual = Settings::default();
    let table = Settings {
        grace: usual.grace / SPEED,
        max_lifetime: usual.max_lifetime / SPEED,
        idle_after: usual.idle_after / SPEED,
        are_rates_kept: true,
        ..usual
    };
    Config {
        web: Web { listen: vec![listen], enable_details: true, ..Web::default() },
        statsdb: Some(Statsdb {
            name: format!("statsdb://{statsdb}"),
            listen: ListenAddress::Socket(statsdb),
            systemd_socket: false,
            password: None,
            tls: None,
            max_connections: 100,
            is_behind_proxy: false,
            forward: None,
        }),
        table,
        store: Some(StoreConfig {
            path: folder.join("store"),
            retention: Duration::from_secs(24 * 3600),
            sinks: SinksConfig::default(),
        }),
        ..Config::default()
    }
}

/// coturn's file as such a service would have it, for its limits: room for the calls, their spare allocations and the
/// leaks of an hour.
fn coturn_file(folder: &Path, statsdb: SocketAddr, calls: usize) -> Result<CoturnFile, Error> {
    let path = folder.join("turnserver.conf");
    let last_port = calls.saturating_mul(10).saturating_add(1023).min(65_535);
    let text = format!(
        "redis-statsdb=\"ip=127.0.0.1 dbname=0 port={} connect_timeout=30\"\nmin-port=1024\nmax-port={last_port}\n\
         total-quota={}\n",
        statsdb.port(),
        calls.saturating_mul(8)
    );
    let written = fs::write(&path, text)
        .and_then(|()| TurnserverConf::load(&path).map_err(|error| std::io::Error::other(error.to_string())));
    match written {
        Ok(conf) => Ok(CoturnFile { path, conf, used_for: Vec::new(), has_source_beside: true }),
        Err(error) => Err(Error::Demo { path, error }),
    }
}

/// What the subcommand is for.
fn say(
    out: &mut impl Write,
    demo: &Demo,
    folder: &Path,
    prometheus: Option<&DemoPrometheus>,
) -> io::Result<()> {
    let Demo { port, .. } = demo;
    writeln!(
        out,
        "A TURN service is simulated, {SPEED} times as fast as the clock. Ctrl-C ends it.\n\
         Ages, durations and rates are by your clock: 30 s of it are an hour of the service. Open:\n  \
         http://127.0.0.1:{port}/             realms, traffic and servers move at once; leaks in half a minute\n  \
         http://127.0.0.1:{port}/allocations  allocations that nobody closed come first, with their user"
    )?;
    match prometheus {
        Some(prometheus) => writeln!(
            out,
            "  {}             under Alerts: CoturnAllocationsLeaked fires within two minutes, by the shipped rules on the demo's \
             clock",
            prometheus.url()
        ),
        None => writeln!(
            out,
            "  http://127.0.0.1:{port}/metrics      (no `prometheus` is installed here, so no alert is shown)"
        ),
    }?;
    writeln!(
        out,
        "What each user has used, in another terminal while this runs:\n  {} usage --store.path {}",
        own_name(),
        folder.join("store").display()
    )?;
    out.flush()
}

/// As this program was called, for its commands to be copied: a build in a clone is on no search path.
fn own_name() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    shell_word(&called.to_string_lossy())
}

/// Everything that the demo writes; it goes with it.
#[derive(Debug)]
struct DemoFolder(PathBuf);

impl DemoFolder {
    fn new() -> Result<Self, Error> {
        let path = std::env::temp_dir().join(format!("coturn-exporter-demo-{}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self(path)),
            Err(error) => Err(Error::Demo { path, error }),
        }
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for DemoFolder {
    fn drop(&mut self) {
        // Whatever is left is in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
