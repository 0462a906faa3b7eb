//! What several inputs consist of, written and read: keys, events, marks.

use super::KeyRef;
use super::address::{Printed, put_address, take_address};
use super::bytes::{ByteReader, Malformed, put_bytes, put_number};
use crate::state::model::ids::{Mark, RecordId, SourceId};
use crate::state::model::key::SourceKey;
use crate::wire::{AllocationId, Event, Grant, Kind, Leg, Path, Traffic, Transport, Volume};

/// The first bytes of inputs. Others stand in `other`; those from [`LATER`] on are no inputs but say how much time
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
const HEADER: i64 = 4;

/// Room for texts that an input does not hold as they were.
#[derive(Debug, Default)]
pub(in crate::state) struct TextRoom {
    local: Printed,
    remote: Printed,
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

pub(super) fn put_traffic(out: &mut Vec<u8>, traffic: &Traffic) {
    for volume in [traffic.received, traffic.sent] {
        put_number(out, volume.packets);
        put_number(out, volume.bytes);
    }
}

pub(super) fn take_mark(reader: &mut ByteReader<'_>) -> Result<Mark, Malformed> {
    Mark::of_number(reader.small()?).ok_or(Malformed)
}

pub(super) fn take_source(reader: &mut ByteReader<'_>) -> Result<SourceId, Malformed> {
    reader.small().map(SourceId)
}

pub(super) fn take_place(reader: &mut ByteReader<'_>) -> Result<RecordId, Malformed> {
    let place: u32 = reader.small()?;
    if place == u32::MAX { Err(Malformed) } else { Ok(RecordId::of_place(place)) }
}

pub(super) fn take_key<'a>(reader: &mut ByteReader<'a>, is_known: bool) -> Result<KeyRef<'a>, Malformed> {
    if is_known {
        return take_place(reader).map(KeyRef::Known);
    }
    let source = take_source(reader)?;
    let (realm, user) = (reader.bytes()?, reader.bytes()?);
    Ok(KeyRef::Full(SourceKey { source, realm, user, id: AllocationId(reader.number()?) }))
}

pub(super) fn take_event<'s, 'a: 's>(
    reader: &mut ByteReader<'a>,
    kind: Kind,
    room: &'s mut TextRoom,
) -> Result<Event<'s>, Malformed> {
    Ok(match kind {
        Kind::New => Event::New(take_grant(reader, room)?),
        Kind::Refreshed => Event::Refreshed(take_grant(reader, room)?),
        Kind::Deleted => Event::Deleted,
        Kind::Traffic => Event::Traffic(Leg::Client, take_traffic(reader)?),
        Kind::TrafficPeer => Event::Traffic(Leg::Peer, take_traffic(reader)?),
        Kind::Total => Event::Total(Leg::Client, take_traffic(reader)?),
        Kind::TotalPeer => Event::Total(Leg::Peer, take_traffic(reader)?),
    })
}

fn take_grant<'s, 'a: 's>(
    reader: &mut ByteReader<'a>,
    room: &'s mut TextRoom,
) -> Result<Grant<'s>, Malformed> {
    let lifetime = reader.small()?;
    let path = match reader.byte()?.checked_sub(1) {
        None => None,
        Some(transport) => {
            let transport = *Transport::ALL.get(usize::from(transport)).ok_or(Malformed)?;
            let TextRoom { local, remote } = room;
            let local = take_address(reader, local)?;
            Some(Path { transport, local, remote: take_address(reader, remote)? })
        }
    };
    Ok(Grant { lifetime, path })
}

pub(super) fn take_traffic(reader: &mut ByteReader<'_>) -> Result<Traffic, Malformed> {
    let mut volume = || Ok(Volume { packets: reader.number()?, bytes: reader.number()? });
    Ok(Traffic { received: volume()?, sent: volume()? })
}
