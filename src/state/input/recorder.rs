//! Writes inputs as the table takes them.

use std::time::Duration;

use super::bytes::{put_number, zigzag};
use super::other::put_other;
use super::parts::{expected, put_event, put_key, put_traffic, tag};
use super::{Input, KeyRef};
use crate::state::model::ids::{Mark, RecordId};
use crate::wire::{Event, Leg, Traffic};

/// Inputs since they were last taken. Nothing is written until it is switched on.
#[derive(Debug, Default)]
pub(in crate::state) struct Recorder {
    is_on: bool,
    bytes: Vec<u8>,
    /// Bytes that were taken before.
    taken: u64,
    /// The connection that was named last.
    connection: Option<Mark>,
    /// The last report of a client's leg, which that of the peer's joins if it comes next.
    client: Option<ClientReport>,
}

#[derive(Clone, Copy, Debug)]
struct ClientReport {
    at: RecordId,
    connection: Option<Mark>,
    traffic: Traffic,
    /// Where it stands.
    from: usize,
    to: usize,
}

impl Recorder {
    pub(in crate::state) const fn is_on(&self) -> bool {
        self.is_on
    }

    pub(in crate::state) const fn switch(&mut self, is_on: bool) -> bool {
        std::mem::replace(&mut self.is_on, is_on)
    }

    /// Bytes that were written ever.
    pub(in crate::state) const fn written(&self) -> u64 {
        self.taken + self.bytes.len() as u64
    }

    /// Takes what was written, with the digest of the table behind it; nothing if nothing was written. `spare` takes its
    /// place.
    pub(in crate::state) fn take(&mut self, mut spare: Vec<u8>, digest: impl FnOnce() -> u64) -> Vec<u8> {
        spare.clear();
        if self.bytes.is_empty() {
            return spare;
        }
        self.bytes.push(tag::DIGEST);
        self.bytes.extend_from_slice(&digest().to_le_bytes());
        self.taken += self.bytes.len() as u64;
        (self.connection, self.client) = (None, None);
        std::mem::replace(&mut self.bytes, spare)
    }

    /// A report of the live record at that place.
    pub(in crate::state) fn report(
        &mut self,
        later: Duration,
        at: RecordId,
        connection: Option<Mark>,
        leg: Leg,
        traffic: &Traffic,
    ) {
        if leg == Leg::Peer
            && later.is_zero()
            && let Some(client) = self.client.take()
            && client.to == self.bytes.len()
            && (client.at, client.connection) == (at, connection)
        {
            self.join(&client, traffic);
            return;
        }
        self.later(later);
        let over = if connection.is_some() { tag::OVER_CONNECTION } else { 0 };
        self.name(connection);
        let from = self.bytes.len();
        self.bytes.push(over + if leg == Leg::Client { tag::CLIENT } else { tag::PEER });
        put_number(&mut self.bytes, at.place().into());
        put_traffic(&mut self.bytes, traffic);
        if leg == Leg::Client {
            let to = self.bytes.len();
            self.client = Some(ClientReport { at, connection, traffic: *traffic, from, to });
        }
    }

    /// The report of the peer's leg goes behind that of the client's, as what it differs by from what that one lets expect.
    fn join(&mut self, client: &ClientReport, peer: &Traffic) {
        if let Some(tag) = self.bytes.get_mut(client.from) {
            *tag += tag::BOTH - tag::CLIENT;
        }
        let directions = [(client.traffic.received, peer.sent), (client.traffic.sent, peer.received)];
        for (client, peer) in directions {
            let packets = client.packets.wrapping_sub(peer.packets).cast_signed();
            put_number(&mut self.bytes, zigzag(packets));
            put_number(&mut self.bytes, zigzag(expected(client).wrapping_sub(peer.bytes).cast_signed()));
        }
    }

    /// An event.
    pub(in crate::state) fn event(
        &mut self,
        later: Duration,
        of: KeyRef<'_>,
        connection: Option<Mark>,
        event: &Event<'_>,
    ) {
        self.later(later);
        self.name(connection);
        let known = if matches!(of, KeyRef::Known(_)) { tag::KNOWN } else { 0 };
        let over = if connection.is_some() { tag::OVER } else { 0 };
        self.bytes.push(tag::EVENT + known + over + event.kind() as u8);
        put_key(&mut self.bytes, of);
        put_event(&mut self.bytes, event);
    }

    /// Any other input.
    #[cold]
    pub(in crate::state) fn other(&mut self, later: Duration, input: &Input<'_>) {
        self.later(later);
        put_other(&mut self.bytes, input);
    }

    /// So much time passed before the next input.
    fn later(&mut self, later: Duration) {
        let millis = u64::try_from(later.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return;
        }
        match u8::try_from(millis) {
            Ok(millis) if millis < tag::MUCH_LATER - tag::LATER => self.bytes.push(tag::LATER + millis),
            _ => {
                self.bytes.push(tag::MUCH_LATER);
                put_number(&mut self.bytes, millis);
            }
        }
    }

    /// Names the connection of the next input, unless it was named last.
    fn name(&mut self, connection: Option<Mark>) {
        if let Some(mark) = connection
            && self.connection != connection
        {
            self.connection = connection;
            self.bytes.push(tag::CONNECTION);
            put_number(&mut self.bytes, mark.number().into());
        }
    }
}
