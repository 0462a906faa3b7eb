//! Whose a session is, and what stands for it.
//!
//! Of a session of one allocation that lives and was always alone in it the allocation itself is the record. A session gets
//! a record of its own when a second allocation joins, or when its only one ends.

use std::net::IpAddr;

use super::allocation::Allocation;
use super::ids::{RealmId, SourceId};
use crate::state::storage::interner::NameId;
use crate::state::storage::slab::NONE;

/// In place of a session's number: the session has no record.
pub(crate) const ALONE: u32 = NONE - 1;

/// Whose a session, or a gathering, is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionOwner {
    pub(crate) source: SourceId,
    pub(crate) realm: RealmId,
    pub(crate) user: NameId,
    /// The client's host, where it tells sessions of one user apart.
    pub(crate) host: Option<IpAddr>,
}

/// What the session of an owner is found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Its record.
    Session(u32),
    /// The allocation that is alone in it.
    Alone(u32),
}

/// A [`Holder`] in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedHolder(u32);

impl PackedHolder {
    const ALONE: u32 = 1 << 31;

    pub(crate) const fn get(self) -> Holder {
        match self.0 & Self::ALONE {
            0 => Holder::Session(self.0),
            _ => Holder::Alone(self.0 & !Self::ALONE),
        }
    }

    /// Different for each holder.
    pub(crate) const fn number(self) -> u32 {
        self.0
    }
}

impl From<Holder> for PackedHolder {
    fn from(holder: Holder) -> Self {
        match holder {
            Holder::Session(number) => Self(number),
            Holder::Alone(at) => Self(at | Self::ALONE),
        }
    }
}

impl Allocation {
    /// It stands for its session itself.
    pub(crate) const fn is_alone(&self) -> bool {
        self.session == ALONE
    }

    pub(crate) const fn owner(&self, host: Option<IpAddr>) -> SessionOwner {
        SessionOwner { source: self.source(), realm: self.realm, user: self.user, host }
    }
}
