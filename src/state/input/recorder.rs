//! Writes inputs as the table takes them.

use std::time::Duration;

use super::address::put_address;
use super::bytes::{put_bytes, put_number, zigzag};
use super::other::put_other;
use super::{Input, KeyRef};
use crate::state::model::ids::{Mark, RecordId};
use crate::wire::{Event, Grant, Leg, Traffic, Volume};

/// The first bytes of inputs. Those of [`put_other`] are above; those from [`LATER`] on are no inputs but say how much time
/// passed.
pub(super) mod tag {
    /// Nothing but time.
    pub(in super::super) const TIME_PASSES: u8 = 0;
    /// A report of the client's leg; of the peer's; of both.
    pub(in super::super) const CLIENT: u8 = 1;
    pub(in super::super) const PEER: u8 = 2;
    pub(in super::super) const BOTH: u8 = 3;
    /// Added to those three: over the connection that was named last.
    pub(in super::super) const OVER_CONNECTION: u8 = 3;
    /// Names a connection.
    pub(in super::super) const CONNECTION: u8 = 7;
    /// Any event; its kind is added. One of a record that is known by its place has `KNOWN` added, and one over a connection
    /// `OVER`.
    pub(in super::super) const EVENT: u8 = 0x20;
    pub(in super::super) const KNOWN: u8 = 8;
    pub(in super::super) const OVER: u8 = 16;
    pub(in super::super) const LAST_EVENT: u8 = EVENT + KNOWN + OVER + 7;
    /// A check of the table, so that a replay that goes another way is noticed.
    pub(in super::super) const DIGEST: u8 = 0x7f;
    /// And above: so many milliseconds passed; with [`MUCH_LATER`] more than that.
    pub(in super::super) const LATER: u8 = 0x80;
    pub(in super::super) const MUCH_LATER: u8 = 0xff;
}

/// Bytes that `ChannelData` adds to what a peer sends or gets: what most clients use.
pub(super) const HEADER: i64 = 4;

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

/// What passes at the peer's side of so much at the client's.
pub(super) const fn expected(client: Volume) -> u64 {
    client.bytes.wrapping_sub(client.packets.wrapping_mul(HEADER.cast_unsigned()))
}

pub(super) fn put_key(out: &mut Vec<u8>, of: KeyRef<'_>) {
    match of {
        KeyRef::Known(at) => put_number(out, at.place().into()),
        KeyRef::Full(key) => {
            put_number(out, key.source.0.into());
            put_bytes(out, key.realm);
            put_bytes(out, key.user);
            put_number(out, key.id.0);
        }
    }
}

pub(super) fn put_event(out: &mut Vec<u8>, event: &Event<'_>) {
    match event {
        Event::New(grant) | Event::Refreshed(grant) => put_grant(out, grant),
        Event::Deleted => {}
        Event::Traffic(_, traffic) | Event::Total(_, traffic) => put_traffic(out, traffic),
    }
}

fn put_grant(out: &mut Vec<u8>, grant: &Grant<'_>) {
    put_number(out, grant.lifetime.into());
    match grant.path {
        None => out.push(0),
        Some(path) => {
            out.push(1 + path.transport as u8);
            put_address(out, path.local);
            put_address(out, path.remote);
        }
    }
}

fn put_traffic(out: &mut Vec<u8>, traffic: &Traffic) {
    for volume in [traffic.received, traffic.sent] {
        put_number(out, volume.packets);
        put_number(out, volume.bytes);
    }
}
