//! A device between two hosts that closes connections over which nothing passed for a while, as proxies, load balancers
//! and NAT do.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::poll::Stopwatch;

/// How often a thread looks whether its connection is idle for too long.
const LOOK: Duration = Duration::from_millis(20);

/// See the file's head. Its threads end with it.
#[derive(Debug)]
pub struct IdleCutter {
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    cuts: AtomicU64,
    open: AtomicU64,
    ends: AtomicBool,
}

impl IdleCutter {
    /// Passes connections on to `to`; cuts those that are idle for so long.
    pub fn start(to: SocketAddr, idle: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("a socket");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            while !shared.ends.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((client, _)) => pass(client, to, idle, &shared),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::park_timeout(LOOK),
                    Err(error) => panic!("accept: {error}"),
                }
            }
        });
        Self { address, state }
    }

    /// Connections that were cut for being idle.
    pub fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub fn open(&self) -> u64 {
        self.state.open.load(Ordering::Relaxed)
    }
}

impl Drop for IdleCutter {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::Relaxed);
    }
}

fn pass(client: TcpStream, to: SocketAddr, idle: Duration, state: &Arc<State>) {
    client.set_nonblocking(false).expect("a socket");
    let server = TcpStream::connect(to).expect("the exporter listens");
    state.open.fetch_add(1, Ordering::Relaxed);
    let active = Arc::new(Mutex::new(Stopwatch::start()));
    let both = |stream: &TcpStream| stream.try_clone().expect("a socket");
    let (to_server, to_client) = (both(&server), both(&client));
    let (back_state, back_active) = (Arc::clone(state), Arc::clone(&active));
    let there = std::thread::spawn({
        let state = Arc::clone(state);
        move || pump(client, to_server, idle, &active, &state)
    });
    std::thread::spawn(move || {
        pump(server, to_client, idle, &back_active, &back_state);
        drop(there.join());
        back_state.open.fetch_sub(1, Ordering::Relaxed);
    });
}

/// Passes one direction on, until either end closes or both were silent for too long.
fn pump(mut from: TcpStream, mut to: TcpStream, idle: Duration, active: &Mutex<Stopwatch>, state: &State) {
    from.set_read_timeout(Some(LOOK)).expect("a socket");
    let mut bytes = [0; 4096];
    loop {
        match from.read(&mut bytes) {
            Ok(length @ 1..) => {
                *active.lock().expect("no panic") = Stopwatch::start();
                if to.write_all(&bytes[..length]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let silent = active.lock().expect("no panic").elapsed();
                if silent > idle && to.peer_addr().is_ok() {
                    // Counted by the first of the two directions that notices.
                    if to.shutdown(Shutdown::Both).is_ok() && from.shutdown(Shutdown::Both).is_ok() {
                        state.cuts.fetch_add(1, Ordering::Relaxed);
                    }
                    return;
                }
                if state.ends.load(Ordering::Relaxed) {
                    break;
                }
            }
            Ok(_) | Err(_) => break,
        }
    }
    // The other end may be closed already.
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}
