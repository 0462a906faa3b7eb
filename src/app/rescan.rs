//! Reading the status keys beside the stream: now, and again every few minutes. Judges no key; hands them over in steps.
//!
//! Three things go on at once: the next keys are looked for, values are asked for, and values that have come wait for
//! their turn in the stream.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher as _;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio::try_join;

use super::ingest::Shared;
use crate::clock::Timestamp;
use crate::config::RedisSource;
use crate::doctor::ASKED;
use crate::doctor::facts::ConfigValues;
use crate::source::backoff::Backoff;
use crate::source::connect::Server;
use crate::source::redis::LinkError;
use crate::source::resync::{self, FoundKey, Scan, ScanError};
use crate::source::subscription::{Pong, Pulse};

/// How often the status keys are read again.
const RESYNC: Duration = Duration::from_secs(5 * 60);

/// How many steps the scan may be ahead of the stream: under load a PONG stands behind seconds of messages. Each is some
/// hundreds of kilobytes.
const COMING: usize = 16;

/// How many steps may have been found that nobody has looked at.
const FOUND: usize = 1;

/// What the tasks beside the stream hand over to the one who takes messages in.
pub(super) enum Step {
    /// Everything published before this moment stands before this step.
    Heard(Timestamp),
    ScanBegins,
    /// What Redis says of its settings.
    Configured(ConfigValues),
    /// Keys as found; the answer is those whose values are wanted.
    Found(Found, oneshot::Sender<Vec<FoundKey>>),
    /// Keys with their values, read before what has been taken in by now was published.
    Read(Values),
    /// It will be tried again.
    ScanFailed,
    /// It came to its end, or is not permitted.
    ScanOver(Result<(), ScanError>),
}

/// Keys with the moment when their idle times were right.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) keys: Vec<FoundKey>,
    pub(super) at: Timestamp,
}

/// Keys with their values; `None` for one that is gone.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) keys: Vec<(FoundKey, Option<Vec<u8>>)>,
    pub(super) found_at: Timestamp,
}

/// Values on their way: handed over once everything published before they were read has been taken in.
#[derive(Default)]
struct Coming {
    steps: VecDeque<(Values, Pong)>,
    /// Their keys, by hash: a key may come twice, and what was asked about it is not known yet.
    keys: HashSet<u64>,
    hasher: RandomState,
}

impl Coming {
    fn includes(&self, found: &FoundKey) -> bool {
        self.keys.contains(&self.hasher.hash_one(&found.key))
    }

    fn push(&mut self, values: Values, pong: Pong) {
        self.keys.extend(values.keys.iter().map(|(found, _)| self.hasher.hash_one(&found.key)));
        self.steps.push_back((values, pong));
    }

    fn pop(&mut self) -> Option<(Values, Pong)> {
        let (values, pong) = self.steps.pop_front()?;
        for (found, _) in &values.keys {
            self.keys.remove(&self.hasher.hash_one(&found.key));
        }
        Some((values, pong))
    }
}

/// The scans beside the stream.
#[derive(Debug)]
pub(super) struct Rescan {
    source: RedisSource,
    server: Server,
    pulse: Pulse,
    shared: Shared,
    out: mpsc::Sender<Step>,
    asked_settings: bool,
}

impl Rescan {
    /// Of the source whose subscription, at `server`, has this pulse; the steps go `out`. `shared` tells the time only.
    pub(super) const fn new(
        source: RedisSource,
        server: Server,
        pulse: Pulse,
        shared: Shared,
        out: mpsc::Sender<Step>,
    ) -> Self {
        Self { source, server, pulse, shared, out, asked_settings: false }
    }

    /// Scans now, and again every few minutes. Ends with an error of the subscription itself.
    pub(super) async fn run(mut self) -> LinkError {
        let mut backoff = Backoff::new();
        let mut failing = false;
        loop {
            let _ = self.out.send(Step::ScanBegins).await;
            let wait = match self.scan().await {
                // A replica has nothing more to tell, whatever its subscription says.
                Err(ScanError::Pulse(error) | ScanError::Link(error @ LinkError::Replica(_))) => {
                    return error;
                }
                Err(error @ (ScanError::Link(_) | ScanError::Command(_))) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(source = %self.source.name, %error, "reading the status keys failed; trying again");
                    }
                    let _ = self.out.send(Step::ScanFailed).await;
                    backoff.next_wait(fastrand::f64())
                }
                over => {
                    failing = false;
                    let _ = self.out.send(Step::ScanOver(over)).await;
                    backoff = Backoff::new();
                    RESYNC
                }
            };
            sleep(wait).await;
        }
    }

    async fn scan(&mut self) -> Result<(), ScanError> {
        let mut scan = Scan::begin(&self.source, &self.server).await?;
        // Once a link: where it is forbidden, Redis' ACL log keeps each attempt.
        if !std::mem::replace(&mut self.asked_settings, true)
            && let Some(values) = scan.settings(&ASKED).await
        {
            let _ = self.out.send(Step::Configured(values)).await;
        }
        let values = resync::Values::begin(&self.source, &self.server).await?;
        let (to_us, mut found) = mpsc::channel(FOUND);
        let shared = &self.shared;
        let finding = async move {
            while let Some(keys) = scan.step().await? {
                // Who reads them ends before the last one only by an error, and tells it.
                let _ = to_us.send(Found { keys, at: shared.now() }).await;
            }
            Ok(())
        };
        try_join!(finding, self.read(values, &mut found))?;
        Ok(())
    }

    async fn read(
        &self,
        mut values: resync::Values,
        found: &mut mpsc::Receiver<Found>,
    ) -> Result<(), ScanError> {
        let mut coming = Coming::default();
        while let Some(mut found) = found.recv().await {
            found.keys.retain(|found| !coming.includes(found));
            let (found_at, (answer, wanted)) = (found.at, oneshot::channel());
            let _ = self.out.send(Step::Found(found, answer)).await;
            let keys = wanted.await.unwrap_or_default();
            if keys.is_empty() {
                continue;
            }
            let values = values.read(&keys).await?;
            let pong = self.pulse.ping().await.map_err(ScanError::Pulse)?;
            coming.push(Values { keys: keys.into_iter().zip(values).collect(), found_at }, pong);
            if coming.steps.len() >= COMING {
                self.hand_over(&mut coming).await?;
            }
        }
        while !coming.steps.is_empty() {
            self.hand_over(&mut coming).await?;
        }
        Ok(())
    }

    /// Hands the first values over.
    async fn hand_over(&self, coming: &mut Coming) -> Result<(), ScanError> {
        if let Some((values, pong)) = coming.pop() {
            pong.heard().await.map_err(ScanError::Pulse)?;
            let _ = self.out.send(Step::Read(values)).await;
        }
        Ok(())
    }
}
