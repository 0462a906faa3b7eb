//! What is noted of a source: when a gap began, how long it was, whether the keys are in the right db.

use std::time::Duration;

use crate::app::ingest::Ingest;
use crate::app::testing::at;
use crate::state::{KeyCheck, Settings, SourceId};
use crate::state::{SourceStats, StatusKeys};

const SOURCE: SourceId = SourceId(0);
const CHANNEL: &[u8] = b"turn/realm/r/user/alice/allocation/000000000000000001/status";

fn watching(seconds: u64) -> Ingest {
    let mut ingest = Ingest::new(Settings::default(), &["redis://test"]);
    ingest.subscribed(at(seconds), SOURCE);
    ingest.link_up(at(seconds), SOURCE);
    ingest
}

fn stats(ingest: &Ingest, seconds: u64) -> SourceStats {
    ingest.view(at(seconds)).table.sources[0].stats.clone()
}

/// A hang is noticed late: what was published since the last word is lost all the same.
#[test]
fn the_seconds_of_a_gap_begin_at_the_last_word_that_came() {
    // A message after the last PONG; a PONG after the last message; nothing since the subscription.
    for (pong, message, began) in
        [(Some(20), Some(25), 25), (Some(25), Some(20), 25), (Some(20), None, 20), (None, None, 10)]
    {
        let mut ingest = watching(10);
        if let Some(message) = message {
            ingest.message(at(message), SOURCE, CHANNEL, b"new lifetime=600").unwrap();
        }
        if let Some(pong) = pong {
            ingest.received_until(SOURCE, at(pong));
        }
        ingest.link_lost(at(40), SOURCE);
        assert_eq!(stats(&ingest, 40).gap_since, Some(at(began)), "{pong:?} {message:?}");
        ingest.subscribed(at(100), SOURCE);
        let stats = stats(&ingest, 200);
        assert_eq!((stats.gaps, stats.gap_time(at(200))), (1, Duration::from_secs(100 - began)));
    }
}

#[test]
fn attempts_to_come_back_are_one_gap() {
    let mut ingest = watching(10);
    for seconds in [20, 21, 25] {
        ingest.link_lost(at(seconds), SOURCE);
    }
    assert_eq!((stats(&ingest, 30).gaps, stats(&ingest, 30).gap_since), (1, Some(at(10))));
}

/// One whose allocation is live, and whose scan finds what the row says.
fn is_right_db(absent: u64, live: u64, finds: impl FnOnce(&mut Ingest)) -> bool {
    let mut ingest = watching(10);
    ingest.message(at(10), SOURCE, CHANNEL, b"new lifetime=600").unwrap();
    ingest.scan_begins(at(1000), SOURCE);
    finds(&mut ingest);
    let is_right = ingest.scan_succeeded(SOURCE, StatusKeys { live, stale: 0 }, absent, None, Duration::ZERO);
    let is_right = is_right.unwrap();
    assert_eq!(stats(&ingest, 1000).settings_ok.get("dbname"), Some(&is_right), "log and metric agree");
    is_right
}

#[test]
fn a_db_is_wrong_only_if_live_allocations_lack_their_keys_and_none_has_one() {
    assert!(!is_right_db(1, 0, |_| ()));
    assert!(is_right_db(0, 0, |_| ()), "nothing is absent: the db may well be empty");
    assert!(is_right_db(1, 1, |_| ()), "another allocation's key is there");
    let overdue_is_found = |ingest: &mut Ingest| {
        let look = ingest.look(at(1000), SOURCE, CHANNEL, Some(Duration::from_secs(990)));
        assert_eq!(look, Some(KeyCheck::Stale));
    };
    assert!(is_right_db(1, 0, overdue_is_found), "the key of one that is overdue is there");
}

#[test]
fn a_scan_that_failed_is_told_and_one_that_succeeds_again_too() {
    let mut ingest = watching(10);
    assert_eq!(stats(&ingest, 10).resync_ok, None);
    ingest.scan_begins(at(11), SOURCE);
    ingest.scan_failed(SOURCE);
    assert_eq!(stats(&ingest, 12).resync_ok, Some(false));
    ingest.scan_begins(at(13), SOURCE);
    ingest.scan_succeeded(SOURCE, StatusKeys::default(), 0, None, Duration::from_secs(2));
    let stats = stats(&ingest, 14);
    assert_eq!(
        (stats.resync_ok, stats.resyncs, stats.resync_duration),
        (Some(true), 2, Some(Duration::from_secs(2)))
    );
}
