//! Reading the status keys beside the stream: now, and again every few minutes. Judges no key; hands them over in steps.
//!
//! A row of stages that all go on at once, so that Redis always has something to answer: keys are looked for, the ages of
//! those found are asked for and read, those are shown, the values of those wanted are asked for and read, and values
//! wait for their turn in the stream.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio::try_join;

use super::ingest::SharedTable;
use super::reconnect::Failures;
use crate::clock::Timestamp;
use crate::config::RedisSource;
use crate::doctor::ASKED;
use crate::source::error::LinkError;
use crate::source::pipeline::PipelineWriter;
use crate::source::resync::{
    self, FoundKey, IdleTimeReader, KeyScan, Part, ReadValues, ScanError, ScannedKeys,
};
use crate::source::server::RedisServer;
use crate::source::setup::{Setup, SetupQuestions};
use crate::source::subscription::{LinkCheck, Pong};

/// How often the status keys are read again.
const RESYNC: Duration = Duration::from_secs(5 * 60);

/// How many steps the scan may be ahead of the stream: under load a PONG stands behind seconds of messages. Each is some
/// hundreds of kilobytes.
const COMING: usize = 16;

/// So many attempts in a row may go unanswered; more are taken for a server that will not answer.
const UNANSWERED: u32 = 5;

/// A step of the walk, in which Redis looks at a thousand keys, has found many if it has found so many of coturn's.
const MANY_FOUND: usize = 100;

/// A step takes Redis a millisecond, or a few.
const SHORTEST_PAUSE: Duration = Duration::from_millis(3);

/// More is the way there and back, and not Redis' time.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// How many steps may wait for each of the others.
const WAITING: usize = 1;

/// What the tasks beside the stream hand over to the one who takes messages in.
pub(super) enum ResyncStep {
    /// Everything published before this moment stands before this step.
    ReceivedUntil(Timestamp),
    ScanBegins,
    /// What Redis says of its settings, mode and memory.
    Configured(Setup),
    /// Keys as found; the answer is those whose values are wanted.
    Found(DatedKeys, oneshot::Sender<Vec<FoundKey>>),
    /// Keys with their values, read before what has been taken in by now was published.
    Read(KeyValues),
    /// It will be tried again.
    ScanFailed,
    /// It came to its end, or is not permitted.
    ScanOver(Result<(), ScanError>),
}

/// Keys with their idle times.
#[derive(Debug)]
pub(super) struct DatedKeys {
    pub(super) keys: Vec<FoundKey>,
    /// When those were right.
    pub(super) at: Timestamp,
    /// How much of the db they and those before come from.
    pub(super) part: Part,
}

/// Keys with their values.
#[derive(Debug)]
pub(super) struct KeyValues {
    pub(super) keys: Vec<FoundKey>,
    pub(super) read: ReadValues,
    pub(super) found_at: Timestamp,
}

/// Keys that were asked for and not handed over, by hash: a key may come twice, and what is known of it comes later.
#[derive(Default)]
struct RequestedKeys {
    keys: Mutex<HashSet<u64>>,
    hasher: RandomState,
}

impl RequestedKeys {
    fn hashes<'a>(&self, keys: impl Iterator<Item = &'a FoundKey>) -> Vec<u64> {
        keys.map(|found| self.hasher.hash_one(&found.key)).collect()
    }

    /// Takes the others out.
    fn keep_new(&self, found: &mut Vec<FoundKey>) {
        let asked = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        found.retain(|found| !asked.contains(&self.hasher.hash_one(&found.key)));
    }

    fn begin(&self, hashes: &[u64]) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).extend(hashes);
    }

    fn end(&self, hashes: &[u64]) {
        let mut asked = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        for hash in hashes {
            asked.remove(hash);
        }
    }
}

/// Keys whose values are wanted.
struct WantedKeys {
    keys: Vec<FoundKey>,
    hashes: Vec<u64>,
    found_at: Timestamp,
}

/// Values that wait for their turn in the stream.
struct PendingValues {
    values: KeyValues,
    hashes: Vec<u64>,
    pong: Pong,
}

/// The scans beside the stream.
#[derive(Debug)]
pub(super) struct ResyncTask {
    source: RedisSource,
    server: RedisServer,
    check: LinkCheck,
    shared: SharedTable,
    out: mpsc::Sender<ResyncStep>,
    setup: SetupQuestions,
}

impl ResyncTask {
    /// Of the source whose subscription, at `server`, has this check; the steps go `out`. `shared` tells the time only.
    pub(super) fn new(
        source: RedisSource,
        server: RedisServer,
        check: LinkCheck,
        shared: SharedTable,
        out: mpsc::Sender<ResyncStep>,
    ) -> Self {
        Self { source, server, check, shared, out, setup: SetupQuestions::default() }
    }

    /// Scans now, and again every few minutes. Ends with an error of the subscription itself.
    pub(super) async fn run(mut self) -> LinkError {
        let mut failures = Failures::default();
        let mut unanswered = 0;
        loop {
            let _ = self.out.send(ResyncStep::ScanBegins).await;
            let scanned = self.scan().await;
            unanswered = match &scanned {
                Err(ScanError::Command(error)) if error.is_io_error() => unanswered + 1,
                _ => 0,
            };
            let wait = match scanned {
                // A replica has nothing more to tell, whatever its subscription says.
                Err(ScanError::Subscription(error) | ScanError::Link(error @ LinkError::Replica(_))) => {
                    return error;
                }
                Err(ScanError::Command(error)) if unanswered > UNANSWERED => {
                    let _ = self.out.send(ResyncStep::ScanOver(Err(ScanError::Unanswered(error)))).await;
                    RESYNC
                }
                Err(error @ (ScanError::Link(_) | ScanError::Command(_))) => {
                    if failures.is_news(&error) {
                        tracing::warn!(source = %self.source.name, %error, "reading the status keys failed; trying again");
                    }
                    let _ = self.out.send(ResyncStep::ScanFailed).await;
                    failures.next_wait()
                }
                over => {
                    failures.end();
                    let _ = self.out.send(ResyncStep::ScanOver(over)).await;
                    RESYNC
                }
            };
            sleep(wait).await;
        }
    }

    async fn scan(&mut self) -> Result<(), ScanError> {
        let mut walk = KeyScan::begin(&self.source, &self.server).await?;
        let setup = self.setup.ask(&mut walk, &ASKED).await?;
        let _ = self.out.send(ResyncStep::Configured(setup)).await;
        let (ask_ages, ages) = resync::ages(&self.source, &self.server).await?;
        let (ask_values, values) = resync::values(&self.source, &self.server).await?;
        let asked = RequestedKeys::default();
        let (to_date, found) = mpsc::channel(WAITING);
        let (to_hear_ages, undated) = mpsc::channel(WAITING);
        let (to_show, dated) = mpsc::channel(WAITING);
        let (to_read, wanted) = mpsc::channel(WAITING);
        let (to_hear_values, unread) = mpsc::channel(WAITING);
        let (to_hand_over, coming) = mpsc::channel(COMING);
        // Each ends after the one before it. An error in one ends all, so a channel that nobody reads tells nothing.
        try_join!(
            self.find(walk, to_date),
            ask(ask_ages, found, |found: &ScannedKeys| &found.keys, to_hear_ages),
            self.date(ages, undated, to_show),
            self.show(&asked, dated, to_read),
            ask(ask_values, wanted, |wanted: &WantedKeys| &wanted.keys, to_hear_values),
            self.read(values, unread, to_hand_over),
            self.hand_over(&asked, coming),
        )?;
        Ok(())
    }

    async fn find(&self, mut walk: KeyScan, out: mpsc::Sender<ScannedKeys>) -> Result<(), ScanError> {
        loop {
            let began = self.shared.now();
            let Some(found) = walk.step().await? else { return Ok(()) };
            let pause = pause_after(found.keys.len(), self.shared.now().since(began));
            let _ = out.send(found).await;
            if !walk.is_over() && pause > Duration::ZERO {
                sleep(pause).await;
            }
        }
    }

    async fn date(
        &self,
        mut ages: IdleTimeReader,
        mut undated: mpsc::Receiver<ScannedKeys>,
        out: mpsc::Sender<DatedKeys>,
    ) -> Result<(), ScanError> {
        while let Some(ScannedKeys { keys, part }) = undated.recv().await {
            let keys = ages.of(keys).await?;
            let _ = out.send(DatedKeys { keys, at: self.shared.now(), part }).await;
        }
        Ok(())
    }

    async fn show(
        &self,
        asked: &RequestedKeys,
        mut dated: mpsc::Receiver<DatedKeys>,
        out: mpsc::Sender<WantedKeys>,
    ) -> Result<(), ScanError> {
        while let Some(mut dated) = dated.recv().await {
            asked.keep_new(&mut dated.keys);
            let (found_at, (answer, wanted)) = (dated.at, oneshot::channel());
            let _ = self.out.send(ResyncStep::Found(dated, answer)).await;
            let keys = wanted.await.unwrap_or_default();
            if keys.is_empty() {
                continue;
            }
            let hashes = asked.hashes(keys.iter());
            asked.begin(&hashes);
            let _ = out.send(WantedKeys { keys, hashes, found_at }).await;
        }
        Ok(())
    }

    async fn read(
        &self,
        mut values: resync::ValueReader,
        mut unread: mpsc::Receiver<WantedKeys>,
        out: mpsc::Sender<PendingValues>,
    ) -> Result<(), ScanError> {
        while let Some(WantedKeys { keys, hashes, found_at }) = unread.recv().await {
            let read = values.of(&keys).await?;
            let pong = self.check.ping().await.map_err(ScanError::Subscription)?;
            let values = KeyValues { keys, read, found_at };
            let _ = out.send(PendingValues { values, hashes, pong }).await;
        }
        Ok(())
    }

    /// Hands values over once everything published before they were read has been taken in.
    async fn hand_over(
        &self,
        asked: &RequestedKeys,
        mut coming: mpsc::Receiver<PendingValues>,
    ) -> Result<(), ScanError> {
        while let Some(PendingValues { values, hashes, pong }) = coming.recv().await {
            pong.received().await.map_err(ScanError::Subscription)?;
            let _ = self.out.send(ResyncStep::Read(values)).await;
            // What is shown from now on comes after that.
            asked.end(&hashes);
        }
        Ok(())
    }
}

/// How long Redis is left alone after a step of the walk that took so long and found so `many` keys. Where keys are many
/// Redis has its answers to give meanwhile; where nearly all are foreign nothing else would hold the walk up, and Redis
/// would work for it alone. So it has a quarter of Redis' time at most.
fn pause_after(many: usize, took: Duration) -> Duration {
    if many >= MANY_FOUND { Duration::ZERO } else { (took * 3).clamp(SHORTEST_PAUSE, LONGEST_PAUSE) }
}

/// Asks about the keys of each portion, while the answers to those before are read.
async fn ask<T>(
    mut asking: PipelineWriter,
    mut portions: mpsc::Receiver<T>,
    keys_of: impl Fn(&T) -> &Vec<FoundKey>,
    out: mpsc::Sender<T>,
) -> Result<(), ScanError> {
    while let Some(portion) = portions.recv().await {
        asking.ask_about(keys_of(&portion)).await?;
        let _ = out.send(portion).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
