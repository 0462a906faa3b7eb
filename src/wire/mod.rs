//! The protocol of coturn: bytes of a channel and its payload in, typed events out.
//!
//! Pure: no I/O, no clock, no logging, no counting, no memory of earlier messages. Names are bytes, not strings:
//! a user name is whatever a client sent. Covers every generation of coturn that reports to Redis (4.0 to 4.17).

mod channel;
mod event;
mod payload;
pub mod status_key;
#[cfg(test)]
mod tests;
pub mod turn_rest;

use channel::Topic;

pub use event::{
    AllocationId, ByDirection, ByLeg, Direction, Event, Grant, Key, Kind, Leg, Message, Path, Traffic,
    Transport, Volume,
};

/// The longest channel read, in bytes. coturn 4.13 and later use a buffer of 1024, earlier ones about 510.
pub const MAX_CHANNEL: usize = 1024;

/// The longest payload read, in bytes. coturn cuts at 511.
pub const MAX_PAYLOAD: usize = 1024;

/// Why a message was rejected. The names are label values: few, and fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejection {
    /// The channel is none of coturn's: it does not start with `turn/`.
    #[error("the channel is not one of coturn's")]
    ForeignChannel,
    /// The channel starts as coturn's do, but does not follow its grammar.
    #[error("the channel does not follow turn/[realm/REALM/]user/USER/allocation/ID/KIND")]
    BadChannel,
    /// The allocation's id is not a decimal number of 18 digits or more that fits 64 bits.
    #[error("the allocation id is not a number of at least 18 digits")]
    BadId,
    /// An event kind that no known coturn publishes.
    #[error("the kind of event is unknown")]
    UnknownKind,
    /// A status other than `new`, `refreshed`, `deleted`.
    #[error("the status is none of new, refreshed, deleted")]
    UnknownStatus,
    /// A status without a readable lifetime.
    #[error("the status has no readable lifetime")]
    BadStatus,
    /// A traffic report without its four counters.
    #[error("the traffic report lacks one of rcvp, rcvb, sentp, sentb, or it is no number")]
    BadCounters,
    /// Longer than coturn's own buffers.
    #[error("the channel or the payload is longer than coturn's buffers")]
    TooLong,
}

impl Rejection {
    /// Every reason, in the order of [`Rejection::index`].
    pub const ALL: [Self; 8] = [
        Self::ForeignChannel,
        Self::BadChannel,
        Self::BadId,
        Self::UnknownKind,
        Self::UnknownStatus,
        Self::BadStatus,
        Self::BadCounters,
        Self::TooLong,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ForeignChannel => "foreign_channel",
            Self::BadChannel => "bad_channel",
            Self::BadId => "bad_id",
            Self::UnknownKind => "unknown_kind",
            Self::UnknownStatus => "unknown_status",
            Self::BadStatus => "bad_status",
            Self::BadCounters => "bad_counters",
            Self::TooLong => "too_long",
        }
    }

    /// The place in [`Rejection::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Parses a status key of Redis: its name is that of a status channel.
///
/// # Errors
///
/// Why it is not a status key.
pub fn parse_key(key: &[u8]) -> Result<Key<'_>, Rejection> {
    if key.len() > MAX_CHANNEL {
        return Err(Rejection::TooLong);
    }
    match channel::parse(key)? {
        (key, Topic::Status) => Ok(key),
        _ => Err(Rejection::UnknownKind),
    }
}

/// Whether it is a channel on which coturn reports an allocation, of the exact form.
pub fn is_channel(channel: &[u8]) -> bool {
    channel.len() <= MAX_CHANNEL && channel::parse(channel).is_ok()
}

/// Whether it is the channel of the heartbeat of coturn up to 4.6.1.
pub fn is_heartbeat(channel: &[u8]) -> bool {
    channel == channel::HEARTBEAT
}

/// Parses one published message, or one status key and its value, which have the same form.
///
/// # Errors
///
/// A [`Rejection`] that says what is wrong; no part of the message is to be used then.
pub fn parse<'a>(channel: &'a [u8], payload: &'a [u8]) -> Result<Message<'a>, Rejection> {
    if channel.len() > MAX_CHANNEL || payload.len() > MAX_PAYLOAD {
        return Err(Rejection::TooLong);
    }
    if channel == channel::HEARTBEAT {
        return Ok(Message::Heartbeat);
    }
    let (key, topic) = channel::parse(channel)?;
    Ok(Message::Allocation(key, event(topic, payload)?))
}

/// Reads the report on the peers that comes behind one on the client, by the channel of that one, which was understood:
/// the key is the same, and is not read again. `None` if `channel` is not that one.
pub fn parse_peers<'a>(
    client: &[u8],
    channel: &[u8],
    payload: &'a [u8],
) -> Option<Result<Event<'a>, Rejection>> {
    let topic = channel::peers_of(client, channel)?;
    if channel.len() > MAX_CHANNEL || payload.len() > MAX_PAYLOAD {
        return Some(Err(Rejection::TooLong));
    }
    Some(event(topic, payload))
}

fn event(topic: Topic, payload: &[u8]) -> Result<Event<'_>, Rejection> {
    Ok(match topic {
        Topic::Status => payload::status(payload)?,
        Topic::Traffic(leg) => Event::Traffic(leg, payload::traffic(payload)?),
        Topic::Total(leg) => Event::Total(leg, payload::traffic(payload)?),
    })
}
