//! What leaves the ledger, and when.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::app::ingest::Ingest;
use crate::app::testing::{StandingClock, at, settle, shared_table, until};
use crate::clock::{Clock, ManualClock};
use crate::state::{Settings, SourceId};
use crate::store::ledger::{self, By, Question};

const SOURCE: SourceId = SourceId(0);
const HOUR: u64 = 3600;

fn call(shared: &SharedTable, id: u64) {
    let now = shared.now();
    let channel = format!("turn/realm/r/user/user{id}/allocation/{id:018}/status");
    let mut ingest = shared.lock();
    for payload in [&b"new lifetime=600"[..], b"deleted"] {
        ingest.message(now, SOURCE, channel.as_bytes(), payload).unwrap();
    }
}

/// A row stays as long as `--store.retention` says, and goes soon after.
#[tokio::test(start_paused = true)]
async fn a_finished_session_stays_for_its_retention_and_no_longer() {
    let _standing = StandingClock::hold();
    let dir = std::env::temp_dir().join(format!("coturn-exporter-retention-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("store.db");
    let (shared, clock) = shared_table(10_000 * HOUR);
    let config = config::StoreConfig { path: path.clone(), retention: Duration::from_secs(24 * HOUR) };
    let writer =
        StoreWriter::open(&config, &["redis://test".to_owned()], b':', shared.clone()).await.unwrap();
    let keeping = tokio::spawn(writer.run());
    let users = || {
        let question = Question { by: vec![By::User], ..Question::default() };
        let answers = ledger::usage(&path, &question).unwrap();
        answers.into_iter().map(|usage| usage.of.concat()).collect::<Vec<_>>()
    };
    let beat = async |seconds: u64| {
        clock.set(at(seconds));
        tokio::time::advance(BEAT).await;
    };
    let mut now = 10_000 * HOUR;
    for (id, hours) in [(1, 0), (2, 20)] {
        now += hours * HOUR;
        beat(now).await;
        call(&shared, id);
        // A beat that sees it settled.
        now += 20;
        beat(now).await;
        let wanted = usize::try_from(id).unwrap();
        until("its row", || users().len() == wanted).await;
    }
    // 23 h after the first; a beat more than a minute after the one before sweeps.
    for seconds in [3 * HOUR, 3 * HOUR + 61, 3 * HOUR + 122] {
        beat(now + seconds).await;
        settle().await;
    }
    assert_eq!(users(), ["user1", "user2"]);
    for seconds in [4 * HOUR + 61, 4 * HOUR + 122, 4 * HOUR + 183] {
        beat(now + seconds).await;
        settle().await;
    }
    until("the first to be gone", || users() == ["user2"]).await;
    keeping.abort();
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Two clocks of which one can be set.
#[derive(Debug)]
struct Skewed {
    monotonic: ManualClock,
    /// Seconds that the wall clock is ahead.
    ahead: AtomicU64,
}

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        self.monotonic.now()
    }

    fn to_wall(&self, moment: Timestamp) -> Timestamp {
        moment.plus(Duration::from_secs(self.ahead.load(Ordering::Relaxed)))
    }
}

/// A ledger of a thousand sessions that ended just now, swept at each of the steps: the sessions that are left after it. A
/// step is so many seconds later by the monotonic clock, with the wall clock so many ahead.
async fn left_after(name: &str, retention_hours: u64, steps: &[(u64, u64)]) -> Vec<u64> {
    const SESSIONS: u64 = 1000;
    let dir = std::env::temp_dir().join(format!("coturn-exporter-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("store.db");
    let start = at(10_000 * HOUR);
    let clock = Arc::new(Skewed { monotonic: ManualClock::at(start), ahead: AtomicU64::new(0) });
    let ingest = Ingest::new(Settings::default(), &["redis://test"]);
    let shared = SharedTable::new(ingest, Arc::clone(&clock) as Arc<dyn Clock>);
    let config =
        config::StoreConfig { path: path.clone(), retention: Duration::from_secs(retention_hours * HOUR) };
    let writer =
        StoreWriter::open(&config, &["redis://test".to_owned()], b':', shared.clone()).await.unwrap();
    let sessions = || {
        let answers = ledger::usage(&path, &Question::default()).unwrap();
        answers.first().map_or(0, |all| all.figures[0])
    };
    for id in 1..=SESSIONS {
        call(&shared, id);
    }
    clock.monotonic.set(start.plus(Duration::from_secs(20)));
    writer.write(true);
    assert_eq!(sessions(), SESSIONS);
    let mut left = Vec::new();
    for &(seconds, ahead) in steps {
        clock.monotonic.set(start.plus(Duration::from_secs(seconds)));
        clock.ahead.store(ahead, Ordering::Relaxed);
        writer.sweep(shared.now());
        left.push(sessions());
    }
    std::fs::remove_dir_all(&dir).unwrap();
    left
}

/// The wall clock is set wrong, found out, and set right: an hour's sessions are not ninety days old.
#[tokio::test]
async fn a_wall_clock_a_year_ahead_for_a_minute_takes_nothing_from_the_ledger() {
    const YEAR: u64 = 365 * 24 * HOUR;
    let steps = [(60, YEAR), (120, YEAR), (180, 0), (240, 0), (25 * HOUR, 0)];
    assert_eq!(left_after("year", 90 * 24, &steps).await, [1000; 5]);
}

/// Nobody is surprised by an empty ledger: a large part goes a day after it was announced.
#[tokio::test]
async fn a_large_part_of_the_ledger_goes_a_day_later() {
    let steps = [(HOUR, 0), (3 * HOUR, 0), (26 * HOUR, 0), (27 * HOUR, 0)];
    assert_eq!(left_after("share", 2, &steps).await, [1000, 1000, 1000, 0]);
}
