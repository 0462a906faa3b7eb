//! An allocation in an image. Most of an image are these: what follows from another field takes a byte, moments lie near others,
//! and what is not in the record itself (its user's name, its client's address) stands with it.

use super::allocation::{Allocation, Cause, Flags, Origin, Phase};
use super::ids::RecordId;
use super::sums::Sums;
use crate::clock::Timestamp;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::image::{Persist, Word, persist_words};
use crate::state::storage::addresses::Addresses;
use crate::state::storage::age_list::Links;
use crate::state::storage::packed::{PackedTime, Seconds};
use crate::state::storage::shared_names::{NameReader, NameWriter};
use crate::wire::{ByLeg, Traffic, Transport, Volume};

persist_words! { Cause { Released = 0, Expired = 1, Disconnected = 2, Replaced = 3, Abandoned = 4, Missed = 5 } }
persist_words! { Phase { Live = 0, Overdue = 1, Gone = 2, Closing = 3 } }
persist_words! { Origin { Born = 0, Adopted = 1, Traffic = 2 } }

impl Allocation {
    pub(crate) fn write(
        &self,
        at: RecordId,
        (names, addresses): (&mut NameWriter<'_>, &Addresses),
        to: &mut ImageWriter<'_>,
    ) {
        let Self {
            serial,
            id,
            counted,
            client,
            user,
            realm,
            mark,
            session,
            server,
            lifetime,
            age,
            gathering,
            source,
            server_port,
            flags,
            started,
            granted_at,
            alive_until,
            last_sign,
            quiet_since,
            read_at,
            deadline,
            transport,
            phase,
            origin,
            cause,
        } = self;
        serial.write(to);
        id.write(to);
        names.write(*user, to);
        realm.write(to);
        addresses.write(*client, to);
        counted.write(to);
        match mark {
            Some(mark) => mark.write(to),
            None => to.byte(0),
        }
        session.write(to);
        (*server, *server_port).write(to);
        lifetime.write(to);
        age.write(at, to);
        gathering.write(at, to);
        source.write(to);
        flags.bits().write(to);
        started.write(to);
        alive_until.write(to);
        to.moment_near(granted_at.get(), granted_near(*alive_until, *lifetime));
        last_sign.write(to);
        to.moment_near(quiet_since.get(), last_sign.get());
        read_at.write(to);
        to.moment_near(deadline.get(), alive_until.get());
        to.byte(two(transport.number(), phase.number()));
        to.byte(two(origin.number(), cause.map_or(0, |cause| cause.number() + 1)));
    }

    pub(crate) fn read(
        at: RecordId,
        (names, addresses): (&mut NameReader, &mut Addresses),
        from: &mut ImageReader<'_>,
    ) -> Result<Self, Unreadable> {
        let (serial, id) = Persist::read(from)?;
        let user = names.read(from)?;
        let realm = Persist::read(from)?;
        let client = addresses.read(from)?;
        let counted = Sums::read(from)?;
        let mark = from.optional()?;
        let session = Persist::read(from)?;
        let (server, server_port) = Persist::read(from)?;
        let lifetime = Persist::read(from)?;
        let (age, gathering) = (Links::read(at, from)?, Links::read(at, from)?);
        let source = Persist::read(from)?;
        let flags = Flags::of_bits(Persist::read(from)?);
        let (started, alive_until): (PackedTime, PackedTime) = Persist::read(from)?;
        let granted_at = from.moment_near(granted_near(alive_until, lifetime))?.into();
        let last_sign = PackedTime::read(from)?;
        let quiet_since = from.moment_near(last_sign.get())?.into();
        let read_at = Persist::read(from)?;
        let deadline = from.moment_near(alive_until.get())?.into();
        let ((transport, phase), (origin, cause)) = (halves(from.byte()?), halves(from.byte()?));
        Ok(Self {
            serial,
            id,
            counted,
            client,
            user,
            realm,
            mark,
            session,
            server,
            lifetime,
            age,
            gathering,
            source,
            server_port,
            flags,
            started,
            granted_at,
            alive_until,
            last_sign,
            quiet_since,
            read_at,
            deadline,
            transport: Transport::of_number(transport)?,
            phase: Phase::of_number(phase)?,
            origin: Origin::of_number(origin)?,
            cause: cause.checked_sub(1).map(Cause::of_number).transpose()?,
        })
    }
}

/// When a lifetime that ends then was granted, unless traffic has proven it alive since.
fn granted_near(alive_until: PackedTime, lifetime: Seconds) -> Timestamp {
    alive_until.get().minus(lifetime.get())
}

/// Two small numbers in one byte.
const fn two(high: u8, low: u8) -> u8 {
    high << 4 | low
}

const fn halves(byte: u8) -> (u8, u8) {
    (byte >> 4, byte & 0xf)
}

/// What a peer was sent is about what its client sent in, and the other way round: of the peer leg the difference is written.
impl Persist for Sums {
    fn write(&self, to: &mut ImageWriter<'_>) {
        let ByLeg { client, peer } = self.both();
        client.write(to);
        for (volume, like) in [(peer.sent, client.received), (peer.received, client.sent)] {
            to.difference(volume.packets, like.packets);
            to.difference(volume.bytes, like.bytes);
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let client = Traffic::read(from)?;
        let mut volume = |like: Volume| {
            Ok(Volume { packets: from.difference(like.packets)?, bytes: from.difference(like.bytes)? })
        };
        let (sent, received) = (volume(client.received)?, volume(client.sent)?);
        Ok(ByLeg { client, peer: Traffic { received, sent } }.into())
    }
}
