//! A Prometheus for the demo, where one is installed.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::compressed_rules::compressed;
use super::{SPEED, free_port};
use crate::app::Error;

/// The shipped rules.
const RULES: [(&str, &str); 2] = [
    ("coturn.rules.yaml", include_str!("../../../../alerts/coturn.rules.yaml")),
    ("coturn.alerts.yaml", include_str!("../../../../alerts/coturn.alerts.yaml")),
];

/// Where Prometheus is by default.
const USUAL_PORT: u16 = 9090;

/// Runs a Prometheus until its own input ends, which it does with the demo however that ends, SIGKILL included.
const BESIDE_THE_DEMO: &str = "trap : INT TERM; prometheus \"$@\" & cat > /dev/null; kill $!; wait $!";

/// A running Prometheus; it ends with this value.
#[derive(Debug)]
pub(super) struct DemoPrometheus {
    /// The shell that runs it.
    process: Child,
    address: SocketAddr,
}

impl DemoPrometheus {
    /// Starts one that scrapes the exporter on `port` each second; `None` where it is not installed.
    ///
    /// # Errors
    ///
    /// Its files cannot be written.
    pub(super) fn start(folder: &Path, port: u16) -> Result<Option<Self>, Error> {
        for (name, rules) in RULES {
            write(&folder.join(name), &compressed(rules, SPEED))?;
        }
        let config = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n\
             rule_files: [coturn.rules.yaml, coturn.alerts.yaml]\n\
             scrape_configs:\n  - job_name: coturn\n    static_configs:\n      - targets: ['127.0.0.1:{port}']\n"
        );
        let file = folder.join("prometheus.yaml");
        write(&file, &config)?;
        let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, USUAL_PORT));
        let address = if TcpListener::bind(usual).is_ok() { usual } else { free_port() };
        let log = folder.join("prometheus.log");
        let output = File::create(&log).map_err(|error| Error::Demo { path: log.clone(), error })?;
        if !is_installed() {
            return Ok(None);
        }
        let started = Command::new("sh")
            .args(["-c", BESIDE_THE_DEMO, "sh"])
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn();
        let failed = |error| Error::Demo { path: "prometheus".into(), error };
        started.map(|process| Some(Self { process, address })).map_err(failed)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for DemoPrometheus {
    fn drop(&mut self) {
        // Its input ends; it may have ended by itself.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn is_installed() -> bool {
    let mut command = Command::new("prometheus");
    let command = command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|error| Error::Demo { path: path.to_owned(), error })
}
