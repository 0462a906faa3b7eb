//! The other end of a call: a UDP socket that sends everything back and counts it, a witness who is not coturn.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// See the file's head.
#[derive(Debug)]
pub struct EchoPeer {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl EchoPeer {
    pub fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a UDP socket");
        // How long the end of the test may have to wait for this thread.
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let port = socket.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || echo(&socket, &shared)
        });
        Self { port, shared, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Packets that came to the socket while its buffer was full, by the kernel's count: on a busy machine some do.
    pub fn dropped(&self) -> u64 {
        let table = std::fs::read_to_string("/proc/net/udp").expect("proc(5)");
        let local = format!("0100007F:{:04X}", self.port);
        let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&local));
        let drops = line.and_then(|line| line.split_whitespace().last());
        drops.expect("the socket is open").parse().expect("a count")
    }

    /// Packets and bytes that arrived.
    pub fn received(&self) -> (u64, u64) {
        (self.shared.packets.load(Ordering::SeqCst), self.shared.bytes.load(Ordering::SeqCst))
    }
}

fn echo(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = vec![0; 65_536];
    while !shared.stop.load(Ordering::SeqCst) {
        // A time-out, or an ICMP error about a relay that has gone: neither is the peer's business.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        shared.packets.fetch_add(1, Ordering::SeqCst);
        shared.bytes.fetch_add(length as u64, Ordering::SeqCst);
        drop(socket.send_to(&buffer[..length], from));
    }
}

impl Drop for EchoPeer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
