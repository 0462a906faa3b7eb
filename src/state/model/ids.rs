//! Numbers of sources, connections, realms and servers: each a type of its own.

use std::num::NonZeroU32;

use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::storage::id::Id;

/// Which source a message came from: its place in the list given to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId(pub u32);

/// A connection. Numbers are not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub(in crate::state) Mark);

/// The kind of record that is an allocation.
#[derive(Debug)]
pub(crate) enum OfAllocation {}

/// The kind of record that is a session.
#[derive(Debug)]
pub(crate) enum OfSession {}

/// The kind of record that is a realm.
#[derive(Debug)]
pub(crate) enum OfRealm {}

/// The record of an allocation, by its number in the table.
pub(in crate::state) type RecordId = Id<OfAllocation>;

/// The record of a session, by its number in the table.
pub(in crate::state) type SessionId = Id<OfSession>;

/// A realm, by its number among the realms that are in use.
pub(in crate::state) type RealmId = Id<OfRealm>;

/// A server, by its number among the servers of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::state) struct ServerId(pub(in crate::state) u32);

/// A connection, or a scan, as records name it. No two have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::state) struct Mark(NonZeroU32);

/// Gives marks out.
#[derive(Clone, Debug)]
pub(in crate::state) struct Marks(NonZeroU32);

impl Marks {
    pub(in crate::state) const fn new() -> Self {
        Self(NonZeroU32::MIN)
    }

    pub(in crate::state) fn next(&mut self) -> Mark {
        self.0 = self.0.checked_add(1).unwrap_or(NonZeroU32::MIN);
        Mark(self.0)
    }
}

/// The session of an allocation, in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::state) struct Membership(u32);

impl Membership {
    /// In no session: none yet, or none any more.
    pub(in crate::state) const NONE: Self = Self(u32::MAX);

    /// The allocation is alone in its session, and stands for it.
    pub(in crate::state) const ALONE: Self = Self(u32::MAX - 1);

    /// In the session of that record.
    pub(in crate::state) const fn of(session: SessionId) -> Self {
        Self(session.place())
    }

    pub(in crate::state) const fn is_alone(self) -> bool {
        self.0 == Self::ALONE.0
    }

    /// The record of the session, where it has one.
    pub(in crate::state) const fn session(self) -> Option<SessionId> {
        if self.0 < Self::ALONE.0 { Some(SessionId::of_place(self.0)) } else { None }
    }
}

impl Persist for SourceId {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.0.write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        u32::read(from).map(Self)
    }
}

impl Persist for ServerId {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.0.write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        u32::read(from).map(Self)
    }
}

impl Persist for Mark {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.0.get().write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        NonZeroU32::new(u32::read(from)?).map(Self).ok_or(Unreadable::Malformed("a mark is zero"))
    }
}

impl Persist for Marks {
    fn write(&self, to: &mut ImageWriter<'_>) {
        Mark(self.0).write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        Mark::read(from).map(|mark| Self(mark.0))
    }
}

/// Two small numbers, then those of sessions: most are alone.
impl Persist for Membership {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.0.wrapping_add(2).write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        u32::read(from).map(|number| Self(number.wrapping_sub(2)))
    }
}
