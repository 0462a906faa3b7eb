//! The key of an allocation, and what hash tables find it by.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use super::ids::SourceId;
use crate::wire::{AllocationId, Key};

/// The user under which allocations go whose name coturn before 4.13 mangled: a `%` in it went through printf, and
/// differently so in each event of one allocation (advisory GHSA-4g7c-p5wg-j4hp). Blanks betray it: coturn accepts none.
pub const MANGLED: &[u8] = b"<mangled>";

/// An allocation's key with its source, as looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceKey<'a> {
    pub(crate) source: u32,
    pub(crate) realm: &'a [u8],
    pub(crate) user: &'a [u8],
    pub(crate) id: AllocationId,
}

impl<'a> SourceKey<'a> {
    pub(crate) fn of(source: SourceId, key: &Key<'a>) -> Self {
        let user = if memchr::memchr(b' ', key.user).is_some() { MANGLED } else { key.user };
        Self { source: source.0, realm: key.realm.unwrap_or_default(), user, id: key.id }
    }
}

/// Of an allocation's key.
pub(crate) fn key_hash(hasher: &ahash::RandomState, key: &SourceKey<'_>) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u64(key.id.0);
    state.write_u32(key.source);
    key.realm.hash(&mut state);
    key.user.hash(&mut state);
    state.finish()
}

/// Of whose a session is.
pub(crate) fn session_hash(
    hasher: &ahash::RandomState,
    source: u32,
    realm: &[u8],
    user: &[u8],
    host: Option<IpAddr>,
) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u32(source);
    realm.hash(&mut state);
    user.hash(&mut state);
    host.hash(&mut state);
    state.finish()
}

/// An address as coturn prints it; `None` for anything else.
pub(crate) fn address(text: &[u8]) -> Option<SocketAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
