//! `replay`: captures in, or a store's directory, the page out, on their own time line. For tests, and for bug reports.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::app::Error;
use crate::app::ingest::{Ingest, SharedTable};
use crate::app::store::reading::read_stored;
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::metrics::{DisabledFamilies, Format, MetricsPage, Render};
use crate::source::capture::{CaptureReader, unpacked};
use crate::state::{Settings, SourceId};

/// The name of the source whose messages a capture holds.
const SOURCE: &str = "capture";

/// The page as of the captures' last event, or of `until` where that is given: events after it are left out.
///
/// # Errors
///
/// A capture that cannot be read, named with its line.
pub fn replay(settings: Settings, files: &[PathBuf], until: Option<Timestamp>) -> Result<Vec<u8>, Error> {
    Ok(replayed_page(settings, files, until)?.render(Format::Text))
}

/// The page of [`replay`], in whichever format.
///
/// # Errors
///
/// As [`replay`].
pub fn replayed_page(
    settings: Settings,
    files: &[PathBuf],
    until: Option<Timestamp>,
) -> Result<MetricsPage, Error> {
    let clock = Arc::new(ManualClock::default());
    let shared = SharedTable::new(Ingest::new(settings, &[SOURCE]), Arc::clone(&clock) as Arc<dyn Clock>);
    shared.lock().link_up(Timestamp::ZERO, SourceId(0));
    for file in files {
        feed(file, until, &clock, &shared)?;
    }
    if let Some(until) = until {
        clock.set(until);
    }
    Ok(MetricsPage::of_capture(shared))
}

/// The page of a store: as of the last moment that it has, or of another one, with what its journal had by then.
///
/// # Errors
///
/// A directory that cannot be read, the file is named; or a moment before its snapshot.
fn stored_page(settings: &Settings, path: &Path, until: Option<Timestamp>) -> Result<MetricsPage, Error> {
    let table = read_stored(path, until).map_err(|error| Error::Store(Box::new(error)))?;
    let clock = Arc::new(ManualClock::at(table.snapshot().now.max(until.unwrap_or_default())));
    let shared = SharedTable::new(Ingest::going_on(table, Vec::new(), settings), clock);
    Ok(MetricsPage::of_capture(shared))
}

/// The page of captures, or of a store, without the disabled families, onto `out`.
pub(in crate::app) fn print(
    settings: Settings,
    disabled: DisabledFamilies,
    files: &[PathBuf],
    until: Option<Timestamp>,
    out: &mut impl Write,
) -> Result<(), Error> {
    let page = match files {
        [path] if path.is_dir() => stored_page(&settings, path, until)?,
        _ => replayed_page(settings, files, until)?,
    };
    let page = page.without(disabled).render(Format::Text);
    out.write_all(&page).and_then(|()| out.flush()).map_err(Error::Output)
}

fn feed(
    path: &Path,
    until: Option<Timestamp>,
    clock: &ManualClock,
    shared: &SharedTable,
) -> Result<(), Error> {
    let open = |error| Error::Open { path: path.to_owned(), error };
    let input = unpacked(BufReader::new(File::open(path).map_err(open)?)).map_err(open)?;
    for captured in CaptureReader::new(input, path.display().to_string()) {
        let captured = captured.map_err(Error::Capture)?;
        if until.is_some_and(|until| captured.at > until) {
            continue;
        }
        clock.set(captured.at);
        // A message that was not understood stands on the page, with its reason.
        let _ = shared.lock().message(clock.now(), SourceId(0), &captured.channel, &captured.payload);
    }
    Ok(())
}
