//! What goes over a socket: the protocols of coturn and Redis as a test speaks them, ports, certificates, rights.

pub mod certificates;
pub mod flood;
pub mod http;
pub mod ports;
pub mod rights;
pub mod stale;
pub mod statsdb;
pub mod tls;
