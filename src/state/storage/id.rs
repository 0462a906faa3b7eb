//! Numbers of records, a type for each kind of record.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::num::NonZeroU32;

use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;

/// The number of a record of the kind `Of`: one more than its place, so that an `Option` of it takes no more room.
pub(crate) struct Id<Of>(NonZeroU32, PhantomData<fn() -> Of>);

impl<Of> Id<Of> {
    /// The number of the record at that place.
    pub(crate) const fn of_place(place: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(place), PhantomData)
    }

    /// Where the record lies.
    pub(crate) const fn place(self) -> u32 {
        self.0.get() - 1
    }
}

impl<Of> Persist for Id<Of> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.place().write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let place = u32::read(from)?;
        if place < u32::MAX {
            Ok(Self::of_place(place))
        } else {
            Err(Unreadable::Malformed("no record has this number"))
        }
    }
}

impl<Of> Clone for Id<Of> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Of> Copy for Id<Of> {}

impl<Of> PartialEq for Id<Of> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<Of> Eq for Id<Of> {}

impl<Of> PartialOrd for Id<Of> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<Of> Ord for Id<Of> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<Of> Hash for Id<Of> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<Of> std::fmt::Debug for Id<Of> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.place().fmt(f)
    }
}

impl<Of> std::fmt::Display for Id<Of> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.place().fmt(f)
    }
}
