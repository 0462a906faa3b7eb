//! Numbers of sources, connections, realms and servers: each a type of its own.

/// Which source a message came from: its place in the list given to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId(pub u32);

/// A connection. Numbers are not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub(in crate::state) Mark);

/// A realm, by its number among the realms that are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::state) struct RealmId(pub(in crate::state) u32);

/// A server, by its number among the servers of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::state) struct ServerId(pub(in crate::state) u32);

/// A connection, or a scan, as records name it. No two have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::state) struct Mark(u32);

impl Mark {
    pub(in crate::state) const NONE: Self = Self(0);
}

/// Gives marks out.
#[derive(Debug)]
pub(in crate::state) struct Marks(u32);

impl Marks {
    pub(in crate::state) const fn new() -> Self {
        Self(0)
    }

    pub(in crate::state) fn next(&mut self) -> Mark {
        self.0 = self.0.wrapping_add(1).max(1);
        Mark(self.0)
    }
}
