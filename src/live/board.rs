//! What the live page is made from: the history, and what was seen at the last look.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::SiteFacts;
use super::history::{Figures, History, LookKind};
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
    /// When the last regular look was, and how many messages each source had accepted by then.
    accepted: Option<(Timestamp, Vec<u64>)>,
    /// The page that was made since the last look.
    made: Option<Arc<[u8]>>,
}

impl Board {
    /// A board of sources in the order of their numbers, at which nobody has looked.
    pub fn new(setups: Vec<SourceSetup>) -> Self {
        Self { setups, history: History::default(), look: None, accepted: None, made: None }
    }

    /// Takes in what the table is like. `wall` is its moment by the wall clock, `troubles` says of each source why it is
    /// not ready, `is_store_ok` whether the store is, where there is one.
    pub fn look(
        &mut self,
        kind: LookKind,
        snapshot: &Snapshot,
        wall: Timestamp,
        troubles: &[Option<String>],
        is_store_ok: Option<bool>,
    ) {
        self.history.add(snapshot, kind);
        let known: BTreeSet<Arc<str>> =
            self.history.realms().iter().map(|realm| Arc::clone(&realm.label)).collect();
        let count = |realms: usize| u64::try_from(realms).unwrap_or(u64::MAX);
        let unknown = snapshot.realms.iter().filter(|realm| !known.contains(&realm.label)).count();
        let sources = snapshot.sources.iter().enumerate();
        let sources = sources.map(|(at, source)| SourceNow {
            setup: self.setups.get(at).cloned().unwrap_or_default(),
            trouble: troubles.get(at).cloned().flatten(),
            messages_per_second: self.rate(at, source, snapshot.now),
            ..SourceNow::of(source, snapshot.now)
        });
        let sources = sources.collect();
        if kind == LookKind::Regular {
            self.accepted = Some((snapshot.now, snapshot.sources.iter().map(accepted).collect()));
        }
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

    /// Messages per second of the source with this number, since the last regular look.
    fn rate(&self, at: usize, source: &SourceView, now: Timestamp) -> Option<u64> {
        let (since, before) = self.accepted.as_ref()?;
        let millis = u64::try_from(now.since(*since).as_millis()).unwrap_or(u64::MAX);
        accepted(source).saturating_sub(*before.get(at)?).saturating_mul(1000).checked_div(millis)
    }
}

fn accepted(source: &SourceView) -> u64 {
    source.stats.messages.iter().sum()
}
