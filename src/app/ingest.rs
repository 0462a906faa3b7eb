//! One message's way through the pure parts: parse, apply. Holds the table, which counts; knows neither Redis nor HTTP nor
//! the clock.

use std::time::Duration;

use super::log_once::Episodes;
use crate::clock::Timestamp;
use crate::doctor::SettingState;
use crate::doctor::retention::Doubt;
use crate::metrics::View;
use crate::source::pubsub::{BATCH, Published};
use crate::state::{
    Applied, BatchEvent, CapsReached, ConnectionId, Discovery, FrozenTable, KeyCheck, Output, PreparedKey,
    ProcessCounts, ScanOutcome, Scanned, Settings, SourceId, StatusKeys, Sweep, Table,
};
use crate::wire::{self, Event, Key, Message, Rejection};
pub use shared_table::SharedTable;

/// A row of messages that are rejected for one reason is over when none has come for so long.
const REJECTIONS_QUIET: Duration = Duration::from_secs(60);

/// How much of a rejected message's channel is logged.
const SHOWN: usize = 200;

/// The table, with which of its sources are whose, and what of it has been logged. One writer at a time.
#[derive(Debug)]
pub struct Ingest {
    table: Table,
    /// The table's numbers of the sources, by their places in the configuration, by which all else names them.
    ids: Vec<SourceId>,
    longest_silence: Duration,
    /// Messages that are not understood, as far as the log says it.
    rejections: Episodes<(SourceId, Rejection)>,
}

impl Ingest {
    /// An empty table for the sources of these names.
    pub fn new<S: AsRef<str>>(settings: Settings, sources: &[S]) -> Self {
        let longest_silence = settings.longest_silence();
        Self {
            table: Table::new(settings, sources),
            ids: (0..).map(SourceId).take(sources.len()).collect(),
            longest_silence,
            rejections: Episodes::new(REJECTIONS_QUIET, usize::MAX),
        }
    }

    /// A table that goes on from an earlier process, and its numbers of the sources in the order of the configuration.
    pub fn going_on(table: Table, ids: Vec<SourceId>, settings: &Settings) -> Self {
        let longest_silence = settings.longest_silence();
        Self { table, ids, longest_silence, rejections: Episodes::new(REJECTIONS_QUIET, usize::MAX) }
    }

    /// The table's number of a source.
    fn id(&self, source: SourceId) -> SourceId {
        self.ids.get(source.0 as usize).copied().unwrap_or(SourceId(u32::MAX))
    }

    /// Takes one published message in. `None` for a heartbeat, which means nothing.
    ///
    /// # Errors
    ///
    /// Why it was not understood; it is counted and changes nothing.
    pub fn message(
        &mut self,
        now: Timestamp,
        source: SourceId,
        channel: &[u8],
        payload: &[u8],
    ) -> Result<Option<Applied>, Rejection> {
        let source = self.id(source);
        let Some((key, event)) = self.parse(now, source, channel, payload)? else { return Ok(None) };
        Ok(Some(self.table.apply(now, source, &key, &event)))
    }

    /// Takes in one message that coturn sent over a connection of its own to us. `None` for a heartbeat.
    ///
    /// # Errors
    ///
    /// As [`Self::message`].
    pub fn message_from(
        &mut self,
        now: Timestamp,
        source: SourceId,
        connection: ConnectionId,
        channel: &[u8],
        payload: &[u8],
    ) -> Result<Option<Applied>, Rejection> {
        let source = self.id(source);
        let Some((key, event)) = self.parse(now, source, channel, payload)? else { return Ok(None) };
        Ok(Some(self.table.apply_from(now, source, connection, &key, &event)))
    }

    /// Takes messages in, in their order; gives how many were about allocations. One that is not understood is counted with
    /// its reason.
    pub fn messages(&mut self, now: Timestamp, source: SourceId, messages: &[Published<'_>]) -> usize {
        let source = self.id(source);
        let mut understood = 0;
        for messages in messages.chunks(BATCH) {
            let mut batch = [const { None }; BATCH];
            let mut before = None;
            for (event, message) in batch.iter_mut().zip(messages) {
                *event = match *message {
                    Published::Message { channel, payload } => {
                        self.read(now, source, &mut before, channel, payload)
                    }
                    Published::TooLong => {
                        self.rejected(now, source, Rejection::TooLong, b"");
                        None
                    }
                };
            }
            understood += self.table.apply_batch(now, &mut batch);
        }
        understood
    }

    /// Reads a message; `before` is the channel of the last that was understood, and whose it is.
    fn read<'a>(
        &mut self,
        now: Timestamp,
        source: SourceId,
        before: &mut Option<(&'a [u8], PreparedKey<'a>)>,
        channel: &'a [u8],
        payload: &'a [u8],
    ) -> Option<BatchEvent<'a>> {
        // Both legs report together.
        let of_peers = |(client, whose)| Some((whose, wire::parse_peers(client, channel, payload)?));
        let (whose, event) = if let Some((whose, event)) = before.and_then(of_peers) {
            let event = event.map_err(|reason| self.rejected(now, source, reason, channel)).ok()?;
            (whose, event)
        } else {
            let (key, event) = self.parse(now, source, channel, payload).ok()??;
            (self.table.prepare(source, &key), event)
        };
        *before = Some((channel, whose));
        Some(BatchEvent::new(whose, event))
    }

    fn parse<'a>(
        &mut self,
        now: Timestamp,
        source: SourceId,
        channel: &'a [u8],
        payload: &'a [u8],
    ) -> Result<Option<(Key<'a>, Event<'a>)>, Rejection> {
        match wire::parse(channel, payload) {
            Ok(Message::Allocation(key, event)) => Ok(Some((key, event))),
            Ok(Message::Heartbeat) => Ok(None),
            Err(reason) => Err(self.rejected(now, source, reason, channel)),
        }
    }

    /// Counts a message that was not understood, and logs the first of a row.
    #[cold]
    fn rejected(&mut self, now: Timestamp, source: SourceId, reason: Rejection, channel: &[u8]) -> Rejection {
        self.table.rejected(now, source, reason);
        if self.rejections.is_news(now, (source, reason)) {
            let channel = String::from_utf8_lossy(channel.get(..SHOWN).unwrap_or(channel));
            let (source, reason) = (self.name(source), reason.as_str());
            tracing::debug!(source, reason, %channel, "a message is rejected; others like it are counted only");
        }
        reason
    }

    /// The name of a source, by the table's number of it.
    pub fn name(&self, source: SourceId) -> &str {
        self.table.source_name(source)
    }

    /// The sources, and when the last message of each came that was understood.
    pub fn last_messages(&self) -> impl Iterator<Item = (&str, Option<Timestamp>)> {
        self.ids.iter().map(|&id| (self.name(id), self.table.last_message(id)))
    }

    /// When the last message of the source came that was understood; `None` before the first.
    pub fn last_message(&self, source: SourceId) -> Option<Timestamp> {
        self.table.last_message(self.id(source))
    }

    /// Lets time pass.
    pub fn advance(&mut self, now: Timestamp) {
        self.table.advance(now);
        for ((source, reason), messages) in self.rejections.ended(now) {
            let (source, reason) = (self.name(source), reason.as_str());
            tracing::debug!(source, reason, messages, "no message was rejected for this reason any more");
        }
    }

    /// The source is subscribed and resynced, or cannot be resynced for lack of rights.
    pub fn link_up(&mut self, now: Timestamp, source: SourceId) {
        self.table.link_up(now, self.id(source));
    }

    /// The subscription is confirmed: nothing published from now on is missed.
    pub fn subscribed(&mut self, now: Timestamp, source: SourceId) {
        self.table.subscribed(now, self.id(source));
    }

    /// Everything that the source published up to `moment` has been taken in.
    pub fn received_until(&mut self, source: SourceId, moment: Timestamp) {
        self.table.received_until(self.id(source), moment);
    }

    /// The subscription is lost; the gap began when it was last known to be well.
    pub fn link_lost(&mut self, now: Timestamp, source: SourceId) {
        self.table.link_down(now, self.id(source));
    }

    /// What the table found out since this was last asked.
    pub fn take_findings(&mut self) -> Vec<Discovery> {
        self.table.take_discoveries()
    }

    /// A scan of the status keys begins.
    pub fn scan_begins(&mut self, now: Timestamp, source: SourceId) {
        self.table.scan_begins(now, self.id(source));
    }

    /// The scan reads this Redis, whose process has run for `uptime`, where it says so.
    pub fn scan_of(&mut self, now: Timestamp, source: SourceId, redis: &str, uptime: Option<Duration>) {
        self.table.scan_of(now, self.id(source), redis, uptime);
    }

    /// The scan proves nothing by a key that it does not find.
    pub fn scan_may_miss_keys(&mut self, source: SourceId) {
        self.table.scan_may_miss_keys(self.id(source));
    }

    /// The longest that a live allocation goes without a status: the largest grant and the grace.
    pub const fn longest_silence(&self) -> Duration {
        self.longest_silence
    }

    /// So many allocations more may be met soon: makes room for them.
    pub fn expect(&mut self, more: usize) {
        self.table.expect(more);
    }

    /// Whether the value of a status key is wanted; `None` for a key that is none of coturn's. `idle` is the time since
    /// its last status, where Redis can tell.
    pub fn look(
        &mut self,
        now: Timestamp,
        source: SourceId,
        key: &[u8],
        idle: Option<Duration>,
    ) -> Option<KeyCheck> {
        let key = wire::parse_key(key).ok()?;
        Some(self.table.check_key(now, self.id(source), &key, idle))
    }

    /// Takes in a status key as the scan read it. `None` for a key that is no status key of coturn's.
    pub fn scanned(
        &mut self,
        now: Timestamp,
        source: SourceId,
        key: &[u8],
        value: &[u8],
        idle: Option<Duration>,
    ) -> Option<Scanned> {
        match wire::parse(key, value) {
            Ok(Message::Allocation(key, event)) => {
                Some(self.table.scanned(now, self.id(source), &key, &event, idle))
            }
            Ok(Message::Heartbeat) | Err(_) => None,
        }
    }

    /// Judges a part of the allocations whose keys the scan did not find, from `from` on.
    pub fn sweep(&mut self, now: Timestamp, source: SourceId, from: u32) -> Sweep {
        self.table.sweep(now, self.id(source), from)
    }

    /// The scan came to its end: it found `keys`, missed those of `absent` live allocations and took `duration`.
    /// Gives whether the keys are in the db that was scanned; `None` where there is `doubt` that they would show.
    pub fn scan_succeeded(
        &mut self,
        source: SourceId,
        keys: StatusKeys,
        absent: u64,
        doubt: Option<Doubt>,
        duration: Duration,
    ) -> Option<bool> {
        let hides_db = doubt.is_some_and(Doubt::hides_the_db);
        self.table.scan_succeeded(self.id(source), &ScanOutcome { keys, absent, hides_db, duration })
    }

    /// The settings of the source's Redis, as far as it says; others are unknown from now on.
    pub fn configured(&mut self, source: SourceId, states: &[SettingState]) {
        let states: Vec<_> = states.iter().map(|state| (state.setting.as_str(), state.ok)).collect();
        self.table.redis_settings(self.id(source), &states);
    }

    /// The scan failed, or is not permitted.
    pub fn scan_failed(&mut self, source: SourceId) {
        self.table.scan_failed(self.id(source));
    }

    /// Bytes of inputs that were recorded for a journal, ever.
    pub const fn recorded(&self) -> u64 {
        self.table.recorded()
    }

    /// The inputs recorded since this was last asked; the cleared `spare` takes the next ones.
    pub fn take_recorded(&mut self, spare: Vec<u8>) -> Vec<u8> {
        self.table.take_recorded(spare)
    }

    /// The table as it is now, to be written while it goes on.
    pub fn freeze(&mut self) -> FrozenTable {
        self.table.freeze()
    }

    /// What ended, from behind that number on, and no more than so many.
    pub fn outputs(&self, after: u64, most: usize) -> Vec<(u64, Output)> {
        self.table.outputs(after, most)
    }

    /// The ledger has all outputs up to that number.
    pub fn ledger_written(&mut self, now: Timestamp, up_to: u64) {
        self.table.ledger_written(now, up_to);
    }

    /// Allocations that live.
    pub fn live(&self) -> usize {
        self.table.live()
    }

    /// Which caps have been reached.
    pub fn beyond(&self) -> CapsReached {
        self.table.caps_reached()
    }

    /// Copies everything that is served.
    pub fn view(&self, wall: Timestamp) -> View {
        View { table: self.table.snapshot(), store: None, coturn: None, certificates: Vec::new(), wall }
    }

    /// What the present process came to so far: to be told before each [`Self::view`].
    pub fn process_counts(&mut self, now: Timestamp, counts: &ProcessCounts<'_>) {
        self.table.process_counts(now, counts);
    }
}

mod listener;
mod shared_table;
#[cfg(test)]
mod tests;
