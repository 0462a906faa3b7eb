//! Sessions of one allocation that lives and was always alone in it: the allocation stands for them. A session gets a
//! record when a second allocation joins, or when its only one ends.

use hashbrown::HashTable;

use super::allocation::Allocation;
use crate::state::storage::slab::NONE;

/// In place of a session's number: the session has no record.
pub(crate) const ALONE: u32 = NONE - 1;

/// What an owner's session is found by.
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

/// Open sessions by the hash of whose they are.
pub(crate) type Owners = HashTable<PackedHolder>;

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
}
