//! Loopback ports that nobody else has, in this process or in another one that runs the same tests.
//!
//! Asking the kernel for port 0 and giving the port back is not enough: coturn binds with `SO_REUSEPORT`, so two
//! coturns on one port both start and share the clients. Here each claim holds a listener on a *guard* port, which no
//! second claim can have at the same time. All ports lie outside the range from which Linux serves port 0 and
//! outgoing connections (32768 to 60999), so that no client socket can sit on one by chance.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

const SERVERS: std::ops::Range<u16> = 20_000..32_000;
const RELAYS: std::ops::Range<u16> = 61_000..65_500;
const RELAY_BLOCK: u16 = 100;

/// A port for one server, ours as long as this lives.
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    _guard: TcpListener,
}

impl Port {
    /// A port that is free for TCP and UDP on every address.
    pub fn claim() -> Self {
        // Even numbers are for the servers, the odd one above each is its guard.
        let pairs = (SERVERS.end - SERVERS.start) / 2;
        for step in 0..pairs {
            let number = SERVERS.start + 2 * ((start(pairs) + step) % pairs);
            if let Some(guard) = guard(number + 1)
                && is_free(number)
            {
                return Self { number, _guard: guard };
            }
        }
        panic!("no free port between {} and {}", SERVERS.start, SERVERS.end);
    }
}

/// A range of ports for the relays of one coturn, ours as long as this lives.
#[derive(Debug)]
pub struct RelayPorts {
    pub first: u16,
    pub last: u16,
    _guard: TcpListener,
}

impl RelayPorts {
    pub fn claim() -> Self {
        let blocks = (RELAYS.end - RELAYS.start) / RELAY_BLOCK;
        for step in 0..blocks {
            let first = RELAYS.start + RELAY_BLOCK * ((start(blocks) + step) % blocks);
            if let Some(guard) = guard(first) {
                return Self { first: first + 1, last: first + RELAY_BLOCK - 1, _guard: guard };
            }
        }
        panic!("no free relay ports between {} and {}", RELAYS.start, RELAYS.end);
    }
}

/// Where to begin looking: different processes seldom meet.
fn start(slots: u16) -> u16 {
    u16::try_from(u64::from(std::process::id()) * 61 % u64::from(slots)).unwrap()
}

fn guard(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}
