//! coturn's own load generator, `turnutils_uclient`: many TURN clients in one process.
//!
//! With `-c` it opens *two* allocations per client, one after the other, and uses the second. The first is dropped:
//! over UDP it stays until it expires, over TCP its socket is closed. The second is given back by a refresh to 0.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::coturn::{Coturn, PASSWORD};
use super::process::{Process, Tool};
use crate::common::poll::PATIENCE;
use crate::common::temp_dir::TempDir;

const UCLIENT: Tool = Tool { program: "turnutils_uclient", package: "coturn" };

/// Between client and coturn, and between the relay and the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UDP to a UDP peer.
    Udp,
    /// TCP to a UDP peer.
    Tcp,
    /// TCP all the way (RFC 6062), from one client to another: their number must be even.
    TcpRelay,
}

/// What one process shall do.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    pub kind: Kind,
    pub user: &'a str,
    pub password: &'a str,
    pub clients: u32,
    /// Messages per client, each of which comes back.
    pub messages: u32,
    /// Bytes per message.
    pub length: u32,
    /// Milliseconds between two messages of a client.
    pub interval: u32,
}

impl Default for Job<'_> {
    fn default() -> Self {
        Self {
            kind: Kind::Udp,
            user: "udp",
            password: PASSWORD,
            clients: 1,
            messages: 5,
            length: 170,
            interval: 2,
        }
    }
}

/// A running one.
#[derive(Debug)]
pub struct Uclient {
    process: Process,
    pub kind: Kind,
    _dir: TempDir,
}

/// What it says at its end.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub sent_messages: u64,
    pub received_messages: u64,
}

impl Uclient {
    /// Starts a job against `coturn`; `peer` is a port on 127.0.0.1 that sends back what it gets.
    pub fn start(coturn: &Coturn, peer: u16, job: Job<'_>) -> Self {
        Self::start_with(coturn, peer, job, &[])
    }

    /// With a TURN REST credential of its own making, good for a day from now, for the job's user.
    pub fn start_with_secret(
        coturn: &Coturn,
        peer: u16,
        job: Job<'_>,
        secret: &str,
        separator: char,
    ) -> Self {
        Self::start_with(coturn, peer, job, &["-W", secret, "-C", &separator.to_string()])
    }

    fn start_with(coturn: &Coturn, peer: u16, job: Job<'_>, more: &[&str]) -> Self {
        let dir = TempDir::new("uclient");
        let mut args: Vec<String> = match job.kind {
            Kind::Udp => vec![],
            Kind::Tcp => vec!["-t".into()],
            Kind::TcpRelay => vec!["-T".into()],
        };
        args.push("-c".into());
        for (option, value) in [
            ("-u", job.user.to_owned()),
            ("-w", job.password.to_owned()),
            ("-m", job.clients.to_string()),
            ("-n", job.messages.to_string()),
            ("-l", job.length.to_string()),
            ("-z", job.interval.to_string()),
            ("-e", Ipv4Addr::LOCALHOST.to_string()),
            ("-r", peer.to_string()),
            ("-p", coturn.port().to_string()),
        ] {
            args.extend([option.to_owned(), value]);
        }
        args.extend(more.iter().map(|&option| option.to_owned()));
        args.push(coturn.ip.clone());
        let process = Process::tool(UCLIENT, &args, dir.path(), "uclient");
        Self { process, kind: job.kind, _dir: dir }
    }

    pub fn is_running(&mut self) -> bool {
        self.process.exited().is_none()
    }

    /// Waits for the end. A client that was refused reports nothing.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> Option<Report> {
        self.process.wait(within);
        report(&self.process.stdout())
    }

    pub fn output(&self) -> String {
        self.process.output()
    }
}

/// Waits for the end of all, each of which must have talked.
#[track_caller]
pub fn wait_for_all(clients: &mut [Uclient]) {
    for client in clients {
        let report = client.wait(PATIENCE).unwrap_or_else(|| panic!("{}", client.output()));
        assert!(report.sent_messages > 0, "{report:?}");
    }
}

/// From `... start_mclient: tot_send_msgs=3000, tot_recv_msgs=3000`; lines before the last say `msz=` as well.
fn report(output: &str) -> Option<Report> {
    let (_, numbers) =
        output.lines().rev().find_map(|line| line.split_once("start_mclient: tot_send_msgs="))?;
    let (sent, received) = numbers.split_once(", tot_recv_msgs=")?;
    Some(Report { sent_messages: sent.parse().ok()?, received_messages: received.trim().parse().ok()? })
}
