//! One coturn: its address, its ids, what it has to send.

use crate::resp::command;

/// A coturn and the connection that it reports on.
#[derive(Debug)]
pub(super) struct Server {
    /// Its relay address and port.
    pub(super) address: String,
    /// How many ids each of its threads has given.
    given: Vec<u64>,
    /// The thread that the next client comes to.
    next_thread: usize,
    /// Nothing of what it publishes until then, in milliseconds of the service's time, arrives.
    pub(super) is_cut_until: u64,
    out: Vec<u8>,
}

/// Ids of coturn are thread x 10^15 + n.
const THREAD: u64 = 1_000_000_000_000_000;

impl Server {
    pub(super) fn new(number: usize, threads: usize) -> Self {
        Self {
            address: format!("203.0.113.{}:3478", number + 1),
            given: vec![0; threads.max(1)],
            next_thread: 0,
            is_cut_until: 0,
            out: Vec::new(),
        }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        let thread = self.next_thread;
        self.next_thread = (thread + 1) % self.given.len();
        let Some(given) = self.given.get_mut(thread) else { return 0 };
        *given += 1;
        thread as u64 * THREAD + *given
    }

    /// Its process is another one: ids begin anew, what was not sent is lost, and its connection is a new one.
    pub(super) fn restart(&mut self) {
        self.given.fill(0);
        self.next_thread = 0;
        self.is_cut_until = 0;
        self.out.clear();
    }

    pub(super) fn set(&mut self, key: &str, payload: &str) {
        self.say(&[b"set", key.as_bytes(), payload.as_bytes()]);
        self.publish(key, payload);
    }

    pub(super) fn delete(&mut self, key: &str) {
        // With an empty second key, as coturn does.
        self.say(&[b"del", key.as_bytes(), b""]);
        self.publish(key, "deleted");
    }

    pub(super) fn publish(&mut self, channel: &str, payload: &str) {
        self.say(&[b"publish", channel.as_bytes(), payload.as_bytes()]);
    }

    fn say(&mut self, parts: &[&[u8]]) {
        command(&mut self.out, parts);
    }

    /// What it sends now; nothing while its connection is cut.
    pub(super) fn take(&mut self, now: u64) -> Vec<u8> {
        let out = std::mem::take(&mut self.out);
        if now < self.is_cut_until { Vec::new() } else { out }
    }
}
