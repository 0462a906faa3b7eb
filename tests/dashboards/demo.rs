//! `demo`, as somebody sees it who has typed two commands: its pages, its alert, its ledger, and that it leaves nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::common::net::http;
use crate::common::net::ports::Port;
use crate::common::poll;
use crate::common::readers::dashboards::{self, Dashboard, Kind};
use crate::common::readers::page::Page;
use crate::common::servers::command;
use crate::common::servers::process::Process;
use crate::common::servers::prometheus::percent_encoded;
use crate::common::temp_dir::TempDir;

/// The demo needs two minutes on a machine of its own.
const SHOWN: Duration = Duration::from_secs(360);

/// Of regions, which the demo does not have.
const FLEET: &str = "coturn-fleet";

/// Panels about a Redis and about sinks, which the demo does not have, and about messages that nobody understands.
const NOTHING_TO_SHOW: [&str; 9] = [
    "Rejected, dropped, not forwarded",
    "Status keys",
    "Duration of a scan",
    "Scans",
    "Last scan complete",
    "Settings of Redis",
    "Waiting for a sink",
    "Age of what waits longest",
    "Delivered, failed, dropped",
];

struct Demo {
    process: Process,
    pages: SocketAddr,
    dir: TempDir,
    _port: Port,
}

impl Demo {
    fn start() -> Self {
        let (dir, port) = (TempDir::new("demo"), Port::claim());
        let pages = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number));
        let mut command = Command::new(env!("CARGO_BIN_EXE_coturn-exporter"));
        command.args(["demo", "--port", &port.number.to_string()]).env("TMPDIR", dir.path());
        let process = Process::spawn(command, dir.path(), "demo").unwrap();
        Self { process, pages, dir, _port: port }
    }

    /// The word behind these in what it prints.
    fn printed(&self, before: &str, end: char) -> Result<String, String> {
        let text = self.process.stdout();
        let found = text.find(before).map(|at| &text[at + before.len()..]);
        let word = found.and_then(|rest| rest.split_once([end, '\n'])).map(|(word, _)| word.to_owned());
        word.ok_or_else(|| self.process.output())
    }

    /// What its Prometheus says.
    fn asked(&self, path: &str) -> Result<Value, String> {
        let address = self.prometheus()?;
        let response = http::get(address, path)?;
        let answer: Value = serde_json::from_str(&response.body).map_err(|error| error.to_string())?;
        Ok(answer["data"].clone())
    }

    fn prometheus(&self) -> Result<SocketAddr, String> {
        let text = self.process.stdout();
        let before = text.split(" under Alerts").next().unwrap_or_default();
        let address = before.rsplit("http://").next().unwrap_or_default().trim_end();
        address.parse().map_err(|_| text.clone())
    }
}

fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .map(|name| name.into_string().unwrap())
        .filter(|name| name.starts_with("coturn-exporter-demo"))
        .collect()
}

/// One after the other: both would take the port that a Prometheus has by default.
#[test]
fn the_demo_shows_everything_and_leaves_nothing() {
    one_that_is_killed_takes_its_prometheus_along();
    let mut demo = Demo::start();
    poll::until(SHOWN, "the alert of a leak", || {
        let alerts = demo.asked("/api/v1/alerts")?;
        let alerts = alerts["alerts"].as_array().cloned().unwrap_or_default();
        let is_leak = |alert: &&Value| {
            alert["labels"]["alertname"] == "CoturnAllocationsLeaked" && alert["state"] == "firing"
        };
        alerts.iter().find(is_leak).map(drop).ok_or_else(|| format!("{alerts:?}"))
    });
    let page = http::get(demo.pages, "/metrics").unwrap();
    let page = Page::parse(&page.body);
    for realm in ["eu.example.org", "us.example.org", "support.example.org"] {
        assert!(page.sum("coturn_sessions_closed_total", &[("realm", realm)]) > 0.0, "{realm}");
    }
    let allocations = http::get(demo.pages, "/allocations").unwrap();
    assert_eq!(allocations.status, 200);
    poll::until(SHOWN, "each panel to have data", || {
        let empty = empty_panels(&demo);
        if empty.is_empty() { Ok(()) } else { Err(empty.join("\n")) }
    });
    let store = demo.printed("--store.path ", '\n').unwrap();
    let usage = command::exporter(&["usage", "--store.path", &store, "--by", "realm", "--format", "csv"]);
    assert_eq!((usage.code, usage.stdout.lines().count()), (Some(0), 4), "{usage:?}");

    demo.process.signal(Signal::INT);
    let status = demo.process.wait(Duration::from_secs(30));
    assert!(status.success(), "{status}: {}", demo.process.output());
    assert_eq!(files(demo.dir.path()), [""; 0], "the demo's folder is still there");
    assert!(http::get(demo.prometheus().unwrap(), "/-/ready").is_err(), "its Prometheus runs on");
}

fn one_that_is_killed_takes_its_prometheus_along() {
    let mut demo = Demo::start();
    poll::until(SHOWN, "its Prometheus", || {
        http::get(demo.prometheus()?, "/-/ready").and_then(|response| match response.status {
            200 => Ok(()),
            other => Err(other.to_string()),
        })
    });
    let prometheus = demo.prometheus().unwrap();
    demo.process.kill();
    poll::until(SHOWN, "its Prometheus to end", || match http::get(prometheus, "/-/ready") {
        Err(_) => Ok(()),
        Ok(response) => Err(response.status.to_string()),
    });
}

/// Panels of the dashboards that have no data now.
fn empty_panels(demo: &Demo) -> Vec<String> {
    let mut empty = Vec::new();
    for query in dashboards::all().iter().flat_map(Dashboard::queries) {
        let is_shown = query.kind == Kind::Panel && query.dashboard != FLEET;
        if !is_shown || NOTHING_TO_SHOW.contains(&query.place.as_str()) {
            continue;
        }
        let text = query.expression.replace("$__range", "1m");
        let text = dashboards::Query { expression: text, ..query.clone() }.filled_in("30s");
        let data = demo.asked(&format!("/api/v1/query?query={}", percent_encoded(&text))).unwrap();
        if data["result"].as_array().is_none_or(Vec::is_empty) {
            empty.push(format!("{}: {}: {text}", query.dashboard, query.place));
        }
    }
    empty
}
