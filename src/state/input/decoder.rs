//! Reads inputs as [`Recorder`](super::Recorder) has written them. Trusts nothing.

use std::time::Duration;

use super::Input;
use super::bytes::{ByteReader, Malformed, unzigzag};
use super::other::take_other;
use super::parts::{TextRoom, expected, tag, take_event, take_key, take_mark, take_place, take_traffic};
use crate::state::model::ids::{Mark, RecordId};
use crate::wire::{Kind, Leg, Traffic, Volume};

/// What stands next in a recording.
#[derive(Debug)]
pub(in crate::state) enum Step<'a> {
    /// An input, so long after the one before.
    Take(Duration, Input<'a>),
    /// The table has this digest now.
    Check(u64),
}

/// Goes through a batch of inputs.
#[derive(Debug)]
pub(in crate::state) struct Decoder<'a> {
    reader: ByteReader<'a>,
    connection: Option<Mark>,
    /// The second half of a report on both legs.
    peer: Option<(RecordId, Option<Mark>, Traffic)>,
}

impl<'a> Decoder<'a> {
    pub(in crate::state) const fn new(batch: &'a [u8]) -> Self {
        Self { reader: ByteReader::new(batch), connection: None, peer: None }
    }

    /// The next step; `None` at the end.
    pub(in crate::state) fn next<'s>(&mut self, room: &'s mut TextRoom) -> Result<Option<Step<'s>>, Malformed>
    where
        'a: 's,
    {
        if let Some((at, connection, traffic)) = self.peer.take() {
            let report = Input::Report { at, connection, leg: Leg::Peer, traffic };
            return Ok(Some(Step::Take(Duration::ZERO, report)));
        }
        let mut later = 0_u64;
        loop {
            if self.reader.is_at_end() {
                // Time passes before something.
                return if later == 0 { Ok(None) } else { Err(Malformed) };
            }
            let tag = self.reader.byte()?;
            match tag {
                tag::MUCH_LATER => later = later.checked_add(self.reader.number()?).ok_or(Malformed)?,
                tag::LATER.. => later = later.checked_add((tag - tag::LATER).into()).ok_or(Malformed)?,
                tag::CONNECTION => self.connection = Some(take_mark(&mut self.reader)?),
                tag::DIGEST => {
                    let digest = self.reader.take(8)?.first_chunk().ok_or(Malformed)?;
                    return Ok(Some(Step::Check(u64::from_le_bytes(*digest))));
                }
                _ => return Ok(Some(Step::Take(Duration::from_millis(later), self.input(tag, room)?))),
            }
        }
    }

    fn input<'s>(&mut self, tag: u8, room: &'s mut TextRoom) -> Result<Input<'s>, Malformed>
    where
        'a: 's,
    {
        const OVER_CLIENT: u8 = tag::CLIENT + tag::OVER_CONNECTION;
        const OVER_BOTH: u8 = tag::BOTH + tag::OVER_CONNECTION;
        let flags = match tag {
            tag::TIME_PASSES => return Ok(Input::TimePasses),
            tag::CLIENT..=tag::BOTH => return self.report(tag, None),
            OVER_CLIENT..=OVER_BOTH => {
                let connection = self.connection.ok_or(Malformed)?;
                return self.report(tag - tag::OVER_CONNECTION, Some(connection));
            }
            tag::EVENT..=tag::LAST_EVENT => tag - tag::EVENT,
            _ => return take_other(tag, &mut self.reader, room),
        };
        let kind = *Kind::ALL.get(usize::from(flags % tag::KNOWN)).ok_or(Malformed)?;
        let is_over = flags & tag::OVER != 0;
        let connection = if is_over { Some(self.connection.ok_or(Malformed)?) } else { None };
        let of = take_key(&mut self.reader, flags & tag::KNOWN != 0)?;
        Ok(Input::Event { of, connection, event: take_event(&mut self.reader, kind, room)? })
    }

    fn report<'s>(&mut self, tag: u8, connection: Option<Mark>) -> Result<Input<'s>, Malformed> {
        let at = take_place(&mut self.reader)?;
        let traffic = take_traffic(&mut self.reader)?;
        if tag == tag::BOTH {
            let sent = self.peer_of(traffic.received)?;
            let received = self.peer_of(traffic.sent)?;
            self.peer = Some((at, connection, Traffic { received, sent }));
        }
        let leg = if tag == tag::PEER { Leg::Peer } else { Leg::Client };
        Ok(Input::Report { at, connection, leg, traffic })
    }

    /// What passed on the peer's leg, told by what it differs by from what passed on the client's.
    fn peer_of(&mut self, client: Volume) -> Result<Volume, Malformed> {
        let packets = client.packets.wrapping_sub(unzigzag(self.reader.number()?).cast_unsigned());
        let bytes = expected(client).wrapping_sub(unzigzag(self.reader.number()?).cast_unsigned());
        Ok(Volume { packets, bytes })
    }
}
