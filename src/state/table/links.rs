//! The links to the sources: lost, back, and how far each has been received.

use super::Table;
use crate::clock::Timestamp;
use crate::state::model::ids::SourceId;

impl Table {
    /// The source's link is lost: from now on nothing of it becomes due.
    // docs/semantics.md#gaps
    pub fn link_down(&mut self, now: Timestamp, source: SourceId) {
        self.advance(now);
        let now = self.now;
        if let Some(source) = self.sources.get_mut(source) {
            if source.up {
                source.lost_at = source.received_until.min(now);
            }
            source.up = false;
        }
        self.scan_ends(source);
    }

    /// The source is subscribed and resynced (or cannot be resynced for lack of rights).
    pub fn link_up(&mut self, now: Timestamp, source: SourceId) {
        self.advance(now);
        let now = self.now;
        if let Some(source) = self.sources.get_mut(source) {
            if source.known && !source.up {
                source.resumed_at = now;
            }
            (source.up, source.known) = (true, true);
        }
    }

    /// All that the source published up to `moment` has been taken in. A source that says so is believed: what seems
    /// due later waits for the next word, for a refresh may be on the way (a stalled link, a stopped process).
    pub fn received_until(&mut self, source: SourceId, moment: Timestamp) {
        if let Some(source) = self.sources.get_mut(source) {
            source.received_until = moment;
        }
    }
}
