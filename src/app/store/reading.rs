//! From a snapshot and the batches behind it to the table as it was.

use std::path::Path;

use super::error::LoadError;
use super::load_progress::LoadProgress;
use crate::clock::Timestamp;
use crate::state::{ImageError, ReplayError, Settings, Table};
use crate::store::journal::{BatchReader, JournalEnd, SnapshotReader, StoredDirectory, TornBatch};

/// What a table is read from.
pub(super) struct TableFiles<'a> {
    pub(super) path: &'a Path,
    pub(super) secret: [u8; 16],
    pub(super) snapshot: Option<SnapshotReader>,
    pub(super) batches: BatchReader,
}

/// A table as it was behind the last batch.
pub(super) struct ReadTable {
    pub(super) table: Table,
    pub(super) end: JournalEnd,
    /// Batches that were replayed.
    pub(super) batches: u64,
}

/// Reads the table of a directory that nobody writes, or of a copy: as it was last, or with the batches of up to `until`.
///
/// # Errors
///
/// Whatever is there and no store that can be read, or one that begins later; it stays as it is.
pub(in crate::app) fn read_stored(path: &Path, until: Option<Timestamp>) -> Result<Table, LoadError> {
    let directory = StoredDirectory::open(path)?;
    let (snapshot, batches) = (directory.snapshot(), directory.batches());
    if let Some(begin) = batches.begin().filter(|begin| until.is_some_and(|until| until < begin.table)) {
        return Err(LoadError::BeginsLater { path: path.to_owned(), begin: begin.table.as_secs_f64() });
    }
    let files = TableFiles { path, secret: directory.secret(), snapshot, batches };
    match read_table(files, until, None)? {
        Ok(read) => {
            read.end.torn.iter().for_each(log_torn);
            Ok(read.table)
        }
        Err(error) => Err(LoadError::Journal { path: path.to_owned(), error }),
    }
}

/// Says that the journal ends in the midst of a batch.
pub(super) fn log_torn(torn: &TornBatch) {
    tracing::warn!(
        file = %torn.file.display(),
        offset = torn.offset,
        bytes = torn.bytes,
        "the last batch of the journal was not written in full and is left out; nobody was answered from it"
    );
}

/// Reads the table. The inner error is a journal that does not give the table that it was written for.
///
/// # Errors
///
/// Files that cannot be read, or are damaged.
pub(super) fn read_table(
    files: TableFiles<'_>,
    until: Option<Timestamp>,
    mut progress: Option<&mut LoadProgress>,
) -> Result<Result<ReadTable, ReplayError>, LoadError> {
    let TableFiles { path, secret, snapshot, batches: mut reader } = files;
    let mut table = if let Some(mut snapshot) = snapshot {
        let table = Table::from_image(|| {
            let block = snapshot.next_block();
            if let Some(progress) = &mut progress {
                progress.snapshot(snapshot.progress());
            }
            block
        });
        table.map_err(|error| match error {
            ImageError::Blocks(error) => LoadError::Directory(error),
            other => LoadError::Snapshot { path: path.to_owned(), reason: other.to_string() },
        })?
    } else {
        // Killed before its first snapshot: all is in the journal, but for numbers that a ledger had.
        let mut table = empty(secret);
        table.begin_store(1, 1);
        table
    };
    let mut batches = 0;
    while let Some(batch) = reader.next_batch()? {
        if until.is_some_and(|until| batch.at.table > until) {
            break;
        }
        if let Err(error) = table.replay(batch.payload) {
            return Ok(Err(error));
        }
        batches += 1;
        if let Some(progress) = &mut progress {
            progress.journal(reader.progress(), batches);
        }
    }
    Ok(Ok(ReadTable { table, end: reader.finish()?, batches }))
}

/// A table without sources and settings; the store's secret makes its identities of keys.
pub(super) fn empty(secret: [u8; 16]) -> Table {
    let secret = u128::from_le_bytes(secret);
    #[expect(clippy::cast_possible_truncation, reason = "it is cut in two")]
    let secret = [secret as u64, (secret >> 64) as u64];
    Table::new::<&str>(Settings::default(), &[]).with_key_secret(secret)
}
