//! What the stories use: a table, audited after each step.

use super::super::{Cause, Orphan, RealmSeries, Settings, Table};
use super::audit::{audit, is_empty};
use super::*;
use crate::state::Applied;

/// A table and the one key of the story.
pub(super) struct Story {
    pub(super) table: Table,
    pub(super) key: Key<'static>,
}

impl Story {
    pub(super) fn new() -> Self {
        Self::with(Settings::default())
    }

    /// Before its source was ever watched: the next scan is the first.
    pub(super) fn before_the_watch() -> Self {
        Self { table: Table::new(Settings::default(), &["test"]), key: key("r", "alice", 1) }
    }

    pub(super) fn with(settings: Settings) -> Self {
        Self { table: table(settings), key: key("r", "alice", 1) }
    }

    pub(super) fn tell(&mut self, seconds: u64, event: &Event<'_>) -> Applied {
        let key = self.key;
        self.tell_of(seconds, &key, event)
    }

    pub(super) fn tell_of(&mut self, seconds: u64, key: &Key<'_>, event: &Event<'_>) -> Applied {
        let applied = self.table.apply(at(seconds), SOURCE, key, event);
        audit(&self.table).unwrap();
        applied
    }

    pub(super) fn wait(&mut self, seconds: u64) -> &mut Self {
        self.table.advance(at(seconds));
        audit(&self.table).unwrap();
        self
    }

    pub(super) fn realm(&self) -> RealmSeries {
        self.table.snapshot().realms[0].series.clone()
    }

    pub(super) fn closed(&self) -> Vec<(&'static str, u64)> {
        let closed = self.realm().closed;
        let all = Cause::ALL.iter().enumerate().map(|(place, cause)| (cause.as_str(), closed.get(place)));
        all.filter(|&(_, count)| count > 0).collect()
    }

    pub(super) fn orphans(&self, reason: Orphan) -> u64 {
        self.realm().orphans.get(reason as usize)
    }

    /// Whatever happened, everything is forgotten in the end.
    pub(super) fn ends_empty(mut self) {
        for day in 1..5 {
            self.wait(day * 400_000);
        }
        assert!(is_empty(&self.table), "{:?}", self.table);
    }
}
