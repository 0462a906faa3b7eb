//! One coturn: its address, its ids, what it has to send.

use crate::resp::command;

/// A coturn and the connection that it reports on.
#[derive(Debug)]
pub(super) struct Server {
    /// Its relay address and port.
    pub(super) address: String,
    /// The thread of its ids, and how many it has given.
    pub(super) thread: u64,
    next_id: u64,
    /// Nothing of what it publishes until then, in milliseconds of the service's time, arrives.
    pub(super) is_cut_until: u64,
    out: Vec<u8>,
}

/// Ids of coturn are thread x 10^15 + n.
const THREAD: u64 = 1_000_000_000_000_000;

impl Server {
    pub(super) fn new(number: usize) -> Self {
        let thread = number as u64 % 4;
        Self {
            address: format!("203.0.113.{}:3478", number + 1),
            thread,
            next_id: 1,
            is_cut_until: 0,
            out: Vec::new(),
        }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.thread * THREAD + self.next_id - 1
    }

    /// Its process is another one: ids begin anew, and what was not sent is lost.
    pub(super) fn restart(&mut self) {
        self.next_id = 1;
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
