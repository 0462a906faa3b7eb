//! What a new process does with the table of the one before it.

use super::Table;
use crate::clock::Timestamp;
use crate::state::input::Input;
use crate::state::model::allocation::{Allocation, Phase};
use crate::state::model::ids::{RecordId, SourceId};
use crate::state::model::settings::Settings;
use crate::state::model::source::Source;

impl Table {
    /// Another process goes on with the table: as if every link had been lost when it was last received. Connections to the
    /// listener are gone, scans are over, and what is true of a process only is at rest.
    // docs/semantics.md#counters-after-a-restart
    pub fn restarted(&mut self, now: Timestamp) {
        self.note(now, &Input::Restarted);
        let last = self.now;
        for source in self.sources.ids() {
            let was_received = |source: &Source| source.known || source.stats.received_until.is_some();
            if self.sources.is_watched(source) && self.sources.get(source).is_some_and(was_received) {
                self.lose_link(last, source);
            }
            self.rest_source(source);
        }
        self.connections.forget_all();
        self.process.rebase();
        drop(self.discoveries.take());
        self.pass(now);
    }

    /// From now on these settings are in force, and these sources are watched, found by their names; gives their numbers. No
    /// counter falls. A source that is not watched any more keeps its numbers for when it comes back; what was open of it has
    /// ended unheard.
    // docs/semantics.md#other-settings-after-a-restart
    pub fn adopt_settings(&mut self, now: Timestamp, settings: Settings, sources: &[&str]) -> Vec<SourceId> {
        if self.recorder.is_on() {
            let (settings, sources) = (settings.clone(), sources.to_vec());
            self.note(now, &Input::SettingsAdopted { settings, sources });
        }
        self.pass(now);
        let before = std::mem::replace(&mut self.settings, settings);
        let watched: Vec<SourceId> = self.sources.watched_ids().collect();
        let ids = self.sources.watch(self.now, sources);
        for source in watched.into_iter().filter(|source| !ids.contains(source)) {
            self.unwatch(source);
        }
        let settings = &self.settings;
        self.realms.set_limit(self.now, settings.max_realms, &settings.realms);
        self.servers.set_limit(settings.max_servers);
        self.records.rates.keep(settings.are_rates_kept);
        if settings.linger < before.linger {
            self.sessions.shorten_linger(self.now.plus(settings.linger));
        }
        let times = |settings: &Settings| (settings.grace, settings.max_lifetime, settings.idle_after);
        if times(&before) != times(settings) {
            for at in self.all_places() {
                if self.records.get(at).is_some_and(|record| record.phase == Phase::Live) {
                    self.judge_by_other_times(at);
                }
            }
        }
        ids
    }

    /// The number of the source of that name, if it is watched.
    pub fn source_id(&self, name: &str) -> Option<SourceId> {
        self.sources.watched_ids().find(|&id| self.source_name(id) == name)
    }

    /// The name of a source, watched or not.
    pub fn source_name(&self, source: SourceId) -> &str {
        self.sources.get(source).map_or("", |source| &source.name)
    }

    /// The names of all sources, by their numbers.
    pub fn source_names(&self) -> Vec<String> {
        self.sources.ids().map(|source| self.source_name(source).to_owned()).collect()
    }

    /// A source is not watched any more: what is open of it will not be heard of again.
    fn unwatch(&mut self, source: SourceId) {
        self.lose_link(self.now, source);
        self.rest_source(source);
        if let Some(source) = self.sources.get_mut(source) {
            // Should it come back, its keys are met anew, however old: they have not ended by coturn's word.
            source.known = false;
            // What was counted of them is forgotten before that.
            source.is_remembered = false;
        }
        for at in self.all_places() {
            let is_open = |record: &Allocation| record.source() == source && record.phase != Phase::Closing;
            if self.records.get(at).is_some_and(is_open) {
                self.end_missed(at);
            }
        }
    }

    fn rest_source(&mut self, source: SourceId) {
        if let Some(source) = self.sources.get_mut(source) {
            source.stats.rest();
        }
    }

    fn all_places(&self) -> impl Iterator<Item = RecordId> + use<> {
        let places = u32::try_from(self.records.places()).unwrap_or(u32::MAX);
        (0..places).map(RecordId::of_place)
    }
}
