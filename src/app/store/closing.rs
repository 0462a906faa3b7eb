//! The end of the store at a stop: the journal is closed behind a last snapshot.

use std::io;
use std::sync::atomic::Ordering;

use tokio::time::timeout;

use super::{LAST_OUTPUTS, LAST_WRITE, StoreParts, TableStore, lock};
use crate::app::supervise::blocking;

impl TableStore {
    /// Closes the journal and leaves a snapshot with nothing behind it, if the disk lets us in time. Pages show what they
    /// showed last from now on.
    pub(in crate::app) async fn finish(self) {
        let ledger = self.clone();
        // A ledger that somebody else has locked must not cost the snapshot.
        let _ = timeout(LAST_OUTPUTS, blocking(move || ledger.take_outputs())).await;
        let store = self.clone();
        match timeout(LAST_WRITE, blocking(move || store.write_last())).await {
            Ok(Ok(())) => {
                tracing::debug!("the store is closed");
                // One that takes too long leaves its write-ahead log beside it, and nothing is lost.
                let _ = timeout(LAST_OUTPUTS, blocking(move || self.parts.ledger.close())).await;
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, next = self.next_start(), "the store cannot be closed");
            }
            Err(_) => tracing::warn!(next = self.next_start(), "the store takes too long to close"),
        }
    }

    /// What the next start does if there is no clean end.
    fn next_start(&self) -> &'static str {
        if self.parts.marks.may_be_found() { "its counters begin at 0" } else { "it replays the journal" }
    }

    fn write_last(&self) -> io::Result<()> {
        let StoreParts { shared, queue, is_closed, directory, ledger, counter, marks, .. } = &*self.parts;
        let hangs = || io::Error::other("the journal cannot be closed");
        let (frozen, view, boundary) = {
            let now = shared.now();
            let mut ingest = shared.lock();
            counter.count(&mut ingest, now);
            ingest.advance(now);
            self.hand_over(&mut ingest);
            is_closed.store(true, Ordering::Relaxed);
            (ingest.freeze(), ingest.view(shared.to_wall(now)), queue.close(self.moments()))
        };
        if let Some(journal) = lock(&self.parts.journal).take() {
            // The stop came before the thread that writes.
            queue.work(journal);
        }
        let boundary = boundary.recv().map_err(|_| hangs())?;
        self.write(&frozen, &boundary, false)?;
        if ledger.has_lost_rows() {
            return Err(io::Error::other("the ledger cannot be written"));
        }
        marks.end(|| directory.mark_clean(&boundary))?;
        // Not sooner: pages show what the store has.
        self.note_safe(&view);
        Ok(())
    }
}
