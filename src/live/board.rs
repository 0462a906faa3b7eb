//! What the live page is made from: the history, and what was seen at the last look.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::SiteFacts;
use super::history::{Figures, History};
use super::look::{LastLook, SERVERS, ServerNow, SourceNow, SourceSetup};
use super::page;
use crate::clock::Timestamp;
use crate::state::{ServerView, Snapshot, SourceView};

/// See the file's head.
#[derive(Debug)]
pub struct Board {
    setups: Vec<SourceSetup>,
    pub(super) history: History,
    look: Option<LastLook>,
    /// The page that was made since the last look.
    made: Option<Arc<[u8]>>,
}

impl Board {
    /// A board of sources in the order of their numbers, at which nobody has looked.
    pub fn new(setups: Vec<SourceSetup>) -> Self {
        Self { setups, history: History::default(), look: None, made: None }
    }

    /// Takes in what the table is like. `wall` is its moment by the wall clock, `troubles` says of each source why it is
    /// not ready, `is_store_ok` whether the store is, where there is one.
    pub fn look(
        &mut self,
        snapshot: &Snapshot,
        wall: Timestamp,
        troubles: &[Option<String>],
        is_store_ok: Option<bool>,
    ) {
        let before = self.history.points().back().map(|point| point.at);
        let past = before.map(|before| snapshot.now.since(before));
        self.history.add(snapshot);
        let known: BTreeSet<Arc<str>> =
            self.history.realms().iter().map(|realm| Arc::clone(&realm.label)).collect();
        let count = |realms: usize| u64::try_from(realms).unwrap_or(u64::MAX);
        let unknown = snapshot.realms.iter().filter(|realm| !known.contains(&realm.label)).count();
        let sources = snapshot.sources.iter().enumerate();
        let sources = sources.map(|(at, source)| SourceNow {
            setup: self.setups.get(at).cloned().unwrap_or_default(),
            trouble: troubles.get(at).cloned().flatten(),
            messages_per_second: self.rate(at, source, past),
            ..SourceNow::of(source, snapshot.now)
        });
        let sources = sources.collect();
        let mut servers: Vec<&ServerView> = snapshot.servers.iter().collect();
        servers.sort_by(|a, b| (Reverse(a.live), &a.label).cmp(&(Reverse(b.live), &b.label)));
        self.look = Some(LastLook {
            wall,
            realms: count(snapshot.realms.len()),
            others: (count(unknown), self.others()),
            servers: servers.iter().take(SERVERS).map(|server| ServerNow::of(server, snapshot.now)).collect(),
            other_servers: count(servers.len().saturating_sub(SERVERS)),
            sources,
            is_store_ok,
            refused: snapshot.refused,
        });
        self.made = None;
    }

    /// The page as of the last look.
    pub fn page(&mut self, site: &SiteFacts<'_>, not_yet: Option<&str>) -> Arc<[u8]> {
        let Some(look) = self.look.as_ref().filter(|_| not_yet.is_none()) else {
            return page::without_numbers(site, not_yet).into_bytes().into();
        };
        let make = || page::page(site, look, &self.history).into_bytes().into();
        Arc::clone(self.made.get_or_insert_with(make))
    }

    /// What realms have together that have no points of their own.
    fn others(&self) -> Figures {
        let all = self.history.points().back().map(|point| point.all).unwrap_or_default();
        self.history.realms().iter().fold(all, |left, realm| left.without(realm.now()))
    }

    fn rate(&self, at: usize, source: &SourceView, past: Option<Duration>) -> Option<u64> {
        let before = self.look.as_ref()?.sources.get(at)?.messages;
        let millis = u64::try_from(past?.as_millis()).unwrap_or(u64::MAX);
        let count: u64 = source.stats.messages.iter().sum();
        count.saturating_sub(before).saturating_mul(1000).checked_div(millis)
    }
}
