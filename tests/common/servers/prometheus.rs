//! A real Prometheus that scrapes the exporter every second or has rules or a history to work on, and promtool.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::process::{Process, Tool};
use crate::common::net::http;
use crate::common::net::ports::Port;
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::page::Series;
use crate::common::temp_dir::TempDir;

const PROMETHEUS: Tool = Tool { program: "prometheus", package: "prometheus" };
const PROMTOOL: Tool = Tool { program: "promtool", package: "prometheus" };

/// The job under which the exporter is scraped.
pub const JOB: &str = "coturn-exporter";

/// See the file's head.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    pub address: SocketAddr,
    _port: Port,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes `target`.
    pub fn scraping(target: SocketAddr) -> Self {
        Self::scraping_so("1s", JOB, "{}", target, &[])
    }

    /// One that scrapes at another interval, as Prometheus writes it.
    pub fn scraping_every(interval: &str, target: SocketAddr) -> Self {
        Self::scraping_so(interval, JOB, "{}", target, &[])
    }

    /// The same under another job, with more labels of the target in YAML, and rule files that it evaluates every second.
    pub fn scraping_as(job: &str, labels: &str, target: SocketAddr, rules: &[PathBuf]) -> Self {
        Self::scraping_so("1s", job, labels, target, rules)
    }

    fn scraping_so(interval: &str, job: &str, labels: &str, target: SocketAddr, rules: &[PathBuf]) -> Self {
        let config = scrape_config(interval, job, labels, target, rules);
        Self::start(TempDir::new("prometheus"), &config)
    }

    /// One that this configuration file tells what to do; the files that it names may lie in its folder.
    pub fn with_config(dir: TempDir, config: &str) -> Self {
        Self::start(dir, config)
    }

    /// One that scrapes nothing and has these rules.
    pub fn with_rules(rules: &[PathBuf]) -> Self {
        Self::start(TempDir::new("prometheus"), &format!("rule_files: {}\n", serde_json::json!(rules)))
    }

    /// One with the blocks that a folder holds in `data`.
    pub fn with_history(dir: TempDir) -> Self {
        Self::start(dir, "")
    }

    /// One that takes native histograms, and so prefers protobuf.
    pub fn scraping_natively(target: SocketAddr) -> Self {
        let dir = TempDir::new("prometheus");
        Self::start_with(
            dir,
            &scrape_config("1s", JOB, "{}", target, &[]),
            &["--enable-feature=native-histograms"],
        )
    }

    fn start(dir: TempDir, config: &str) -> Self {
        Self::start_with(dir, config, &[])
    }

    fn start_with(dir: TempDir, config: &str, flags: &[&str]) -> Self {
        let port = Port::claim();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number));
        let config = dir.write("prometheus.yml", config);
        let args = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", dir.path().join("data").display()),
            format!("--web.listen-address={address}"),
            "--log.level=warn".to_owned(),
        ];
        let args: Vec<String> = args.into_iter().chain(flags.iter().map(|&flag| flag.to_owned())).collect();
        let process = Process::tool(PROMETHEUS, &args, dir.path(), "prometheus");
        let mut prometheus = Self { process, address, _port: port, _dir: dir };
        poll::until(PATIENCE, "prometheus to be ready", || {
            if let Some(status) = prometheus.process.exited() {
                panic!("prometheus ended with {status}\n{}", prometheus.process.output());
            }
            match http::get(address, "/-/ready") {
                Ok(response) if response.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        prometheus
    }

    /// The answer to an instant query, series by series; those of native histograms are left out.
    pub fn query(&self, expression: &str) -> BTreeMap<Series, f64> {
        let data = self.get(&format!("query?query={}", percent_encoded(expression)));
        results(&data).iter().filter(|result| result.get("histogram").is_none()).map(sample).collect()
    }

    /// What the samples of each counter of a range selector add up to: each rise, and after a fall all that is there.
    /// Raw samples, nothing extrapolated; the first one counts from 0.
    pub fn increments(&self, range: &str) -> BTreeMap<Series, u64> {
        let sum = |result: &serde_json::Value| {
            let values = result["values"].as_array().unwrap_or_else(|| panic!("no samples: {result}"));
            let mut last = 0.0;
            let mut sum = 0.0;
            for value in values.iter().map(|pair| number(&pair[1])) {
                sum += if value < last { value } else { value - last };
                last = value;
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
            let sum = sum as u64;
            (series(result), sum)
        };
        results(&self.get(&format!("query?query={}", percent_encoded(range)))).iter().map(sum).collect()
    }

    /// Each series of a range selector with its last sample, and how many of its samples are below the one before.
    pub fn last_and_falls(&self, range: &str) -> BTreeMap<Series, (f64, usize)> {
        let look = |result: &serde_json::Value| {
            let values = result["values"].as_array().unwrap_or_else(|| panic!("no samples: {result}"));
            let values: Vec<f64> = values.iter().map(|pair| number(&pair[1])).collect();
            let falls = values.windows(2).filter(|pair| pair[1] < pair[0]).count();
            (series(result), (values.last().copied().unwrap_or_default(), falls))
        };
        results(&self.get(&format!("query?query={}", percent_encoded(range)))).iter().map(look).collect()
    }

    /// The same at a time, in seconds since 1970; or what it says of the query.
    pub fn try_query(&self, expression: &str, at: Option<f64>) -> Result<Vec<serde_json::Value>, String> {
        let at = at.map(|at| format!("&time={at}")).unwrap_or_default();
        let data = self.try_get(&format!("query?query={}{at}", percent_encoded(expression)))?;
        // A scalar is an answer, too: of one value.
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// The values of a label among the series of a selector.
    pub fn label_values(&self, selector: &str, label: &str) -> Vec<String> {
        let path = format!("label/{label}/values?match[]={}", percent_encoded(selector));
        serde_json::from_value(self.get(&path)).unwrap()
    }

    /// The rules that it has loaded, with what came of their last evaluation.
    pub fn rules(&self) -> Vec<Rule> {
        let data = self.get("rules");
        let groups = data["groups"].as_array().unwrap_or_else(|| panic!("{data}"));
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        rules.map(|rule| serde_json::from_value(rule.clone()).unwrap()).collect()
    }

    fn get(&self, path: &str) -> serde_json::Value {
        self.try_get(path).unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    fn try_get(&self, path: &str) -> Result<serde_json::Value, String> {
        let response = http::get(self.address, &format!("/api/v1/{path}"))?;
        let mut answer: serde_json::Value =
            serde_json::from_str(&response.body).map_err(|error| format!("{error}: {}", response.body))?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(response.body),
        }
    }
}

fn results(data: &serde_json::Value) -> &[serde_json::Value] {
    data["result"].as_array().unwrap_or_else(|| panic!("{data}"))
}

/// One rule, as Prometheus has understood it.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Rule {
    pub name: String,
    pub query: String,
    /// `recording` or `alerting`.
    pub r#type: String,
    /// `for`, in seconds.
    #[serde(default)]
    pub duration: f64,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// `ok`, `err`, or `unknown` before the first evaluation.
    pub health: String,
    #[serde(default, rename = "lastError")]
    pub error: String,
}

fn sample(result: &serde_json::Value) -> (Series, f64) {
    (series(result), number(&result["value"][1]))
}

fn series(result: &serde_json::Value) -> Series {
    let mut labels: BTreeMap<String, String> = serde_json::from_value(result["metric"].clone()).unwrap();
    let name = labels.remove("__name__").unwrap_or_default();
    Series { name, labels }
}

fn number(value: &serde_json::Value) -> f64 {
    let number = value.as_str().and_then(|value| value.parse().ok());
    number.unwrap_or_else(|| panic!("no number: {value}"))
}

pub fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").unwrap();
        }
        out
    })
}

/// What `promtool check web-config` has to say about a file, and whether it was content.
pub fn promtool_check_web_config(file: &Path) -> (bool, String) {
    let output = PROMTOOL.command().args(["check", "web-config"]).arg(file).output();
    let output = output.unwrap_or_else(|error| panic!("{}", PROMTOOL.cannot_start(&error)));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn scrape_config(interval: &str, job: &str, labels: &str, target: SocketAddr, rules: &[PathBuf]) -> String {
    format!(
        "global: {{scrape_interval: {interval}, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: {}\n\
         scrape_configs:\n  - job_name: {job}\n    static_configs: [{{targets: ['{target}'], labels: {labels}}}]\n",
        serde_json::json!(rules)
    )
}

/// What `promtool check metrics` has to say about a page, and whether it was content.
pub fn promtool_check(page: &str) -> (bool, String) {
    let mut child = PROMTOOL
        .command()
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}", PROMTOOL.cannot_start(&error)));
    // It reads all of its input before it says anything, so this cannot block for ever.
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}
