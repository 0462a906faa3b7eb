//! An exporter that coturn reports to without a Redis.

use std::net::SocketAddr;

use super::exporter::Exporter;

/// Any port, on loopback.
pub const ANYWHERE: [&str; 2] = ["--statsdb.listen-address", "127.0.0.1:0"];

/// Starts one, with more arguments; gives where it listens for coturn.
pub fn listening(args: &[&str]) -> (Exporter, SocketAddr) {
    let exporter = Exporter::start(&[&ANYWHERE[..], args].concat());
    let line = exporter.until_logged(&["waiting for coturn", "statsdb="]);
    let (_, address) = line.split_once("statsdb=").expect("as waited for");
    let address =
        address.split_whitespace().next().and_then(|address| address.trim_matches('"').parse().ok());
    (exporter, address.unwrap_or_else(|| panic!("no address in {line}")))
}
