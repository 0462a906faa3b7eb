//! What leaves the ledger, and when.

use super::*;
use crate::app::testing::{StandingClock, at, settle, shared_table, until};
use crate::state::SourceId;
use crate::store::ledger::{self, By, Question};

const SOURCE: SourceId = SourceId(0);
const HOUR: u64 = 3600;

fn call(shared: &Shared, id: u64) {
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
    let config = config::Store { path: path.clone(), retention: Duration::from_secs(24 * HOUR) };
    let keeper = Keeper::open(&config, &["redis://test"], b':', shared.clone()).await.unwrap();
    let keeping = tokio::spawn(keeper.run());
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
