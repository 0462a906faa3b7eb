//! What a scrape costs in each format, beside `client_golang` that serves the same families.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::common::net::http;
use crate::common::servers::listener;
use crate::contest::built_go;
use crate::gauge::cpu_micros;
use crate::publisher::Publisher;
use crate::row::Row;
use crate::stream::Fleet;

/// Realms on the page.
const REALMS: u64 = 100;

/// Allocations that live and end before it is asked for: each realm has observations in its histograms.
const ALLOCATIONS: u64 = 2000;

/// Scrapes of each server in a turn, and turns of which the cheapest counts.
const SCRAPES: usize = 100;
const TURNS: usize = 5;

const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

pub(crate) fn rows() -> Vec<Row> {
    let formats = [
        ("plain text", "Accept: text/plain\r\nAccept-Encoding: identity".to_owned()),
        ("gzip", "Accept: text/plain\r\nAccept-Encoding: gzip".to_owned()),
        ("protobuf", format!("Accept: {PROTOBUF}\r\nAccept-Encoding: identity")),
    ];
    let budget = |format: &str| {
        format!("a scrape of {REALMS} realms, {format}: a quarter of the CPU time of client_golang")
    };
    let fleet = Fleet::new(ALLOCATIONS, REALMS);
    let (exporter, address) = listener::listening(&[]);
    exporter.wait_ready();
    let mut publisher = Publisher::connect(address);
    publisher.send(fleet.lives(1).into_iter().flatten());
    let page = exporter.get("/metrics").expect("a page").body;
    let samples = page.lines().filter(|line| !line.starts_with('#')).count();
    let golang = match Golang::serving(&page) {
        Ok(golang) => golang,
        Err(reason) => {
            return formats.iter().map(|(format, _)| Row::unknown(budget(format), &reason)).collect();
        }
    };
    let row = |(format, header): &(&'static str, String)| {
        let sides = [(exporter.process_id(), exporter.address), (golang.child.id(), golang.address)];
        let mut best = [f64::INFINITY; 2];
        // In turns, so that what else the machine does meets both.
        for _ in 0..TURNS {
            for (best, (process, address)) in best.iter_mut().zip(sides) {
                *best = best.min(cpu_of_a_scrape(process, address, header));
            }
        }
        let [ours, theirs] = best;
        let millis = |micros: f64| format!("{:.2} ms", micros / 1e3);
        Row::new(
            budget(format),
            format!("{:.2}: {}", ours / theirs, millis(ours)),
            format!("{}; {samples} samples", millis(theirs)),
            ours <= theirs / 4.0,
        )
    };
    formats.iter().map(row).collect()
}

/// Microseconds.
fn cpu_of_a_scrape(process: u32, address: SocketAddr, header: &str) -> f64 {
    let before = cpu_micros(process);
    for _ in 0..SCRAPES {
        let response = http::get_bytes_with(address, "/metrics", header).expect("a page");
        assert!(response.status == 200 && !response.body.is_empty());
    }
    (cpu_micros(process) - before) / SCRAPES as f64
}

/// A server of `client_golang`, killed in the end.
struct Golang {
    child: Child,
    address: SocketAddr,
}

impl Golang {
    fn serving(page: &str) -> Result<Self, String> {
        let mut command = Command::new(built_go("page.go")?);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it was built");
        child.stdin.take().expect("piped").write_all(page.as_bytes()).expect("it reads");
        let mut address = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut address).expect("it prints");
        let address = address.trim().parse().expect("an address");
        Ok(Self { child, address })
    }
}

impl Drop for Golang {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
