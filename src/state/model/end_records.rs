//! What is known of an end, while the record stays: of one that settles, of one that is overdue, of one that lives again.

use super::ids::RecordId;

use crate::clock::Timestamp;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::image::{Persist, persist};
use crate::state::storage::slab_map::SlabMap;
use crate::wire::Traffic;

/// The last end of an allocation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EndRecord {
    /// When it was.
    pub(crate) at: Timestamp,
    /// Bytes of the deciding leg that its session has accounted for: it may live again, and join another.
    pub(crate) accounted_bytes: u64,
    /// What the client leg's total had beyond its sum.
    pub(crate) client_loss: Option<Traffic>,
}

/// Last ends by the number of the record; most live, and have none.
#[derive(Debug, Default)]
pub(crate) struct EndRecords(SlabMap<RecordId, EndRecord>);

impl EndRecords {
    pub(crate) fn get(&self, record: RecordId) -> Option<&EndRecord> {
        self.0.get(&record)
    }

    /// When the record ended; [`Timestamp::ZERO`] if it never did.
    pub(crate) fn moment(&self, record: RecordId) -> Timestamp {
        self.get(record).map_or(Timestamp::ZERO, |end| end.at)
    }

    pub(crate) fn of(&mut self, record: RecordId) -> &mut EndRecord {
        self.0.entry_or_default(record)
    }

    pub(crate) fn remove(&mut self, record: RecordId) {
        self.0.remove(&record);
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.0.room()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

persist! { EndRecord { at, accounted_bytes, client_loss } }

impl EndRecords {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        Self(self.0.share())
    }
}

impl Persist for EndRecords {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.0.write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        SlabMap::read(from).map(Self)
    }
}
