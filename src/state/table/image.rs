//! The table as an image: what stands in it, in which order, and how a table comes back from it.
//!
//! In an image is all that decides about the future or is on a page. What follows from it is left out: hash tables, free
//! places, the timer queue, who is before whom in an order. The rates of allocations are left out too, for the next report of
//! each brings its own, and what waits for the log: whoever logs it records nothing.

use super::Table;
use super::changes::Changes;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::image::{ImageError, Persist};
use crate::state::input::Recorder;
use crate::state::model::allocation::Allocation;
use crate::state::model::connection::StatsdbConnections;
use crate::state::model::counters::Counters;
use crate::state::model::discovery::Discoveries;
use crate::state::model::gatherings::Gatherings;
use crate::state::model::key_memory::KeyMemory;
use crate::state::model::process_totals::ProcessTotals;
use crate::state::model::realms::Realms;
use crate::state::model::records::Records;
use crate::state::model::servers::Servers;
use crate::state::model::sessions::Sessions;
use crate::state::model::settings::Settings;
use crate::state::model::sources::Sources;
use crate::state::model::timers::Timers;
use crate::state::storage::shared_names::{NameReader, NameWriter};

/// A table as it was at one moment, to be written. It shares its memory with the table that it was taken of, which copies what
/// it changes from then on.
#[derive(Debug)]
pub struct FrozenTable(Table);

impl Table {
    /// The table as it is, in a time that does not depend on what is in its records.
    pub fn freeze(&mut self) -> FrozenTable {
        FrozenTable(Self {
            settings: self.settings.clone(),
            now: self.now,
            sources: self.sources.share(),
            connections: self.connections.share(),
            records: self.records.share(),
            key_ids: self.key_ids,
            keys: self.keys.share(),
            sessions: self.sessions.share(),
            gatherings: self.gatherings.share(),
            timers: self.timers.share(),
            realms: self.realms.share(),
            servers: self.servers.share(),
            counters: self.counters,
            process: self.process.clone(),
            discoveries: Discoveries::default(),
            changes: self.changes.share(),
            recorder: Recorder::default(),
        })
    }

    /// The table of an image, whose blocks come in their order; `None` after the last.
    ///
    /// # Errors
    ///
    /// A block could not be read, a later exporter has written the image, or it is none.
    pub fn from_image<E>(
        mut next_block: impl FnMut() -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, ImageError<E>> {
        let mut failed = None;
        let mut take = || {
            next_block().unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        };
        let read = ImageReader::begin(&mut take).and_then(Self::read);
        read.map_err(|unreadable| unreadable.with(failed))
    }

    fn read(mut image: ImageReader<'_>) -> Result<Self, Unreadable> {
        let from = &mut image;
        let settings = Settings::read(from)?;
        let (passing_to, key_ids) = Persist::read(from)?;
        let mut realms = Realms::read(from)?;
        let servers = Servers::read(from)?;
        let (sources, connections) = (Sources::read(from)?, StatsdbConnections::read(from)?);
        let mut names = NameReader::new();
        let mut records = Records::read(settings.are_rates_kept, &mut names, from)?;
        let mut sessions = Sessions::read(&mut names, from)?;
        records.index(names.names, &mut realms)?;
        sessions.index(&records, &mut realms)?;
        realms.check_ages(&records.slab, &sessions.slab)?;
        let is_known = |record: &Allocation| {
            servers.check(record.server)?;
            let is_session_there =
                record.session.session().is_none_or(|session| sessions.get(session).is_some());
            if is_session_there && sources.get(record.source()).is_some() {
                Ok(())
            } else {
                Err(Unreadable::Malformed("the source or the session of an allocation is not there"))
            }
        };
        records.slab.iter().try_for_each(|(_, record)| is_known(record))?;
        let table = Self {
            settings,
            now: from.now(),
            sources,
            connections,
            timers: Timers::of_records(&records.slab, passing_to),
            records,
            key_ids,
            sessions,
            realms,
            servers,
            gatherings: Gatherings::read(from)?,
            keys: KeyMemory::read(from)?,
            counters: Counters::read(from)?,
            process: ProcessTotals::read(from)?,
            discoveries: Discoveries::default(),
            changes: Changes::read(from)?,
            recorder: Recorder::default(),
        };
        image.finish()?;
        Ok(table)
    }
}

impl FrozenTable {
    /// Writes the image in blocks of some 256 KiB.
    ///
    /// # Errors
    ///
    /// That of the first block that is not taken; no other is given after it.
    pub fn encode<E>(&self, write_block: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.0.encode(write_block)
    }
}

impl Table {
    /// See [`FrozenTable::encode`].
    pub(in crate::state) fn encode<E>(
        &self,
        mut write_block: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut result = Ok(());
        let mut take = |block: &[u8]| {
            result = write_block(block);
            result.is_ok()
        };
        let mut image = ImageWriter::begin(self.now, &mut take);
        self.write(&mut image);
        image.finish();
        result
    }

    /// What is named by others comes before those.
    fn write(&self, to: &mut ImageWriter<'_>) {
        let Self {
            settings,
            now: _,
            sources,
            connections,
            records,
            key_ids,
            keys,
            sessions,
            gatherings,
            timers,
            realms,
            servers,
            counters,
            process,
            discoveries: _,
            changes,
            recorder: _,
        } = self;
        settings.write(to);
        (timers.passing_to, *key_ids).write(to);
        realms.write(to);
        servers.write(to);
        sources.write(to);
        connections.write(to);
        let mut names = NameWriter::new(&records.users);
        records.write(&mut names, to);
        sessions.write(&mut names, to);
        gatherings.write(to);
        keys.write(to);
        counters.write(to);
        process.write(to);
        changes.write(to);
    }
}
