//! The key of an allocation, and what hash tables find it by.

use std::net::SocketAddr;

use super::ids::SourceId;
use crate::wire::{AllocationId, Key};

/// The user under which allocations go whose name coturn before 4.13 mangled: a `%` in it went through printf, and
/// differently so in each event of one allocation (advisory GHSA-4g7c-p5wg-j4hp). Blanks betray it: coturn accepts none.
pub const MANGLED: &[u8] = b"<mangled>";

/// An allocation's key with its source, as looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceKey<'a> {
    pub(crate) source: SourceId,
    pub(crate) realm: &'a [u8],
    pub(crate) user: &'a [u8],
    pub(crate) id: AllocationId,
}

impl<'a> SourceKey<'a> {
    pub(crate) fn of(source: SourceId, key: &Key<'a>) -> Self {
        let user = if memchr::memchr(b' ', key.user).is_some() { MANGLED } else { key.user };
        Self { source, realm: key.realm.unwrap_or_default(), user, id: key.id }
    }
}

/// An address as coturn prints it; `None` for anything else.
pub(crate) fn address(text: &[u8]) -> Option<SocketAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
