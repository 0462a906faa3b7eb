//! A real Alertmanager, which keeps to itself: it neither looks for others nor lets others in.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::process::{Process, Tool};
use super::prometheus::percent_encoded;
use crate::common::net::http;
use crate::common::net::ports::Port;
use crate::common::poll::{self, PATIENCE};
use crate::common::temp_dir::TempDir;

const ALERTMANAGER: Tool = Tool { program: "prometheus-alertmanager", package: "prometheus-alertmanager" };
const AMTOOL: Tool = Tool { program: "amtool", package: "prometheus-alertmanager" };

/// See the file's head.
#[derive(Debug)]
pub struct Alertmanager {
    process: Process,
    address: SocketAddr,
    _port: Port,
    _dir: TempDir,
}

impl Alertmanager {
    /// Starts one with this configuration.
    pub fn start(config: &str) -> Self {
        let dir = TempDir::new("alertmanager");
        let port = Port::claim();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number));
        let config = dir.write("alertmanager.yml", config);
        let args = [
            format!("--config.file={}", config.display()),
            format!("--storage.path={}", dir.path().join("data").display()),
            format!("--web.listen-address={address}"),
            "--cluster.listen-address=".to_owned(),
        ];
        let process = Process::tool(ALERTMANAGER, &args, dir.path(), "alertmanager");
        let mut alertmanager = Self { process, address, _port: port, _dir: dir };
        poll::until(PATIENCE, "alertmanager to be ready", || {
            if let Some(status) = alertmanager.process.exited() {
                panic!("alertmanager ended with {status}\n{}", alertmanager.process.output());
            }
            match http::get(address, "/-/ready") {
                Ok(response) if response.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        alertmanager
    }

    /// Gives it an alert that fires, as Prometheus does.
    pub fn fire(&self, labels: &[(&str, &str)]) {
        let labels: serde_json::Map<_, _> =
            labels.iter().map(|&(label, value)| (label.to_owned(), json!(value))).collect();
        let answer = http::post_json(self.address, "/api/v2/alerts", &json!([{ "labels": labels }])).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }

    /// What it knows of the alerts that a matcher selects.
    pub fn alerts(&self, matcher: &str) -> Vec<Value> {
        let path = format!("/api/v2/alerts?filter={}", percent_encoded(matcher));
        let answer = http::get_with(self.address, &path, "Accept: application/json").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// For the message of a failure.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

/// Runs `amtool`; gives whether it was content, and all that it wrote to standard output.
pub fn amtool(args: &[&str]) -> (bool, String) {
    let output = AMTOOL.command().args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{}", AMTOOL.cannot_start(&error)));
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}
