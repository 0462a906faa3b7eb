//! The store of one file, open for writing.

use std::path::Path;

use rustix::fs::FlockOperation;

use super::ledger::LedgerError;
use super::ledger::schema::{MIGRATIONS, Opened, VERSION_OF_ONE_FILE, connect, open_file, prepare};

/// Opens or makes a store for writing.
pub(super) fn open(path: &Path) -> Result<Opened, LedgerError> {
    let file = open_file(path, true, VERSION_OF_ONE_FILE)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => LedgerError::InUse { path: path.to_owned() },
        error => LedgerError::system(path)(error.into()),
    })?;
    let mut connection = connect(path, VERSION_OF_ONE_FILE)?;
    let migrations = MIGRATIONS.get(..VERSION_OF_ONE_FILE).unwrap_or_default();
    prepare(&mut connection, migrations).map_err(|error| LedgerError::of(path, error))?;
    Ok(Opened { connection, file })
}
