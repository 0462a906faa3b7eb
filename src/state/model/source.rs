//! One stream of events: a Redis, or the listener.

use std::sync::Arc;
use std::time::Duration;

use super::counts::Counts;
use super::ended_queues::SourceRecords;
use super::ids::Mark;
use super::key_scan::{Absence, KnownRedis, LeftoverKeys, OtherRedis, ScanProgress};
use super::long_lifetime::LongLifetime;
use super::source_stats::SourceStats;
use crate::clock::Timestamp;
use crate::state::image::persist;

/// One stream of events.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: Arc<str>,
    /// When its numbers began; [`Timestamp::ZERO`] if they began with the table.
    pub(crate) created: Timestamp,
    pub(crate) stats: SourceStats,
    /// Subscribed, and resynced once; nothing becomes due otherwise.
    pub(crate) up: bool,
    /// It was up before.
    pub(crate) known: bool,
    /// Since when it has been watched without a gap, or with what was seen before; [`Timestamp::ZERO`] before it was up.
    pub(crate) watched_since: Timestamp,
    /// It was watched for so long that what lived when this began has shown itself, or is no more.
    pub(crate) is_remembered: bool,
    /// How far it had been received when it was lost.
    pub(crate) lost_at: Timestamp,
    pub(crate) left_overs: LeftoverKeys,
    /// The Redis that its keys are read from, where that is known.
    pub(crate) redis: Option<KnownRedis>,
    /// When the process of that Redis began, if it was another one before; [`Timestamp::ZERO`] otherwise.
    pub(crate) redis_began: Timestamp,
    /// Since that Redis is another one than before, if it ever was.
    pub(crate) other_redis: Option<OtherRedis>,
    /// When it came back from its last gap; [`Timestamp::ZERO`] if there was none.
    pub(crate) resumed_at: Timestamp,
    /// How far it has been received without a gap; nothing becomes due beyond. [`Timestamp::MAX`] where the source does
    /// not tell: up to the present then.
    pub(crate) received_until: Timestamp,
    pub(crate) live: u64,
    /// Its records, and which of them have ended.
    pub(crate) records: SourceRecords,
    /// Grants above the largest that the settings name.
    pub(crate) long_lifetimes: Counts<{ LongLifetime::ALL.len() }>,
    /// When the last of them came; [`Timestamp::ZERO`] if none did.
    pub(crate) last_long_lifetime: Timestamp,
    /// The scan of its keys that goes on.
    pub(crate) scan: Option<ScanProgress>,
    /// Of the present scan.
    pub(crate) mark: Option<Mark>,
}

impl Source {
    /// Whether it has been watched for longer than `silence`, now or before a gap.
    pub(crate) fn is_watched_for(&self, silence: Duration, now: Timestamp) -> bool {
        self.is_remembered || self.up && now.since(self.watched_since) > silence
    }

    /// What it proves that the present scan has not found a key.
    pub(crate) fn absence(&self) -> Option<Absence> {
        let &ScanProgress { may_miss_keys, kept_until, .. } = self.scan.as_ref()?;
        Some(Absence { may_miss_keys, kept_until, other: self.other_redis })
    }

    /// One of that name, which is down and was never up.
    pub(crate) fn new(name: &str, created: Timestamp) -> Self {
        Self {
            name: name.into(),
            created,
            stats: SourceStats::default(),
            up: false,
            known: false,
            watched_since: Timestamp::ZERO,
            is_remembered: false,
            lost_at: Timestamp::ZERO,
            left_overs: LeftoverKeys::default(),
            redis: None,
            redis_began: Timestamp::ZERO,
            other_redis: None,
            resumed_at: Timestamp::ZERO,
            received_until: Timestamp::MAX,
            live: 0,
            records: SourceRecords::new(),
            long_lifetimes: Counts::default(),
            last_long_lifetime: Timestamp::ZERO,
            scan: None,
            mark: None,
        }
    }
}

persist! {
    Source {
        name, since 2 created = Timestamp::ZERO, stats, up, known, watched_since, is_remembered, lost_at, left_overs,
        since 4 redis = None, since 5 redis_began = Timestamp::ZERO, since 4 other_redis = None, resumed_at, received_until,
        live, records, long_lifetimes, last_long_lifetime, scan, mark
    }
}

impl Source {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        Self {
            name: self.name.clone(),
            created: self.created,
            stats: self.stats.clone(),
            up: self.up,
            known: self.known,
            watched_since: self.watched_since,
            is_remembered: self.is_remembered,
            lost_at: self.lost_at,
            left_overs: self.left_overs.share(),
            redis: self.redis.clone(),
            redis_began: self.redis_began,
            other_redis: self.other_redis,
            resumed_at: self.resumed_at,
            received_until: self.received_until,
            live: self.live,
            records: self.records.share(),
            long_lifetimes: self.long_lifetimes,
            last_long_lifetime: self.last_long_lifetime,
            scan: self.scan.as_mut().map(ScanProgress::share),
            mark: self.mark,
        }
    }
}
