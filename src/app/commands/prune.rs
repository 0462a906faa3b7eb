//! `prune`: the status keys that no live allocation can own, listed or deleted. Judges by idle time alone and reads no
//! value: a read would wipe the very sign it judges by.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use crate::app::Error;
use crate::config::RedisSource;
use crate::doctor::is_stale;
use crate::escape::printable;
use crate::source::connect::locate;
use crate::source::error::LinkError;
use crate::source::pipeline::PipelineWriter;
use crate::source::prune::{PruneError, Pruned, Pruner};
use crate::source::resync::{self, FoundKey, IdleTimeReader, KeyScan, ScanError};
use crate::state::Settings;
use crate::wire;

/// Why a source could not be gone through.
#[derive(Debug, thiserror::Error)]
enum PruneFailure {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error(transparent)]
    Prune(#[from] PruneError),
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

/// Stale keys of some sources could not be listed or deleted.
#[derive(Debug)]
pub struct PruneFailed {
    /// The sources' names, and why.
    sources: Vec<(String, PruneFailure)>,
}

impl fmt::Display for PruneFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, failure)) in self.sources.iter().enumerate() {
            let before = if at == 0 { "prune failed for " } else { "; " };
            write!(f, "{before}{name}: {failure}")?;
        }
        Ok(())
    }
}

/// Goes through the sources one after the other; one that fails does not keep the others from their turn.
///
/// # Errors
///
/// Some source failed; an output that takes no more.
pub(in crate::app) async fn prune(
    sources: Vec<RedisSource>,
    settings: Settings,
    apply: bool,
) -> Result<(), Error> {
    let limit = settings.longest_silence();
    let mut out = BufWriter::new(io::stdout());
    let mut failed = Vec::new();
    for source in sources {
        match prune_one(&source, limit, apply, &mut out).await {
            Ok(()) => {}
            Err(PruneFailure::Output(error)) => return Err(Error::Output(error)),
            Err(failure) => failed.push((source.name, failure)),
        }
        out.flush().map_err(Error::Output)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::Prune(PruneFailed { sources: failed })) }
}

/// What was found and done in one source.
#[derive(Default)]
struct PruneTally {
    keys: u64,
    stale: u64,
    pruned: Pruned,
}

async fn prune_one(
    source: &RedisSource,
    limit: Duration,
    apply: bool,
    out: &mut (impl Write + Send),
) -> Result<(), PruneFailure> {
    let server = locate(source).await?;
    let walk = KeyScan::begin(source, &server).await?;
    let asking = resync::ages(source, &server).await?;
    let pruner = if apply { Some(Pruner::begin(source, &server, limit).await?) } else { None };
    writeln!(out, "{}", printable(source.name.as_bytes()))?;
    let mut tally = PruneTally::default();
    let result = go_through(walk, asking, pruner, limit, &mut tally, out).await;
    let PruneTally { keys, stale, pruned: Pruned { deleted, revived, gone } } = tally;
    if result.is_ok() {
        let limit = limit.as_secs();
        writeln!(out, "{stale} of {keys} status keys have been idle for more than {limit} s")?;
    }
    // What was deleted before something failed is deleted all the same.
    if apply && (result.is_ok() || deleted > 0) {
        writeln!(out, "deleted: {deleted}; came back to life meanwhile: {revived}; already gone: {gone}")?;
    }
    if !apply && stale > 0 {
        writeln!(out, "nothing was deleted; run again with --apply to delete them")?;
    }
    result
}

async fn go_through(
    mut walk: KeyScan,
    (mut asking, mut ages): (PipelineWriter, IdleTimeReader),
    mut pruner: Option<Pruner>,
    limit: Duration,
    tally: &mut PruneTally,
    out: &mut (impl Write + Send),
) -> Result<(), PruneFailure> {
    let mut seen = SeenKeys::default();
    while let Some(found) = walk.step().await? {
        asking.ask_about(&found.keys).await?;
        let mut stale = Vec::new();
        for found in ages.of(found.keys).await? {
            // What only looks like a status key is none of coturn's, nor ours to delete; a scan may repeat keys.
            if wire::parse_key(&found.key).is_err() || !seen.is_new(&found.key) {
                continue;
            }
            tally.keys += 1;
            if is_stale(found.idle.ok_or(PruneError::NoIdleTime)?, limit) {
                stale.push(found);
            }
        }
        tally.stale += stale.len() as u64;
        match &mut pruner {
            Some(pruner) => tally.pruned = tally.pruned.and(pruner.delete(&stale).await?),
            None => list(&stale, out)?,
        }
    }
    Ok(())
}

/// A line for each key: its idle time and its name, harmless to the terminal.
fn list(stale: &[FoundKey], out: &mut impl Write) -> io::Result<()> {
    for found in stale {
        let seconds = found.idle.unwrap_or_default().as_secs();
        writeln!(out, "{seconds:>9} s  {}", printable(&found.key))?;
    }
    Ok(())
}

/// The keys that were seen, by their hash: eight bytes each, however long their names are.
#[derive(Default)]
struct SeenKeys {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl SeenKeys {
    fn is_new(&mut self, key: &[u8]) -> bool {
        self.hashes.insert(self.hasher.hash_one(key))
    }
}
