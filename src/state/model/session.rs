//! One session: all allocations of one user.

use std::net::IpAddr;

use super::ids::{OfSession, RealmId, SessionId, SourceId};
use super::session_owner::SessionOwner;
use crate::clock::Timestamp;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::storage::age_list::{Aged, Links};
use crate::state::storage::interner::NameId;
use crate::state::storage::shared_names::{NameReader, NameWriter};
use crate::wire::AllocationId;

/// The record of a session. One that an allocation is alone in has none.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Its number for ever.
    pub(crate) serial: u64,
    pub(crate) source: SourceId,
    pub(crate) realm: RealmId,
    pub(crate) user: NameId,
    /// Part of the identity where one user name is shared by clients.
    pub(crate) host: Option<IpAddr>,
    pub(crate) started: Timestamp,
    /// The last end of an allocation.
    pub(crate) ended: Timestamp,
    /// Without live allocations it closes then.
    pub(crate) lingers_until: Timestamp,
    /// First opening and last end of those that relayed.
    pub(crate) relay: RelaySpan,
    /// The one to look at: of those that relayed, or of all if none did, the one whose sums became final last.
    pub(crate) exemplar: AllocationId,
    pub(crate) bytes: u64,
    /// Allocations that live.
    pub(crate) live: u32,
    /// Allocations whose totals may still come, the living ones among them.
    pub(crate) unsettled: u32,
    pub(crate) allocations: u32,
    pub(crate) age: Links<OfSession>,
    /// May be joined; counted among the open ones.
    pub(crate) open: bool,
    /// Not watched from its first opening to its last end.
    pub(crate) partial: bool,
}

/// First opening and last end of allocations that relayed; [`Timestamp::MAX`] is the first opening if none did. An option of
/// both would take 8 bytes more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelaySpan(Timestamp, Timestamp);

impl RelaySpan {
    const NONE: Self = Self(Timestamp::MAX, Timestamp::ZERO);

    pub(crate) const fn get(self) -> Option<(Timestamp, Timestamp)> {
        match self {
            Self(Timestamp::MAX, _) => None,
            Self(first, last) => Some((first, last)),
        }
    }
}

/// How an allocation comes into a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joining {
    /// Its birth was seen just now.
    Born,
    /// It was met in the middle of its life.
    Adopted,
    /// An earlier process knew it.
    Restored,
}

impl Session {
    /// One that is open and has no allocation yet.
    pub(crate) const fn new(serial: u64, owner: SessionOwner, started: Timestamp) -> Self {
        let SessionOwner { source, realm, user, host } = owner;
        Self {
            serial,
            source,
            realm,
            user,
            host,
            started,
            ended: started,
            lingers_until: Timestamp::ZERO,
            relay: RelaySpan::NONE,
            exemplar: AllocationId(0),
            bytes: 0,
            live: 0,
            unsettled: 0,
            allocations: 0,
            age: Links::ALONE,
            open: true,
            partial: false,
        }
    }

    pub(crate) const fn owner(&self) -> SessionOwner {
        SessionOwner { source: self.source, realm: self.realm, user: self.user, host: self.host }
    }

    /// One of its allocations relayed from `first` to `last`.
    pub(crate) fn extend_relay(&mut self, first: Timestamp, last: Timestamp) {
        let RelaySpan(before, after) = self.relay;
        self.relay = RelaySpan(before.min(first), after.max(last));
    }

    /// The sums of an allocation of it are final. One that relayed is a better example than one that did not.
    pub(crate) fn settled(&mut self, allocation: AllocationId, is_relayed: bool) {
        if is_relayed || self.relay.get().is_none() || self.exemplar == AllocationId(0) {
            self.exemplar = allocation;
        }
    }

    /// It has one allocation, which lives.
    pub(crate) const fn begin_with(&mut self, partial: bool) {
        (self.live, self.unsettled, self.allocations, self.partial) = (1, 1, 1, partial);
    }
}

impl Aged for Session {
    type Of = OfSession;

    fn started(&self) -> Timestamp {
        self.started
    }
    fn age_links(&mut self) -> &mut Links<OfSession> {
        &mut self.age
    }
}

/// What the session itself knows, for a row of details. Its members know the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionFacts {
    pub(crate) started: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) open: bool,
    pub(crate) partial: bool,
    pub(crate) live: u32,
    pub(crate) allocations: u32,
    /// Of members that have settled.
    pub(crate) bytes: u64,
    /// One of those relayed.
    pub(crate) relayed: bool,
}

impl Session {
    pub(crate) fn facts(&self) -> SessionFacts {
        SessionFacts {
            started: self.started,
            ended: self.ended,
            open: self.open,
            partial: self.partial,
            live: self.live,
            allocations: self.allocations,
            bytes: self.bytes,
            relayed: self.relay.get().is_some(),
        }
    }
}

impl Session {
    pub(crate) fn write(&self, at: SessionId, names: &mut NameWriter<'_>, to: &mut ImageWriter<'_>) {
        let Self {
            serial,
            source,
            realm,
            user,
            host,
            started,
            ended,
            lingers_until,
            relay,
            exemplar,
            bytes,
            live,
            unsettled,
            allocations,
            age,
            open,
            partial,
        } = self;
        names.write(*user, to);
        age.write(at, to);
        (*serial, *source).write(to);
        (*realm, *host).write(to);
        (*started, *ended).write(to);
        (*lingers_until, relay.get()).write(to);
        (*bytes, *live).write(to);
        (*unsettled, *allocations).write(to);
        (*open, *partial).write(to);
        exemplar.write(to);
    }

    pub(crate) fn read(
        at: SessionId,
        names: &mut NameReader,
        from: &mut ImageReader<'_>,
    ) -> Result<Self, Unreadable> {
        let user = names.read(from)?;
        let age = Links::read(at, from)?;
        let (serial, source) = Persist::read(from)?;
        let (realm, host) = Persist::read(from)?;
        let (started, ended) = Persist::read(from)?;
        let (lingers_until, relay): (_, Option<(Timestamp, Timestamp)>) = Persist::read(from)?;
        let relay = relay.map_or(RelaySpan::NONE, |(first, last)| RelaySpan(first, last));
        let (bytes, live) = Persist::read(from)?;
        let (unsettled, allocations) = Persist::read(from)?;
        let (open, partial) = Persist::read(from)?;
        let exemplar = if from.version() >= 2 { Persist::read(from)? } else { AllocationId(0) };
        Ok(Self {
            serial,
            source,
            realm,
            user,
            host,
            started,
            ended,
            lingers_until,
            relay,
            exemplar,
            bytes,
            live,
            unsettled,
            allocations,
            age,
            open,
            partial,
        })
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Session {
    /// Its counts against the number of its live allocations.
    pub(crate) fn check(&self, live: u64) -> Result<(), String> {
        let counted = u64::from(self.live);
        let consistent = counted == live && self.live <= self.unsettled && (self.open || self.live == 0);
        if consistent { Ok(()) } else { Err(format!("{live} live: {self:?}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_takes_no_more_than_it_must() {
        assert_eq!(size_of::<Option<Session>>(), 120);
    }
}
