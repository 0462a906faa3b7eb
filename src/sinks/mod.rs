//! Sinks: they take what the ledger has to where others want it. All of it is I/O; `app` hands over and keeps the places.

pub mod postgres;
pub mod webhook;

use std::fmt::Display;
use std::time::Duration;

/// Whose sessions and events they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerOrigin {
    /// The ledger's own UUID; with the number of a session it names that for ever.
    pub store: String,
    /// The exporter's name (`--exporter.name`); it may change.
    pub exporter: String,
    /// The number of the ledger's last event.
    pub last_event: u64,
    /// The number of its last event that belongs to the ledger that it was copied from; 0 for others.
    pub copied_event: u64,
    /// The number of the last event that this sink has taken.
    pub taken: u64,
}

/// What became of the first of what was handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// So many were taken, or are never to be tried again.
    pub done: usize,
    /// So many of them were given up.
    pub dropped: usize,
}

/// Takes sessions or events elsewhere. May be dropped at any time; what was handed over comes again then.
pub trait Sink: Send + 'static {
    /// What it takes.
    type Item: Send + Sync + 'static;
    /// Why it cannot.
    type Error: SinkError;

    /// How many it takes at once, at most.
    fn most(&self) -> usize;

    /// Tries what can be tried with nothing to deliver, unless it is known to work; whether that shows that something would
    /// be taken. Called again and again while nothing waits. One that learns it from a delivery only does nothing.
    fn probe(&mut self, _origin: &LedgerOrigin) -> impl Future<Output = Result<bool, Self::Error>> + Send {
        std::future::ready(Ok(false))
    }

    /// Takes the first of `items`, whose numbers rise; at least one, or fails.
    fn deliver(
        &mut self,
        origin: &LedgerOrigin,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Delivered, Self::Error>> + Send;
}

/// Why a sink takes nothing now. The text says what happened, to what, and what to do, without secrets.
pub trait SinkError: Display + Send + 'static {
    /// The other side has more than this ledger has ever had: it is an older copy of the one that is known there.
    fn is_of_older_ledger(&self) -> bool {
        false
    }

    /// The other side has nothing after the event of this number any more, though it had taken more.
    fn has_only(&self) -> Option<u64> {
        None
    }

    /// The other side is not there: it stops, starts or cannot be reached. What it is at one attempt and the next is no news.
    fn is_away(&self) -> bool {
        false
    }

    /// How long the other side asks to be left alone.
    fn wait(&self) -> Duration {
        Duration::ZERO
    }
}
