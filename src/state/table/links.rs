//! The links to the sources: lost, back, and how far each has been received.

use super::Table;
use crate::clock::Timestamp;
use crate::state::input::Input;
use crate::state::model::ids::SourceId;

impl Table {
    /// The source's link is lost: from now on nothing of it becomes due. The gap began when it was last known to be well.
    // docs/semantics.md#gaps
    pub fn link_down(&mut self, now: Timestamp, source: SourceId) {
        self.note(now, &Input::LinkLost { source });
        self.lose_link(now, source);
    }

    pub(super) fn lose_link(&mut self, now: Timestamp, source: SourceId) {
        self.pass(now);
        let (now, silence) = (self.now, self.settings.longest_silence());
        if let Some(source) = self.sources.get_mut(source) {
            source.stats.link_lost(now);
            source.is_remembered = source.is_watched_for(silence, now);
            if source.up {
                source.lost_at = source.received_until.min(now);
                if let Some(redis) = &mut source.redis {
                    redis.lose_link(source.lost_at);
                }
            }
            source.up = false;
        }
        self.scan_ends(source);
    }

    /// The subscription is confirmed: nothing published from now on is missed.
    pub fn subscribed(&mut self, now: Timestamp, source: SourceId) {
        self.note(now, &Input::Subscribed { source });
        self.pass(now);
        let now = self.now;
        if let Some(source) = self.sources.get_mut(source) {
            source.stats.gap_ends(now);
            source.stats.received_until = Some(now);
        }
    }

    /// The source is a listener, and listens: nothing that coturn says from now on is missed. It refuses connections and
    /// commands for these reasons.
    pub fn listens(&mut self, now: Timestamp, source: SourceId, connections: &[&str], commands: &[&str]) {
        if self.recorder.is_on() {
            let (connections, commands) = (connections.to_vec(), commands.to_vec());
            self.note(now, &Input::Listens { source, connections, commands });
        }
        self.gain_link(now, source);
        let now = self.now;
        if let Some(source) = self.sources.get_mut(source) {
            source.stats.gap_ends(now);
            let statsdb = source.stats.statsdb.get_or_insert_default();
            let known = [(&mut statsdb.refused_connections, connections), (&mut statsdb.refused, commands)];
            for (counts, reasons) in known {
                for &reason in reasons {
                    counts.entry(reason.into()).or_default();
                }
            }
        }
    }

    /// The source is subscribed and resynced (or cannot be resynced for lack of rights).
    pub fn link_up(&mut self, now: Timestamp, source: SourceId) {
        self.note(now, &Input::LinkUp { source });
        self.gain_link(now, source);
    }

    fn gain_link(&mut self, now: Timestamp, source: SourceId) {
        self.pass(now);
        let now = self.now;
        if let Some(source) = self.sources.get_mut(source) {
            if source.known && !source.up {
                source.resumed_at = now;
            }
            if !source.up {
                source.watched_since = now;
            }
            (source.up, source.known) = (true, true);
        }
    }

    /// All that the source published up to `moment` has been taken in. A source that says so is believed: what seems
    /// due later waits for the next word, for a refresh may be on the way (a stalled link, a stopped process).
    pub fn received_until(&mut self, source: SourceId, moment: Timestamp) {
        self.note(self.now, &Input::ReceivedUntil { source, moment });
        if let Some(source) = self.sources.get_mut(source) {
            source.received_until = moment;
            source.stats.received_until = Some(moment);
        }
    }
}
