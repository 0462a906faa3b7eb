//! Reading the status keys beside the stream: now, and again every few minutes. Judges no key; hands them over in steps.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::clock::Timestamp;
use crate::config::RedisSource;
use crate::doctor::ASKED;
use crate::doctor::facts::ConfigValues;
use crate::source::backoff::Backoff;
use crate::source::connect::Server;
use crate::source::redis::LinkError;
use crate::source::resync::{FoundKey, Scan, ScanError};
use crate::source::subscription::{Pong, Pulse};

/// How often the status keys are read again.
const RESYNC: Duration = Duration::from_secs(5 * 60);

/// How many steps the scan may be ahead of the stream: under load a PONG stands behind seconds of messages.
const COMING: usize = 32;

/// What the tasks beside the stream hand over to the one who takes messages in.
pub(super) enum Step {
    /// Everything published before this moment stands before this step.
    Heard(Timestamp),
    ScanBegins,
    /// What Redis says of its settings.
    Configured(ConfigValues),
    /// Keys as found; the answer is those whose values are wanted.
    Found(Vec<FoundKey>, oneshot::Sender<Wanted>),
    /// Keys with their values, read before what has been taken in by now was published.
    Read(Values),
    /// It will be tried again.
    ScanFailed,
    /// It came to its end, or is not permitted.
    ScanOver(Result<(), ScanError>),
}

/// Keys whose values are wanted.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) keys: Vec<FoundKey>,
    /// When they were found, and their idle times were right.
    pub(super) found_at: Timestamp,
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
    keys: HashSet<Vec<u8>>,
}

/// The scans beside the stream.
#[derive(Debug)]
pub(super) struct Rescan {
    source: RedisSource,
    server: Server,
    pulse: Pulse,
    out: mpsc::Sender<Step>,
    asked_settings: bool,
}

impl Rescan {
    /// Of the source whose subscription, at `server`, has this pulse; the steps go `out`.
    pub(super) const fn new(
        source: RedisSource,
        server: Server,
        pulse: Pulse,
        out: mpsc::Sender<Step>,
    ) -> Self {
        Self { source, server, pulse, out, asked_settings: false }
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
        let mut coming = Coming::default();
        while let Some(mut found) = scan.step().await? {
            // A key may come twice; what was asked about it is not known yet.
            found.retain(|found| !coming.keys.contains(&found.key));
            let (answer, wanted) = oneshot::channel();
            let _ = self.out.send(Step::Found(found, answer)).await;
            let Wanted { keys, found_at } = wanted.await.unwrap_or_default();
            let values = scan.read(keys.iter()).await?;
            if values.is_empty() {
                continue;
            }
            let pong = self.pulse.ping().await.map_err(ScanError::Pulse)?;
            coming.keys.extend(keys.iter().map(|found| found.key.clone()));
            coming.steps.push_back((Values { keys: keys.into_iter().zip(values).collect(), found_at }, pong));
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
        if let Some((values, pong)) = coming.steps.pop_front() {
            pong.heard().await.map_err(ScanError::Pulse)?;
            for (found, _) in &values.keys {
                coming.keys.remove(&found.key);
            }
            let _ = self.out.send(Step::Read(values)).await;
        }
        Ok(())
    }
}
