//! Whose a session is, and what stands for it.
//!
//! Of a session of one allocation that lives and was always alone in it the allocation itself is the record. A session gets
//! a record of its own when a second allocation joins, or when its only one ends.

use std::net::IpAddr;

use super::allocation::Allocation;
use super::ids::{RealmId, RecordId, SessionId, SourceId};
use crate::state::storage::interner::NameId;

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
    Session(SessionId),
    /// The allocation that is alone in it.
    Alone(RecordId),
}

/// A [`Holder`] in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedHolder(u32);

impl PackedHolder {
    const ALONE: u32 = 1 << 31;

    pub(crate) const fn get(self) -> Holder {
        match self.0 & Self::ALONE {
            0 => Holder::Session(SessionId::of_place(self.0)),
            _ => Holder::Alone(RecordId::of_place(self.0 & !Self::ALONE)),
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
            Holder::Session(number) => Self(number.place()),
            Holder::Alone(at) => Self(at.place() | Self::ALONE),
        }
    }
}

impl Allocation {
    /// It stands for its session itself.
    pub(crate) const fn is_alone(&self) -> bool {
        self.session.is_alone()
    }

    pub(crate) const fn owner(&self, host: Option<IpAddr>) -> SessionOwner {
        SessionOwner { source: self.source(), realm: self.realm, user: self.user, host }
    }
}
